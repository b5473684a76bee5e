"""What a study still wants: parents, searches that grow and shrink, failures; nothing twice, nothing never."""

from collections import Counter
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_driver import Forbidden, agree
from test_run import Restless, rows
from toys import Stage, Unruly, go, tuned

import dlx
from dlx import checkpoint
from dlx.agenda import Agenda
from dlx.memory import Memory
from dlx.store import Store
from dlx.trial import trial_key
from dlx.worker import run_pack


def phases(results):
    return Counter(results.table["phase"].to_pylist())


def ended(results):
    """Phase and status of each trial; a parent of several cells has a row in each."""
    rows = {(r["key"], r["phase"]): (r["phase"], r["status"]) for r in results.table.to_pylist()}
    return Counter(rows.values())


class Recorder:
    """Runs what it gets and remembers the keys."""

    slots = 1

    def __init__(self, dies_after=None):
        self.ran, self.dies_after = [], dies_after

    def run(self, feed):
        while not feed.finished:
            if (pack := feed.take()) is None:
                continue
            records = run_pack(pack)
            self.ran += [m.key for m in pack.members]
            if len(self.ran) == self.dies_after:
                raise Killed
            feed.done(pack, records)


class Killed(BaseException):
    """The driver is gone before it heard of the last pack."""


@dataclass(frozen=True)
class Checked(dlx.Trial):
    """Counts how often its values are checked."""

    lr: float
    width: int = 1

    checks = 0

    def check(self):
        Checked.checks += 1

    def run(self, ctx):
        return {"loss": self.lr}


def checks(home, template, **declared):
    """How often trials are checked as the agenda makes its jobs, and how many jobs there are."""
    study = dlx.Study("checked", "?", template, **declared)
    agenda, before, jobs = Agenda(study, Memory(study, Store("checked", str(home)))), Checked.checks, 0
    while (job := agenda.pull()) is not None:
        jobs += 1
        agenda.tell(job, "completed", {"loss": job.trial.lr}, kept=False)
    return Checked.checks - before, jobs


def test_a_trial_is_made_once(tmp_path):
    assert checks(tmp_path, Checked(0.1, dlx.grid(1, 2)), seeds=5) == (2, 10)  # the seeds of a cell share it
    search = dlx.Random(trials=8, recheck=0)
    assert checks(tmp_path, Checked(dlx.uniform(0.0, 1.0)), seeds=3, objective=dlx.minimize("loss"), search=search) == (
        11, 11)


def test_jobs_to_come_are_like_those_that_came(tmp_path):
    study = dlx.Study("checked", "?", Checked(0.1, dlx.grid(*range(10))), seeds=5)
    memory = Memory(study, Store("checked", str(tmp_path)))
    agenda = Agenda(study, memory)
    assert agenda.ahead == 0 and agenda.pull() is not None and agenda.ahead == 45
    memory.statuses = {trial_key(Checked(0.1, width), 0): "completed" for width in range(10)}
    again = Agenda(study, memory)
    assert [again.ahead for _ in range(5) if again.pull()] == [36, 36, 36, 36, 32]
    while again.pull():
        continue
    assert again.ahead == 0


# ---------------------------------------------------------------- parents


def test_a_driver_that_dies_between_checkpoint_and_row_stores_the_parent_all_the_same(tmp_path):
    study = dlx.Study("stages", "?", Stage(dlx.grid(1.0, 2.0), parent=Stage(5.0)))
    with pytest.raises(Killed):
        go(study, tmp_path, executor=Recorder(dies_after=1))
    assert checkpoint.exists(Store("stages", str(tmp_path)).folder, trial_key(Stage(5.0), 0))
    assert ended(go(study, tmp_path)) == {("final", "completed"): 2, ("parent", "completed"): 1}
    agree(study, tmp_path)


def test_every_generation_of_parents_is_filed(tmp_path):
    study = dlx.Study("stages", "?", Stage(3.0, parent=Stage(2.0, parent=Stage(1.0))), seeds=2)
    assert {n: p.wanted for n, p in study.plan(str(tmp_path)).phases.items()} == {"parent": 4, "final": 2}
    assert phases(go(study, tmp_path)) == {"final": 2, "parent": 4}
    agree(study, tmp_path)


def test_a_parent_that_is_wanted_itself_runs_once(tmp_path):
    study = dlx.Study("stages", "?", Stage(dlx.grid(1.0, 2.0), parent=dlx.grid(None, Stage(1.0))), seeds=2)
    executor = Recorder()
    assert study.plan(str(tmp_path)).missing == 8
    results = go(study, tmp_path, executor=executor)
    assert len(executor.ran) == len(set(executor.ran)) == 8 and phases(results)["final"] == 8
    agree(study, tmp_path)
    go(study, tmp_path, executor=Forbidden())


@pytest.mark.parametrize("order", [(None, Stage(1.0, saves=True)), (Stage(1.0, saves=True), None)])
def test_a_wanted_parent_comes_before_or_after_its_child(tmp_path, order):
    study = dlx.Study("stages", "?", Stage(1.0, parent=dlx.grid(*order)))
    for seed in range(3):
        go(study, tmp_path / str(seed), executor=Restless(seed, losses=1))
        agree(study, tmp_path / str(seed))


def test_children_of_a_stored_failure_do_not_run_it_again(tmp_path):
    marks = tmp_path / "marks"
    marks.mkdir()

    study = dlx.Study("broken", "?", Child(dlx.grid(1, 2), parent=Unruly("raise", str(marks))))
    assert ended(go(study, tmp_path)) == {("final", "failed"): 2, ("parent", "failed"): 1}
    wider = study.with_({"template.number": dlx.grid(1, 2, 3)})
    assert wider.plan(str(tmp_path)).missing == 1
    table = go(wider, tmp_path).table.to_pylist()
    assert len(list(marks.iterdir())) == 1
    assert all("Its parent" in r["error"] for r in table if r["phase"] == "final")
    go(wider, tmp_path, executor=Forbidden())
    go(wider, tmp_path, retry_failed=True)
    assert len(list(marks.iterdir())) == 2
    agree(wider, tmp_path)


@dataclass(frozen=True)
class Child(dlx.Trial):
    """A trial with a parent of any kind."""

    number: int
    parent: dlx.Trial

    def run(self, ctx):
        return {"loss": float(self.number)}


def test_grandchildren_of_a_failure_say_so(tmp_path):
    study = dlx.Study("broken", "?", Child(1, parent=Child(dlx.grid(2, 3), parent=Unruly("raise"))))
    assert ended(go(study, tmp_path)) == {("final", "failed"): 2, ("parent", "failed"): 3}
    agree(study, tmp_path)


def test_a_parent_with_retries(tmp_path):
    marks = tmp_path / "marks"
    marks.mkdir()
    study = dlx.Study("again", "?", Stage(1.0, parent=Saving("once", str(marks))), retries=1)
    assert go(study, tmp_path).table["status"].to_pylist() == ["completed", "completed"]
    agree(study, tmp_path)


@dataclass(frozen=True)
class Saving(Unruly):
    """An unruly trial that leaves a checkpoint."""

    def run(self, ctx):
        found = super().run(ctx)
        ctx.save({"total": [1.0]})
        return found


def parented(parent, **changes):
    declared = {"template": Stage(dlx.uniform(0.0, 1.0), parent=parent), "objective": dlx.minimize("total"),
                "search": dlx.TPE(trials=4, parallel=2, top=2, recheck=1), "seeds": 2}
    return tuned(**{**declared, **changes})


def test_a_tuned_template_with_a_fixed_parent(tmp_path):
    study = parented(Stage(dlx.grid(1.0, 2.0)))
    assert study.plan(str(tmp_path)).phases["parent"].wanted == 2 * (2 + 2)
    results = go(study, tmp_path, executor=Restless(1, losses=1))
    assert phases(results) == {"tune": 8, "recheck": 4, "final": 4, "parent": 8}
    agree(study, tmp_path)
    go(study, tmp_path, executor=Forbidden())


def test_a_tuned_template_with_a_tuned_parent(tmp_path):
    study = parented(Stage(dlx.uniform(0.0, 1.0)))
    assert study.plan(str(tmp_path)).phases["parent"].wanted == 4 + 2 + 2
    assert phases(go(study, tmp_path)) == {"tune": 4, "recheck": 2, "final": 2, "parent": 8}
    agree(study, tmp_path)


# ---------------------------------------------------------------- searches that grow and shrink


BUDGETS = st.fixed_dictionaries({
    "search.trials": st.integers(1, 7), "search.repeats": st.integers(1, 2), "search.top": st.integers(1, 3),
    "search.recheck": st.integers(0, 2), "seeds": st.integers(1, 3),
})


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(budgets=st.lists(BUDGETS, min_size=2, max_size=4), seed=st.integers(0, 99), parallel=st.integers(1, 9))
def test_a_search_with_another_budget_equals_one_that_had_it_from_the_start(
    tmp_path_factory, budgets, seed, parallel
):
    home, anew = tmp_path_factory.mktemp("a"), tmp_path_factory.mktemp("b")
    study = tuned(search=dlx.TPE(trials=1, parallel=parallel))
    for i, budget in enumerate(budgets):
        go(study.with_(budget), home, executor=Restless(seed + i), max_trials=seed % 20 + 3 if i % 2 else None)
    last = study.with_(budgets[-1])
    before = last.plan(str(home)).missing
    executor = Recorder()
    go(last, home, executor=executor)
    assert len(executor.ran) <= before
    go(last, anew)
    wanted = [r for r in rows(last, home) if '"recheck"' not in r]
    assert wanted == [r for r in rows(last, anew) if '"recheck"' not in r]
    agree_wanted(last, home)


def agree_wanted(study, home):
    assert study.plan(str(home)).missing == 0
    go(study, home, executor=Forbidden())


def test_the_same_key_in_two_searches_runs_once(tmp_path):
    study = tuned(
        template=Twice(choice=dlx.choice(1, 2), cell=dlx.grid("a")), objective=dlx.maximize("score"), seeds=2,
        search=dlx.Random(trials=6, repeats=2, parallel=6, top=2, recheck=2),
    )
    executor = Recorder()
    results = go(study, tmp_path, executor=executor)
    assert len(executor.ran) == len(set(executor.ran)) <= 2 * (2 * 3) + 2 * 2
    assert phases(results)["tune"] == 12 and phases(results)["final"] == 4
    chosen = results.where(phase="final").table.to_pylist()
    asked = results.where(phase="tune").table.to_pylist()
    assert all(r["score"] == max(a["score"] for a in asked if a["search"] == r["search"]) for r in chosen)
    agree(study, tmp_path)


@dataclass(frozen=True)
class Twice(dlx.Trial):
    """Few values to choose from."""

    choice: int
    cell: str

    def run(self, ctx):
        return {"score": float(self.choice)}


def test_ties_go_to_the_first_ask(tmp_path):
    @dlx.trial()
    def flat(ctx, lr: float):
        return {"loss": 1.0}

    study = tuned(template=flat(lr=dlx.uniform(0.0, 1.0)), objective=dlx.minimize("loss"))
    assert set(go(study, tmp_path).where(phase="final").table["ask"].to_pylist()) == {0}


@dataclass(frozen=True)
class Doomed(dlx.Trial):
    """Fails or diverges whatever it is given, until a file says otherwise."""

    way: str
    lr: float
    marks: str

    def run(self, ctx):
        from pathlib import Path

        if Path(self.marks, "mended").exists():
            return {"loss": self.lr}
        return Unruly(self.way).run(ctx)


@pytest.mark.parametrize("way", ["raise", "nan"])
def test_a_search_in_which_nothing_ends_well(tmp_path, way):
    study = tuned(
        template=Doomed(way, dlx.uniform(0.0, 1.0), str(tmp_path)), objective=dlx.minimize("loss"),
        search=dlx.TPE(trials=5, parallel=9, repeats=2),
    )
    results = go(study, tmp_path)
    assert phases(results) == {"tune": 10} and "all 10 trials" in results.cells()["note"].to_pylist()[0]
    agree(study, tmp_path)
    (tmp_path / "mended").touch()
    again = phases(go(study, tmp_path, retry_failed=True))
    assert again["final"] == (4 if way == "raise" else 0)
    agree(study, tmp_path)


def test_cells_with_and_without_a_nuisance_axis(tmp_path):
    study = tuned(template=Holder(dlx.grid(Part(7.0), Part(dlx.uniform(0.0, 5.0)))), objective=dlx.maximize("v"))
    plan = study.plan(str(tmp_path))
    assert (plan.cells, plan.tuned_cells, plan.phases["final"].wanted) == (2, 1, 2 + 4)
    go(study, tmp_path, executor=Restless(3), max_trials=7)
    go(study, tmp_path)
    agree(study, tmp_path)


@dataclass(frozen=True)
class Part:
    """A component with a value that may be tuned."""

    value: float


@dataclass(frozen=True)
class Holder(dlx.Trial):
    """Holds a part."""

    part: Part

    def run(self, ctx):
        return {"v": self.part.value + ctx.seed % 7}


def test_nothing_missing_resolves_nothing(tmp_path):
    go(tuned(), tmp_path)
    agenda = Agenda(tuned(), Memory(tuned(), Store("valley", str(tmp_path))))
    assert agenda.exhausted and agenda.cells_done == 2 and not agenda.filed
