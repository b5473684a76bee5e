"""Trials that still run, in MLflow: their curves grow, and in the end each trial is one whole run."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_tracking import CELL, Trials, empty_database, home, key_of, outcome, slots, wait_until

from dlx.protocol import Slot
from dlx.records import FINAL, PRUNED, TUNE
from dlx.tracking.growing import Growing, Nursery
from dlx.tracking.rows import POINTS
from dlx.tracking.sender import Tracking

__all__ = ["empty_database", "home"]


def show(tracking: Tracking, number: int, steps: range, phase: str = FINAL) -> None:
    place = Slot(CELL, phase, 0, 0, json.dumps({"optimizer.lr": 0.1}))
    points = [("train/loss", step, 1.0 / (1 + step)) for step in steps]
    tracking.partial(key_of(number), number, {"trial": "Toy", "model.width": 32}, place, 1.7e9, points)


def test_a_curve_grows_and_ends_as_the_one_whole_run_of_its_trial(home: Path) -> None:
    trials = Trials(home)
    t = trials.tracking()
    t.start()
    show(t, 1, range(0, 8))
    wait_until(lambda: bool(t._mirror.growing.keys))
    client, (run,) = trials.client(), trials.runs()
    assert (run.info.status, run.data.tags["dlx.status"], run.data.tags["dlx.phase"]) == ("RUNNING", "running", FINAL)
    assert run.data.tags["mlflow.runName"] == "width=32 name=<b>bold</b> lr=0.1 seed=1"
    assert run.data.params == {"trial": "Toy", "model.width": "32"}
    show(t, 1, range(8, 15))
    wait_until(lambda: len(client.get_metric_history(run.info.run_id, "train/loss")) == 15)
    t.add(*trials.commit([outcome(1)]))
    t.landed([key_of(1)])
    assert t.close() is None
    trials.agree()


def test_a_trial_stored_under_another_key_and_one_that_was_stopped_leave_no_running_run(home: Path) -> None:
    trials = Trials(home)
    t = trials.tracking()
    t.start()
    for number in (1, 2, 3):
        show(t, number, range(5), TUNE)
    wait_until(lambda: len(t._mirror.growing.keys) == 3)
    t.add(*trials.commit([outcome(9, seed=1, status=PRUNED)], slots([9], phase=TUNE, search=0)))
    t.landed([key_of(1)])
    wait_until(lambda: len(trials.runs()) == 3 and key_of(1) not in t._mirror.growing)
    assert t.close() is None
    trials.agree()


def test_what_a_killed_driver_showed_is_cleared_by_the_next_run_and_another_homes_is_not(
    home: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    trials = Trials(home)
    assert trials.send() is None
    elsewhere = Trials(tmp_path_factory.mktemp("elsewhere"), trials.uri)
    for number, source in ((1, trials), (2, elsewhere)):
        killed = source.tracking()
        killed.start()
        show(killed, number, range(5))
        wait_until(lambda t=killed: bool(t._mirror.growing.keys))
        killed._abandoned = True
        killed._wake.set()
        killed._thread.join(30)
    trials.commit([outcome(3)])
    assert trials.send() is None
    assert trials.by_key().keys() == {key_of(2), key_of(3)}


def test_a_run_that_the_user_deleted_meanwhile_harms_nothing(home: Path) -> None:
    trials = Trials(home)
    t = trials.tracking()
    t.start()
    show(t, 1, range(3))
    wait_until(lambda: bool(t._mirror.growing.keys))
    trials.client().delete_run(trials.runs()[0].info.run_id)
    show(t, 1, range(3, 6))
    wait_until(lambda: not t._partial)
    t.add(*trials.commit([outcome(1)]))
    assert t.close() is None
    trials.agree()


@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=3), st.integers(1, 40))
def test_a_growing_curve_has_few_points_however_often_it_is_told(ends: list[int], calls: int) -> None:
    nursery, sent = Nursery("home", lambda cell: {}), []
    for end in sorted(ends):
        stride = max(1, end // 2_000)
        steps = list(range(0, end, stride))
        for i in range(calls):
            part = steps[i * len(steps) // calls:(i + 1) * len(steps) // calls]
            place = Slot(CELL, FINAL)
            points = nursery._due(Growing("k", 0, {}, place, 0.0, [("loss", s, 1.0) for s in part]))
            nursery._last |= {("k", p.metric): p.step for p in points}
            sent += [p.step for p in points]
    assert sent == sorted(set(sent)) and sent[0] == 0 and len(sent) <= POINTS
