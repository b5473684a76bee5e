"""How a home's own MLflow database is written: what a run adds goes to a log that is forced to the disk at the end.

MLflow commits four times a run, and SQLite waits for the disk at each. A power cut may then cost the latest of what
MLflow was told, which the next run sends again, and never the database; a process that dies loses nothing.
"""

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

DISKS = {"apfs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "overlay", "tmpfs", "xfs", "zfs"}  # of one machine alone
PATIENCE = 5.0  # seconds that another process may hold the database


def prepare(database: Path) -> None:
    """Let a database write to a log, where all its readers share this machine's memory; elsewhere not."""
    kind = "WAL" if is_on_a_disk(database) else "DELETE"
    with contextlib.suppress(sqlite3.OperationalError), _connected(database) as connection:  # held: as it was
        connection.execute(f"PRAGMA journal_mode={kind}")
    _listen()
    _prepared.add(os.path.realpath(database))


def settle(database: Path) -> None:
    """Force what was written to the disk, into the database itself as far as no reader is in the way."""
    with contextlib.suppress(sqlite3.OperationalError), _connected(database) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def is_on_a_disk(file: Path, mounts: Path = Path("/proc/self/mounts")) -> bool:
    """Whether a file is known to lie on a file system of this machine alone; mounts: the system's list of them."""
    try:
        found = [line.split(" ")[1:3] for line in mounts.read_text().splitlines()]
    except OSError:
        return False
    place = Path(os.path.realpath(file))
    above = [(Path(where.replace("\\040", " ")), kind) for where, kind in found]
    holding = [(len(where.parts), i, kind) for i, (where, kind) in enumerate(above) if place.is_relative_to(where)]
    return max(holding, default=(0, 0, ""))[2] in DISKS


_prepared: set[str] = set()


@contextlib.contextmanager
def _connected(database: Path) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(sqlite3.connect(database, timeout=PATIENCE)) as connection:
        yield connection


@cache
def _listen() -> None:
    """Hear of every connection that MLflow opens."""
    from sqlalchemy import Engine, event

    event.listen(Engine, "connect", _opened)


def _opened(connection: Any, record: object) -> None:
    """Of a prepared database, commits wait for no disk as long as there is a log."""
    if not isinstance(connection, sqlite3.Connection):
        return
    (_, _, file), *_ = connection.execute("PRAGMA database_list").fetchall()
    (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
    if file in _prepared and mode == "wal":
        connection.execute("PRAGMA synchronous=NORMAL")
