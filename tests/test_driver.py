"""What the driver writes down, whatever order executors bring things in and whatever goes wrong beside it."""

import json
import signal
import sys
import threading
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_run import Restless
from toys import Herd, Slow, Stage, Unruly, go, tuned, valley

import dlx
from dlx import ledger
from dlx.live import Quiet
from dlx.store import Store
from dlx.worker import run_pack


def marked(tmp_path):
    """A folder for marks, and a function that counts them by their first word."""
    folder = tmp_path / "marks"
    folder.mkdir()
    return str(folder), lambda: Counter(f.name.partition("-")[0] for f in folder.iterdir())


def statuses(results, axis):
    return {row[axis]: row["status"] for row in results.table.to_pylist()}


def agree(study, home):
    """Every membership row has its trial, and nothing is missing."""
    store = Store(study.name, str(home))
    keys = store.trials().column("key").to_pylist()
    assert len(keys) == len(set(keys))
    assert set(store.membership().column("key").to_pylist()) == set(keys)
    assert study.plan(str(home)).missing == 0


class Hoarder:
    """Takes packs ahead for as long as it gets any, and at the end gives back those that it did not begin."""

    slots = 4

    def __init__(self, lose=()):
        self.lose, self.begun = list(lose), []

    def run(self, feed):
        in_hand = []
        while not feed.finished:
            while not feed.finished and len(in_hand) < self.slots and (pack := feed.take()) is not None:
                in_hand.append(pack)
            if feed.finished:
                break
            assert in_hand, "nothing runs and nothing is left, but the feed is not finished"
            pack = in_hand.pop(0)
            self.begun.append([m.key for m in pack.members])
            if self.lose and self.lose.pop(0):
                feed.lost(pack, "the node left")
            else:
                feed.done(pack, run_pack(pack))
        for pack in in_hand:
            feed.give_back(pack)


class Forbidden:
    slots = 1

    def run(self, feed):
        raise AssertionError("started")


@dataclass(frozen=True)
class Pretrain(dlx.Trial):
    """A parent that measures something else than its children."""

    add: float

    def run(self, ctx):
        ctx.save({"total": [self.add]})
        return {"pretrain/loss": self.add}


@dataclass(frozen=True)
class Picky(dlx.Trial):
    """Refuses some of the values that a search may ask for."""

    lr: float
    way: str = "well"

    def check(self):
        if self.lr > 0.9:
            raise dlx.DeclarationError("lr is too large.")

    def run(self, ctx):
        return {"loss": self.lr}


# ---------------------------------------------------------------- budgets and what was begun


def test_a_budget_of_trials_ends_what_an_executor_has_in_hand(tmp_path):
    marks, count = marked(tmp_path)
    study = dlx.Study("slow", "?", Slow(dlx.grid(*range(10)), marks, 0.0))
    go(study, tmp_path, executor=Hoarder(), max_trials=3)
    assert count().total() == 3
    go(study, tmp_path, executor=Hoarder(), max_trials=6)
    assert count().total() == 9


def test_a_budget_of_trials_ends_what_was_lost(tmp_path):
    study = valley()
    assert len(go(study, tmp_path, executor=Hoarder(lose=[1, 0, 1]), max_trials=3).table) == 3


def test_a_budget_of_trials_ends_what_is_tried_again(tmp_path):
    marks, count = marked(tmp_path)
    study = dlx.Study("unruly", "?", Unruly(dlx.grid("raise", "well", "nan"), marks), retries=2)
    results = go(study, tmp_path, max_trials=1)
    assert statuses(results, "way") == {"raise": "failed"} and count() == {"raise": 3}
    go(study, tmp_path, max_trials=1)
    assert count() == {"raise": 3, "well": 1}


def test_a_retry_is_no_new_trial(tmp_path):
    marks, count = marked(tmp_path)
    study = dlx.Study("herd", "?", Herd(dlx.grid("once", "a", "b", "c"), marks), retries=1)
    assert set(statuses(go(study, tmp_path, max_trials=4), "way").values()) == {"completed"}
    assert set(count()) == {"once", "a", "b", "c"}


def test_gpu_hours_of_lost_packs_count(tmp_path):
    study = dlx.Study("slow", "?", Unruly(dlx.grid("well", "a", "b")), resources=dlx.Resources(gpus=1))

    class Cursed:
        slots, lost = 1, 0

        def run(self, feed):
            while not feed.finished:
                pack = feed.take()
                threading.Event().wait(0.02)
                self.lost += 1
                feed.lost(pack, "the node left")

    cursed = Cursed()
    go(study, tmp_path, executor=cursed, max_gpu_hours=0.03 / 3600)
    assert cursed.lost <= 2


@pytest.mark.parametrize("slots", [1, 100])
def test_what_a_pack_costs_does_not_depend_on_how_many_run(tmp_path, slots):
    asked = []

    def resources(trial):
        asked.append(trial.number)
        return dlx.Resources()

    marks, _ = marked(tmp_path)
    executor = Hoarder()
    executor.slots = slots
    go(dlx.Study("slow", "?", Slow(dlx.grid(*range(300)), marks, 0.0), resources=resources), tmp_path,
       executor=executor)
    assert len(asked) < 20 * 300


# ---------------------------------------------------------------- what is written


def test_one_member_that_raises_does_not_take_its_pack_along(tmp_path):
    results = go(dlx.Study("herd", "?", Herd(dlx.grid("a", "b", "raise", "c", "d", "nan"))), tmp_path)
    assert Counter(statuses(results, "way").values()) == {"completed": 4, "failed": 1, "diverged": 1}


@dataclass(frozen=True)
class Careless(dlx.Trial):
    """Returns too few results for a pack, or ends its process, as it is told."""

    way: str
    number: int

    def shape(self):
        return self.way

    @classmethod
    def run_pack(cls, trials, contexts):
        if trials[0].way == "exit":
            sys.exit(3)
        return [{"loss": 1.0}] * (len(trials) - (trials[0].way == "few"))


def test_a_worker_never_raises(tmp_path):
    table = go(dlx.Study("careless", "?", Careless(dlx.grid("well", "few", "exit"), dlx.grid(1, 2))), tmp_path).table
    errors = {(r["way"], r["number"]): r["error"] for r in table.to_pylist()}
    assert errors["well", 1] is None and "SystemExit: 3" in errors["exit", 2]
    assert "run_pack returned 0 results for 1 trials" in errors["few", 1]


def test_what_ended_before_an_error_is_stored(tmp_path):
    study = dlx.Study(
        "picky", "?", Picky(dlx.uniform(0.0, 1.0)), objective=dlx.minimize("loss"),
        search=dlx.Random(trials=64, parallel=1),
    )
    with pytest.raises(dlx.DeclarationError, match="lr is too large"):
        go(study, tmp_path)
    before = Store("picky", str(tmp_path)).trials()
    assert len(before)
    with pytest.raises(dlx.DeclarationError, match="lr is too large"):
        go(study, tmp_path)
    store = Store("picky", str(tmp_path))
    assert len(store.trials()) == len(before)
    assert sorted(store.membership().column("key").to_pylist()) == sorted(before.column("key").to_pylist())


def test_what_ran_last_is_stored_before_the_executor_ends(tmp_path):
    class Closing(Hoarder):
        def run(self, feed):
            super().run(feed)
            self.stored = len(Store(study.name, str(tmp_path)).trials())  # should its end take long, or be the last

    study, executor = valley(), Closing()
    go(study, tmp_path, executor=executor)
    assert executor.stored == study.plan(str(tmp_path)).wanted > 0


def test_what_ends_after_a_stop_is_not_stored_piece_by_piece(tmp_path, monkeypatch):
    class Stopped(Hoarder):
        def run(self, feed):
            packs = [feed.take() for _ in range(self.slots)]
            feed.interrupt()
            for pack in packs:
                feed.done(pack, run_pack(pack))

    commits, commit = [], Store.commit
    monkeypatch.setattr(ledger, "COMMIT_EVERY", 1e9)  # however long this takes
    monkeypatch.setattr(Store, "commit", lambda self, records, filed: commits.append(commit(self, records, filed)))
    go(valley(pack=1), tmp_path, executor=Stopped())
    assert len(commits) == 1 and len(Store("valley", str(tmp_path)).trials()) == Stopped.slots


def test_a_wrong_objective_loses_no_trial(tmp_path):
    marks, count = marked(tmp_path)
    study = dlx.Study("slow", "?", Slow(dlx.grid(*range(3)), marks, 0.0), objective=dlx.minimize("eror"))
    with pytest.raises(dlx.DeclarationError, match="objective is 'eror'"):
        go(study, tmp_path)
    go(study.with_({"objective": dlx.minimize("loss")}), tmp_path)
    assert count().total() == 3


def test_parents_need_not_return_the_objective(tmp_path):
    study = dlx.Study("stages", "?", Stage(dlx.grid(1.0, 2.0), parent=Pretrain(5.0)), objective=dlx.minimize("total"))
    assert go(study, tmp_path).best()["total.mean"] == 6.0


def test_an_objective_that_only_some_trials_return(tmp_path):
    @dlx.trial()
    def sometimes(ctx, x: float):
        return {"loss": x} if x < 0.5 else {"other": x}

    study = dlx.Study("sometimes", "?", sometimes(x=dlx.uniform(0.0, 1.0)), objective=dlx.minimize("loss"),
                      search=dlx.TPE(trials=12, parallel=3), seeds=2)
    first = []
    for _ in range(2):  # whether the first trial has it is chance: the second run goes on in any case
        try:
            first = go(study, tmp_path).table.to_pylist()
        except dlx.DeclarationError as e:
            assert "did not return" in str(e)
    finals = [r for r in first if r["phase"] == "final"]
    assert len(finals) == 2 and all(r["loss"] < 0.5 for r in finals)


def test_a_trial_that_ran_well_is_not_replaced_by_its_failure(tmp_path):
    """A parent that ran before it was known as one runs again for its checkpoint, and its worker dies."""
    go(dlx.Study("stages", "?", Stage(dlx.grid(1.0, 2.0))), tmp_path)
    study = dlx.Study("stages", "?", Stage(dlx.grid(1.0, 5.0), parent=dlx.grid(None, Stage(1.0))),
                      skip=lambda t: t.add == 5.0 and t.parent is None)

    class Deadly:
        slots = 1

        def run(self, feed):
            while not feed.finished:
                if (pack := feed.take()) is not None:
                    feed.lost(pack, "killed")

    go(study, tmp_path, executor=Deadly())
    table = go(study, tmp_path).table.to_pylist()
    rows = {(r["add"], r["parent"]): r["status"] for r in table if r["phase"] == "final"}
    assert rows[1.0, None] == "completed" and rows[5.0, "Stage"] == "failed"


def test_workers_that_die_of_a_home_that_is_away_end_the_run_and_no_trial(tmp_path, monkeypatch):
    monkeypatch.setattr("dlx.driver.LOOK", 0.0)
    study, home, away = dlx.Study("stages", "?", Stage(dlx.grid(1.0, 2.0))), tmp_path / "home", tmp_path / "away"

    class Unmounted:
        slots, losses = 1, 0

        def run(self, feed):
            while (pack := feed.take()) is not None:
                if not self.losses:
                    home.rename(away)
                    home.touch()
                self.losses += 1
                feed.astray(pack, "the home cannot be reached")

    unmounted = Unmounted()
    with pytest.raises(dlx.StoreError, match="is, or lies below, a file"):
        go(study, home, executor=unmounted)
    home.unlink()
    away.rename(home)
    assert unmounted.losses == 1
    assert {r["status"] for r in go(study, home).table.to_pylist()} == {"completed"}


# ---------------------------------------------------------------- what may break beside it


@pytest.mark.parametrize("broken", ["start", "update", "say", "stop"])
def test_a_view_that_breaks_loses_nothing(tmp_path, broken):
    class Broken(Quiet):
        pass

    def fail(self, *_):
        raise BrokenPipeError("the terminal is gone")

    setattr(Broken, broken, fail)
    assert len(go(valley(), tmp_path, view=Broken(), max_trials=3).table) == 3
    assert len(go(valley(), tmp_path, view=Broken()).table) == 8


def test_a_figure_that_raises_loses_nothing(tmp_path):
    def figure(results):
        raise RuntimeError("no such colour")

    assert len(go(valley(figures=[figure]), tmp_path).table) == 8


def test_handlers_of_signals_are_put_back(tmp_path):
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)

    class Interrupted:
        slots = 1

        def run(self, feed):
            first = feed.take()
            signal.raise_signal(signal.SIGINT)
            assert feed.finished and feed.take() is None and feed.waiting == 0
            feed.done(first, run_pack(first))
            signal.raise_signal(signal.SIGTERM)
            with pytest.raises(KeyboardInterrupt):
                feed.tick()

    assert len(go(valley(), tmp_path, executor=Interrupted()).table) == 1
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    go(valley(), tmp_path)
    agree(valley(), tmp_path)


# ---------------------------------------------------------------- orders of events


@dataclass(frozen=True)
class Probe(dlx.Trial):
    """A tuned child of a parent that may fail."""

    lr: float
    parent: dlx.Trial

    def run(self, ctx):
        ctx.parent()
        return {"loss": self.lr}


def test_a_lost_parent_ends_its_children_and_their_search(tmp_path):
    study = dlx.Study(
        "probe", "?", Probe(dlx.uniform(0.0, 1.0), parent=Stage(1.0)), objective=dlx.minimize("loss"),
        search=dlx.TPE(trials=3, parallel=2),
    )

    class Deadly:
        slots = 1

        def run(self, feed):
            while not feed.finished:
                pack = feed.take()
                assert pack is not None, "nothing runs and nothing is left, but the feed is not finished"
                feed.lost(pack, "killed")

    table = go(study, tmp_path, executor=Deadly()).table.to_pylist()
    assert Counter((r["phase"], r["status"]) for r in table) == {("tune", "failed"): 3, ("parent", "failed"): 1}
    agree(study, tmp_path)
    assert len(go(study, tmp_path, executor=Forbidden()).table) == 4
    again = go(study, tmp_path, retry_failed=True)
    assert Counter(r["phase"] for r in again.table.to_pylist() if r["status"] == "completed")["tune"] == 3
    agree(study, tmp_path)


def test_events_of_a_scheduled_study_are_filed_under_pruned_keys(tmp_path):
    from ray.tune.schedulers import ASHAScheduler

    study = valley(scheduler=ASHAScheduler(grace_period=1), objective=dlx.minimize("val/loss"))
    executor = Pruning()
    first = go(study, tmp_path, executor=executor, max_trials=5)
    assert Counter(first.table["status"].to_pylist()) == {"pruned": 2, "completed": 3}
    assert study.plan(str(tmp_path)).missing == 3
    whole = go(study, tmp_path, executor=executor)
    assert len(whole.table) == 8
    agree(study, tmp_path)
    assert len(go(study, tmp_path, executor=Forbidden()).table) == 8
    other = valley(scheduler=ASHAScheduler(grace_period=2), objective=dlx.minimize("val/loss"))
    pruned = Counter(whole.table["status"].to_pylist())["pruned"]
    assert other.plan(str(tmp_path)).missing == pruned
    completed = go(other, tmp_path).table
    assert set(completed["status"].to_pylist()) == {"completed"} and len(completed) == 8
    assert Counter(go(valley(), tmp_path, executor=Forbidden()).table["status"].to_pylist()) == {"completed": 8}


class Pruning:
    """Stops every other trial, as a scheduler does."""

    slots = 2

    def __init__(self):
        self.trials = 0

    def run(self, feed):
        from dlx.executors.tune_scheduled import Flight

        while not feed.finished:
            pack = feed.take()
            if pack is None:
                continue
            self.trials += 1
            if self.trials % 2 == 0:
                flight = Flight(pack)
                flight.log(1, {"val/loss": 9.0, "test/loss": 9.0})
                feed.done(pack, flight.pruned())
            else:
                feed.done(pack, run_pack(pack))


@pytest.mark.parametrize("parallel", [1, 3])
def test_a_search_under_a_scheduler_goes_on_after_a_stop(tmp_path, parallel):
    from ray.tune.schedulers import ASHAScheduler

    study = tuned(scheduler=ASHAScheduler(grace_period=1),
                  search=dlx.TPE(trials=6, repeats=2, parallel=parallel, top=2, recheck=1))
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    wanted = go(study, whole, executor=EveryThird()).table
    for _ in range(60):
        go(study, parts, executor=EveryThird(), max_trials=3)
        if not study.plan(str(parts)).missing:
            break
    agree(study, parts)
    go(study, parts, executor=Forbidden())
    rows = [sorted(json.dumps({k: v for k, v in r.items() if k != "seconds"}) for r in t.to_pylist())
            for t in (wanted, go(study, parts, executor=Forbidden()).table)]
    assert rows[0] == rows[1]


class EveryThird(Pruning):
    """Stops trials by their values, so that what is stopped does not depend on the order."""

    def run(self, feed):
        from dlx.executors.tune_scheduled import Flight

        while not feed.finished:
            pack = feed.take()
            if pack is not None:
                flight = Flight(pack, began=0.0)
                flight.log(1, {"val/loss": 9.0, "test/loss": 9.0})
                stopped = int(pack.members[0].key, 16) % 3 == 0
                feed.done(pack, flight.pruned() if stopped else run_pack(pack))


# ---------------------------------------------------------------- everything at once


def chaotic(kind, marks):
    """Studies with all that may interleave: packs, failures, retries, parents, searches."""
    stages = {"template": Stage(dlx.grid(1.0, 2.0), parent=dlx.grid(None, Stage(1.0), Stage(3.0, parent=Stage(2.0))))}
    return {
        "herd": lambda: dlx.Study("s", "?", Herd(dlx.grid("a", "raise", "nan", "b", "c")), seeds=3, pack=4, retries=1),
        "once": lambda: dlx.Study("s", "?", Herd(dlx.grid("a", "once", "b"), marks), seeds=3, pack=4, retries=2),
        "stages": lambda: dlx.Study("s", "?", **stages, seeds=2),
        "probe": lambda: dlx.Study(
            "s", "?", Probe(dlx.uniform(0.0, 1.0), parent=dlx.grid(Stage(1.0), Stage(2.0, saves=False))),
            objective=dlx.minimize("loss"), search=dlx.Random(trials=5, parallel=3, repeats=2, top=2, recheck=1)),
    }[kind]()


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kind=st.sampled_from(["herd", "once", "stages", "probe"]), seed=st.integers(0, 10**6),
       stops=st.lists(st.tuples(st.integers(1, 9), st.booleans()), max_size=4), losses=st.integers(0, 3))
def test_nothing_is_lost_or_run_twice_whatever_interleaves(tmp_path_factory, kind, seed, stops, losses):
    home = tmp_path_factory.mktemp("home")
    (home / "marks").mkdir()
    study = chaotic(kind, str(home / "marks"))
    stored = {}
    for i, (stop, budget) in enumerate(stops):
        before = study.plan(str(home))
        with suppress(KeyboardInterrupt):
            go(study, home, executor=Restless(seed + i, None if budget else stop, losses),
               max_trials=stop if budget else None)
        after = study.plan(str(home))
        assert after.missing <= before.missing
        if budget:  # orphans are stored without having begun
            began = [m for m in Store("s", str(home)).trials().to_pylist() if m["key"] not in stored and m["seconds"]]
            assert len(began) <= stop
        now = {r["key"]: r["started"] for r in Store("s", str(home)).trials().to_pylist()}
        if kind in ("herd", "once"):
            assert stored.items() <= now.items()
        stored = now
    go(study, home, executor=Restless(seed))
    agree(study, home)
    go(study, home, executor=Forbidden())
