"""Partial records: what is shown of a pack while it runs; they change no number, are never stored and lose nothing."""

import pickle
import time
from dataclasses import dataclass

import numpy as np
import pytest
from toys import go

import dlx
from dlx import models, optim
from dlx.data import MNIST1D
from dlx.live import Quiet
from dlx.pack import Member, Pack, Resources
from dlx.partials import MOST_MEMBERS, MOST_POINTS
from dlx.store import Store
from dlx.tracking import Tracking
from dlx.trial import trial_key
from dlx.worker import run_pack


@dataclass(frozen=True)
class Walk(dlx.Trial):
    """Logs as many steps as it is told, and may begin its log anew in the middle."""

    steps: int
    anew: bool = False

    def run(self, ctx):
        for step in range(self.steps):
            if self.anew and step == self.steps // 2:
                ctx.history.clear()
            ctx.log(step, {"loss": 1.0 / (step + 1)})
        return {"loss": 0.0}


def training(width=8, lr=0.05, steps=30):
    return dlx.Training(data=MNIST1D(n=100), model=models.MLP(width=width, depth=1), optimizer=optim.SGD(lr=lr),
                        steps=steps, batch_size=10)


def pack_of(*trials, folder="file:///nowhere"):
    return Pack(tuple(Member(trial_key(t, i), t, i) for i, t in enumerate(trials)), Resources(), folder)


def numbers(records):
    rows = [{k: v for k, v in row.items() if k not in ("seconds", "started")} for row in records.trials.to_pylist()]
    return rows, records.history.to_pylist()


def joined(partials, key):
    """The curves of a member, as its partial records have them one after the other."""
    found = {}
    for partial in partials:
        for metric, (steps, values) in partial.curves.get(key, {}).items():
            known = found.setdefault(metric, ([], []))
            known[0].extend(steps)
            known[1].extend(values)
    return found


def test_a_pack_that_hands_over_at_every_step_has_the_same_numbers():
    pack, heard = pack_of(training(lr=0.05), training(lr=0.1), training(lr=0.2)), []
    alone, told = run_pack(pack), run_pack(pack, on_partial=heard.append, every=0.0)
    assert numbers(alone) == numbers(told)
    assert [p.step for p in heard] == list(range(30)) and {p.steps for p in heard} == {30}
    curves = {(h["key"], h["metric"]): (h["step"], h["value"]) for h in told.history.to_pylist()}
    for member in pack.members:
        for metric, (steps, values) in joined(heard, member.key).items():
            whole = curves[member.key, metric]
            assert (steps, values) == (whole[0][:-1], whole[1][:-1]), "all but the last point, each once"


def test_of_a_large_pack_a_few_members_are_shown():
    pack, heard = pack_of(*(training(steps=3) for _ in range(MOST_MEMBERS + 3))), []
    run_pack(pack, on_partial=heard.append, every=0.0)
    assert {key for p in heard for key in p.curves} == {m.key for m in pack.members[:MOST_MEMBERS]}


@pytest.mark.parametrize("anew", [False, True])
def test_what_a_trial_logs_is_handed_over_as_it_logs(anew):
    pack, heard = pack_of(Walk(20, anew)), []
    records = run_pack(pack, on_partial=heard.append, every=0.0)
    steps, values = joined(heard, pack.members[0].key)["loss"]
    assert steps == list(range(20)) and values == [1.0 / (s + 1) for s in steps]
    assert [p.step for p in heard] == steps and all(p.steps is None for p in heard)
    assert records.trials["status"].to_pylist() == ["completed"]


def test_long_curves_are_thinned():
    pack, heard = pack_of(Walk(50_001)), []
    began = time.monotonic()
    run_pack(pack, on_partial=heard.append, every=0.02)
    for partial in heard:
        assert len(partial.curves[pack.members[0].key]["loss"][0]) <= MOST_POINTS
    assert 1 < len(heard) <= (time.monotonic() - began) / 0.02


def test_a_short_pack_hands_nothing_over():
    heard = []
    run_pack(pack_of(Walk(100)), on_partial=heard.append)
    assert not heard


def test_a_listener_that_fails_is_asked_no_more_and_ends_nothing():
    calls = []

    def broken(partial):
        calls.append(partial)
        raise OSError("the line is dead")

    pack = pack_of(training(), training())
    assert numbers(run_pack(pack, on_partial=broken, every=0.0)) == numbers(run_pack(pack))
    assert len(calls) == 1


def test_a_member_that_raises_takes_no_partial_with_it():
    @dataclass(frozen=True)
    class Sour(Walk):
        def run(self, ctx):
            super().run(ctx)
            raise ValueError("sour")

    heard = []
    records = run_pack(pack_of(Sour(5)), on_partial=heard.append, every=0.0)
    assert records.trials["status"].to_pylist() == ["failed"] and len(heard) == 5


def test_partial_records_travel():
    heard = []
    run_pack(pack_of(training(steps=4)), on_partial=heard.append, every=0.0)
    assert pickle.loads(pickle.dumps(heard)) == heard
    kinds = {type(v) for p in heard for c in p.curves.values() for _, values in c.values() for v in values}
    assert kinds == {float}


# ---------------------------------------------------------------- on the driver


class Telling:
    """An executor in this process whose packs hand over at every log; some are run twice, as after a dead worker."""

    slots = 1

    def __init__(self, twice=False):
        self.twice = twice

    def run(self, feed):
        while not feed.finished:
            pack = feed.take()
            for again in range(1 + self.twice):
                records = run_pack(pack, on_partial=lambda partial, p=pack: feed.partial(p, partial), every=0.0)
                if self.twice and not again:
                    feed.lost(pack, "the node left")
                    pack = feed.take()  # what is tried again comes first
            feed.done(pack, records)
            feed.partial(pack, records)  # too late, as they may come


class Watching(Quiet):
    """Remembers what it was shown."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def update(self, progress):
        self.seen += [(p.step, p.steps, p.latest) for p in progress.packs]


@pytest.fixture
def tracked(monkeypatch):
    """Calls that the tracking gets, beside doing what it does: key → points, and the keys that landed."""
    calls, landed, partial, land = {}, [], Tracking.partial, Tracking.landed

    def noted(self, key, seed, values, slot, started, points):
        assert values and slot.phase == "final" and abs(time.time() - started) < 60
        calls.setdefault((key, seed), []).extend(points)
        partial(self, key, seed, values, slot, started, points)

    monkeypatch.setattr(Tracking, "partial", noted)
    monkeypatch.setattr(Tracking, "landed", lambda self, keys: (landed.extend(keys), land(self, keys)))
    return calls, landed


@pytest.mark.parametrize("twice", [False, True])
def test_the_driver_passes_each_point_on_once_and_stores_none(tmp_path, tracked, monkeypatch, twice):
    monkeypatch.setattr("dlx.monitor.PAUSE", 0.0)
    study = dlx.Study("walk", "?", Walk(dlx.grid(5, 9)), seeds=2)
    view = Watching()
    results = go(study, tmp_path, executor=Telling(twice), view=view, tracking_uri=None)
    calls, landed = tracked
    rows = {(r["key"], r["seed"]): r["steps"] for r in results.table.to_pylist()}
    assert calls.keys() == rows.keys() and sorted(landed) == sorted(key for key, _ in rows)
    for name, points in calls.items():
        assert points == [("loss", step, 1.0 / (step + 1)) for step in range(rows[name])]
    assert (4, 0, "loss 0.2") in view.seen
    store = Store("walk", str(tmp_path))
    assert len(store.trials()) == len(rows)
    curves = store.history()
    assert sorted(len(s) for s in curves["step"].to_pylist()) == [5, 5, 9, 9]


def test_nothing_is_told_where_nothing_is_tracked(tmp_path, tracked):
    study = dlx.Study("walk", "?", Walk(3), seeds=1)
    assert len(go(study, tmp_path, executor=Telling()).table) == 1
    assert not tracked[0] and not tracked[1]


def test_a_step_costs_as_much_as_without():
    """The look at the clock, and what is handed over every few seconds, against the step of a small net."""
    from dlx.context import Context
    from dlx.partials import Partials

    ctx = Context(0)
    partials = Partials(lambda partial: None, {"a": ctx})
    looks = min(_seconds(lambda: [partials.due for _ in range(10_000)]) for _ in range(5)) / 10_000
    ctx.history = {f"m{i}": (list(range(200)), list(np.ones(200))) for i in range(6)}
    over = min(_seconds(lambda: Partials(lambda p: None, {"a": ctx}).hand_over(1)) for _ in range(20))
    step = 1e-4  # seconds of the fastest steps that were measured: width 32, one member
    assert looks / step + over / 10.0 < 0.01


def _seconds(call):
    began = time.perf_counter()
    call()
    return time.perf_counter() - began
