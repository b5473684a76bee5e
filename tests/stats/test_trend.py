"""Slopes, correlations and steps are SciPy's within each unit, tested over units; power laws are found again."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as reference

from dlx.stats import correlations, fit_power_law, isotone, slopes

X = np.array([1.0, 2.0, 4.0, 5.0, 8.0])
SEEDS = st.integers(0, 10_000)


def draws(seed, units=6):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(units, X.size)) + rng.normal() * X


@given(SEEDS, st.sampled_from([0.0, -1.0]))
def test_slopes_are_tested_over_units(seed, null):
    y = draws(seed)
    each = np.array([reference.linregress(X, row).slope for row in y])
    found, known = slopes(X, y, null=null), reference.ttest_1samp(each, null)
    assert (found.value, found.p) == (pytest.approx(each.mean()), pytest.approx(known.pvalue))
    assert (found.low, found.high) == pytest.approx(tuple(known.confidence_interval()))
    assert (found.n, found.df) == (len(y), len(y) - 1)


def test_a_slope_needs_two_points_and_whole_curves():
    with pytest.raises(ValueError, match="two different values"):
        slopes(np.ones(3), np.ones((4, 3)))
    y = draws(0)
    y[2, 3] = math.nan
    assert np.isnan(slopes(X, y).p)
    assert np.isnan(slopes(X, draws(0, units=1)).low)


@given(SEEDS)
def test_a_power_law_is_the_line_through_logarithms(seed):
    y = np.exp(draws(seed)[0])
    found, known = fit_power_law(X, y), reference.linregress(np.log(X), np.log(y))
    half = reference.t.ppf(0.975, X.size - 2) * known.stderr
    assert found.exponent.value == pytest.approx(known.slope)
    assert (found.exponent.low, found.exponent.high) == pytest.approx((known.slope - half, known.slope + half))
    assert (found.exponent.p, found.r2) == pytest.approx((known.pvalue, known.rvalue**2))
    assert found.factor == pytest.approx(math.exp(known.intercept))


def test_an_exact_power_law_is_found_again():
    found = fit_power_law(X, 3.0 * X**-0.7)
    assert (found.exponent.value, found.factor, found.r2) == pytest.approx((-0.7, 3.0, 1.0))
    two = fit_power_law(X[:2], X[:2] ** 2)
    assert two.exponent.value == pytest.approx(2.0) and math.isnan(two.exponent.low)
    assert fit_power_law(X, np.ones(5)).r2 == 1.0


@pytest.mark.parametrize(("x", "y"), [([1, 2], [1, 0]), ([0, 2], [1, 1]), ([2, 2], [1, 3]), ([1, 2], [1, math.inf])])
def test_a_power_law_of_what_has_no_logarithm(x, y):
    with pytest.raises(ValueError, match="positive finite"):
        fit_power_law(np.array(x, float), np.array(y, float))


@pytest.mark.parametrize(("kind", "known"), [("pearson", reference.pearsonr), ("spearman", reference.spearmanr)])
@given(seed=SEEDS)
def test_correlations_are_averaged_as_fishers_z(kind, known, seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(5, 30))
    y = 0.5 * x + rng.normal(size=(5, 30))
    z = np.arctanh([known(a, b).statistic for a, b in zip(x, y, strict=True)])
    tested = reference.ttest_1samp(z, math.atanh(0.2))
    found = correlations(x, y, null=0.2, kind=kind)
    assert (found.value, found.p) == pytest.approx((math.tanh(z.mean()), tested.pvalue))
    assert (found.low, found.high) == pytest.approx(tuple(np.tanh(tested.confidence_interval())))


def test_correlations_without_limits():
    rising, level = np.tile(np.arange(5.0), (6, 1)), np.ones((6, 5))
    assert correlations(rising, rising).p == 2.0**-5  # six equal values
    assert correlations(rising, rising**3, kind="spearman").value == pytest.approx(1 - 6 / 120)
    assert correlations(rising, -rising).value == pytest.approx(-1.0)
    for kind in ("pearson", "spearman"):
        assert math.isnan(correlations(rising, level, kind=kind).p)
        assert math.isnan(correlations(rising, np.where(rising > 3, math.nan, rising), kind=kind).p)
    with pytest.raises(ValueError, match="three points, not 2"):
        correlations(rising[:, :2], rising[:, :2])


def test_intervals_of_correlations_cover():
    rng, truth, studies = np.random.default_rng(0), 0.6, 2_000
    mixed = np.linalg.cholesky([[1, truth], [truth, 1]]) @ rng.standard_normal((studies, 8, 2, 60))
    found = [correlations(study[:, 0], study[:, 1]) for study in mixed]
    covered = np.mean([one.low <= truth <= one.high for one in found])
    assert covered == pytest.approx(0.95, abs=3 * math.sqrt(0.95 * 0.05 / studies))


@given(SEEDS)
def test_isotone_is_the_weakest_step(seed):
    y = draws(seed)
    found = isotone(y)
    known = [reference.ttest_1samp(step, 0.0, alternative="greater").pvalue for step in np.diff(y, axis=1).T]
    assert found.p_greater == pytest.approx(max(known))
    assert found.value == pytest.approx(np.diff(y.mean(axis=0))[int(np.argmax(known))])


def test_isotone_keeps_its_size_where_one_step_does_not_rise():
    rng, studies = np.random.default_rng(3), 2_000
    course = np.array([0.0, 5.0, 5.0, 10.0])
    rejected = np.mean([isotone(y).p_greater <= 0.05 for y in course + rng.standard_normal((studies, 10, 4))])
    assert rejected == pytest.approx(0.05, abs=3 * math.sqrt(0.05 * 0.95 / studies))
    assert isotone(np.array([0.0, 5.0, 10.0]) + rng.standard_normal((10, 3))).p_greater < 1e-3


def test_a_course_with_a_hole_is_not_monotone():
    y = draws(0)
    y[0, 4] = math.nan
    assert math.isnan(isotone(y).p)
    with pytest.raises(ValueError, match="two points"):
        isotone(y[:, :1])
