"""The largest of several contrasts: its p accounts for the choice, its interval covers the largest truth."""

import math

import numpy as np
import pytest
from scipy import stats as reference

from dlx.stats import max_t, one_sample, peak_t

DRAWS = 2_000


def studies(count, units, k, seed=0, kind="independent"):
    """Contrasts (count, units, k) without an effect; ``shared``: all are to one reference."""
    rng = np.random.default_rng(seed)
    drawn = rng.standard_normal((count, units, k))
    return drawn - rng.standard_normal((count, units, 1)) if kind == "shared" else drawn


def test_one_contrast_is_a_t_test():
    values = np.random.default_rng(0).normal(0.4, 1.0, (12, 1))
    (place, found), known = max_t(values, 0.1), one_sample(values[:, 0], 0.1)
    assert place == 0
    assert (found.value, found.low, found.high) == pytest.approx((known.value, known.low, known.high), abs=1e-2)
    assert found.p == pytest.approx(known.p, abs=3e-3)
    assert found.p <= known.p


def test_equal_contrasts_cost_nothing_and_independent_ones_sidak():
    """With many units the correlation is known: the same contrast six times is one test, six of them are Šidák's."""
    rng = np.random.default_rng(5)
    values = rng.normal(size=(100, 6))
    values -= values.mean(axis=0)
    values = np.linalg.solve(np.linalg.cholesky(np.cov(values, rowvar=False)), values.T).T + 0.2  # every t is 2
    one = reference.t.sf(2.0, 99)
    assert max_t(values, draws=20_000)[1].p_greater == pytest.approx(1 - (1 - one) ** 6, rel=0.05)
    same = np.repeat(values[:, :1], 6, axis=1)
    assert one < max_t(same, draws=20_000)[1].p_greater < 2 * one  # the shrinking has its price


@pytest.mark.parametrize("kind", ["independent", "shared"])
@pytest.mark.parametrize("units", [3, 5, 10])
def test_size(units, kind):
    count = 600
    found = [max_t(study, draws=DRAWS)[1] for study in studies(count, units, 5, 1, kind)]
    error = math.sqrt(0.05 * 0.95 / count)
    assert np.mean([one.p_greater <= 0.05 for one in found]) <= 0.05 + 3 * error
    assert np.mean([one.low > 0 for one in found]) <= 0.025 + 2 * error
    naive = np.mean([reference.ttest_1samp(study, 0, alternative="greater").pvalue.min() <= 0.05
                     for study in studies(200, units, 5, 1, kind)])
    assert naive > 0.1


def test_the_interval_covers_the_largest_truth():
    truth, count = np.array([0.0, 0.5, 1.0, 0.9]), 600
    found = [max_t(study + truth, draws=DRAWS)[1] for study in studies(count, 8, 4, 2)]
    assert np.mean([one.low <= 1.0 <= one.high for one in found]) >= 0.95 - 2 * math.sqrt(0.05 * 0.95 / count)
    assert all(one.low <= one.value <= one.high for one in found)


def test_a_planted_peak_is_found_where_it_is():
    """Power lies between Bonferroni's and that of a test which knew the place (noncentral t)."""
    effect, units, count = 1.4, 10, 400
    plant = np.array([0.0, 0.0, effect, 0.0, 0.0])
    found = [max_t(study + plant, draws=DRAWS) for study in studies(count, units, 5, 4)]
    power = np.mean([one.p_greater <= 0.05 for _, one in found])
    bounds = [reference.nct.sf(reference.t.isf(level, units - 1), units - 1, effect * math.sqrt(units))
              for level in (0.01, 0.05)]
    assert bounds[0] - 0.05 <= power <= bounds[1] + 0.02
    assert np.mean([place == 2 for place, _ in found]) > 0.95


def ends(curves):
    """Each inner point's height above the first and above the last."""
    return curves[:, 1:-1] - curves[:, :1], curves[:, 1:-1] - curves[:, -1:]


def test_a_slope_is_no_peak():
    """The middle of a slope stands out from one end only."""
    rng, count = np.random.default_rng(6), 300
    found = [peak_t(*ends(rng.standard_normal((8, 6)) + 3.0 * np.arange(6)), draws=DRAWS)[1] for _ in range(count)]
    assert np.mean([one.p_greater <= 0.05 for one in found]) <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / count)
    place, found = peak_t(*ends(rng.standard_normal((8, 6)) + np.array([0, 0, 0, 9, 0, 2])))
    assert place == 2 and found.p_greater < 0.001 and found.low > 3
    assert found.value < 9  # from the higher of both ends


def test_the_estimate_is_of_the_nearer_end_though_the_other_is_less_certain():
    rng = np.random.default_rng(9)
    near, far = 5 + 0.3 * rng.standard_normal((5, 1)), 11 + 4 * rng.standard_normal((5, 1))
    _, found = peak_t(near, far)
    assert one_sample(far[:, 0]).p_greater > one_sample(near[:, 0]).p_greater
    assert found.value == pytest.approx(near.mean())
    assert found.low < found.value < found.high


def test_the_estimate_is_of_the_largest_contrast_though_another_is_more_certain():
    noise = np.random.default_rng(10).standard_normal((5, 2))
    rises = np.array([6.8, 7.8]) + noise * [0.1, 0.5]
    best, found = max_t(rises)
    assert best == 0 and found.value == pytest.approx(rises[:, 1].mean())
    assert found.low < found.value < found.high


def test_one_place_named_beforehand_is_the_weaker_of_two_tests():
    curve = np.random.default_rng(7).standard_normal((10, 3)) * 0.5 + [0, 1, 0.5]
    left, right = ends(curve)
    _, found = peak_t(left, right)
    known = [one_sample(side[:, 0]) for side in (left, right)]
    assert found.p_greater <= max(one.p_greater for one in known) + 1e-12
    assert found.low == pytest.approx(min(one.low for one in known))


def test_no_peak_at_all_is_refuted_without_correction():
    values = np.random.default_rng(8).standard_normal((10, 5)) - 2.0
    _, found = max_t(values)
    singles = [one_sample(column) for column in values.T]
    assert found.high == pytest.approx(max(one.high for one in singles)) and found.high < 0
    assert found.p_less == pytest.approx(max(one.p_less for one in singles))


@pytest.mark.parametrize("shift", [-1.0, 0.0, 0.4, 2.0])
def test_the_interval_agrees_with_the_p(shift):
    for study in studies(50, 6, 4, 9) + shift:
        _, found = max_t(study, 0.2, draws=DRAWS)
        if abs(found.p - 0.05) > 0.004:  # both are drawn
            assert (found.p <= 0.05) == (not found.low <= 0.2 <= found.high)


def test_contrasts_without_spread_and_with_holes():
    flat = np.tile([1.0, 2.0, 3.0], (8, 1))
    _, found = max_t(flat)
    assert found.p == found.smallest_p == 3 * 2.0**-7
    noisy = np.random.default_rng(0).standard_normal((8, 3))
    noisy[0, 1] = math.nan
    assert math.isnan(max_t(noisy)[1].p) and math.isnan(max_t(noisy[:1])[1].p)
    with pytest.raises(ValueError, match="at least one"):
        max_t(noisy[:, :0])


def test_a_level_beyond_the_draws_is_bonferronis():
    values = studies(1, 10, 4)[0] + 1.0
    _, found = max_t(values, level=1 - 1e-6, draws=DRAWS)
    assert found.low == pytest.approx(max(one_sample(column, level=1 - 1e-6 / 4).low for column in values.T))
    assert max_t(values, level=1.0)[1].low == -math.inf


def test_the_same_contrasts_give_the_same_p():
    values = np.random.default_rng(1).normal(0.4, 1.0, (10, 4))
    assert max_t(values) == max_t(values)
