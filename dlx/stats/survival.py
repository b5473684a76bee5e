"""Times to an event, some of them censored: seen (n,) is False where the event had not come by the time (n,)."""

import math
from itertools import chain, combinations

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from dlx.stats.estimate import Estimate
from dlx.stats.grouped import LEVEL, Floats

Flags = NDArray[np.bool_]
MOST_ARRANGEMENTS = 200_000  # ten against ten: 184,756
ROUNDING = 1e-12


def log_rank(times_a: Floats, seen_a: Flags, times_b: Floats, seen_b: Flags, level: float = LEVEL) -> Estimate:
    """The log hazard ratio of a to b (> 0: a's events come sooner) with the log-rank test (Mantel 1966).

    Peto's one step (O − E)/V with error 1/√V: the interval agrees with the p, is finite when all of a come before b,
    and is drawn towards 0 when the ratio is beyond ~3.  The p is asymptotic, too small below ~10 events an arm.
    Without events: value NaN, p 1.

    :raises ValueError: a time that is not finite
    """
    times, seen, in_a = _pooled(times_a, seen_a, times_b, seen_b)
    events = np.unique(times[seen])
    at_risk = times >= events[:, None]  # (events, n)
    risk, risk_a = at_risk.sum(axis=1), (at_risk & in_a).sum(axis=1)
    died = ((times == events[:, None]) & seen).sum(axis=1)
    excess = float(seen_a.sum() - (died * risk_a / np.maximum(risk, 1)).sum())
    share = risk_a / np.maximum(risk, 1)
    variance = float((died * share * (1 - share) * (risk - died) / np.maximum(risk - 1, 1)).sum())
    if variance <= 0:
        return Estimate(math.nan, -math.inf, math.inf, 1.0, 0.0, level, None, "log-rank", times.size)
    value, half = excess / variance, float(ndtri((1 + level) / 2)) / math.sqrt(variance)
    p = 2 * float(ndtr(-abs(excess) / math.sqrt(variance)))
    return Estimate(value, value - half, value + half, p, 0.0, level, None, "log-rank", times.size)


def log_rank_exact(times_a: Floats, seen_a: Flags, times_b: Floats, seen_b: Flags, level: float = LEVEL) -> Estimate:
    """``log_rank`` with the exact p over all C(n, n_a) exchanges of arms, of the same O − E (Peto and Peto 1972).

    Arms are censored alike (at the last step).  The interval stays Peto's.  p = twice the smaller tail.

    :raises ValueError: a time that is not finite, or more than 200,000 exchanges (ten against ten)
    """
    times, seen, in_a = _pooled(times_a, seen_a, times_b, seen_b)
    n, n_a = times.size, times_a.size
    arrangements = math.comb(n, n_a)
    if arrangements > MOST_ARRANGEMENTS:
        raise ValueError(f"log_rank_exact takes {MOST_ARRANGEMENTS:,} exchanges, not {arrangements:,}: take log_rank.")
    found = log_rank(times_a, seen_a, times_b, seen_b, level)
    events, died = np.unique(times[seen], return_counts=True)
    hazard = died / (times >= events[:, None]).sum(axis=1)
    scores = seen - (events <= times[:, None]) @ hazard
    chosen = np.fromiter(chain.from_iterable(combinations(range(n), n_a)), np.int64, arrangements * n_a)
    excess, observed = scores[chosen.reshape(arrangements, n_a)].sum(axis=1), float(scores[in_a].sum())
    sooner, later = (np.mean(side * (excess - observed) >= -ROUNDING * n) for side in (1, -1))
    p, smallest = min(1.0, 2 * float(min(sooner, later))), min(1.0, 2 / arrangements)
    return Estimate(found.value, found.low, found.high, p, 0.0, level, None, "exact log-rank", n, smallest)


def median_time(times: Floats, seen: Flags) -> float:
    """The median time (Kaplan and Meier 1958), in the unit of times (n,): infinite where half never get there."""
    left = 1.0
    for time in np.unique(times[seen]):
        left *= 1 - np.sum((times == time) & seen) / np.sum(times >= time)
        if left <= 0.5 + ROUNDING:
            return float(time)
    return math.inf


def _pooled(times_a: Floats, seen_a: Flags, times_b: Floats, seen_b: Flags) -> tuple[Floats, Flags, Flags]:
    """All times, which were seen, and which are a's."""
    times, seen = np.concatenate([times_a, times_b]), np.concatenate([seen_a, seen_b]).astype(bool)
    if not np.isfinite(times).all():
        raise ValueError("Times are finite: what was not seen has the time at which it was last looked at.")
    return times, seen, np.arange(times.size) < times_a.size
