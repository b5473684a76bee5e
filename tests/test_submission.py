"""Jobs on a real head of Ray with a token: shipped without secrets, detached, started anew, stopped."""

import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest

from dlx.store import Store

STUDY = '''
import os, time
from dataclasses import dataclass
from pathlib import Path
import dlx
from helper import SQUARE

@dataclass(frozen=True)
class Nap(dlx.Trial):
    number: int
    def run(self, ctx):
        time.sleep({seconds})
        return {{"loss": SQUARE(self.number)}}

STUDY = dlx.Study(name="{name}", question="Does it end?", template=Nap(dlx.grid(*range({trials}))))
'''
SECRET = "hunter2-correct-horse"


def free_ports(count):
    with_socket = [socket.socket() for _ in range(count)]
    for one in with_socket:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in with_socket]
    for one in with_socket:
        one.close()
    return ports


@pytest.fixture(scope="module")
def head():
    """A head on loopback: the address of its dashboard, and the environment that speaks to it."""
    scratch = Path(tempfile.mkdtemp(prefix="dlxjob", dir="/tmp"))
    port, dashboard = free_ports(2)
    environment = {
        **os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32), "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    }
    environment.pop("RAY_ADDRESS", None)
    node = subprocess.Popen(
        [Path(sys.executable).parent / "ray", "start", "--head", "--block", "--node-ip-address=127.0.0.1",
         f"--port={port}", f"--dashboard-port={dashboard}", "--dashboard-host=127.0.0.1", "--num-cpus=2",
         f"--temp-dir={scratch}", "--object-store-memory=100000000", "--disable-usage-stats"],
        env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        yield f"http://127.0.0.1:{dashboard}", environment, scratch
    finally:
        family = [psutil.Process(node.pid), *psutil.Process(node.pid).children(recursive=True)]
        node.terminate()
        _, left = psutil.wait_procs(family, timeout=20)
        for process in left:
            process.kill()
        shutil.rmtree(scratch, ignore_errors=True)


class Project:
    """A folder with a study and a home, and dlx in it."""

    def __init__(self, folder, head, name, trials, seconds):
        self.folder, self.name, (self.address, self.environment, self.ray) = folder / "project", name, head
        self.home = folder / "home"
        self.folder.mkdir()
        self.home.mkdir()
        (self.folder / "helper.py").write_text("SQUARE = lambda x: float(x * x)\n")
        self.study = STUDY.format(name=name, trials=trials, seconds=seconds)
        (self.folder / "nap.py").write_text(self.study)

    def dlx(self, *words, code=0):
        done = subprocess.run([sys.executable, "-m", "dlx.cli", *words], cwd=self.folder, env=self.environment,
                              capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def submit(self):
        """Once the head is up."""
        for _ in range(60):
            done = subprocess.run(
                [sys.executable, "-m", "dlx.cli", "submit", "nap.py", "--address", self.address, "--home", self.home,
                 "--tracking-uri", "off"],
                cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False)
            if done.returncode == 0:
                return re.search(r"^job +(\S+)$", done.stdout, re.M)[1]
            assert "takes jobs" in done.stderr, done.stderr
            time.sleep(1)
        pytest.fail(done.stderr)

    @property
    def stored(self):
        store = Store(self.name, str(self.home))
        return len(store.statuses()) if (self.home / "studies" / self.name).is_dir() else 0

    def drivers(self):
        """The processes of ``dlx run`` on it."""
        return [p for p in psutil.process_iter(["cmdline"])
                if (line := p.info["cmdline"] or []) and str(self.home) in line and "dlx.cli" in line]


def until(condition, seconds=120):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.2)
    return found


def test_a_job_ships_the_project_without_its_secrets_and_runs_detached(head, tmp_path):
    project = Project(tmp_path, head, "shipped", trials=6, seconds=0.1)
    (project.folder / ".env").write_text(f"TOKEN={SECRET}")
    (project.folder / "deploy.pem").write_text(SECRET)
    (project.folder / "conf").mkdir()
    (project.folder / "conf" / "aws-credentials.ini").write_text(SECRET)
    look = "print('sees', sorted(p.name for p in Path('.').rglob('*')))"
    (project.folder / "nap.py").write_text(project.study.replace("import dlx\n", f"import dlx\n{look}\n"))
    job = project.submit()
    out = project.dlx("watch", "nap.py", "--address", project.address)
    assert f"{job}: succeeded" in out and "6/6 trials" in out
    here, seen, *_ = re.findall(r"sees (\[.*\])", out)  # loaded by watch, and then on the head
    assert "deploy.pem" in here and "helper.py" in seen and not re.search(r"\.env|pem|credentials", seen)
    assert project.stored == 6
    for place in (project.home, project.ray):  # results; what was shipped, and logs
        grep = ["grep", "--recursive", "--files-with-matches", "--text", "--devices=skip", SECRET, str(place)]
        assert subprocess.run(grep, capture_output=True, text=True, check=False).stdout == ""
    assert "nothing runs; 6/6 trials" in project.dlx("watch", "nap.py", "--home", str(project.home), "--once")
    assert "succeeded" in project.dlx("watch", "nap.py", "--address", project.address, "--once")


def test_a_driver_that_is_killed_is_started_again_and_nothing_runs_twice(head, tmp_path):
    project = Project(tmp_path, head, "killed", trials=24, seconds=0.5)
    job = project.submit()
    assert "runs there already" in project.dlx("submit", "nap.py", "--address", project.address, "--home",
                                               str(project.home), code=2)
    until(lambda: project.stored >= 3)
    (driver,) = project.drivers()
    driver.send_signal(signal.SIGKILL)
    out = project.dlx("watch", "nap.py", "--address", project.address)
    assert f"{job}: succeeded" in out and "the driver ended with -9; 4 attempts left" in out
    assert project.stored == 24 and "24/24 trials" in out


def test_a_stopped_job_stores_what_runs_and_goes_on_when_it_is_submitted_again(head, tmp_path):
    project = Project(tmp_path, head, "stopped", trials=16, seconds=1.0)
    job = project.submit()
    until(lambda: project.stored >= 2)
    assert f"{job} was asked to stop." in project.dlx("stop", "nap.py", "--address", project.address)
    out = project.dlx("watch", "nap.py", "--address", project.address)
    assert f"{job}: stopped" in out and "what runs is finished and stored" in out and "ended with" not in out
    before = project.stored
    assert 2 <= before < 16
    assert "No job" in project.dlx("stop", "nap.py", "--address", project.address)
    again = project.submit()
    assert f"{again}: succeeded" in project.dlx("watch", "nap.py", "--address", project.address)
    assert project.stored == 16


@pytest.mark.parametrize(("words", "said"), [
    ((), "home is 'dlx-home', a folder of this machine"),
    (("--home", "here"), "home is 'here', a folder of this machine"),
    (("--home", "s3://key:pass@bucket/x"), "home holds a password"),
    (("--home", "/srv/x", "--tracking-uri", "http://me:pass@host"), "MLFLOW_TRACKING_URI holds a password"),
    (("--home", "/srv/x", "--attempts", "0"), "attempts is 0"),
    (("--home", "/srv/x", "--set", "template.nunber=1"), "did you mean"),
    (("--home", "/srv/x"), "No cluster at http://127.0.0.1:9 takes jobs"),
    (("--home", "/srv/x", "--address", "127.0.0.1:9"), "such as http://HEAD:8265"),
])
def test_what_cannot_go_on_there_is_refused_here(tmp_path, words, said):
    (tmp_path / "helper.py").write_text("SQUARE = float")
    (tmp_path / "nap.py").write_text(STUDY.format(name="nap", trials=2, seconds=0))
    environment = {k: v for k, v in os.environ.items() if k not in ("DLX_HOME", "MLFLOW_TRACKING_URI")}
    done = subprocess.run(
        [sys.executable, "-m", "dlx.cli", "submit", "nap.py", "--address", "http://127.0.0.1:9", *words], cwd=tmp_path,
        env={**environment, "PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and said in done.stderr and done.stderr.count("\n") == 1, done.stderr
