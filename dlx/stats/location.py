"""Where a sample lies: t intervals, the exact sign-flip test, the trimmed mean.  Pairs: of their differences.

All take values (n,) and the ``null`` to test, both in the metric's units.  Fewer than two values, or one that is not
finite: interval and p are NaN (replace diverged values before, never drop them).
"""

import math

import numpy as np

from dlx.stats.estimate import Estimate, flat, student, unknown
from dlx.stats.grouped import LEVEL, Floats

TRIM = 0.25  # of each end: what is left is the interquartile mean
FEWEST_TRIMMED = 10  # Agarwal et al. 2021 take the interquartile mean from ten runs on
MOST_FLIPPED = 20  # 2²⁰ sign patterns: 8 MB, 30 ms
ROUNDING = 1e-12  # a spread below this share of the largest value is rounding, not spread


def one_sample(values: Floats, null: float = 0.0, level: float = LEVEL) -> Estimate:
    """The mean and its t interval (Student 1908).

    Without any spread: p is the sign-flip test's, 2/2ⁿ (see ``estimate.flat``), so that equal values count from six on.
    """
    n = values.size
    if not _usable(values):
        return unknown(_mean(values), null, level, "t", n)
    mean = _mean(values)
    if _without_spread(values):
        return flat(mean, null, level, 2.0 ** (1 - n), _near(mean, null, values), n)
    return student(mean, _spread(values) / math.sqrt(n), n - 1, null, level, "t", n)


def welch(a: Floats, b: Floats, null: float = 0.0, level: float = LEVEL) -> Estimate:
    """mean(a) − mean(b) of independent samples and its t interval without equal variances (Welch 1947).

    Its t is an approximation: five values against three with a spread four times as large reject a true null in 6 %
    instead of 5.  Without any spread in both: p is the permutation test's, 2/C(n, n_a).
    """
    n, difference = a.size + b.size, _mean(a) - _mean(b)
    if not (_usable(a) and _usable(b)):
        return unknown(difference, null, level, "Welch", n)
    if _without_spread(a) and _without_spread(b):
        same = _near(difference, null, np.concatenate([a, b]))
        return flat(difference, null, level, 2 / math.comb(n, a.size), same, n)
    error_a, error_b = _spread(a) / math.sqrt(a.size), _spread(b) / math.sqrt(b.size)
    error = math.hypot(error_a, error_b)
    share = (error_a / error) ** 2
    df = 1 / (share**2 / (a.size - 1) + (1 - share) ** 2 / (b.size - 1))
    return student(difference, error, df, null, level, "Welch", n)


def sign_flip(values: Floats, null: float = 0.0, level: float = LEVEL) -> Estimate:
    """The mean and its exact interval, of the test that flips the signs of values − null (Fisher 1935).

    Right where values are symmetric around their mean, as differences of exchangeable pairs are.  p_greater =
    (1 + #{subsets whose mean <= null}) / 2ⁿ over the 2ⁿ − 1 non-empty subsets, so the interval's ends are subset means
    (Hartigan 1969); they are infinite while 2/2ⁿ > 1 − level.

    :raises ValueError: more than 20 values
    """
    n = values.size
    if n > MOST_FLIPPED:
        raise ValueError(f"sign_flip takes {MOST_FLIPPED} values, not {n}: take one_sample.")
    if not _usable(values):
        return unknown(_mean(values), null, level, "sign flip", n)
    sums, sizes = np.zeros(1), np.zeros(1)
    for value in values - null:
        sums, sizes = np.concatenate([sums, sums + value]), np.concatenate([sizes, sizes + 1])
    rounding = ROUNDING * float(np.abs(values - null).sum())
    greater, less = (float(np.mean(side * sums <= rounding)) for side in (1, -1))  # the empty subset counts
    reached = np.sort(null + sums[1:] / sizes[1:])
    outside = math.floor((1 - level) / 2 * 2**n * (1 + ROUNDING))
    low, high = (float(reached[outside - 1]), float(reached[-outside])) if outside else (-math.inf, math.inf)
    p = min(1.0, 2 * min(greater, less))
    return Estimate(_mean(values), low, high, p, null, level, None, "sign flip", n, 2.0 ** (1 - n))


def trimmed(values: Floats, null: float = 0.0, level: float = LEVEL) -> Estimate:
    """The interquartile mean (a quarter of the values trimmed from each end) and its t interval (Yuen 1974).

    Squared error: Σ(winsorised − mean)² / (h(h − 1)) on h − 1 degrees of freedom, h values being left: of 10 or 20
    normal values a true null is rejected in 6 % instead of 5.  Without any spread among those left: as ``one_sample``
    of them.

    :raises ValueError: fewer than ten values
    """
    n = values.size
    if n < FEWEST_TRIMMED:
        raise ValueError(f"trimmed takes at least {FEWEST_TRIMMED} values, not {n}: take one_sample.")
    if not _usable(values):
        return unknown(math.nan, null, level, "trimmed t", n)
    cut = int(TRIM * n)
    kept = np.sort(values)[cut : n - cut]
    mean = _mean(kept)
    if _without_spread(kept):
        return flat(mean, null, level, 2.0 ** (1 - kept.size), _near(mean, null, kept), n)
    error = _spread(np.clip(values, kept[0], kept[-1])) * math.sqrt((n - 1) / (kept.size * (kept.size - 1)))
    return student(mean, error, kept.size - 1, null, level, "trimmed t", n)


def _mean(values: Floats) -> float:
    with np.errstate(invalid="ignore"):
        return float(values.mean()) if values.size else math.nan


def _usable(values: Floats) -> bool:
    return values.size > 1 and bool(np.isfinite(values).all())


def _spread(values: Floats) -> float:
    """The standard deviation; values are scaled, so that squares neither overflow nor vanish."""
    scale = float(np.abs(values).max())
    return float((values / scale).std(ddof=1)) * scale if scale else 0.0


def _without_spread(values: Floats) -> bool:
    return bool(np.ptp(values) <= ROUNDING * np.abs(values).max())


def _near(value: float, null: float, values: Floats) -> bool:
    return abs(value - null) <= ROUNDING * max(abs(null), float(np.abs(values).max()))
