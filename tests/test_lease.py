"""The lease: one driver at a time, also when the first is killed, on file systems with and without locks."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dlx import lease
from dlx.errors import HeldError, StoreError
from dlx.home import Home

HOLD = """
import sys
from dlx import lease
with lease.hold(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.readline()
"""
BEAT = """
import sys
from dlx import home as homes
from dlx import lease
lease.PERIOD, lease.SETTLE = 0.05, 0.05
home = homes.Home(sys.argv[1])
home.make(home.root)
with lease._heartbeat(home, home.path("lock"), wait=False):
    print("held", flush=True)
    sys.stdin.readline()
"""


@contextmanager
def another(script: str, folder: str) -> Iterator["subprocess.Popen[str]"]:
    """A process that holds the folder until its input ends."""
    command = [sys.executable, "-c", script, folder]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout is not None and child.stdout.readline() == "held\n"
            yield child
        finally:
            child.kill()


def leave(child: "subprocess.Popen[str]") -> None:
    assert child.stdin is not None
    child.stdin.close()


def test_the_second_driver_is_told_who_holds_the_study(tmp_path: Path) -> None:
    folder = (tmp_path / "studies" / "a study").as_uri()
    with another(HOLD, folder) as child:
        said = rf"^Study a study is being run by pid {child.pid} on \S+ since .* UTC; wait for it with --wait, or stop"
        with pytest.raises(HeldError, match=said), lease.hold(folder):
            raise AssertionError
        leave(child)
        child.wait()
        with lease.hold(folder), pytest.raises(HeldError, match=f"pid {os.getpid()} "), lease.hold(folder):
            raise AssertionError
        with lease.hold(folder) as mine:
            assert not mine.lost


def test_a_killed_driver_holds_nothing(tmp_path: Path) -> None:
    with another(HOLD, tmp_path.as_uri()) as child:
        child.send_signal(signal.SIGKILL)
        child.wait()
        with lease.hold(tmp_path.as_uri()):
            assert f'"pid": {os.getpid()}' in (tmp_path / "lock").read_text()
    assert (tmp_path / "lock").read_text() == ""


@pytest.mark.parametrize("script", [HOLD, BEAT])
def test_waiting_ends_when_the_first_driver_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    monkeypatch.setattr(lease, "POLL", 0.02)
    monkeypatch.setattr(lease, "SETTLE", 0.05)
    with another(script, tmp_path.as_uri()) as child:
        threading.Timer(0.3, leave, [child]).start()
        home = Home(tmp_path.as_uri())
        waiting = lease.hold(tmp_path.as_uri(), wait=True) if script is HOLD else lease._heartbeat(
            home, home.path("lock"), wait=True)
        with waiting:
            assert child.wait(10) == 0


def test_a_heart_that_beats_holds_and_one_that_stopped_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, seconds in (("POLL", 0.02), ("PERIOD", 0.05), ("EXPIRY", 1.5), ("SETTLE", 0.05)):
        monkeypatch.setattr(lease, name, seconds)
    home = Home(tmp_path.as_uri())
    path = home.path("lock")
    with another(BEAT, tmp_path.as_uri()) as child:
        with pytest.raises(HeldError, match=f"pid {child.pid} "), lease._heartbeat(home, path, wait=False):
            raise AssertionError
        child.send_signal(signal.SIGKILL)
        child.wait()
        with lease._heartbeat(home, path, wait=False) as mine:
            assert f'"pid": {os.getpid()}' in (tmp_path / "lock").read_text() and not mine.lost
    assert not (tmp_path / "lock").exists()


def test_a_holder_learns_that_it_was_taken_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "PERIOD", 0.02)
    monkeypatch.setattr(lease, "SETTLE", 0.05)
    home = Home(tmp_path.as_uri())
    with lease._heartbeat(home, home.path("lock"), wait=False) as mine:
        while not mine.lost:
            (tmp_path / "lock").write_text('{"token": "of another"}')
    assert "of another" in (tmp_path / "lock").read_text()


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="name a folder in DLX_HOME"), lease.hold((tmp_path / "file" / "a").as_uri()):
        raise AssertionError


def test_an_object_store_without_locks_is_held_by_heartbeat(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "SETTLE", 0.0)
    with lease.hold("mock:///home/studies/a") as mine:
        assert not mine.lost and "dlx-lease" in [t.name for t in threading.enumerate()]
    assert "dlx-lease" not in [t.name for t in threading.enumerate()]
