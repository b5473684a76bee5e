import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

import dlx
from dlx import data, metrics, models, optim
from dlx.errors import DeclarationError
from dlx.pack import Member, Pack, Resources
from dlx.worker import run_pack

VALUES = st.lists(st.floats(-10, 10) | st.just(math.nan), min_size=1, max_size=20)


@given(VALUES, st.floats(-10, 10))
def test_nothing_before_a_crossing_is_beyond_it(values, threshold):
    curves = {"train/loss": (list(range(len(values))), values)}
    step = metrics.crossing("fit", "train/loss", below=threshold).measure_curves(curves)
    before = values if step is None else values[: int(step)]
    assert not any(x <= threshold for x in before)
    assert step is None or values[int(step)] <= threshold


@given(VALUES, st.floats(-10, 10))
def test_rising_is_the_mirror_of_falling(values, threshold):
    steps = list(range(len(values)))
    falling = metrics.crossing("x", "a", below=threshold).measure_curves({"a": (steps, values)})
    rising = metrics.crossing("x", "a", above=-threshold).measure_curves({"a": (steps, [-x for x in values])})
    assert falling == rising


def test_a_value_is_taken_where_it_is_next_measured():
    curves = {"train/loss": ([1, 5, 10, 20], [2.0, 1.0, 0.5, 0.7]), "train/sharpness": ([1, 12, 20], [3.0, 4.0, 5.0])}
    assert metrics.crossing("s", "train/loss", below=0.5, value="train/sharpness").measure_curves(curves) == 4.0
    assert metrics.crossing("s", "train/loss", below=0.1, value="train/sharpness").measure_curves(curves) is None
    assert metrics.crossings([metrics.loss(), metrics.crossing("s", "train/loss", below=0.1)], curves) == {}


def test_a_step_is_counted_in_those_of_another_crossing():
    curves = {"train/error": ([1, 5, 10], [0.9, 0.1, 0.0]), "test/error": ([1, 5, 20, 60], [0.9, 0.9, 0.8, 0.1])}
    fitted = metrics.crossing("fitted", "train/error", below=0.1)
    delay = metrics.crossing("delay", "test/error", below=0.1, since=fitted)
    assert delay.reads == ("test/error", "train/error") and delay.measure_curves(curves) == 12.0
    assert dataclasses.replace(delay, below=0.0).measure_curves(curves) is None
    assert dataclasses.replace(delay, below=0.0, restricted=True).measure_curves(curves) == 12.0
    assert dataclasses.replace(delay, since=dataclasses.replace(fitted, below=-1.0)).measure_curves(curves) is None


def test_a_restricted_time_is_the_last_step_where_it_is_not_reached():
    curves = {"train/loss": ([1, 5, 20], [2.0, 1.0, math.nan])}
    reached, never = (metrics.crossing("t", "train/loss", below=b, restricted=True) for b in (1.0, 0.5))
    assert (reached.measure_curves(curves), never.measure_curves(curves)) == (5, 20)


METRICS = (
    metrics.loss(), metrics.weight_norm(), metrics.crossing("fit", "train/loss", below=2.0),
    metrics.crossing("norm", "train/loss", below=2.0, value="weights/weight_norm"),
    metrics.crossing("never", "train/loss", below=-1.0),
)


def training(chosen=METRICS):
    return dlx.Training(data=data.MNIST1D(n=100), model=models.MLP(width=16, depth=1), optimizer=optim.Adam(lr=0.03),
                        steps=40, metrics=chosen)


def test_trainings_return_what_their_curves_say(tmp_path):
    members = tuple(Member(f"{seed}", training(), seed) for seed in range(3))
    records = run_pack(Pack(members, Resources(), str(tmp_path)))
    for row in records.trials.to_pylist():
        found = dict(row["metrics"])
        curve = {r["metric"]: dict(zip(r["step"], r["value"], strict=True)) for r in records.history.to_pylist()
                 if r["key"] == row["key"]}
        first = min(step for step, loss in curve["train/loss"].items() if loss <= 2.0)
        assert found["crossing/fit"] == first
        assert found["crossing/norm"] == curve["weights/weight_norm"][first]
        assert "crossing/never" not in found and row["status"] == "completed"


@pytest.mark.parametrize(("crossing", "said"), [
    (metrics.crossing("fit", "train/los", below=0.1), "did you mean 'train/loss'"),
    (metrics.crossing("fit", "train/loss", below=0.1, value="weights/normal"), "'weights/normal'"),
    (metrics.crossing("fit", "train/loss"), "one of below= and above="),
    (metrics.crossing("fit", "train/loss", below=math.inf), "finite"),
    (metrics.crossing("", "train/loss", below=0.1), "called is empty"),
    (metrics.crossing("late", "train/loss", below=0.1, value="train/loss", restricted=True), "without value= only"),
    (metrics.crossing("late", "train/loss", below=0.1, since=metrics.crossing(
        "fit", "train/loss", below=0.1, value="train/loss")), "leave value= of since= out"),
    (metrics.crossing("late", "train/loss", below=0.1, since=metrics.crossing("fit", "train/x", below=0.1)),
     "'train/x'"),
])
def test_what_cannot_be_is_said_at_the_declaration(crossing, said):
    template = training((metrics.loss(), metrics.weight_norm(), crossing))
    with pytest.raises(DeclarationError, match=said):
        dlx.Study(name="x", question="x?", template=template).space.check()


def test_its_name_is_known_to_claims():
    assert "crossing/fit" in training().metric_names()
