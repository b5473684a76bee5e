"""Real processes that are really killed: nothing stored runs again, and everything wanted is stored exactly once."""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest

from dlx.store import Store

STUDY = """
import os, time
from dataclasses import dataclass
from pathlib import Path
import dlx

MARKS = os.environ["MARKS"]

@dataclass(frozen=True)
class Slow(dlx.Trial):
    number: int
    def run(self, ctx):
        time.sleep(0.1)
        Path(MARKS, f"{self.number}-{ctx.seed}-{time.time_ns()}").touch()
        Path(MARKS, "pids", str(os.getpid())).touch()
        return {"loss": self.number + 0.25 * ctx.seed}

STUDY = dlx.Study("kill", "Does it survive?", Slow(dlx.grid(*range(20))), seeds=2)
"""


@pytest.fixture
def command(tmp_path, monkeypatch):
    marks = tmp_path / "marks"
    (marks / "pids").mkdir(parents=True)
    file = tmp_path / "kill.py"
    file.write_text(STUDY)
    monkeypatch.setenv("MARKS", str(marks))
    monkeypatch.setenv("DLX_HOME", str(tmp_path / "home"))
    dlx = str(Path(sys.executable).with_name("dlx"))
    yield lambda executor: [dlx, "run", str(file), "--executor", executor]
    for process in psutil.process_iter(["environ"]):
        if (process.info["environ"] or {}).get("MARKS") == str(marks) and process.pid != os.getpid():
            process.kill()


def marks(tmp_path):
    return Counter(f.name.rpartition("-")[0] for f in (tmp_path / "marks").iterdir() if f.is_file())


def check(tmp_path):
    trials = Store("kill", str(tmp_path / "home")).trials()
    metrics = [dict(m)["loss"] for m in trials.column("metrics").to_pylist()]
    assert sorted(metrics) == sorted(i + 0.25 * s for i in range(20) for s in (0, 1))
    assert set(trials.column("status").to_pylist()) == {"completed"}


def stored(tmp_path):
    """Names of the marks of the trials that are stored."""
    table = Store("kill", str(tmp_path / "home")).trials()
    losses = [dict(m)["loss"] for m in table.column("metrics").to_pylist()]
    return {f"{int(v)}-{int((v % 1) * 4)}" for v in losses}


@pytest.mark.parametrize(("executor", "kills"), [("local", 4), ("ray", 2)])
def test_kill_9_of_the_driver_at_any_moment(tmp_path, command, executor, kills):
    dice = random.Random(executor)
    for _ in range(kills):
        driver = subprocess.Popen(command(executor), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        began, before = time.monotonic(), sum(marks(tmp_path).values())
        while sum(marks(tmp_path).values()) < before + 3 and driver.poll() is None and time.monotonic() < began + 60:
            time.sleep(0.05)
        time.sleep(dice.uniform(0.0, 1.5))
        driver.send_signal(signal.SIGKILL)
        driver.wait()
        settled = stored(tmp_path)
        at_kill = {name: n for name, n in marks(tmp_path).items() if name in settled}
    subprocess.run(command(executor), check=True, stdout=subprocess.DEVNULL, timeout=120)
    check(tmp_path)
    assert {name: n for name, n in marks(tmp_path).items() if name in at_kill} == at_kill


def test_kill_9_of_workers(tmp_path, command):
    driver = subprocess.Popen(command("ray"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    killed = set()
    while driver.poll() is None:
        workers = {f.name for f in (tmp_path / "marks" / "pids").iterdir()} - killed
        for pid in list(workers)[: 2 - len(killed)]:
            os.kill(int(pid), signal.SIGKILL)
            killed.add(pid)
        time.sleep(0.3)
    assert killed
    subprocess.run(command("ray"), stdout=subprocess.DEVNULL, timeout=120)
    check(tmp_path)


def test_a_second_driver_says_who_holds_the_study(tmp_path, command):
    first = subprocess.Popen(command("local"), stdout=subprocess.DEVNULL)
    while not marks(tmp_path):
        time.sleep(0.05)
    second = subprocess.run(command("local"), capture_output=True, text=True)
    assert second.returncode == 2 and str(first.pid) in second.stderr and "--wait" in second.stderr
    third = subprocess.run([*command("local"), "--wait"], capture_output=True, text=True, timeout=120)
    assert first.wait(timeout=60) == 0 and third.returncode == 0
    check(tmp_path)
    assert set(marks(tmp_path).values()) == {1}


def test_ctrl_c_once_stores_what_runs(tmp_path, command):
    driver = subprocess.Popen(command("ray"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    while len(marks(tmp_path)) < 4:
        time.sleep(0.05)
    driver.send_signal(signal.SIGINT)
    output, _ = driver.communicate(timeout=60)
    assert driver.returncode == 3 and "Traceback" not in output
    assert stored(tmp_path) == set(marks(tmp_path)) and 4 <= len(stored(tmp_path)) < 40
    subprocess.run(command("ray"), check=True, stdout=subprocess.DEVNULL, timeout=120)
    check(tmp_path)
    assert set(marks(tmp_path).values()) == {1}


def test_ctrl_c_twice_stops_now(tmp_path, command):
    driver = subprocess.Popen(command("ray"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    while len(marks(tmp_path)) < 4:
        time.sleep(0.05)
    driver.send_signal(signal.SIGINT)
    time.sleep(0.02)
    driver.send_signal(signal.SIGINT)
    output, _ = driver.communicate(timeout=30)
    assert driver.returncode != 0 and "Traceback" not in output
    subprocess.run(command("ray"), check=True, stdout=subprocess.DEVNULL, timeout=120)
    check(tmp_path)
