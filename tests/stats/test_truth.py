"""Against known truth: intervals cover, true nulls are rejected as rarely as said, effects found with due power.

Studies are simulated by the thousand; each bound allows three standard errors of the simulation.
"""

import math

import numpy as np
import pytest
from scipy import stats as reference

from dlx.stats import one_sample, sign_flip, trimmed, welch

STUDIES = 4_000
LOCATION = {"t": one_sample, "exact": sign_flip, "trimmed": trimmed}


def noise(rate, studies=STUDIES):
    return 3 * math.sqrt(rate * (1 - rate) / studies)


def simulated(test, n, truth=0.0, seed=0, studies=STUDIES):
    return [test(row) for row in np.random.default_rng(seed).normal(truth, 1.0, (studies, n))]


def covering(found, truth):
    return np.mean([one.low <= truth <= one.high for one in found])


@pytest.mark.parametrize(("name", "n"), [("t", 5), ("t", 10), ("t", 20), ("exact", 10), ("trimmed", 10),
                                         ("trimmed", 20)])
def test_intervals_cover_and_nulls_stand(name, n):
    found = simulated(LOCATION[name], n, truth=0.7, seed=n)
    exact = name != "trimmed"  # whose t distribution is an approximation
    assert covering(found, 0.7) == pytest.approx(0.95, abs=noise(0.05) + (0 if exact else 0.01))
    size = np.mean([one.p <= 0.05 for one in simulated(LOCATION[name], n, seed=n + 1)])
    assert size <= 0.05 + noise(0.05) + (0 if exact else 0.01)


def test_the_percentile_bootstrap_covers_too_little_at_three_where_t_does_not():
    rng = np.random.default_rng(3)
    values = rng.standard_normal((2_000, 3))
    resampled = values[np.arange(2_000)[:, None, None], rng.integers(3, size=(2_000, 500, 3))].mean(axis=2)
    low, high = np.quantile(resampled, [0.025, 0.975], axis=1)
    assert np.mean((low <= 0) & (high >= 0)) == pytest.approx(0.71, abs=0.04)
    assert covering([one_sample(row) for row in values], 0.0) == pytest.approx(0.95, abs=noise(0.05, 2_000))


@pytest.mark.parametrize("n", [5, 10, 20])
def test_the_power_of_t_is_the_noncentral_ts(n):
    found, centre = simulated(one_sample, n, truth=0.8, seed=n), 0.8 * math.sqrt(n)
    critical = reference.t.ppf(0.975, n - 1)
    power = reference.nct.sf(critical, n - 1, centre) + reference.nct.cdf(-critical, n - 1, centre)
    assert np.mean([one.p <= 0.05 for one in found]) == pytest.approx(power, abs=noise(power))


@pytest.mark.parametrize(("n_a", "n_b", "spread"), [(5, 5, 1.0), (5, 10, 4.0), (10, 3, 0.5)])
def test_welch_covers_with_unequal_spreads(n_a, n_b, spread):
    rng = np.random.default_rng(n_a)
    a, b = rng.normal(1.0, 1.0, (STUDIES, n_a)), rng.normal(0.0, spread, (STUDIES, n_b))
    found = [welch(*pair) for pair in zip(a, b, strict=True)]
    assert covering(found, 1.0) == pytest.approx(0.95, abs=noise(0.05) + 0.01)  # Welch's t is an approximation
    assert np.mean([one.p <= 0.05 for one in map(welch, a - 1.0, b)]) <= 0.05 + noise(0.05) + 0.01


def test_exact_under_any_symmetric_noise_where_t_is_not():
    """Heavy tails: the sign flip keeps its size by construction."""
    values = np.random.default_rng(1).standard_cauchy((STUDIES, 8))
    assert np.mean([sign_flip(row).p <= 0.05 for row in values]) <= 0.05 + noise(0.05)
    assert np.mean([one_sample(row).p <= 0.05 for row in values]) < 0.03  # t has no power left


def test_the_interquartile_mean_is_narrower_under_outliers():
    rng = np.random.default_rng(2)
    values = rng.standard_normal((1_000, 20)) * np.where(rng.random((1_000, 20)) < 0.1, 10.0, 1.0)
    widths = {name: np.median([(one := test(row)).high - one.low for row in values])
              for name, test in (("t", one_sample), ("trimmed", trimmed))}
    assert widths["trimmed"] < 0.7 * widths["t"]
