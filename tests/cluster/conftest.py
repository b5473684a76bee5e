"""What tests of deployed files need: free ports, patience, a PostgreSQL of their own."""

import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest

LOOPBACK = "127.0.0.1"


@pytest.fixture(scope="session")
def free_port():
    def find():
        with socket.socket() as s:
            s.bind((LOOPBACK, 0))
            return s.getsockname()[1]

    return find


@pytest.fixture(scope="session")
def wait_until():
    def wait(condition, process, seconds=120):
        """Until it holds; fails after so many seconds, or when the process that it waits for has ended."""
        end = time.monotonic() + seconds
        while not condition():
            assert process.poll() is None, f"{process.args[0]} ended with {process.returncode}"
            assert time.monotonic() < end, f"{process.args[0]} is not ready after {seconds} s"
            time.sleep(0.05)

    return wait


@pytest.fixture(scope="session")
def postgres(free_port, wait_until):
    """An empty database ``mlflow`` by its host, port, user and password; skips where PostgreSQL is not there."""
    psycopg2 = pytest.importorskip("psycopg2")
    folders = [os.environ["PATH"], *map(str, sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True))]
    initdb, server = (shutil.which(name, path=":".join(folders)) for name in ("initdb", "postgres"))
    if initdb is None or server is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    folder = Path(tempfile.mkdtemp(dir="/tmp"))  # short enough for its socket
    someone = {"user": "nobody", "group": "nogroup"} if os.geteuid() == 0 else {}  # it refuses to run as root
    given = SimpleNamespace(host=LOOPBACK, port=free_port(), user="mlflow", password=secrets.token_hex(8))
    (folder / "password").write_text(given.password)
    if someone:
        for path in (folder, folder / "password"):
            shutil.chown(path, **someone)
    subprocess.run([initdb, "-D", folder / "data", "-U", given.user, "-A", "scram-sha-256", "--no-locale", "-E", "UTF8",
                    "--pwfile", folder / "password"], check=True, stdout=subprocess.DEVNULL, **someone)

    def connected():
        with suppress(psycopg2.OperationalError):
            return psycopg2.connect(dbname="postgres", **vars(given))

    process = subprocess.Popen([server, "-D", str(folder / "data"), "-h", LOOPBACK, "-p", str(given.port),
                                "-k", str(folder)], stderr=subprocess.DEVNULL, **someone)
    try:
        wait_until(connected, process)
        connection = connected()
        connection.autocommit = True
        connection.cursor().execute("CREATE DATABASE mlflow")
        connection.close()
        yield given
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder)
