"""The MLflow UI of a home, as a child process that ends with its caller."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from dlx.errors import TrackingError
from dlx.store import Store
from dlx.tracking.client import experiments, surroundings
from dlx.tracking.views import CELLS, PREFIX, link, link_without_views

PORT = 5000
STARTING = 120.0  # seconds that a server gets to answer
ENDING = 10.0  # seconds that it gets to end


def ui(home: str | None = None, host: str = "127.0.0.1", port: int = PORT, say: Callable[[str], None] = print) -> None:
    """Serve the MLflow UI of a home until Ctrl-C or SIGTERM; says one link a study, which shows its cells.

    Raises TrackingError when the home has no MLflow database or the port is taken.
    """
    database = _database(home)
    _check_port(host, port)
    with contextlib.suppress(KeyboardInterrupt), _terminable(), _server(database, host, port) as server:
        address = f"http://{host}:{port}"
        _wait_for(server, host, port)
        with surroundings():
            found = experiments(f"sqlite:///{database}")
        for study, (experiment, tags) in sorted(found.items()):
            page = link(experiment) if f"{PREFIX}{CELLS}" in tags else link_without_views(experiment)
            say(f"{study}: {address}/{page}")
        say(f"MLflow serves {database.parent} at {address}; end it with Ctrl-C.")
        server.wait()


def _database(home: str | None) -> Path:
    store = Store("ui", home)
    if store.local_home is None:
        raise TrackingError(
            f"The home {store.home} is on no file system of this machine, so its MLflow is a tracking server's; open "
            "the address in MLFLOW_TRACKING_URI instead."
        )
    database = (store.local_home / "mlflow.db").absolute()
    if not database.exists():
        raise TrackingError(
            f"There is no {database} yet; run a study in this home first, which makes it within two minutes, or name "
            "another with --home."
        )
    return database


def _check_port(host: str, port: int) -> None:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as e:
            raise TrackingError(
                f"Port {port} of {host} cannot be used ({e.strerror}); give another one with --port."
            ) from e


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM is as good as Ctrl-C, so that the server never outlives its caller."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _server(database: Path, host: str, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """An MLflow server in a process group of its own, ended with everything it started."""
    artifacts = database.parent / "mlartifacts"
    command = [
        sys.executable, "-m", "mlflow", "server", "--backend-store-uri", f"sqlite:///{database}",
        "--artifacts-destination", artifacts.as_uri(), "--host", host, "--port", str(port), "--workers", "1",
    ]
    with surroundings():
        environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    server = subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield server
    finally:
        _end(server)


def _end(server: subprocess.Popen[bytes]) -> None:
    for sign in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, sign)
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(ENDING)
            if sign is signal.SIGKILL:
                return


def _wait_for(server: subprocess.Popen[bytes], host: str, port: int) -> None:
    end = time.monotonic() + STARTING
    while time.monotonic() < end and server.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection((host, port), 1.0):
            return
        time.sleep(0.2)
    raise TrackingError(f"MLflow did not start on {host}:{port}; see what `mlflow server` says there.")
