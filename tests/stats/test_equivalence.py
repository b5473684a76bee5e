"""Equivalence: p and interval are statsmodels'."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import ttest_1samp
from statsmodels.stats.weightstats import DescrStatsW, ttost_ind

from dlx.stats import tost, tost_welch, welch

SAMPLES = st.lists(st.floats(-3, 3).map(lambda v: round(v, 3)), min_size=2, max_size=12).map(np.array)
MARGINS = st.sampled_from([0.05, 0.5, 2.0])


@given(SAMPLES, MARGINS)
def test_tost_is_schuirmanns(values, margin):
    assume(np.ptp(values) > 0)
    found = tost(values, margin)
    assert found.p == pytest.approx(DescrStatsW(values).ttost_mean(-margin, margin)[0], rel=1e-6, abs=1e-12)
    assert (found.low, found.high) == pytest.approx(DescrStatsW(values).tconfint_mean(0.1), rel=1e-6, abs=1e-9)


@given(SAMPLES, SAMPLES, MARGINS)
def test_tost_welch_is_schuirmanns(a, b, margin):
    assume(np.ptp(a) > 0 and np.ptp(b) > 0)
    found = tost_welch(a, b, margin)
    assert found.p == pytest.approx(ttost_ind(a, b, -margin, margin, usevar="unequal")[0], rel=1e-6, abs=1e-12)
    assert (found.value, found.n, found.test) == (pytest.approx(a.mean() - b.mean()), len(a) + len(b), "TOST (Welch)")
    assert (found.low, found.high) == pytest.approx((welch(a, b, level=0.9).low, welch(a, b, level=0.9).high))


@given(SAMPLES, MARGINS)
def test_beyond_the_margin_is_the_t_test_there(values, margin):
    assume(np.ptp(values) > 0)
    side = np.sign(values.mean()) or 1.0
    known = ttest_1samp(side * values, margin, alternative="greater").pvalue
    assert tost(values, margin).p_beyond == pytest.approx(min(1.0, 2 * known), rel=1e-6, abs=1e-12)
    assert tost(values, margin).p_beyond == tost(-values, margin).p_beyond


@given(SAMPLES, MARGINS)
def test_the_interval_agrees_with_the_p(values, margin):
    found = tost(values, margin)
    assume(abs(found.p - 0.05) > 1e-9)
    assert (found.p < 0.05) == (-margin < found.low and found.high < margin)


def test_equal_values_need_five():
    assert [tost(np.full(n, 0.1), 0.2).p for n in (2, 4, 5)] == [0.25, 0.0625, 0.03125]
    assert tost(np.full(5, 0.3), 0.2).p > 0.9
    assert tost(np.full(5, 0.1), 0.2).smallest_p == 0.03125
    assert np.isnan([tost(np.array([0.1]), 0.2).p, tost(np.array([0.1]), 0.2).p_beyond]).all()


def test_size_and_power_at_the_margin():
    rng, margin = np.random.default_rng(0), 1.0
    found = {truth: np.mean([tost(x, margin).p < 0.05 for x in rng.normal(truth, 0.5, (2_000, 10))])
             for truth in (0.0, 1.0)}
    assert found[1.0] <= 0.05 + 2 * (0.05 * 0.95 / 2_000) ** 0.5
    assert found[0.0] > 0.99


@pytest.mark.parametrize("margin", [0.0, -1.0, float("nan")])
def test_a_margin_is_positive(margin):
    with pytest.raises(ValueError, match="above 0"):
        tost(np.arange(3.0), margin)
