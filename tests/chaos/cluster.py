"""A real Ray cluster of several nodes on this machine, and what a study needs on it: a home, a driver."""

import os
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
from chaos.servers import LOOPBACK, free_port, wait_until

TOKEN = "DLX_CHAOS"  # in the environment of every process that is started here
WITHOUT_HEAD = 15  # seconds after which a driver or raylet ends
# A node that says nothing for some 6 s is dead.
IMPATIENT = {"health_check_initial_delay_ms": 1000, "health_check_period_ms": 500, "health_check_timeout_ms": 1500,
             "health_check_failure_threshold": 3, "gcs_rpc_server_reconnect_timeout_s": WITHOUT_HEAD}
COMMON = {"node_ip_address": LOOPBACK, "object_store_memory": 80 * 2**20}  # to all nodes
DISK = 128  # MiB of the home


class Nodes:
    """A head without CPUs and nodes of one CPU each, which can be killed and joined by others."""

    def __init__(self, count: int) -> None:
        from ray.cluster_utils import Cluster

        self._cluster = Cluster(initialize_head=True, head_node_args={
            **COMMON, "num_cpus": 0, "include_dashboard": False, "dashboard_port": free_port(),
            "_system_config": IMPATIENT})
        self.address: str = self._cluster.address
        for _ in range(count):
            self.add()

    def add(self) -> Any:
        """One more node, which is up."""
        node = self._cluster.add_node(wait=False, num_cpus=1, **COMMON)
        wait_until(lambda: self.known(node), 180, "a node to join")
        return node

    @property
    def up(self) -> list[Any]:
        """The nodes whose raylet runs."""
        return sorted((node for node in self._cluster.worker_nodes if runs(node)), key=raylet)

    def busy(self, node: Any) -> list[psutil.Process]:
        """The workers of a node that run packs."""
        with suppress(psutil.NoSuchProcess):
            found = psutil.Process(raylet(node)).children(recursive=True)
            return [p for p in found if _title(p).startswith("ray::Shift")]
        return []

    def tend(self) -> None:
        """What is left of dead nodes is removed, and as many join."""
        for node in [node for node in self._cluster.worker_nodes if not (runs(node) and self.known(node))]:
            self.remove(node)
            self.add()

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


def runs(node: Any) -> bool:
    """Whether a node's raylet does."""
    return node.all_processes["raylet"][0].process.poll() is None


def _title(process: psutil.Process) -> str:
    with suppress(psutil.Error, IndexError):
        return str(process.cmdline()[0])
    return ""


class Driver:
    """`dlx run`, which can be killed and given again."""

    def __init__(self, command: list[str], log: Path) -> None:
        self.command, self.log, self._begun = command, log, 0
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """The same command, again."""
        with self.log.open("ab") as log:
            self._begun = log.tell()
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
        """What it printed since its last start."""
        return self.log.read_bytes()[self._begun:].decode(errors="replace")


class Disk:
    """A folder on a small file system of its own, where this process may mount one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK}m", "chaos", str(folder)]
        self.own = shutil.which("mount") is not None and not subprocess.run(
            mount, stderr=subprocess.DEVNULL, timeout=60).returncode

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
            subprocess.run(["umount", "--lazy", str(self.folder)], check=True, timeout=60)


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
                            "RAY_gcs_rpc_server_reconnect_timeout_s": str(WITHOUT_HEAD)}.items():
            patch.setenv(name, value)
        patience = 0.0
        try:
            yield
            patience = 60.0
        finally:
            left = left_behind(folder, patience)
            for process in left:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            wait_until(lambda: _gone(Path(short)), 15, f"{short} to be removed")
    assert not left, f"left behind: {left}"


def _gone(folder: Path) -> bool:
    """Whether a folder could be removed; what ends just now may write there once more."""
    shutil.rmtree(folder, ignore_errors=True)
    return not folder.exists()


def left_behind(folder: Path, seconds: float) -> list[psutil.Process]:
    """Processes that were started here and have not ended, after so many seconds."""
    end = time.monotonic() + seconds
    while (found := _started_here(folder)) and time.monotonic() < end:
        time.sleep(0.2)
    return found


def _started_here(folder: Path) -> list[psutil.Process]:
    own = os.getpid()
    return [p for p in psutil.process_iter(["environ", "status"]) if p.pid != own
            and (p.info["environ"] or {}).get(TOKEN) == str(folder) and p.info["status"] != psutil.STATUS_ZOMBIE]
