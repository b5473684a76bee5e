"""Times to an event: the log-rank test is SciPy's, exact p are those of all exchanges, medians Kaplan and Meier's."""

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats as reference
from statsmodels.duration.hazard_regression import PHReg
from statsmodels.duration.survfunc import SurvfuncRight

from dlx.stats import log_rank, log_rank_exact, median_time

ARMS = st.lists(st.tuples(st.integers(1, 12).map(float), st.booleans()), min_size=1, max_size=15)
FEW = st.lists(st.tuples(st.integers(1, 4).map(float), st.booleans()), min_size=2, max_size=5)


def arm(rows):
    return np.array([time for time, _ in rows]), np.array([seen for _, seen in rows])


def censored(arm):
    return reference.CensoredData.right_censored(arm[0], ~arm[1])


@given(ARMS, ARMS)
def test_log_rank_is_scipys(a, b):
    a, b = arm(a), arm(b)
    found = log_rank(*a, *b)
    if math.isnan(found.value):
        assert (found.p, found.low, found.high) == (1.0, -math.inf, math.inf)
        return
    assert found.p == pytest.approx(reference.logrank(censored(a), censored(b)).pvalue, rel=1e-6)
    assert found.p_greater == pytest.approx(reference.logrank(censored(a), censored(b), alternative="greater").pvalue)
    swapped = log_rank(*b, *a)
    assert (swapped.value, swapped.low) == pytest.approx((-found.value, -found.high))


@given(ARMS, ARMS)
def test_the_interval_agrees_with_the_p(a, b):
    found = log_rank(*arm(a), *arm(b))
    assume(not math.isnan(found.value) and abs(found.p - 0.05) > 1e-9)
    assert (found.p < 0.05) == (not found.low <= 0 <= found.high)


def test_the_ratio_is_coxs_where_it_is_moderate():
    rng = np.random.default_rng(0)
    for ratio in (1.0, 1.5, 2.0):
        times = rng.exponential(1.0, 400) / np.repeat([ratio, 1.0], 200)
        seen, times = times < 1.5, np.minimum(times, 1.5)
        found = log_rank(times[:200], seen[:200], times[200:], seen[200:])
        cox = PHReg(times, np.repeat([1.0, 0.0], 200)[:, None], status=seen.astype(int)).fit()
        assert found.value == pytest.approx(cox.params[0], abs=0.05)
        assert (found.high - found.low) / 2 / 1.96 == pytest.approx(cox.bse[0], rel=0.05)


@settings(max_examples=50)
@given(FEW, FEW)
def test_the_exact_p_counts_all_exchanges(a, b):
    a, b = arm(a), arm(b)
    times, seen, size = np.concatenate([a[0], b[0]]), np.concatenate([a[1], b[1]]), len(a[0])

    def excess(order):
        """Events of the first arm, less what is expected of its share of those at risk."""
        here = np.isin(np.arange(times.size), order[:size])
        return sum(
            (seen & here & (times == t)).sum() - (seen & (times == t)).sum() * here[times >= t].mean()
            for t in np.unique(times[seen])
        )

    index = np.arange(times.size)
    known = reference.permutation_test(
        (index[:size], index[size:]), lambda x, y: excess(x.astype(int)), vectorized=False, n_resamples=np.inf)
    found = log_rank_exact(*a, *b)
    assert found.p == pytest.approx(known.pvalue)
    assert found.value == pytest.approx(log_rank(*a, *b).value, nan_ok=True)


def test_three_against_three_cannot_reach_a_twentieth():
    early, late, seen = np.array([1.0, 2.0, 3.0]), np.array([7.0, 8.0, 9.0]), np.ones(3, bool)
    exact = log_rank_exact(early, seen, late, seen)
    assert exact.p == exact.smallest_p == pytest.approx(2 / 20)
    assert log_rank(early, seen, late, seen).p < 0.03  # the asymptotic p is too small
    assert exact.value > 0 and exact.p_greater == pytest.approx(1 / 20)


def test_limits():
    times, seen = np.arange(11.0), np.ones(11, bool)
    with pytest.raises(ValueError, match="705,432: take log_rank"):
        log_rank_exact(times, seen, times, seen)
    with pytest.raises(ValueError, match="finite"):
        log_rank(np.array([math.inf]), np.array([True]), times, seen)
    assert log_rank_exact(times[:10], seen[:10], times[:10] + 20, seen[:10]).p == pytest.approx(2 / 184_756)


@given(ARMS)
def test_the_median_is_kaplan_and_meiers(rows):
    times, seen = arm(rows)
    surviving = SurvfuncRight(times, seen.astype(int))
    reached = surviving.surv_times[surviving.surv_prob <= 0.5 + 1e-12]
    assert median_time(times, seen) == (reached[0] if len(reached) else math.inf)


def test_a_null_is_rejected_as_rarely_as_it_says():
    rng, rejected, studies = np.random.default_rng(2), 0, 2_000
    for _ in range(studies):
        times = rng.exponential(1.0, (2, 6))
        a, b = np.minimum(times, 1.5)
        rejected += log_rank_exact(a, times[0] < 1.5, b, times[1] < 1.5).p <= 0.05
    assert rejected / studies <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / studies)
