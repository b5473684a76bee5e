import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dlx import metrics

WHENS = st.one_of(
    st.builds(metrics.LogSpaced, st.integers(1, 60)), st.builds(metrics.Every, st.integers(1, 2_000)),
    st.builds(metrics.At, st.lists(st.integers(1, 2_000), max_size=5).map(tuple)),
)


@given(WHENS, st.integers(1, 3_000))
def test_steps_are_in_order_within_the_total_and_end_with_it(when, total):
    steps = when.steps(total)
    assert isinstance(when, metrics.When)
    assert steps == sorted(set(steps)) and steps[0] >= 1 and steps[-1] == total
    assert all(type(step) is int for step in steps)


@given(st.integers(2, 60), st.integers(1, 10**6))
def test_log_spaced_equals_numpy(points, total):
    expected = np.geomspace(1, total, points)
    steps = metrics.LogSpaced(points).steps(total)
    assert len(steps) <= points
    for x in expected:
        assert min(abs(step - x) for step in steps) <= 0.5 + 1e-6 * x


def test_at_and_every():
    assert metrics.At((700, 5, 5)).steps(600) == [5, 600]
    assert metrics.Every(250).steps(600) == [250, 500, 600]
    assert metrics.Every(300).steps(600) == [300, 600]


def test_only_is_a_metric_with_steps_of_its_own():
    sometimes = metrics.only(metrics.sharpness(), metrics.At((10, 100)))
    assert isinstance(sometimes, metrics.Metric) and sometimes.name == "sharpness"
    kinds = (metrics.OutputMetric, metrics.WeightMetric, metrics.LossMetric, metrics.NetworkMetric)
    assert not isinstance(sometimes, kinds)  # it says when, the metric in it says what
    assert sometimes.when.steps(1_000) == [10, 100, 1_000]
