"""Equivalence: two one-sided tests (Schuirmann 1987)."""

from collections.abc import Callable
from dataclasses import dataclass

from dlx.stats.estimate import Estimate
from dlx.stats.grouped import LEVEL, Floats
from dlx.stats.location import one_sample, welch


@dataclass(frozen=True)
class Equivalence:
    """A value, its interval at 2·level − 1 (90 % for 95 %), and the p of ``abs(value) >= margin``.

    p < 1 − level just where the interval lies inside ±margin.  ``n``, ``df``, ``smallest_p``: as in ``Estimate``.

    :param p_beyond: the two-sided p of the opposite, ``abs(value) <= margin``
    """

    value: float
    low: float
    high: float
    p: float
    p_beyond: float
    margin: float
    level: float
    df: float | None
    test: str
    n: int
    smallest_p: float | None = None


def tost(values: Floats, margin: float, level: float = LEVEL) -> Equivalence:
    """Whether the mean of values (n,), in the metric's units as ``margin`` is, lies inside ±margin: by t tests.

    :raises ValueError: margin <= 0
    """
    return _equivalence(lambda null: one_sample(values, null, 2 * level - 1), margin, level)


def tost_welch(a: Floats, b: Floats, margin: float, level: float = LEVEL) -> Equivalence:
    """Whether mean(a) − mean(b) of independent samples lies inside ±margin: by Welch's tests.

    :raises ValueError: margin <= 0
    """
    return _equivalence(lambda null: welch(a, b, null, 2 * level - 1), margin, level)


def _equivalence(test: Callable[[float], Estimate], margin: float, level: float) -> Equivalence:
    if not margin > 0:
        raise ValueError(f"A margin of equivalence is above 0, not {margin}.")
    above, below = test(-margin), test(margin)
    return Equivalence(
        above.value, above.low, above.high, max(above.p_greater, below.p_less),
        min(2 * min(above.p_less, below.p_greater), 1.0), margin, level, above.df, f"TOST ({above.test})", above.n,
        above.smallest_p and above.smallest_p / 2,
    )
