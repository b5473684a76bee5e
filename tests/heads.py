"""A real head of Ray on loopback, with nodes beside it, a project that is submitted to it, and what is left of both."""

import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
from objects import LOOPBACK, free_ports

from dlx.store import Store

MARK = "DLX_HEAD"  # in the environment of every process of a cluster that is started here
PATIENCE = 180.0  # seconds for one command of dlx, on a busy machine
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
        Path({marks!r}, f"{{self.number}}-{{time.time_ns()}}").touch()
        return {{"loss": SQUARE(self.number)}}

STUDY = dlx.Study(name="{name}", question="Does it end?", template=Nap(dlx.grid(*range({trials}))))
'''


def until(condition, seconds=PATIENCE, what="it"):
    """What the condition finds; fails after so many seconds."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, f"{what} did not happen within {seconds:g} s"
        time.sleep(0.2)
    return found


def pool(address: str, most: int) -> dict[str, object]:
    """What an autoscaler is told: from none to so many nodes of one CPU, by Ray's provider of nodes on one machine."""
    lists = ("initialization_commands", "setup_commands", "head_setup_commands", "worker_setup_commands",
             "head_start_ray_commands", "worker_start_ray_commands", "cluster_synced_files", "rsync_exclude",
             "rsync_filter")
    return {
        "cluster_name": "pool", "max_workers": most, "upscaling_speed": 1.0, "idle_timeout_minutes": 0.5,
        "provider": {"type": "fake_multinode", "gcs_address": address, "use_node_id_as_ip": True,
                     "disable_node_updaters": True, "disable_launch_config_check": True},
        "head_node_type": "head", "auth": {}, "docker": {}, "file_mounts": {}, "file_mounts_sync_continuously": False,
        "available_node_types": {
            "head": {"resources": {}, "node_config": {}, "max_workers": 0},
            "worker": {"resources": {"CPU": 1, "object_store_memory": 10**8}, "node_config": {}, "min_workers": 0,
                       "max_workers": most},
        },
        **{name: [] for name in lists},
    }


class Head:
    """A head with a token; every port that Ray fixes by default is its own, so another Ray may run beside it.

    scaled: how many more nodes, of one CPU each, an autoscaler may start when they are wanted.
    """

    def __init__(self, cpus: int = 2, scaled: int = 0) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="dlxjob", dir="/tmp"))  # paths of sockets must be short
        self.port, dashboard, client = free_ports(3)
        self.address = f"http://{LOOPBACK}:{dashboard}"
        self.environment = {
            **os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", MARK: str(self.folder),
            "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_gcs_rpc_server_reconnect_timeout_s": "5",
        }
        self.environment.pop("RAY_ADDRESS", None)
        options = [f"--temp-dir={self.folder}"]
        if scaled:
            self.environment |= {"RAY_FAKE_CLUSTER": "1", "AUTOSCALER_UPDATE_INTERVAL_S": "1"}
            (self.folder / "pool.json").write_text(json.dumps(pool(f"{LOOPBACK}:{self.port}", scaled)))
            options.append(f"--autoscaling-config={self.folder / 'pool.json'}")
        self._seen: set[psutil.Process] = set()
        self._started = [self._start(
            "--head", f"--port={self.port}", f"--num-cpus={cpus}", f"--dashboard-port={dashboard}",
            f"--dashboard-host={LOOPBACK}", f"--ray-client-server-port={client}", *options)]

    def _start(self, *options: str) -> psutil.Popen:
        command = [Path(sys.executable).parent / "ray", "start", "--block", f"--node-ip-address={LOOPBACK}",
                   "--dashboard-agent-listen-port=0", "--object-store-memory=100000000", "--disable-usage-stats"]
        with (self.folder / "said.log").open("ab") as log:
            return psutil.Popen([*command, *options], env=self.environment, stdin=subprocess.DEVNULL, stdout=log,
                                stderr=log, start_new_session=True)

    def add_node(self, cpus: int = 1) -> None:
        """Another node of the cluster."""
        self._started.append(self._start(f"--address={LOOPBACK}:{self.port}", f"--num-cpus={cpus}"))

    @property
    def said(self) -> str:
        """What the nodes printed."""
        return (self.folder / "said.log").read_text(errors="replace")

    @property
    def up(self) -> bool:
        """Whether the head still runs."""
        return self._started[0].poll() is None

    def processes(self) -> list[psutil.Process]:
        """Every process of the cluster that is alive: nodes, workers, drivers and what they started.

        Some of Ray's change their environment, and are found only while what started them lives, or if seen before.
        """
        for process in psutil.process_iter(["environ"]):
            if (process.info["environ"] or {}).get(MARK) == str(self.folder):
                self._seen.add(process)
        for node in self._started:
            with suppress(psutil.NoSuchProcess):
                self._seen.update(node.children(recursive=True))
        return [p for p in self._seen if _alive(p)]

    def gcs(self) -> psutil.Process:
        """The process that knows the whole cluster."""
        return next(p for p in self.processes() if p.name() == "gcs_server")

    def raylets(self) -> int:
        """How many nodes run."""
        return sum(_name(process) == "raylet" for process in self.processes())

    def close(self) -> None:
        """End everything of it, and remove its files."""
        self.processes()
        for node in self._started[::-1]:
            if node.poll() is None:
                node.terminate()
        psutil.wait_procs(self._started, timeout=20)
        for process in self.processes():
            with suppress(psutil.NoSuchProcess):
                process.kill()
        for node in self._started:
            node.wait(timeout=20)
        shutil.rmtree(self.folder, ignore_errors=True)


def _alive(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def _name(process: psutil.Process) -> str:
    with suppress(psutil.Error):
        return process.name()
    return ""


@contextmanager
def head_of_ray(cpus: int = 2, scaled: int = 0) -> Iterator[Head]:
    """A head, while the block runs; see ``Head``."""
    head = Head(cpus, scaled)
    try:
        yield head
    finally:
        head.close()


class Project:
    """A folder with a study and a home, and dlx in it; each trial leaves a mark when it has run."""

    def __init__(self, folder: Path, head: Head, name: str, trials: int, seconds: float) -> None:
        self.folder, self.home, self.marks = folder / "project", folder / "home", folder / "marks"
        self.name, self.head = name, head
        for made in (self.folder, self.home, self.marks):
            made.mkdir()
        (self.folder / "helper.py").write_text("SQUARE = lambda x: float(x * x)\n")
        self.study = STUDY.format(name=name, trials=trials, seconds=seconds, marks=str(self.marks))
        (self.folder / "nap.py").write_text(self.study)

    def run(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """A command of dlx, which ends in time."""
        return subprocess.run(
            [sys.executable, "-m", "dlx.cli", *words], cwd=self.folder, env={**self.head.environment, **environment},
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=PATIENCE)

    def dlx(self, *words: str, code: int = 0) -> str:
        """What a command of dlx prints that ends with this code."""
        done = self.run(*words)
        assert done.returncode == code, f"{done.returncode}: {done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def submit(self) -> str:
        """Submit the study once the head is up; returns the job's id."""
        end = time.monotonic() + PATIENCE
        while (done := self.run("submit", "nap.py", "--address", self.head.address, "--home", str(self.home),
                                "--tracking-uri", "off")).returncode:
            assert self.head.up, f"the head has ended:\n{self.head.said}"
            assert "Failed to connect" in done.stderr and time.monotonic() < end, done.stderr
            time.sleep(1)
        return re.search(r"^job +(\S+)$", done.stdout, re.M)[1]

    @property
    def keys(self) -> set[str]:
        """The trials that are stored."""
        return set(Store(self.name, str(self.home)).statuses())

    @property
    def stored(self) -> int:
        """How many trials are stored."""
        return len(self.keys) if (self.home / "studies" / self.name).is_dir() else 0

    def numbers(self) -> list[int]:
        """The numbers of the stored trials, by their loss."""
        table = Store(self.name, str(self.home)).trials(columns=["metrics"])
        return sorted(round(dict(m)["loss"] ** 0.5) for m in table.column("metrics").to_pylist())

    def runs(self, number: int) -> int:
        """How often a trial has run to its end."""
        return len(list(self.marks.glob(f"{number}-*")))

    def drivers(self) -> list[psutil.Process]:
        """The processes of ``dlx run`` on it."""
        found = []
        for process in self.head.processes():
            with suppress(psutil.NoSuchProcess):  # it may have ended meanwhile
                if "dlx.cli" in (line := process.cmdline()) and str(self.home) in line:
                    found.append(process)
        return found
