import io
import json
import math
import random
import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from toys import Herd, Slow, Stage, Unruly, Valley, go, tuned, valley

import dlx
from dlx.live import Quiet
from dlx.store import Store
from dlx.tuning import FINALS_OF_A_SEARCH
from dlx.worker import run_pack


def rows(study, home):
    """Every row of the results without what differs between runs: times and the order of storing."""
    table = study.results(str(home)).table.to_pylist()
    return sorted(json.dumps({k: v for k, v in row.items() if k != "seconds"}, sort_keys=True) for row in table)


class Restless:
    """An executor that holds several packs, ends them in any order, loses some workers and stops early."""

    slots = 3

    def __init__(self, seed, stop_after=None, losses=0):
        self.random, self.stop_after, self.losses = random.Random(seed), stop_after, losses

    def run(self, feed):
        flying = []
        while not feed.finished or flying:
            while not feed.finished and len(flying) < self.slots and (pack := feed.take()) is not None:
                flying.append(pack)
            if not flying:
                assert feed.finished
                return
            pack = flying.pop(self.random.randrange(len(flying)))
            if self.losses and self.random.random() < 0.3:
                self.losses -= 1
                feed.lost(pack, "the node left")
                continue
            if self.random.random() < 0.1:
                feed.give_back(pack)
                continue
            feed.done(pack, run_pack(pack))
            if self.stop_after is not None:
                self.stop_after -= len(pack.members)
                if self.stop_after <= 0:
                    raise KeyboardInterrupt


# ---------------------------------------------------------------- wanted minus stored


def test_only_what_is_missing_runs(tmp_path):
    marks = tmp_path / "marks"
    marks.mkdir()
    study = dlx.Study("slow", "?", Slow(dlx.grid(1, 2), str(marks), 0.0), seeds=2)
    assert len(go(study, tmp_path).table) == 4
    go(study, tmp_path)
    assert len(list(marks.iterdir())) == 4
    wider = study.with_({"template.number": dlx.grid(1, 2, 3), "seeds": 3})
    assert len(go(wider, tmp_path).table) == 9
    assert len(list(marks.iterdir())) == 9
    assert len(go(study, tmp_path).table) == 4


def test_nothing_missing_starts_no_executor(tmp_path):
    go(valley(), tmp_path)

    class Forbidden:
        slots = 1

        def run(self, feed):
            raise AssertionError("started")

    assert len(go(valley(), tmp_path, executor=Forbidden()).table) == 8


@pytest.mark.parametrize(("asked", "said"), [
    ({"executor": "rya"}, "executor is 'rya'"), ({"address": "localhost"}, "address is 'localhost'; it must be 'auto'"),
    ({"address": "ray://localhost:10001"}, "Ray client's"), ({"address": "localhost:port"}, "it must be 'auto'"),
])
def test_an_executor_that_cannot_be_had_is_refused_before_anything_is_made(tmp_path, asked, said):
    with pytest.raises(dlx.DlxError, match=said):
        valley().run(home=str(tmp_path / "home"), view=Quiet(), **asked)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("address", ["127.0.0.1:1", "[::1]:1", "nowhere.invalid:6379", "a..b:1", f"localhost:{10**20}"])
def test_where_no_cluster_listens_nothing_is_begun_but_a_study_that_has_all_needs_none(tmp_path, address):
    with pytest.raises(dlx.ExecutorError, match=re.escape(f"No Ray cluster answers at '{address}'")):
        valley().run(home=str(tmp_path), view=Quiet(), address=address)
    assert not (tmp_path / "mlflow.db").exists()
    go(valley(), tmp_path)
    assert len(valley().run(home=str(tmp_path), view=Quiet(), address=address).to_pandas()) == 8


def test_where_nothing_ran_nothing_is_said_of_mlflow(tmp_path):
    class Full:
        slots, packs = 1, 0

        def run(self, feed):
            for _ in range(self.packs):
                pack = feed.take()
                feed.done(pack, run_pack(pack))
            raise dlx.ExecutorError("No machine is left.")

    said = io.StringIO()
    for packs in (0, 1):
        assert not said.getvalue()
        Full.packs = packs
        with pytest.raises(dlx.ExecutorError, match="No machine is left"):
            go(valley(), tmp_path, executor=Full(), view=Quiet(said), tracking_uri=None)
    assert "MLflow at sqlite:" in said.getvalue()


def test_results_are_what_the_trials_returned(tmp_path):
    results = go(valley(), tmp_path)
    for row in results.table.to_pylist():
        ctx = dlx.Context(row["seed"])
        expected = Valley(row["width"], row["lr"]).run(ctx)
        assert row["val/loss"] == expected["val/loss"] and row["test/loss"] == expected["test/loss"]
    curves = results.history().to_pylist()
    assert len(curves) == 8 * 2 and {c["step"] for c in curves} == {1, 10}


# ---------------------------------------------------------------- tuning


def test_every_cell_is_tuned_checked_and_run_on_fresh_seeds(tmp_path):
    results = go(tuned(), tmp_path)
    table = results.table.to_pylist()
    by_phase = {p: [r for r in table if r["phase"] == p] for p in ("tune", "recheck", "final")}
    assert {p: len(r) for p, r in by_phase.items()} == {"tune": 2 * 2 * 6, "recheck": 2 * 2 * 2, "final": 2 * 2 * 2}
    assert {r["seed"] for r in by_phase["final"]} == {0, 1, FINALS_OF_A_SEARCH, FINALS_OF_A_SEARCH + 1}
    assert not {r["seed"] for r in by_phase["final"]} & {r["seed"] for r in by_phase["tune"] + by_phase["recheck"]}
    for cell in {r["cell"] for r in table}:
        for search in (0, 1):
            asked = [r for r in by_phase["tune"] if (r["cell"], r["search"]) == (cell, search)]
            asks = sorted((r["val/loss"], r["ask"]) for r in asked)
            checked = {r["ask"] for r in by_phase["recheck"] if (r["cell"], r["search"]) == (cell, search)}
            assert checked == {ask for _, ask in asks[:2]}
            scores = {a: [r["val/loss"] for r in by_phase["tune"] + by_phase["recheck"]
                          if (r["cell"], r["search"], r["ask"]) == (cell, search, a)] for a in checked}
            chosen = {r["ask"] for r in by_phase["final"] if (r["cell"], r["search"]) == (cell, search)}
            assert chosen == {min(scores, key=lambda a: sum(scores[a]))}


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10**6), stops=st.lists(st.integers(1, 9), max_size=4), losses=st.integers(0, 1))
def test_interrupted_in_any_order_equals_undisturbed(tmp_path_factory, seed, stops, losses):
    study = tuned()
    undisturbed, disturbed = tmp_path_factory.mktemp("a"), tmp_path_factory.mktemp("b")
    go(study, undisturbed)
    for i, stop in enumerate(stops):
        try:
            go(study, disturbed, executor=Restless(seed + i, stop, losses))
        except KeyboardInterrupt:
            continue
    go(study, disturbed, executor=Restless(seed))
    assert rows(study, disturbed) == rows(study, undisturbed)
    keys = Store(study.name, str(disturbed)).trials().column("key").to_pylist()
    assert len(keys) == len(set(keys))


def test_a_longer_search_keeps_what_it_asked(tmp_path):
    short = go(tuned(), tmp_path).table.to_pylist()
    long = go(tuned().with_({"search.trials": 10}), tmp_path).table.to_pylist()
    asks = {(r["cell"], r["search"], r["ask"]): r["key"] for r in long if r["phase"] == "tune"}
    assert len(asks) == 2 * 2 * 10
    assert all(asks[r["cell"], r["search"], r["ask"]] == r["key"] for r in short if r["phase"] == "tune")


def test_wider_bounds_or_another_search_tune_anew(tmp_path):
    go(tuned(), tmp_path)
    for changed in (tuned().with_({"template.lr": dlx.loguniform(1e-5, 1.0)}), tuned(search=dlx.Random(trials=6))):
        results = go(changed, tmp_path)
        assert sum(p == "tune" for p in results.table["phase"].to_pylist()) in (24, 12)


def test_a_search_without_a_grid(tmp_path):
    study = tuned(template=Valley(width=3, lr=dlx.loguniform(1e-4, 1.0)), seeds=1)
    best = go(study, tmp_path).best()
    assert abs(math.log10(best["param.lr"]) + 2) < 0.7


def test_a_cell_in_which_everything_failed_says_so(tmp_path):
    study = dlx.Study("unruly", "?", Unruly(dlx.grid("well", "raise")), seeds=2)
    notes = dict(zip(*[go(study, tmp_path).cells().column(n).to_pylist() for n in ("way", "note")], strict=True))
    assert notes["well"] is None and "all 2 trials failed" in notes["raise"]


# ---------------------------------------------------------------- what goes wrong


def test_failures_are_rows_and_the_others_go_on(tmp_path):
    study = dlx.Study("unruly", "?", Unruly(dlx.grid("well", "raise", "nan", "text")))
    table = {r["way"]: r for r in go(study, tmp_path).table.to_pylist()}
    assert {w: r["status"] for w, r in table.items()} == {
        "well": "completed", "raise": "failed", "nan": "diverged", "text": "failed"}
    assert "the dog ate it" in table["raise"]["error"] and "Traceback" in table["raise"]["error"]


def test_retries_and_retry_failed(tmp_path):
    marks = tmp_path / "marks"
    marks.mkdir()
    study = dlx.Study("unruly", "?", Unruly(dlx.grid("once", "raise"), str(marks)), retries=1)
    statuses = {r["way"]: r["status"] for r in go(study, tmp_path).table.to_pylist()}
    assert statuses == {"once": "completed", "raise": "failed"}
    assert len(list(marks.glob("raise-*"))) == 2
    go(study, tmp_path)
    assert len(list(marks.glob("raise-*"))) == 2
    go(study, tmp_path, retry_failed=True)
    assert len(list(marks.glob("raise-*"))) == 4 and len(list(marks.glob("once-*"))) == 2


def test_a_pack_that_kills_its_worker_is_halved_until_the_culprit_is_alone(tmp_path):
    study = dlx.Study("herd", "?", Herd(dlx.grid("a", "b", "die", "c", "d")))

    class Mortal:
        slots, packs = 1, []

        def run(self, feed):
            while not feed.finished:
                pack = feed.take()
                self.packs.append(sorted(m.trial.way for m in pack.members))
                if "die" in self.packs[-1]:
                    feed.lost(pack, "killed by SIGKILL")
                else:
                    feed.done(pack, run_pack(pack))

    table = {r["way"]: r for r in go(study, tmp_path, executor=Mortal()).table.to_pylist()}
    assert {w for w, r in table.items() if r["status"] == "failed"} == {"die"}
    assert "SIGKILL" in table["die"]["error"]
    assert Mortal.packs[0] == Mortal.packs[1] and ["die"] in Mortal.packs


def test_an_objective_that_no_trial_returns_is_found_at_the_first(tmp_path):
    marks = tmp_path / "marks"
    marks.mkdir()
    study = dlx.Study("slow", "?", Slow(dlx.grid(*range(50)), str(marks), 0.0), objective=dlx.minimize("val/eror"))
    with pytest.raises(dlx.DeclarationError, match=r"objective is 'val/eror'.* it returned loss"):
        go(study, tmp_path)
    assert len(list(marks.iterdir())) == 1


def test_budget(tmp_path):
    marks = tmp_path / "marks"
    marks.mkdir()
    study = dlx.Study("slow", "?", Slow(dlx.grid(*range(9)), str(marks), 0.05))
    assert len(go(study, tmp_path, max_trials=2).table) == 2
    assert 2 < len(go(study, tmp_path, max_seconds=0.1).table) < 9
    with pytest.raises(dlx.DeclarationError, match="max_trials is 0"):
        go(study, tmp_path, max_trials=0)
    assert len(go(study, tmp_path).table) == 9 == len(list(marks.iterdir()))


# ---------------------------------------------------------------- parents


def test_children_start_from_their_parents(tmp_path):
    grandparent = Stage(1.0)
    study = dlx.Study("stages", "?", Stage(dlx.grid(10.0, 20.0), parent=Stage(100.0, parent=grandparent)), seeds=2)
    results = go(study, tmp_path)
    totals = {(r["add"], r["seed"]): r["total"] for r in results.table.to_pylist() if r["phase"] == "final"}
    assert totals == {(a, s): 101.0 + a for a in (10.0, 20.0) for s in (0, 1)}


def test_a_parent_that_ran_before_it_was_known_as_one(tmp_path):
    alone = dlx.Study("stages", "?", Stage(dlx.grid(1.0, 2.0)))
    go(alone, tmp_path)
    study = dlx.Study("stages", "?", Stage(5.0, parent=dlx.grid(Stage(1.0), Stage(2.0))))
    assert sorted(r["total"] for r in go(study, tmp_path).table.to_pylist() if r["phase"] == "final") == [6.0, 7.0]


def test_children_of_a_parent_without_a_checkpoint_fail_with_a_reason(tmp_path):
    study = dlx.Study("stages", "?", Stage(5.0, parent=Stage(1.0, saves=False)))
    (row,) = [r for r in go(study, tmp_path).table.to_pylist() if r["phase"] == "final"]
    assert row["status"] == "failed" and "ctx.save" in row["error"]


# ---------------------------------------------------------------- storing


def test_what_a_full_disk_did_not_take_is_said_and_runs_again(tmp_path, monkeypatch):
    study = valley()
    commit = Store.commit

    def full(self, records, membership):
        raise dlx.StoreError("The home is full; free some space.")

    monkeypatch.setattr(Store, "commit", full)
    with pytest.raises(dlx.StoreError, match="full"):
        go(study, tmp_path)
    monkeypatch.setattr(Store, "commit", commit)
    assert len(go(study, tmp_path).table) == 8


def test_changed_sources_are_said_and_unchanged_ones_are_not(tmp_path):
    from dlx.loading import load

    file = tmp_path / "changing.py"
    source = """
from dataclasses import dataclass
import dlx
from dlx.live import Quiet

@dataclass(frozen=True)
class Child(dlx.Trial):
    x: int
    parent: dlx.Trial
    def run(self, ctx):
        return {"loss": 1.0}

@dataclass(frozen=True)
class Root(dlx.Trial):
    def run(self, ctx):
        ctx.save({"x": [1.0]})
        return {"loss": 0.0}

STUDY = dlx.Study("changing", "?", Child(dlx.grid(1, 2), Root()))
"""
    for text, changed in ((source, False), (source, False), (source + "# later\n", True)):
        file.write_text(text)
        said = io.StringIO()
        go(load(str(file)), tmp_path / "home", view=Quiet(said))
        assert ("has changed since 3 of the stored ones ran" in said.getvalue()) == changed
