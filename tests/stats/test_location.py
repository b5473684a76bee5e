"""Means, their intervals and tests are SciPy's; samples too small, flat or broken for a t say so."""

import math
from dataclasses import astuple

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats as reference

from dlx.stats import one_sample, sign_flip, trimmed, welch

VALUES = st.floats(-100, 100).map(lambda v: round(v, 3))
NULLS = st.sampled_from([-1.0, 0.0, 0.3])
LEVELS = st.sampled_from([0.8, 0.95, 0.99])


def samples(least=2, most=12):
    return st.lists(VALUES, min_size=least, max_size=most).map(np.array)


def agrees(found, p, interval=None):
    assert found.p == pytest.approx(p, rel=1e-6, abs=1e-12)
    if interval is not None:
        assert (found.low, found.high) == pytest.approx((interval.low, interval.high), rel=1e-6, abs=1e-6)


@given(samples(), NULLS, LEVELS)
def test_one_sample_is_the_t_test(values, null, level):
    assume(np.ptp(values) > 0)
    found, known = one_sample(values, null, level), reference.ttest_1samp(values, null)
    agrees(found, known.pvalue, known.confidence_interval(level))
    assert (found.value, found.df, found.n) == (pytest.approx(values.mean()), known.df, len(values))
    for side, p in (("greater", found.p_greater), ("less", found.p_less)):
        assert p == pytest.approx(reference.ttest_1samp(values, null, alternative=side).pvalue, rel=1e-6, abs=1e-12)


@given(samples(), samples(), NULLS, LEVELS)
def test_welch_is_the_t_test_without_equal_variances(a, b, null, level):
    assume(np.ptp(a) > 0 and np.ptp(b) > 0)
    known = reference.ttest_ind(a - null, b, equal_var=False)
    found, ends = welch(a, b, null, level), known.confidence_interval(level)
    agrees(found, known.pvalue)
    assert (found.low - null, found.high - null) == pytest.approx((ends.low, ends.high), rel=1e-6, abs=1e-6)
    assert (found.value, found.df) == (pytest.approx(a.mean() - b.mean()), pytest.approx(known.df))


@given(samples(2, 10), NULLS)
def test_sign_flip_is_the_exact_permutation_test(values, null):
    found = sign_flip(values, null)
    for side, p in (("two-sided", found.p), ("greater", found.p_greater)):
        if side == "greater" and not found.value > null:
            continue  # the other tail counts one outcome, however many are tied with it
        known = reference.permutation_test(
            (values - null,), lambda x, axis: x.mean(axis), permutation_type="samples", n_resamples=np.inf,
            alternative=side, vectorized=True,
        )
        assert p == pytest.approx(known.pvalue)


@given(samples(6, 10), LEVELS)
def test_the_interval_of_the_sign_flip_holds_what_it_does_not_reject(values, level):
    assume(len(np.unique(values)) == len(values))
    found, step = sign_flip(values, 0.0, level), 1e-7
    for end, inwards in ((found.low, step), (found.high, -step)):
        if math.isfinite(end):
            assert sign_flip(values, end + inwards).p > 1 - level
            assert sign_flip(values, end - inwards).p <= 1 - level + 1e-12
    assert math.isinf(found.low) == math.isinf(found.high) == (found.smallest_p > 1 - level)


def test_the_sign_flip_says_what_it_can_reach():
    assert [sign_flip(np.arange(1.0, n + 1)).p for n in (3, 5, 6)] == [0.25, 0.0625, 0.03125]
    assert [sign_flip(np.arange(1.0, n + 1)).smallest_p for n in (3, 5, 6)] == [0.25, 0.0625, 0.03125]
    assert sign_flip(np.arange(1.0, 21.0)).p == 2.0**-19
    with pytest.raises(ValueError, match="takes 20 values, not 21: take one_sample"):
        sign_flip(np.arange(21.0))


@given(samples(10, 30), NULLS, LEVELS)
def test_trimmed_is_yuens_test_of_the_interquartile_mean(values, null, level):
    kept = np.sort(values)[len(values) // 4 : len(values) - len(values) // 4]
    assume(np.ptp(kept) > 0)
    found = trimmed(values, null, level)
    known = reference.ttest_ind(values, np.full(10, null), equal_var=False, trim=0.25)  # the other sample has no error
    agrees(found, known.pvalue)
    assert found.value == pytest.approx(reference.trim_mean(values, 0.25))
    ends = known.confidence_interval(level)
    assert (found.low - null, found.high - null) == pytest.approx((ends.low, ends.high), rel=1e-6, abs=1e-6)


def test_trimmed_takes_ten():
    with pytest.raises(ValueError, match="at least 10 values, not 9"):
        trimmed(np.arange(9.0))


TESTS = {"one_sample": one_sample, "sign_flip": sign_flip, "trimmed": trimmed}


@pytest.mark.parametrize("test", TESTS.values(), ids=TESTS)
@given(values=samples(10, 12), shift=VALUES, scale=st.floats(0.1, 10), seed=st.integers(0, 99))
def test_shift_scale_order_and_sign(test, values, shift, scale, seed):
    assume(np.ptp(np.sort(values)[3:-3]) > 0.1)
    plain = test(values, 0.3)
    order = np.random.default_rng(seed).permutation(len(values))
    moved = test((scale * values + shift)[order], scale * 0.3 + shift)
    mirrored = test(-values, -0.3)
    for moment in ("value", "low", "high"):
        wanted = scale * getattr(plain, moment) + shift
        assert getattr(moved, moment) == pytest.approx(wanted, rel=1e-6, abs=1e-6), moment
    assert moved.p == pytest.approx(plain.p, rel=1e-6) == pytest.approx(mirrored.p, rel=1e-6)
    assert (mirrored.low, mirrored.high) == pytest.approx((-plain.high, -plain.low))
    assert mirrored.p_less == pytest.approx(plain.p_greater)


@pytest.mark.parametrize("test", [one_sample, sign_flip])
@pytest.mark.parametrize("values", [[], [1.0], [1.0, math.nan, 2.0], [1.0, math.inf]], ids=str)
def test_what_cannot_be_tested_has_no_interval_and_no_p(test, values):
    found = test(np.array(values))
    assert np.isnan([found.low, found.high, found.p, found.p_greater, found.p_less]).all()
    assert found.n == len(values)
    if values:
        np.testing.assert_equal(found.value, np.mean(values))
    mixed = welch(np.array([1.0, 2.0, 4.0]), np.array(values))
    assert np.isnan([mixed.low, mixed.high, mixed.p]).all()


@pytest.mark.parametrize("n", [2, 3, 5, 6, 12])
@pytest.mark.parametrize(("value", "null"), [(0.3, 0.0), (0.3, 0.3), (-2.0, 1.0), (0.0, 0.0)])
def test_equal_values_count_as_the_exact_test_counts_them(n, value, null):
    values = np.full(n, value)
    found, exact = one_sample(values, null), sign_flip(values, null)
    assert (found.p, found.p_greater, found.p_less) == (exact.p, exact.p_greater, exact.p_less)
    assert astuple(found)[1:3] == pytest.approx(astuple(exact)[1:3])
    assert found.smallest_p == exact.smallest_p
    if n > 6:
        return  # millions of permutations
    two = welch(values, np.zeros(n), null)
    known = reference.permutation_test(
        (values - null, np.zeros(n)), lambda a, b, axis: a.mean(axis) - b.mean(axis), n_resamples=np.inf)
    assert two.p == pytest.approx(known.pvalue)


@pytest.mark.parametrize("scale", [1e-250, 1e250])
def test_squares_neither_vanish_nor_overflow(scale):
    values = np.array([1.0, 2.0, 4.0, 3.0, 2.5, 1.5, 3.5, 0.5, 4.5, 2.2])
    for test in (one_sample, trimmed, sign_flip, lambda v, null: welch(v, v[:4], null)):
        plain, scaled = test(values, 0.1), test(scale * values, scale * 0.1)
        assert scaled.p == pytest.approx(plain.p)
        assert (scaled.low / scale, scaled.high / scale) == pytest.approx((plain.low, plain.high))


def test_equal_values_up_to_rounding_are_equal():
    differences = np.array([0.1 + 0.2, 0.3, 0.3, 0.4 - 0.1, 0.3])
    assert np.ptp(differences) > 0
    assert one_sample(differences).p == one_sample(differences, 0.1).p == 0.0625
    assert one_sample(differences, 0.3).p == 1.0


def test_quartiles_without_spread_count_as_the_exact_test_counts_them():
    values = np.array([0.0, 0.1, *[0.5] * 6, 0.9, 1.0])
    assert trimmed(values).p == 2 * 0.5**6
    assert trimmed(values, 0.5).p == 1.0
    assert np.isnan(trimmed(np.array([*values, math.nan])).p)


@pytest.mark.parametrize("n", [3, 5])
def test_two_valued_differences_would_deceive_a_p_of_zero(n):
    """Arms that do not differ, a metric with two values: all differences agree in 2/2ⁿ of the studies."""
    signs = 2.0 * (np.arange(2**n)[:, None] >> np.arange(n) & 1) - 1
    found = [one_sample(row) for row in signs]
    equal = [one for one, row in zip(found, signs, strict=True) if np.ptp(row) == 0]
    assert len(equal) / 2**n == 2 / 2**n == equal[0].p > 0.05
    assert all(one.p > 0.05 for one in found)
