"""How a home's MLflow database is written: with a log on a disk of this machine, and as a whole when a run ends."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest
from mlflow import MlflowClient
from sqlalchemy import create_engine, text
from toys import go, valley

from dlx.tracking import journal


def said(file, question):
    with closing(sqlite3.connect(file)) as connection:
        return connection.execute(f"PRAGMA {question}").fetchone()[0]


def runs(file):
    client = MlflowClient(f"sqlite:///{file}")
    (experiment,) = client.search_experiments(filter_string="name = 'valley'")
    return client.search_runs([experiment.experiment_id], "tags.`dlx.kind` = 'trial'")


def test_a_finished_run_is_in_the_database_itself(tmp_path):
    go(valley(), tmp_path / "home", tracking_uri=None)
    file = tmp_path / "home" / "mlflow.db"
    assert said(file, "journal_mode") == ("wal" if journal.is_on_a_disk(file) else "delete")
    (tmp_path / "copy").mkdir()
    shutil.copy(file, tmp_path / "copy" / "mlflow.db")  # and not the log beside it
    assert len(runs(tmp_path / "copy" / "mlflow.db")) == 8


def test_only_the_connections_of_a_prepared_database_wait_for_no_disk(tmp_path):
    here, other = tmp_path / "here.db", tmp_path / "other.db"
    journal.prepare(here)
    modes = {}
    for file in (here, other):
        with closing(sqlite3.connect(file)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
        with create_engine(f"sqlite:///{file}").connect() as connection:
            modes[file] = connection.execute(text("PRAGMA synchronous")).scalar()
    assert modes == {here: 1, other: 2}  # normal, full


def test_a_database_that_is_held_is_left_as_it_is(tmp_path, monkeypatch):
    monkeypatch.setattr(journal, "PATIENCE", 0.1)
    file = tmp_path / "held.db"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE t (x)")
        connection.execute("BEGIN EXCLUSIVE")
        journal.prepare(file)
        journal.settle(file)
    assert said(file, "journal_mode") == "delete"


MOUNTS = """/dev/root / ext4 rw 0 0
server:/export /home nfs4 rw 0 0
/dev/sdb1 /home/me/fast xfs rw 0 0
/dev/sdc1 /mnt/my\\040disk fuse.sshfs rw 0 0
"""


@pytest.mark.parametrize(("file", "expected"), [
    ("/srv/mlflow.db", True), ("/home/mlflow.db", False), ("/home/me/fast/x/mlflow.db", True),
    ("/home/me/faster/mlflow.db", False), ("/mnt/my disk/mlflow.db", False),
])
def test_what_is_shared_between_machines_is_no_disk(tmp_path, file, expected):
    (tmp_path / "mounts").write_text(MOUNTS)
    assert journal.is_on_a_disk(file, tmp_path / "mounts") is expected
    assert not journal.is_on_a_disk(file, tmp_path / "absent")


def test_a_home_that_moved_to_a_shared_file_system_has_no_log(tmp_path, monkeypatch):
    file = tmp_path / "moved.db"
    journal.prepare(file)
    monkeypatch.setattr(journal, "DISKS", set())
    journal.prepare(file)
    assert said(file, "journal_mode") == "delete"


KILLED = """
import os, sys
from sqlalchemy import create_engine, text
from pathlib import Path
from dlx.tracking import journal
journal.prepare(Path(sys.argv[1]))
with create_engine(f"sqlite:///{sys.argv[1]}").connect() as connection:
    connection.execute(text("CREATE TABLE t (x)"))
    for i in range(100):
        connection.execute(text(f"INSERT INTO t VALUES ({i})"))
        connection.commit()
    os.kill(os.getpid(), 9)
"""


def test_a_process_that_is_killed_loses_nothing(tmp_path):
    file = tmp_path / "killed.db"
    ended = subprocess.run([sys.executable, "-c", KILLED, str(file)], timeout=60, env={**os.environ})
    assert ended.returncode == -signal.SIGKILL
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("SELECT count(*) FROM t").fetchone() == (100,)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
