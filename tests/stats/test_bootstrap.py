"""A shared test set is a sample too: standard errors are SciPy's bootstrap, blocks those of Politis and White."""

import math

import numpy as np
import pytest
from arch.bootstrap import optimal_block_length
from scipy import stats as reference

from dlx.stats import block_bootstrap, block_length, item_bootstrap, one_sample


def series(rng, length, rho, count=1):
    """Autoregressive series (count, length) with variance 1 and mean 0."""
    noise = rng.standard_normal((count, length)) * math.sqrt(1 - rho**2)
    found = np.empty_like(noise)
    found[:, 0] = rng.standard_normal(count)
    for t in range(1, length):
        found[:, t] = rho * found[:, t - 1] + noise[:, t]
    return found


def test_of_one_unit_it_is_the_bootstrap_of_its_items():
    values = np.random.default_rng(0).exponential(1.0, (1, 300))
    found = item_bootstrap(values, draws=20_000)
    known = reference.bootstrap((values[0],), np.mean, n_resamples=20_000, rng=np.random.default_rng(1))
    half = reference.t.ppf(0.975, 299) * known.standard_error
    assert found.value == values.mean()
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.02)


def test_of_equal_items_it_is_the_t_interval_of_units():
    units = np.random.default_rng(0).standard_normal(6)
    found, known = item_bootstrap(np.repeat(units[:, None], 50, axis=1)), one_sample(units)
    assert (found.low, found.high, found.p, found.df) == pytest.approx((known.low, known.high, known.p, known.df))


@pytest.mark.parametrize("units", [3, 10])
def test_intervals_cover_over_new_units_and_new_items(units):
    """Values of items are shared by the units: the t interval over units alone covers far less."""
    rng, count, items = np.random.default_rng(units), 500, 60
    covered, naive = [], []
    for _ in range(count):
        values = rng.normal(size=(units, 1)) * 0.1 + rng.normal(size=items) + rng.normal(size=(units, items)) * 0.5
        found, over_units = item_bootstrap(values, draws=400), one_sample(values.mean(axis=1))
        covered.append(found.low <= 0 <= found.high)
        naive.append(over_units.low <= 0 <= over_units.high)
    assert 0.95 - 2 * math.sqrt(0.05 * 0.95 / count) <= np.mean(covered) <= 0.985
    assert np.mean(naive) < 0.85


def test_windows_of_a_series_cover_with_blocks_and_not_without():
    rng, count = np.random.default_rng(4), 400
    blocks, items = [], []
    for shared in series(rng, 400, 0.7, count):
        values = shared + rng.standard_normal((5, 1)) * 0.05 + rng.standard_normal((5, 400)) * 0.3
        for found, test in ((blocks, block_bootstrap), (items, item_bootstrap)):
            one = test(values, draws=400)
            found.append(one.low <= 0 <= one.high)
    assert np.mean(blocks) > 0.9  # the mean of 400 windows is worth that of 70
    assert np.mean(items) < 0.8


@pytest.mark.parametrize("rho", [0.0, 0.3, 0.8, -0.5])
@pytest.mark.parametrize("length", [30, 200, 2_000])
def test_the_block_length_is_politis_and_whites(length, rho):
    for values in series(np.random.default_rng(length), length, rho, 5):
        known = float(optimal_block_length(values)["circular"].iloc[0])
        assert block_length(values) == max(1, math.ceil(known))


@pytest.mark.parametrize("values", [np.ones(50), np.arange(5.0), np.array([1.0, math.nan] * 10)])
def test_a_block_of_one_where_nothing_is_known(values):
    assert block_length(values) == 1


def test_blocks_of_neighbours():
    """Blocks as long as a period leave nothing to chance; single items do not know of it."""
    wave = np.tile(np.sin(2 * np.pi * np.arange(10) / 10), 20) + np.random.default_rng(0).normal(0, 1e-3, (1, 200))
    assert block_bootstrap(wave, 10).high < 1e-3 < 0.05 < block_bootstrap(wave, 1).high
    assert block_bootstrap(wave, 1).high == item_bootstrap(wave).high
    assert block_bootstrap(wave, 10).test == "block bootstrap (10)"
    for block in (0, 101):
        with pytest.raises(ValueError, match=f"between 1 and 100 of 200 windows, not {block}"):
            block_bootstrap(wave, block)


def test_the_seed_alone_decides():
    values = np.random.default_rng(0).standard_normal((3, 40))
    assert item_bootstrap(values) == item_bootstrap(values)
    assert item_bootstrap(values).low != item_bootstrap(values, seed=1).low
    assert item_bootstrap(values).low == pytest.approx(item_bootstrap(values, seed=1).low, rel=0.1)


@pytest.mark.parametrize("values", [np.ones((3, 1)), np.array([[1.0, math.nan], [1.0, 2.0]]), np.ones((2, 5))], ids=str)
def test_what_cannot_be_resampled(values):
    found = item_bootstrap(values)
    assert math.isnan(found.p) and math.isnan(found.low)
