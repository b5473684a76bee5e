"""A home on a real object store: a study runs there as in a folder, and goes on there whatever is killed."""

import signal
import subprocess
import sys
from collections import Counter
from contextlib import contextmanager

import pyarrow.parquet as pq
import pytest
from heads import PATIENCE, until
from objects import object_store
from toys import go

import dlx
from dlx import data, files, lease, models, optim, report
from dlx.errors import HomeError, StoreError
from dlx.home import Home, studies
from dlx.pack import Member, Pack, Resources
from dlx.snapshot import held
from dlx.store import Store
from dlx.worker import run_pack

STEPS, TRIALS = 20, 24  # of 1 s each, so that it lasts longer than another driver needs to be refused
HALTING = f'''
import os, time
from dataclasses import dataclass
from pathlib import Path
import torch
import dlx

@dataclass(frozen=True)
class Sum(dlx.Trial):
    """Adds the numbers of its steps, and leaves a mark with the step at which it began."""
    number: int
    def run(self, ctx):
        start, state = ctx.resume() or (0, {{"sum": torch.zeros(1, dtype=torch.float64)}})
        Path(os.environ["MARKS"], f"{{self.number}}-{{start}}-{{time.time_ns()}}").touch()
        total = state["sum"]
        for step in range(start, {STEPS}):
            time.sleep(0.05)
            total = total + step
            ctx.checkpoint(step + 1, lambda total=total: {{"sum": total}})
        return {{"loss": float(total) + self.number}}

STUDY = dlx.Study(name="halting", question="Does it end?", template=Sum(dlx.grid(*range({TRIALS}))),
                  checkpoint_every=0.4)
'''


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    with object_store(tmp_path_factory.mktemp("swift")) as found:
        yield found


def small():
    return dlx.Study(
        name="small", question="Does it end?", objective=dlx.minimize("val/loss"), seeds=2, keep="final", pack=2,
        template=dlx.Training(
            data=data.GaussianMixture(n=60, inputs=6, classes=3, test_samples=50), model=models.MLP(dlx.grid(4, 8), 1),
            optimizer=optim.SGD(lr=0.1), steps=60, batch_size=10, dtype="float64", measure=30))


def metrics(results):
    return {row["key"]: dict(row["metrics"]) for row in results.store.trials(columns=["key", "metrics"]).to_pylist()}


def stored_once(study, address):
    """The stored trials; each lies in one part, and in one row of it."""
    home, rows = Home(address), Counter()
    folder = home.path("studies", study, "trials")
    for name in home.names(folder):
        with home.fs.open_input_file(f"{folder}/{name}") as file:
            rows.update(pq.read_table(file, columns=["key"]).column("key").to_pylist())
    assert set(rows.values()) == {1} and not Store(study, address).damaged
    return set(rows)


# ---------------------------------------------------------------- a whole study


def test_a_study_runs_there_by_ray_as_it_does_in_a_folder_here(store, tmp_path):
    study, home = small(), store.address(folder="whole")
    results, here = go(study, home, executor="ray"), go(study, tmp_path / "here")
    expected = metrics(here)
    assert metrics(results) == {key: pytest.approx(row, rel=1e-9) for key, row in expected.items()}
    parts = Home(home).names(Home(home).path("studies", "small", "trials"))
    again = go(study, home)
    assert not again.missing and Home(home).names(Home(home).path("studies", "small", "trials")) == parts
    assert stored_once("small", home) == expected.keys()
    for key in expected:
        ours, theirs = again.load_model(key).state_dict(), here.load_model(key).state_dict()
        assert ours.keys() == theirs.keys()
        assert all(value.allclose(theirs[name], rtol=1e-9) for name, value in ours.items())
    written = report.write(again, tmp_path / "report", "dlx run it")
    assert "Does it end?" in written.html.read_text()
    assert studies(home) == ["small"]


# ---------------------------------------------------------------- what is killed


@pytest.fixture
def halting(tmp_path, monkeypatch):
    """A study in a file; and ``dlx run`` of it as a process, in a home at this address."""
    (tmp_path / "marks").mkdir()
    monkeypatch.setenv("MARKS", str(tmp_path / "marks"))
    monkeypatch.setattr(lease, "EXPIRY", 2.0)
    monkeypatch.setattr(lease, "PERIOD", 0.5)
    (tmp_path / "halting.py").write_text(HALTING)
    return dlx.load(str(tmp_path / "halting.py"))


@contextmanager
def driver(tmp_path, address):
    process = subprocess.Popen(
        [sys.executable, "-m", "dlx.cli", "run", "halting.py", "--executor", "local", "--tracking-uri", "off", "--home",
         address], cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=PATIENCE)


def marks(tmp_path):
    """For each number the steps at which it began."""
    found = {}
    for mark in sorted((tmp_path / "marks").iterdir(), key=lambda path: path.stat().st_mtime_ns):
        number, start, _ = map(int, mark.name.split("-"))
        found.setdefault(number, []).append(start)
    return found


def numbers(address):
    """The numbers of the stored trials."""
    found = Store("halting", address).trials(columns=["metrics"]).column("metrics").to_pylist()
    return {round(dict(row)["loss"]) - sum(range(STEPS)) for row in found}


def check(halting, tmp_path, address, before):
    """All is stored once, and of what was stored nothing ran again."""
    assert len(stored_once("halting", address)) == TRIALS and numbers(address) == set(range(TRIALS))
    assert {number: starts for number, starts in marks(tmp_path).items() if number in before} == {
        number: [0] for number in before}


def test_a_killed_driver_is_relieved_and_its_trial_goes_on_from_its_checkpoint(store, halting, tmp_path):
    address = store.address(folder="driver")
    folder = Store("halting", address).folder
    with driver(tmp_path, address) as first:
        until(lambda: len(numbers(address)) >= 2 and held(folder), what="a checkpoint of the third trial")
        with driver(tmp_path, address) as second:
            _, said = second.communicate(timeout=PATIENCE)
        assert second.returncode == 2 and f"is being run by pid {first.pid} on " in said and said.count("\n") == 1, said
        until(lambda: held(folder), what="a checkpoint")
        first.kill()
        first.wait(timeout=60)
    before = numbers(address)
    assert 2 <= len(before) < TRIALS and not go(halting, address, wait=True).missing
    check(halting, tmp_path, address, before)
    assert any(starts[0] == 0 and starts[-1] > 0 for starts in marks(tmp_path).values()), marks(tmp_path)


def test_a_store_that_is_killed_stops_the_run_which_goes_on_once_it_is_back(store, halting, tmp_path):
    address = store.address(folder="store")
    with driver(tmp_path, address) as first:
        until(lambda: len(numbers(address)) >= 2, what="two stored trials")
        store.kill()
        try:
            _, said = first.communicate(timeout=PATIENCE)
        finally:
            store.start()
    last = said.splitlines()[-1]
    assert first.returncode == 2 and last.startswith(f"dlx: The home {address}") and "cannot be" in last, said
    assert "Traceback" not in said
    before = numbers(address)
    assert 2 <= len(before) < TRIALS and not go(halting, address, wait=True).missing
    check(halting, tmp_path, address, before)


# ---------------------------------------------------------------- what is wrong


def test_a_bucket_that_does_not_exist_is_named(store, tmp_path):
    address = store.address("nowhere")
    for use in (lambda: go(small(), address), lambda: studies(address), Store("small", address).statuses):
        with pytest.raises(StoreError, match="lies in a bucket 'nowhere' that does not exist; make it"):
            use()


def test_wrong_credentials_are_refused(store, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter3")
    for use in (lambda: go(small(), store.address()), lambda: studies(store.address())):
        with pytest.raises(StoreError, match=r"ACCESS_DENIED.*check the address, your rights"):
            use()


def test_a_store_that_is_not_there_or_does_not_answer_is_given_up(store, monkeypatch):
    monkeypatch.setattr(files, "ATTEMPTS", 2)
    absent = store.address(folder="studies/small").replace(store.endpoint, "127.0.0.1:9")
    space = small().space
    with pytest.raises(HomeError, match="cannot be read or written where the trial runs"):
        run_pack(Pack((Member("k0", space.trial(space.cells[0]), 0),), Resources(), absent))
    with pytest.raises(StoreError, match=r"NETWORK_CONNECTION.*and the network"):
        go(small(), absent)
    monkeypatch.setitem(files.S3, "request_timeout", 1.0)
    store.signal(signal.SIGSTOP)
    try:
        with pytest.raises(StoreError, match=r"NETWORK_CONNECTION.*and the network"):
            go(small(), store.address())
    finally:
        store.signal(signal.SIGCONT)
