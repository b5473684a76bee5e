"""Real servers on loopback, which can be killed, frozen and started again."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

LOOPBACK = "127.0.0.1"
LOOK = 0.2  # seconds between two looks at what is waited for


def wait_until(condition: Callable[[], object], seconds: float, what: str) -> None:
    """Until it holds; fails after so many seconds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited {seconds:g} s in vain for {what}"
        time.sleep(LOOK)


def free_port() -> int:
    with socket.socket() as s:
        s.bind((LOOPBACK, 0))
        return int(s.getsockname()[1])


class Server:
    """A process of its own group, which can be killed, frozen and started again."""

    def __init__(self, command: list[str], folder: Path, answers: Callable[[], bool], **options: Any) -> None:
        self.command, self.folder, self.answers, self.options = command, folder, answers, options
        self.log = folder / "server.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; returns when it answers."""
        self.launch()
        self.ready()

    def launch(self) -> None:
        """Start it."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command, cwd=self.folder, stdout=log, stderr=log, start_new_session=True, **self.options)

    def ready(self) -> None:
        """Returns when it answers; fails when it ends instead."""
        process = self._process
        assert process is not None
        wait_until(lambda: self.answers() or process.poll() is not None, 180, f"an answer of {self.command}")
        assert process.poll() is None, f"{self.command} ended:\n{self.log.read_text(errors='replace')[-5000:]}"

    def signal(self, sign: signal.Signals) -> None:
        """Send a signal to all of its processes."""
        assert self._process is not None
        os.killpg(self._process.pid, sign)

    def kill(self) -> None:
        """Kill -9 all of its processes, if it runs; some servers' children have groups of their own."""
        if self._process is not None:
            with suppress(psutil.NoSuchProcess):
                for child in psutil.Process(self._process.pid).children(recursive=True):
                    child.kill()
            self._process.kill()
            self._process.wait()
            self._process = None


def mlflow_server(folder: Path, database: str | None = None) -> tuple[str, Server]:
    """A tracking server on SQLite or another database, and its address."""
    folder.mkdir(parents=True)
    port, database = free_port(), database or f"sqlite:///{folder}/mlflow.db"
    uri = f"http://{LOOPBACK}:{port}"

    def answers() -> bool:
        with suppress(OSError), urllib.request.urlopen(f"{uri}/health", timeout=5) as answer:
            return bool(answer.status == 200)
        return False

    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", database, "--workers", "1",
               "--artifacts-destination", f"{folder}/artifacts", "--host", LOOPBACK, "--port", str(port)]
    return uri, Server(command, folder, answers, env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"})


def postgres_server() -> tuple[str, Server]:
    """PostgreSQL with a database of its own, and its address; skips where it, or its Python driver, is not there."""
    psycopg2 = pytest.importorskip("psycopg2")
    folders = [*os.environ["PATH"].split(":"), *map(str, sorted(Path("/usr/lib/postgresql").glob("*/bin"))[::-1])]
    initdb, postgres = (shutil.which(name, path=":".join(folders)) for name in ("initdb", "postgres"))
    if initdb is None or postgres is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    folder, port, password = Path(os.environ["SHORT"], "postgres"), free_port(), secrets.token_hex(8)
    folder.mkdir()
    (folder / "password").write_text(password)
    someone = {"user": "nobody", "group": "nogroup"} if os.geteuid() == 0 else {}  # it refuses to run as root
    if someone:
        for path in (folder, folder / "password"):
            shutil.chown(path, **someone)
    subprocess.run([initdb, "-D", str(folder / "data"), "-U", "dlx", "-A", "scram-sha-256", "--no-locale", "-E", "UTF8",
                    "--no-sync", "--pwfile", str(folder / "password")], check=True, stdout=subprocess.DEVNULL,
                   timeout=180, **someone)
    place = f"dlx:{password}@{LOOPBACK}:{port}/postgres"

    def answers() -> bool:
        with suppress(psycopg2.Error):
            psycopg2.connect(f"postgresql://{place}", connect_timeout=5).close()
            return True
        return False

    command = [postgres, "-D", str(folder / "data"), "-h", LOOPBACK, "-p", str(port), "-k", str(folder)]
    return f"postgresql+psycopg2://{place}", Server(command, folder, answers, **someone)
