"""Two runs of a trial are one in every bit, one but for rounding, parted by chaos, or two computations."""

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from dlx.discrepancy import APART, BEGINNING, EARLY, Pair, agreement, distance, judge, pairs, same, tolerance

NUMBERS = st.floats(allow_nan=True, allow_infinity=True)
FINITE = st.floats(-1e6, 1e6).filter(lambda x: abs(x) > 1e-6)
STEPS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
FLOAT32 = tolerance("float32")


def curves(values, metric="test/loss", steps=STEPS):
    return {metric: dict(zip(steps, values, strict=True))}


def verdict(stored, again, spread=None, dtype="float32", final=None):
    """Of two curves and their last values, or of other final values."""
    last = final or tuple({m: list(c.values())[-1] for m, c in run.items()} for run in (stored, again))
    found = pairs(*last, dict.fromkeys(last[0], spread) if spread is not None else {})
    together, _ = agreement(stored, again, tolerance(dtype))
    return judge(found, stored, again, together, tolerance(dtype))


def grown(start, factor, at=5):
    """A curve, and another that differs by ``start`` from the first step on, by ``factor`` more a step from ``at``."""
    curve = [2.0 / (1 + i) for i in range(len(STEPS))]
    return curve, [v * (1 + start * factor ** max(0, i - at)) for i, v in enumerate(curve)]


@given(a=NUMBERS, b=NUMBERS)
def test_distances_are_symmetric_and_vanish_for_equal_numbers_alone(a, b):
    assert distance(a, b) == distance(b, a)
    assert (distance(a, b) == 0) == same(a, b) or abs(a - b) / max(abs(a), abs(b)) == 0
    assert distance(a, a) == 0


@given(a=FINITE, share=st.floats(1e-9, 0.5))
def test_a_distance_is_the_share_of_the_larger_number(a, share):
    assert distance(a, a * (1 - share)) == pytest.approx(share, rel=1e-6)
    assert distance(a * 1024, a * (1 - share) * 1024) == distance(a, a * (1 - share))


@pytest.mark.parametrize(("a", "b"), [(1.0, math.nan), (math.inf, 1.0), (math.inf, -math.inf), (math.nan, math.inf)])
def test_a_number_that_is_not_finite_is_like_no_other(a, b):
    assert distance(a, b) == math.inf


@given(st.lists(NUMBERS, min_size=len(STEPS), max_size=len(STEPS)))
def test_a_run_is_equal_to_itself(values):
    assert verdict(curves(values), curves(values)) == "equal"
    assert agreement(curves(values), curves(values), 0.0) == (STEPS[-1], STEPS[-1])


@given(st.lists(FINITE, min_size=len(STEPS), max_size=len(STEPS)), st.integers(0, len(STEPS) - 1))
def test_one_bit_is_rounding(values, place):
    other = list(values)
    other[place] = math.nextafter(values[place], math.inf)
    assert verdict(curves(values), curves(other)) == "close"


def test_what_begins_together_and_ends_as_near_as_another_seed_has_parted():
    stored, again = map(curves, grown(1e-7, 30.0))
    assert agreement(stored, again, FLOAT32) == (64, 256)
    difference = abs(stored["test/loss"][256] - again["test/loss"][256])
    assert verdict(stored, again, spread=difference) == "parted"
    assert verdict(stored, again, spread=1.01 * difference / APART) == "parted"
    assert verdict(stored, again, spread=0.99 * difference / APART) == "different"
    assert verdict(stored, again) == "different"  # there is nothing to compare the difference with


def test_in_float64_less_is_rounding():
    stored, again = map(curves, grown(1e-9, 1.0))
    assert verdict(stored, again) == "close"
    assert verdict(stored, again, dtype="float64", spread=1.0) == "different"


@pytest.mark.parametrize("place", range(BEGINNING))
def test_another_computation_is_seen_at_the_first_steps(place):
    """A learning rate that is off by 0.1 % changes the loss after one step by far more than rounding does."""
    values = [2.0 / (1 + i) for i in range(len(STEPS))]
    other = values[:place] + [v * (1 + 1e-3) for v in values[place:]]
    assert verdict(curves(values), curves(other), spread=1.0) == "different"


def test_a_final_value_that_its_own_curve_contradicts_is_different():
    values = [2.0 / (1 + i) for i in range(len(STEPS))]
    final = {"test/loss": values[-1]}, {"test/loss": values[-1] * 1.001}
    assert verdict(curves(values), curves(values), spread=1.0, final=final) == "different"


def test_a_sample_on_the_border_may_change_sides():
    loss = [2.0 / (1 + i) for i in range(len(STEPS))]
    error = [0.5] * len(STEPS)
    flipped = [0.5] * 2 + [0.499] * (len(STEPS) - 2)
    stored, again = curves(loss) | curves(error, "test/error"), curves(loss) | curves(flipped, "test/error")
    assert verdict(stored, again) == "close"
    more = curves(loss) | curves([e - 0.01 for e in error], "test/error")
    assert verdict(stored, more, spread=1.0) == "different"


@given(st.integers(0, len(STEPS)))
def test_measuring_too_rarely_tells_nothing(agreeing):
    """The first agreeing steps, and those that part, lie beyond where rounding alone may part them."""
    late = [EARLY + s for s in STEPS]
    values = [2.0 / (1 + i) for i in range(len(STEPS))]
    other = values[:agreeing] + [v * 1.5 for v in values[agreeing:]]
    found = verdict(curves(values, steps=late), curves(other, steps=late), spread=10.0)
    assert found == ("equal" if agreeing == len(STEPS) else "parted" if agreeing >= BEGINNING else "unknown")


@given(value=FINITE, share=st.floats(-0.5, 0.5))
def test_without_curves_only_rounding_is_excused(value, share):
    assume(share == 0 or not 0.5 * FLOAT32 < abs(share) < 2 * FLOAT32)
    found = (Pair("cost", value, value * (1 + share), spread=1e9),)
    expected = "equal" if value * (1 + share) == value else "close" if abs(share) < FLOAT32 else "different"
    assert judge(found, {}, {}, None, FLOAT32) == expected


def test_only_what_both_runs_measured_is_compared():
    assert [p.metric for p in pairs({"a": 1.0, "b": 2.0}, {"b": 2.0, "c": 3.0}, {})] == ["b"]
    assert judge((), {"a": {1: 1.0}}, {"c": {1: 1.0}}, None, FLOAT32) == "unknown"
    assert agreement({"a": {1: 1.0, 2: 9.0}}, {"a": {1: 1.0, 3: 7.0}}, FLOAT32) == (1, 1)
