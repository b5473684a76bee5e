"""Corrections are statsmodels' and SciPy's; looks spend what Lan and DeMets say, and never more than alpha."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as reference
from statsmodels.stats.multitest import multipletests

from dlx.stats import benjamini_hochberg, holm, one_sample, spend

PS = st.lists(st.floats(0, 1), min_size=1, max_size=20).map(np.array)
LOOKS = st.sets(st.integers(1, 60), min_size=1, max_size=6).map(sorted)


@settings(max_examples=25)  # statsmodels takes 20 ms
@given(PS)
def test_holm_is_holms(p):
    np.testing.assert_allclose(holm(p), multipletests(p, method="holm")[1], rtol=1e-12)


@given(PS)
def test_benjamini_hochberg_is_scipys(p):
    np.testing.assert_allclose(benjamini_hochberg(p), reference.false_discovery_control(p), rtol=1e-12)


@pytest.mark.parametrize("correct", [holm, benjamini_hochberg])
@given(p=PS, holes=st.integers(0, 4), seed=st.integers(0, 99))
def test_a_test_without_a_p_stays_in_the_family(correct, p, holes, seed):
    order = np.random.default_rng(seed).permutation(p.size + holes)
    found = correct(np.concatenate([p, np.full(holes, math.nan)])[order])[np.argsort(order)]
    assert np.isnan(found[p.size :]).all()
    np.testing.assert_allclose(found[: p.size], correct(np.concatenate([p, np.ones(holes)]))[: p.size])


def test_nothing_to_correct():
    assert holm(np.array([])).size == benjamini_hochberg(np.array([])).size == 0


@given(LOOKS, st.sampled_from([0.01, 0.05, 0.1]))
def test_looks_spend_alpha_and_no_more(looks, alpha):
    spent = [spend(looks, look, alpha) for look in looks]
    assert sum(spent) == pytest.approx(alpha)
    assert min(spent) >= 0
    assert spend([7], 7, alpha) == pytest.approx(alpha)


def test_four_equal_looks_spend_what_the_tables_say():
    """Cumulative O'Brien–Fleming-type spending of a two-sided .05 (Lan and DeMets 1983, as R's ldbounds gives it)."""
    cumulative = np.cumsum([spend([5, 10, 15, 20], look) for look in (5, 10, 15, 20)])
    np.testing.assert_allclose(cumulative, [8.86e-5, 5.57e-3, 2.36e-2, 0.05], rtol=5e-3)


@pytest.mark.parametrize(("looks", "look", "message"), [
    ([5, 10], 7, "7 seeds was not declared: the looks are \\[5, 10\\]"),
    ([10, 5], 5, "rising"), ([], 5, "rising"), ([0, 5], 5, "rising"), ([5, 5], 5, "rising"),
])
def test_looks_that_cannot_be(looks, look, message):
    with pytest.raises(ValueError, match=message):
        spend(looks, look)


def test_looking_three_times_rejects_a_true_null_no_more_often_than_once():
    looks, studies = [5, 10, 20], 4_000
    values = np.random.default_rng(1).standard_normal((studies, looks[-1]))
    p = np.array([[one_sample(row[:n]).p for n in looks] for row in values])
    limits = [spend(looks, look) for look in looks]
    error = math.sqrt(0.05 * 0.95 / studies)
    assert np.mean((p <= limits).any(axis=1)) <= 0.05 + 2 * error
    assert np.mean((p <= limits).any(axis=1)) >= 0.03  # what the union bound costs
    assert np.mean((p <= 0.05).any(axis=1)) > 0.09  # looking without spending
