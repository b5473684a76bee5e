"""One driver for each study and home: a file lock on this machine's file systems, a heartbeat on an object store."""

import errno
import fcntl
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import IO, Any

import pyarrow as pa

from dlx.errors import HeldError
from dlx.home import Home, unwritable

POLL = 0.5  # seconds between two looks at who holds the study
PERIOD = 5.0  # seconds between two heartbeats
EXPIRY = 30.0  # seconds without a heartbeat after which a holder is taken for dead
SETTLE = 1.0  # seconds after which, of two that began at once, the later one is in the file
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)  # some cluster file systems know no flock


class Lease:
    """The right to drive a study; ``lost`` turns true when another driver took it over, having heard no heartbeat."""

    def __init__(self) -> None:
        self.lost = False


@contextmanager
def hold(folder: str, wait: bool = False) -> Iterator[Lease]:
    """Be the only driver of the study in this folder (a URL) while the block runs.

    Raises HeldError, naming who holds it, unless ``wait``; StoreError when the folder cannot be written. The lock of a
    killed driver is gone at once on a file system, and after ``EXPIRY`` seconds without a heartbeat elsewhere.
    """
    home = Home(folder)
    path = home.path("lock")
    try:
        home.make(home.root)
        file = _locked(home, path, wait) if home.local else None
    except OSError as e:
        raise unwritable(home, e) from e
    if file is None:
        with _heartbeat(home, path, wait) as lease:
            yield lease
        return
    try:
        yield Lease()
    finally:
        file.truncate(0)
        file.close()


# ---------------------------------------------------------------- a lock that the kernel releases


def _locked(home: Home, path: str, wait: bool) -> IO[str] | None:
    """The open file that is the lock; None where the file system knows no locks."""
    file = open(path, "a+", encoding="utf-8")  # noqa: SIM115 - it stays open while the study is held
    try:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                file.seek(0)
                holder = _parse(file.read())
            if not wait:
                raise _held(home, holder)
            time.sleep(POLL)
        file.truncate(0)
        file.write(json.dumps(_me()))
        file.flush()
        return file
    except BaseException as e:
        file.close()
        if isinstance(e, OSError) and e.errno in NO_LOCKS:
            return None
        raise


# ---------------------------------------------------------------- a heartbeat where nothing can be locked


@contextmanager
def _heartbeat(home: Home, path: str, wait: bool) -> Iterator[Lease]:
    me = {**_me(), "token": secrets.token_hex(8)}
    try:
        _take(home, path, me, wait)
    except (OSError, pa.ArrowException) as e:
        raise unwritable(home, e) from e
    lease, stop = Lease(), threading.Event()
    beating = threading.Thread(target=_beat, args=(home, path, me, lease, stop), name="dlx-lease", daemon=True)
    beating.start()
    try:
        yield lease
    finally:
        stop.set()
        beating.join()
        with suppress(OSError):
            if _parse_file(home, path).get("token") == me["token"]:
                home.remove(path)


def _take(home: Home, path: str, me: dict[str, Any], wait: bool) -> None:
    """Put our name into the file once nobody's heart beats in it; HeldError as soon as one does, unless ``wait``."""
    while True:
        _until_silent(home, path, wait)
        home.put(path, json.dumps({**me, "beat": 0}).encode())
        time.sleep(SETTLE)
        if _parse_file(home, path).get("token") == me["token"]:
            return


def _until_silent(home: Home, path: str, wait: bool) -> None:
    """Watch for ``EXPIRY`` seconds whether the file changes: no clock of another machine is trusted."""
    seen, since = _parse_file(home, path), time.monotonic()
    while seen and time.monotonic() - since < EXPIRY:
        time.sleep(POLL)
        now = _parse_file(home, path)
        if now != seen:
            if now and not wait:
                raise _held(home, now)
            seen, since = now, time.monotonic()


def _beat(home: Home, path: str, me: dict[str, Any], lease: Lease, stop: threading.Event) -> None:
    beat = 0
    while not stop.wait(PERIOD):
        beat += 1
        with suppress(OSError, pa.ArrowException):  # the next beat may succeed; EXPIRY allows for several that fail
            holder = _parse_file(home, path)
            if holder and holder.get("token") != me["token"]:
                lease.lost = True
                return
            home.put(path, json.dumps({**me, "beat": beat}).encode())


# ---------------------------------------------------------------- who


def _me() -> dict[str, Any]:
    since = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return {"host": socket.gethostname(), "pid": os.getpid(), "since": since}


def _held(home: Home, holder: dict[str, Any]) -> HeldError:
    study = PurePosixPath(home.root).name
    if not holder:
        return HeldError(f"Study {study} is being run by another process; wait for it with --wait, or stop it.")
    return HeldError(
        f"Study {study} is being run by pid {holder.get('pid')} on {holder.get('host')} since {holder.get('since')}; "
        "wait for it with --wait, or stop it."
    )


def _parse_file(home: Home, path: str) -> dict[str, Any]:
    try:
        return _parse(home.read(path).decode(errors="replace"))
    except FileNotFoundError:
        return {}


def _parse(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
