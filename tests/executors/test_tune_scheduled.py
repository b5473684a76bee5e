from dataclasses import replace

import pytest
from packs import Packs, pack_of
from ray.tune.schedulers import ASHAScheduler, HyperBandScheduler, MedianStoppingRule

from dlx.errors import ExecutorError
from dlx.executors.tune import Tune
from dlx.executors.tune_scheduled import usable

FLOORS = [0.1, 0.9, 0.2, 0.8, 0.7, 0.05, 0.6, 0.5]


@pytest.fixture(scope="module", autouse=True)
def cluster():
    own = Tune(cpus=2).cluster
    own.start()
    yield
    own.stop()


@pytest.mark.parametrize("scheduler", [
    ASHAScheduler(grace_period=2, max_t=100, reduction_factor=2),
    MedianStoppingRule(grace_period=3, min_samples_required=2, time_attr="step", metric="val/loss", mode="min"),
])
def test_bad_trials_are_pruned_and_all_are_delivered_once(trials, scheduler):
    feed = Packs([pack_of(trials.Descent(floor, 0.01)) for floor in FLOORS])
    Tune(scheduler=scheduler, metric="val/loss", mode="min").run(feed)
    rows = {r["key"]: r for r in feed.rows}
    lengths = {h["key"]: len(h["step"]) for h in feed.history}
    assert len(rows) == len(feed.rows) == len(FLOORS) and not feed.flying and not feed.losses
    statuses = [r["status"] for r in feed.rows]
    assert set(statuses) == {"completed", "pruned"}
    for key, row in rows.items():
        last = next(h["value"][-1] for h in feed.history if h["key"] == key)
        assert dict(row["metrics"])["val/loss"] == last
        assert (lengths[key] < 20) == (row["status"] == "pruned")


def test_a_long_trial_says_how_far_it_is(trials):
    whole = replace(pack_of(trials.Descent(0.1, 0.4)), whole=True)
    feed = Packs([whole, pack_of(trials.Descent(0.9, 0.4))])
    Tune(scheduler=ASHAScheduler(grace_period=100, max_t=100), metric="val/loss", mode="min").run(feed)
    assert {pack.members[0].key for pack, _ in feed.partials} == {r["key"] for r in feed.rows}
    for pack, partial in feed.partials:
        steps, values = partial.curves[pack.members[0].key]["val/loss"]
        assert len(feed.rows) == 2 and steps[-1] == partial.step < 20 and len(values) == len(steps)


def test_what_must_run_to_its_end_is_not_stopped(trials):
    packs = [pack_of(trials.Descent(floor, 0.01)) for floor in FLOORS]
    feed = Packs([replace(pack, whole=i % 2 == 0) for i, pack in enumerate(packs)])
    scheduler = ASHAScheduler(grace_period=2, max_t=100, reduction_factor=2)
    Tune(scheduler=scheduler, metric="val/loss", mode="min").run(feed)
    assert len(feed.rows) == len(FLOORS)
    whole = {m.key for pack in packs[::2] for m in pack.members}
    assert {r["status"] for r in feed.rows if r["key"] in whole} == {"completed"}


def test_dead_workers_and_failures_under_a_scheduler(trials, tmp_path):
    feed = Packs([pack_of(trials.Deadly(str(tmp_path))), pack_of(trials.Double(-1.0)), pack_of(trials.Locked()),
                  pack_of(trials.Descent(0.3)), pack_of(trials.Away(str(tmp_path)))])
    Tune(scheduler=ASHAScheduler(max_t=100), metric="val/loss", mode="min").run(feed)
    assert sorted(r["status"] for r in feed.rows) == ["completed"] * 3 + ["failed"] * 2
    assert len(feed.losses) == 2


def test_a_scheduler_that_pauses_is_refused(trials):
    with pytest.raises(ExecutorError, match="HyperBandScheduler"):
        Tune(scheduler=HyperBandScheduler(), metric="val/loss", mode="min").run(Packs([pack_of(trials.Double(1.0))]))


def test_a_median_rule_never_pauses_not_even_once():
    rule = usable(MedianStoppingRule(metric="val/loss", mode="min"))
    since = 1.0 - rule._last_pause["a trial that was never paused"]
    assert not since > rule._min_time_slice
