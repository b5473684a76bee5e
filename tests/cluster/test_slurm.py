"""The batch script: what it calls and in which order, on programs that record it; and with the real Ray and dlx."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

SCRIPT = Path(__file__).parents[2] / "cluster" / "slurm.sh"
TEXT = SCRIPT.read_text()
JOB = str(os.getpid())
PROGRAMS = {
    "scontrol": '[[ $1 == show ]] && printf "%s\\n" one two three; true',
    "hostname": "echo 127.0.0.1 10.0.0.7",
    # Runs its command, as srun does on the node.
    "srun": 'while [[ $1 == --* ]]; do shift; done; exec "$@"',
    "ray": '[[ $1 == start ]] && exec sleep 60; true',
    # Ends with 3, something is missing, at the first SIGTERM, or at the second when STUBBORN.
    "dlx": 'trap "[[ -z \\$STUBBORN || -n \\$told ]] && exit 3; told=yes" TERM; touch "$CALLS.started";'
           ' for _ in $(seq 300); do [[ -e "$CALLS.finish" ]] && exit "$(cat "$CALLS.finish")"; sleep 0.1; done',
}
SECRET = re.compile(r"\b[0-9a-f]{64}\b")


class Batch:
    """The script as Slurm runs it, with programs of our own before the real ones."""

    def __init__(self, folder, wait_until, programs, *arguments, **variables):
        self.calls, places = folder / "calls", folder / "bin"
        places.mkdir()
        for name, body in programs.items():
            record = f'printf "%s\\n" "{name} $* [$RAY_AUTH_MODE]" >> "$CALLS"\n'
            (places / name).write_text(f"#!/bin/bash\n{record}{body}\n")
            (places / name).chmod(0o755)
        self.environment = {
            **os.environ, "PATH": f"{places}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "CALLS": str(self.calls), "SLURM_JOB_ID": JOB, "SLURM_JOB_NODELIST": "[one-three]",
            "SLURM_CPUS_PER_TASK": "1", "DLX_GRACE": "2", **variables,
        }
        self.arguments, self.wait_until = arguments, wait_until
        self.process = None

    def start(self):
        Path(f"{self.calls}.started").unlink(missing_ok=True)
        self.process = subprocess.Popen(["bash", str(SCRIPT), *self.arguments], env=self.environment,
                                        cwd=self.calls.parent, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                        text=True, start_new_session=True)
        return self

    def started(self):
        self.wait_until(Path(f"{self.calls}.started").exists, self.process)

    def end(self, code):
        output, _ = self.process.communicate(timeout=180)
        assert self.process.returncode == code, output
        return output

    def recorded(self, *names):
        lines = self.calls.read_text().splitlines() if self.calls.exists() else []
        return [line for line in lines if line.split()[0] in names]

    def close(self):
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


@pytest.fixture
def batch(tmp_path, wait_until):
    made = []

    def make(*arguments, programs=PROGRAMS, **variables):
        made.append(Batch(tmp_path, wait_until, programs, *arguments, **variables))
        return made[-1].start()

    yield make
    for b in made:
        b.close()
    shutil.rmtree(f"/tmp/ray-{JOB}", ignore_errors=True)  # Ray's logs


def test_what_slurm_is_asked_for():
    asked = dict(re.findall(r"^#SBATCH --([a-z-]+)(?:=(\S+))?$", TEXT, re.M))
    assert asked["signal"].startswith("B:USR1@") and {"requeue", "no-kill"} <= set(asked)
    assert int(asked["signal"].split("@")[1]) > int(re.search(r"DLX_GRACE:-(\d+)", TEXT)[1])
    assert asked["open-mode"] == "append" and asked["ntasks-per-node"] == "1"


def test_ray_starts_on_every_node_before_the_study_and_ends_after_it(batch):
    run = batch("studies/a study.py", "--preset", "quick")
    run.started()
    Path(f"{run.calls}.finish").write_text("0")
    run.end(0)
    port = 20_000 + int(JOB) % 10_000
    common = f"ray start --block --num-cpus=1 --temp-dir=/tmp/ray-{JOB}"
    head = (f"{common} --head --node-ip-address=127.0.0.1 --port={port} --include-dashboard=false "
            f"--ray-client-server-port={port + 10_000} [token]")
    asks = f"ray health-check --address 127.0.0.1:{port} [token]"
    workers = f"{common} --address=127.0.0.1:{port} [token]"
    study = f"dlx run studies/a study.py --preset quick --address 127.0.0.1:{port} --wait [token]"
    calls = run.recorded("ray", "dlx")
    assert set(calls) == {head, asks, workers, study} and calls.index(asks) < calls.index(workers)
    steps = [line for line in run.recorded("srun") if "ray start" in line]
    assert "--nodes=1 --ntasks=1 --ntasks-per-node=1 --nodelist=one --cpus-per-task=1" in steps[0]
    assert "--nodes=2 --ntasks=2 --ntasks-per-node=1 --nodelist=two,three --cpus-per-task=1" in steps[1]
    assert not SECRET.search(run.calls.read_text())  # the token is in the environment only
    assert not [line for line in run.recorded("scontrol") if "requeue" in line]


@pytest.mark.parametrize("stubborn", ("", "yes"))
def test_near_the_time_limit_the_job_is_queued_again_and_gives_the_same_command(batch, stubborn):
    run = batch("study.py", STUBBORN=stubborn)
    run.started()
    began = time.monotonic()
    run.process.send_signal(signal.SIGUSR1)
    run.end(3)
    assert (time.monotonic() - began >= 2) == bool(stubborn)  # the second SIGTERM comes after DLX_GRACE
    assert run.recorded("scontrol")[-1] == f"scontrol requeue {JOB} [token]"
    run.start().started()
    Path(f"{run.calls}.finish").write_text("0")
    run.end(0)
    first, second = run.recorded("dlx")
    assert first == second
    assert len([line for line in run.recorded("scontrol") if "requeue" in line]) == 1


@pytest.mark.parametrize("code", (2, 4))
def test_a_study_that_is_refused_or_has_failed_trials_is_not_queued_again(batch, code):
    run = batch("study.py")
    run.started()
    Path(f"{run.calls}.finish").write_text(str(code))
    run.end(code)
    assert not [line for line in run.recorded("scontrol") if "requeue" in line]


def test_a_job_that_is_ended_stops_its_study_and_is_not_queued_again(batch):
    run = batch("study.py")
    run.started()
    run.process.send_signal(signal.SIGTERM)
    run.end(3)
    assert not [line for line in run.recorded("scontrol") if "requeue" in line]


def test_a_head_that_does_not_start_ends_the_job(batch):
    run = batch("study.py", programs={**PROGRAMS, "ray": "exit 1"})
    assert "Ray's head does not start" in run.end(1)
    assert not run.recorded("dlx")


def test_with_the_real_ray_a_study_stops_is_queued_again_and_ends(batch, tmp_path):
    """Two nodes on loopback; the token is needed, and no process outlives the job."""
    (tmp_path / "naps.py").write_text("""
import pathlib, time, dlx

@dlx.trial(version=1)
def nap(ctx, i: int) -> dict[str, float]:
    pathlib.Path("CALLS.started").touch()
    time.sleep(0.5)
    return {"value": float(i)}

STUDY = dlx.Study(name="naps", question="?", template=nap(i=dlx.grid(*range(8))), seeds=1, pack=1)
""".replace("CALLS", str(tmp_path / "calls")))
    programs = {name: PROGRAMS[name] for name in ("srun", "hostname")}
    programs["scontrol"] = PROGRAMS["scontrol"].replace(" three", "")
    run = batch("naps.py", "--tracking-uri", "off", programs=programs, DLX_GRACE="20",
                RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="0")  # Ray stays on loopback
    run.started()
    run.process.send_signal(signal.SIGUSR1)
    run.end(3)
    assert run.recorded("scontrol")[-1].startswith("scontrol requeue")
    assert not [p for p in psutil.process_iter(["cmdline"]) if f"/tmp/ray-{JOB}" in " ".join(p.info["cmdline"] or [])]
    run.start()
    output = run.end(0)
    assert re.search(r"^ *7 +1 +7", output, re.M), output
