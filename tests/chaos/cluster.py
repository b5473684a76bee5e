"""A real Ray cluster of several nodes on this machine, and what a study needs on it: a home, a driver."""

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from chaos.servers import LOOPBACK

TOKEN = "DLX_CHAOS"  # in the environment of every process that is started here
# A node that says nothing for some 4 s is dead; a driver or raylet without a head ends after 5 s.
IMPATIENT = {"health_check_initial_delay_ms": 1000, "health_check_period_ms": 1000, "health_check_timeout_ms": 1000,
             "health_check_failure_threshold": 3, "gcs_rpc_server_reconnect_timeout_s": 5}
DISK = 128  # MiB of the home
# A cell a width and label noise, each tuned; packs of 4 trials, with snapshots; NAP makes them last.
STUDY = '''
import os, time
from dataclasses import dataclass
from pathlib import Path

import torch

import dlx
from dlx import models, optim
from dlx.data import Dimensions, Split


@dataclass(frozen=True)
class Halves:
    noise: float
    varies = ("noise",)

    def dimensions(self):
        return Dimensions(3, 2, (3,))

    def samples(self):
        return 24

    def load(self, streams):
        Path(os.environ["MARKS"], f"{os.getppid()}-{time.time_ns()}").touch()
        time.sleep(NAP)
        rng = streams.rng("data")
        inputs = torch.from_numpy(rng.normal(size=(48, 3)))
        targets = (inputs.sum(1) + self.noise * torch.from_numpy(rng.normal(size=48)) > 0).long()
        rows = torch.arange(48)
        return {name: Split(inputs, targets, rows[a:b]) for name, a, b in
                (("train", 0, 24), ("val", 24, 36), ("test", 36, 48))}


STUDY = dlx.Study(
    name="chaos", question="Does it survive?",
    template=dlx.Training(
        data=Halves(dlx.grid(*(0.1 * i for i in range(CELLS // 2)))), model=models.MLP(dlx.grid(3, 5), 1),
        optimizer=optim.SGD(dlx.loguniform(0.01, 1.0), momentum=0.9),
        batch_size=8, steps=60, dtype="float64", measure=4,
    ),
    objective=dlx.minimize("val/loss"), search=dlx.TPE(trials=16, repeats=2, parallel=4, top=2, recheck=1),
    seeds=20, pack=4, checkpoint_every=EVERY,
)
'''


class Nodes:
    """A head without CPUs and nodes of one CPU each, which can be killed and joined by others."""

    def __init__(self, count: int) -> None:
        from ray.cluster_utils import Cluster

        self._cluster = Cluster(initialize_head=True, head_node_args={
            "num_cpus": 0, "include_dashboard": False, "node_ip_address": LOOPBACK, "object_store_memory": 80 * 2**20,
            "_system_config": IMPATIENT})
        self.address: str = self._cluster.address
        for _ in range(count):
            self.add()

    def add(self) -> Any:
        """One more node, which is up."""
        return self._cluster.add_node(num_cpus=1, node_ip_address=LOOPBACK, object_store_memory=80 * 2**20)

    @property
    def up(self) -> list[Any]:
        """The nodes that nobody removed."""
        return sorted(self._cluster.worker_nodes, key=raylet)

    def busy(self, node: Any) -> list[psutil.Process]:
        """The workers of a node that belong to a run."""
        with suppress(psutil.NoSuchProcess):
            found = psutil.Process(raylet(node)).children(recursive=True)
            return [p for p in found if re.match("ray::(?!IDLE|.*Agent)", _title(p))]
        return []

    def known(self, node: Any) -> bool:
        """Whether the head takes the node for alive."""
        return any(n["NodeID"] == node.node_id and n["Alive"] for n in self._cluster.global_state.node_table())

    def remove(self, node: Any) -> None:
        """Kill what is left of a node."""
        self._cluster.remove_node(node, allow_graceful=False)

    def kill_head(self) -> None:
        """The table of the whole cluster is gone, and with it the cluster."""
        self._cluster.head_node.kill_gcs_server()

    def close(self) -> None:
        """End all nodes."""
        self._cluster.shutdown()


def raylet(node: Any) -> int:
    """The process id of a node's raylet."""
    return int(node.all_processes["raylet"][0].process.pid)


def _title(process: psutil.Process) -> str:
    with suppress(psutil.Error, IndexError):
        return str(process.cmdline()[0])
    return ""


class Driver:
    """`dlx run`, which can be killed and given again."""

    def __init__(self, command: list[str], log: Path) -> None:
        self.command, self.log = command, log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """The same command, again."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    @property
    def code(self) -> int | None:
        """How it ended, None while it runs."""
        return self._process.poll() if self._process is not None else None

    def end(self, sign: signal.Signals | None = None, seconds: float = 180) -> int:
        """Wait for its end, after a signal; returns how it ended."""
        assert self._process is not None
        if sign is not None:
            self._process.send_signal(sign)
        return self._process.wait(timeout=seconds)

    @property
    def said(self) -> str:
        """What all of them printed."""
        return self.log.read_text(errors="replace")


class Disk:
    """A folder on a small file system of its own, where this process may mount one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK}m", "chaos", str(folder)]
        self.own = shutil.which("mount") is not None and not subprocess.run(mount, stderr=subprocess.DEVNULL).returncode

    def fill(self) -> None:
        """Leave no room."""
        with suppress(OSError), (self.folder / "ballast").open("wb", buffering=0) as ballast:
            while True:
                ballast.write(bytes(2**16))

    def free(self) -> None:
        """Make room again."""
        (self.folder / "ballast").unlink(missing_ok=True)

    def close(self) -> None:
        """Unmount it."""
        if self.own:
            subprocess.run(["umount", "--lazy", str(self.folder)], check=True)


@contextmanager
def surroundings(folder: Path) -> Iterator[None]:
    """The environment of everything that is started here; afterwards nothing of it may be alive."""
    short = tempfile.mkdtemp(prefix="chaos-", dir="/tmp")  # paths of sockets must be short
    os.chmod(short, 0o711)  # PostgreSQL refuses to run as root
    (folder / "marks").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {TOKEN: str(folder), "SHORT": short, "RAY_TMPDIR": short, "MARKS": str(folder / "marks"),
                            "DLX_HOME": str(folder / "home"), "OMP_NUM_THREADS": "1",
                            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # drivers look for the cluster on loopback
                            "RAY_gcs_rpc_server_reconnect_timeout_s": "5"}.items():
            patch.setenv(name, value)
        try:
            yield
        finally:
            left = left_behind(folder)
            for process in left:
                process.kill()
            shutil.rmtree(short, ignore_errors=True)
    assert not left, f"left behind: {left}"


def left_behind(folder: Path, seconds: float = 15.0) -> list[psutil.Process]:
    """Processes that were started here and have not ended, after so many seconds."""
    end = time.monotonic() + seconds
    while (found := _started_here(folder)) and time.monotonic() < end:
        time.sleep(0.2)
    return found


def _started_here(folder: Path) -> list[psutil.Process]:
    own = os.getpid()
    return [p for p in psutil.process_iter(["environ", "status"]) if p.pid != own
            and (p.info["environ"] or {}).get(TOKEN) == str(folder) and p.info["status"] != psutil.STATUS_ZOMBIE]
