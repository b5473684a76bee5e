"""Watching from elsewhere: what a run leaves in its home while it lasts, read by another process."""

import dataclasses
import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
from test_live import Screen
from toys import Slow, Unruly, go

import dlx
from dlx import beacon
from dlx.beacon import Beacon, Sighting, sight
from dlx.live import Progress, Running
from dlx.store import Store
from dlx.watch import SILENCE, alive, watch

RUN = """
import sys, dlx
from toys import Slow, go
go(dlx.Study("slow", "?", Slow(dlx.grid(*range(40)), sys.argv[2], 0.15)), sys.argv[1])
"""


def shown(store, **options):
    file = io.StringIO()
    watch(store.study, store, file=file, **{"command": "dlx run it", **options})
    return file.getvalue().splitlines()


@pytest.fixture
def elsewhere(tmp_path):
    """A run in another process, which leaves marks; killed at the end if it lives."""
    (tmp_path / "marks").mkdir()
    path = os.pathsep.join(sys.path)
    process = subprocess.Popen([sys.executable, "-c", RUN, str(tmp_path), str(tmp_path / "marks")],
                               env={**os.environ, "PYTHONPATH": path})
    store = Store("slow", str(tmp_path))
    deadline = time.monotonic() + 60
    while (seen := sight(store.folder)) is None or seen.progress.done < 3:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.1)
    yield process, store
    if process.poll() is None:
        process.kill()
    process.wait()


# ---------------------------------------------------------------- real runs


def test_a_run_is_followed_to_its_end(elsewhere):
    process, store = elsewhere
    (line,) = shown(store, once=True)
    assert line.startswith("slow: runs since ") and f"(pid {process.pid} on {socket.gethostname()})" in line
    assert "/40 trials" in line and "1 running" in line
    lines = shown(store)
    assert lines[0].startswith("slow: 40 cells, 40 trials") and lines[-1].startswith("slow: nothing runs; 40/40 trials")
    assert "dlx run" not in lines[-1]
    assert process.wait(20) == 0
    assert shown(store, once=True) == lines[-1:]


def test_on_a_terminal_it_is_the_live_view(elsewhere):
    _, store = elsewhere
    file = Screen()
    watch("slow", store, file=file)
    assert "━" in file.getvalue() and "40/40" in file.getvalue() and "trials/s" in file.getvalue()


def test_a_driver_that_was_killed_is_found_dead_at_once(elsewhere):
    process, store = elsewhere
    lines = []
    watching = threading.Thread(target=lambda: lines.extend(shown(store)))
    watching.start()
    time.sleep(0.5)
    process.send_signal(signal.SIGKILL)
    process.wait()
    watching.join(15)
    assert not watching.is_alive()
    assert f"nothing runs, its driver (pid {process.pid} on " in lines[-1] and "died after" in lines[-1]
    assert lines[-1].endswith("this goes on: dlx run it") and "0 running" not in lines[-1]
    done = sight(store.folder).progress.done
    assert 0 < done <= len(store.statuses()) + 10 and f"{done}/40 trials" in lines[-1]


def test_a_run_that_was_stopped_says_what_goes_on_and_why_trials_failed(tmp_path):
    study = dlx.Study("unruly", "?", Unruly(dlx.grid("raise", "well", "nan", "text")), seeds=2)
    go(study, tmp_path, max_trials=7)
    lines = shown(Store("unruly", str(tmp_path)))
    assert lines[0] == "unruly: nothing runs; 7/8 trials, 3/4 cells, 3 failed, 2 diverged; this goes on: dlx run it"
    assert lines[1] == "  2 × RuntimeError: the dog ate it" and "it must be one number" in lines[2]


def test_what_never_ran_has_nothing_to_show(tmp_path):
    assert shown(Store("valley", str(tmp_path))) == [
        "valley: nothing runs; 0 trials are stored; to run it: dlx run it"]


def test_the_command_names_the_study(tmp_path):
    file = io.StringIO()
    watch("my study", Store("my study", str(tmp_path)), file=file)
    assert file.getvalue().endswith("to run it: dlx run 'my study'\n")


# ---------------------------------------------------------------- beacons


PROGRESS = Progress(cells=2, wanted=9, done=4, seconds=3.0, packs=(Running(8, 7.0, 10, 20, "loss 0.1"),),
                    failures=("2 × ValueError: \x1b[2J",), best="loss 0.1")


def test_what_a_beacon_says_is_what_is_sighted(tmp_path):
    folder = tmp_path.as_uri()
    lit = Beacon(folder)
    lit.stop()
    assert sight(folder) is None
    lit.start("toy", PROGRESS)
    lit.say("a sentence")
    lit.update(PROGRESS)
    lit.stop()
    seen = sight(folder)
    assert seen.ended and seen.said == ("a sentence",) and (seen.pid, seen.host) == (os.getpid(), socket.gethostname())
    assert dataclasses.replace(seen.progress, seconds=3.0) == PROGRESS and 3.0 <= seen.progress.seconds < 60
    assert [f.name for f in tmp_path.iterdir()] == [beacon.FILE]


def test_readers_never_see_half_a_file(tmp_path, monkeypatch):
    monkeypatch.setattr(beacon, "PERIOD", 0.0005)
    folder = tmp_path.as_uri()
    lit = Beacon(folder)
    lit.start("toy", PROGRESS)
    while sight(folder) is None:
        time.sleep(0.001)
    beats = []
    while len(set(beats)) < 200:
        beats.append(sight(folder).beat)
    lit.stop()
    assert beats == sorted(beats)


def test_a_beacon_lights_elsewhere_than_in_files_of_this_machine(monkeypatch):
    put = []
    monkeypatch.setattr(beacon.Home, "put", lambda self, path, content: put.append((path, json.loads(content))))
    lit = Beacon("mock:///home/studies/toy")
    lit.start("toy", PROGRESS)
    lit.stop()
    assert put[-1][0].endswith("home/studies/toy/live.json") and put[-1][1]["ended"]
    assert put[-1][1]["period"] == beacon.AFAR


def test_a_home_that_cannot_be_written_ends_nothing(tmp_path):
    lit = Beacon((tmp_path / "missing").as_uri())
    lit.start("toy", PROGRESS)
    lit.stop()
    assert sight((tmp_path / "missing").as_uri()) is None


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"progress": 3}', '{"said": [], "progress": {}}', "\xff"])
def test_what_cannot_be_understood_is_not_there(tmp_path, content):
    (tmp_path / beacon.FILE).write_text(content, encoding="latin-1")
    assert sight(tmp_path.as_uri()) is None


def test_what_a_newer_dlx_adds_is_passed_over(tmp_path):
    lit = Beacon(tmp_path.as_uri())
    lit.start("toy", PROGRESS)
    lit.stop()
    file = tmp_path / beacon.FILE
    content = json.loads(file.read_text())
    content["colour"] = content["progress"]["colour"] = content["progress"]["packs"][0]["colour"] = "red"
    file.write_text(json.dumps(content))
    assert dataclasses.replace(sight(tmp_path.as_uri()).progress, seconds=3.0) == PROGRESS


def sighting(**changes):
    return Sighting(**{"name": "toy", "host": "another", "pid": 1, "beat": 3, "written": 0.0, "period": 1.0,
                       "ended": False, "said": (), "progress": PROGRESS, **changes})


@pytest.fixture
def gone():
    """The id of a process that is no more."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_who_lives(gone):
    here = socket.gethostname()
    assert alive(sighting(), since=0.0, now=2.0) and alive(sighting(), since=0.0, now=SILENCE)
    assert not alive(sighting(), since=0.0, now=SILENCE + 4.0) and not alive(sighting(ended=True), 0.0, 0.0)
    assert alive(sighting(host=here, pid=os.getpid()), since=0.0, now=10.0)
    assert alive(sighting(host=here, pid=gone), since=0.0, now=2.0), "it may be in another container of this name"
    assert not alive(sighting(host=here, pid=gone), since=0.0, now=10.0)


def test_foreign_text_is_shown_and_not_obeyed(tmp_path):
    store = Store("toy", str(tmp_path))
    store.create()
    lit = Beacon(store.folder)
    lit.start("toy", PROGRESS)
    lit.stop()
    assert shown(store)[-1] == "  2 × ValueError:  [2J"


def test_nothing_of_it_is_taken_for_a_trial(tmp_path):
    (tmp_path / "marks").mkdir()
    study = dlx.Study("slow", "?", Slow(dlx.grid(1, 2), str(tmp_path / "marks"), 0.0))
    go(study, tmp_path)
    results = go(study, tmp_path)
    assert len(results.table) == 2 and not results.store.damaged
