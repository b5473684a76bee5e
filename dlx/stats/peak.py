"""A peak somewhere in a window: the largest of several contrasts, with the choice among them accounted for."""

import math

import numpy as np
from scipy.special import stdtrit

from dlx.stats.estimate import Estimate, unknown
from dlx.stats.grouped import LEVEL, Floats
from dlx.stats.location import one_sample

DRAWS = 100_000  # the standard error of a p of .05 is .0007
CHUNK = 2_000_000  # normal numbers at a time
SEED = 0


def max_t(contrasts: Floats, null: float = 0.0, level: float = LEVEL, draws: int = DRAWS) -> tuple[int, Estimate]:
    """Which of the contrasts (units, k) has the largest t, and the estimate of the largest mean contrast.

    Single-step max-t (Hothorn, Bretz and Westfall 2008): p_greater is the chance that the largest of k t statistics
    gets so large when all means are ``null``.  Its distribution is drawn as samples of ``units`` normal vectors with
    the correlation found, shrunk towards none by 2/(units − 1): each t has its own estimated scale, and one that all
    share, as in the multivariate t, rejects 7 % at five units.  Never more than Bonferroni's p, which stands alone
    where a contrast has no spread.  The upper end needs no correction: it bounds all means (intersection–union).

    :raises ValueError: no contrast
    """
    return _largest(contrasts[:, :, None], null, level, draws)


def peak_t(left: Floats, right: Floats, null: float = 0.0, level: float = LEVEL, draws: int = DRAWS) \
        -> tuple[int, Estimate]:
    """Which of k locations stands out most from both ends, and the estimate of by how much from the nearer end.

    ``left``, ``right`` (units, k): the value there minus the value at each end.  A location has the smaller of its two
    t; the largest of these is tested as in ``max_t``, over all 2k contrasts or by Bonferroni over k.

    :raises ValueError: no location
    """
    return _largest(np.stack([left, right], axis=2), null, level, draws)


def _largest(contrasts: Floats, null: float, level: float, draws: int) -> tuple[int, Estimate]:
    """max over locations of min over ends, of contrasts (units, locations, ends)."""
    units, places, ends = contrasts.shape
    if not places:
        raise ValueError("A largest contrast takes at least one contrast.")
    test, alpha = f"max-t over {places}", 1 - level
    strict = _singles(contrasts, null, 1 - alpha / places)
    wide = _singles(contrasts, null, 1 - alpha / ends)
    if any(math.isnan(one.p) for row in strict for one in row):
        return 0, unknown(math.nan, null, level, test, units)
    least = [max(row, key=lambda one: one.p_greater) for row in strict]  # of the two ends, the less certain
    best = min(range(places), key=lambda place: (least[place].p_greater, -least[place].value))
    greater, low = places * least[best].p_greater, max(min(one.low for one in row) for row in strict)
    less = max(ends * min(one.p_less for one in row) for row in wide)
    high = max(min(one.high for one in row) for row in wide)
    if all(one.df is not None for row in strict for one in row):
        means, errors = contrasts.mean(axis=0), contrasts.std(axis=0, ddof=1) / math.sqrt(units)
        drawn = _maxima(contrasts.reshape(units, -1), draws)
        reached = float(((means - null) / errors).min(axis=1).max())
        greater = min(greater, (1 + int((drawn >= reached).sum())) / (1 + draws))
        allowed = int(alpha / 2 * (1 + draws)) - 1  # as many draws may lie above
        critical = float(stdtrit(units - 1, 1 - alpha / 2 / places))
        critical = min(critical, float(np.sort(drawn)[-1 - allowed])) if allowed >= 0 else critical
        low = float((means - critical * errors).min(axis=1).max())
    p, smallest = min(1.0, 2 * min(greater, less)), least[best].smallest_p
    smallest = smallest and min(1.0, places * smallest)
    value = max(min(one.value for one in row) for row in strict)
    return best, Estimate(value, low, high, p, null, level, least[best].df, test, units, smallest)


def _singles(contrasts: Floats, null: float, level: float) -> list[list[Estimate]]:
    return [[one_sample(column, null, level) for column in place.T] for place in np.moveaxis(contrasts, 1, 0)]


def _maxima(contrasts: Floats, draws: int) -> Floats:
    """Draws of the largest of the t statistics of contrasts (units, m) whose means are 0."""
    units, m = contrasts.shape
    correlation = np.corrcoef(contrasts, rowvar=False).reshape(m, m)
    factor = np.linalg.cholesky(correlation + (np.eye(m) - correlation) * min(1.0, 2 / (units - 1)))
    rng, chunk, found = np.random.default_rng(SEED), max(1, CHUNK // (units * m)), []
    for start in range(0, draws, chunk):
        sample = rng.standard_normal((min(chunk, draws - start), units, m)) @ factor.T
        found.append((sample.mean(axis=1) / sample.std(axis=1, ddof=1)).max(axis=1) * math.sqrt(units))
    return np.concatenate(found)
