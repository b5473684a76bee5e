"""An estimate: a value, its interval, and the p of the test that the interval inverts."""

import math
from dataclasses import dataclass

from scipy.special import stdtr, stdtrit


@dataclass(frozen=True)
class Estimate:
    """A value with its two-sided interval at ``level`` and the two-sided p of ``value == null``.

    Two-sided means twice the smaller tail, so the interval leaves ``null`` out where p < 1 − level.  NaN: not to be had
    from such data.  An infinite end: ``n`` cannot exclude anything on that side.

    :param df: degrees of freedom of the t distribution; None: the test has none
    :param n: number of values that the test takes as independent
    :param smallest_p: the smallest p that an exact test can reach at this ``n``; None: not an exact test
    """

    value: float
    low: float
    high: float
    p: float
    null: float
    level: float
    df: float | None
    test: str
    n: int
    smallest_p: float | None = None

    @property
    def p_greater(self) -> float:
        """One-sided p of ``value <= null``."""
        return self._tail(self.value > self.null)

    @property
    def p_less(self) -> float:
        """One-sided p of ``value >= null``."""
        return self._tail(self.value < self.null)

    def _tail(self, towards: bool) -> float:
        """The observed outcome (of an exact test: an atom of half ``smallest_p``) belongs to both tails."""
        return self.p / 2 if towards else min(1 - self.p / 2 + (self.smallest_p or 0.0) / 2, 1.0)


def unknown(value: float, null: float, level: float, test: str, n: int) -> Estimate:
    """An estimate that has no interval and no p."""
    return Estimate(value, math.nan, math.nan, math.nan, null, level, None, test, n)


def student(value: float, error: float, df: float, null: float, level: float, test: str, n: int) -> Estimate:
    """The t interval (Student 1908) of a value with standard error ``error`` > 0 on ``df`` degrees of freedom."""
    half = error * float(stdtrit(df, (1 + level) / 2))
    p = 2 * float(stdtr(df, -abs(value - null) / error))
    return Estimate(value, value - half, value + half, p, null, level, df, test, n)


def flat(value: float, null: float, level: float, smallest_p: float, same: bool, n: int) -> Estimate:
    """The estimate from values without any spread: the exact test's, p = ``smallest_p`` (``same`` as ``null``: 1).

    Equal values give a t statistic of any size whatever: of two-valued differences that are symmetric around 0, three
    agree in one study of four.  The exact test stays right for them, and its interval is the point where
    ``smallest_p`` <= 1 − level, everything above.
    """
    low, high = (value, value) if smallest_p <= 1 - level else (-math.inf, math.inf)
    p = 1.0 if same else smallest_p
    return Estimate(value, low, high, p, null, level, None, "exact test of equal values", n, smallest_p)
