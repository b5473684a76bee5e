"""Many tests and many looks: Holm, Benjamini–Hochberg, alpha spending.  A p of NaN stays NaN and counts as a test."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from scipy.special import ndtr, ndtri

from dlx.stats.grouped import Floats


def holm(p: Floats) -> Floats:
    """p (tests,) corrected for the chance of any false rejection (Holm 1979): max over smaller j of (m − j)·p_(j)."""
    order = np.argsort(p)  # NaN last
    factors = np.arange(p.size, 0, -1)
    return _restored(np.minimum(np.maximum.accumulate(factors * p[order]), 1.0), order)


def benjamini_hochberg(p: Floats) -> Floats:
    """q values of p (tests,): the false discovery rate when all with q this small are rejected (1995)."""
    order = np.argsort(p)
    known = np.where(np.isnan(p[order]), 1.0, p[order])
    q = np.minimum.accumulate((known * p.size / np.arange(1, p.size + 1))[::-1])[::-1]
    return _restored(np.where(np.isnan(p[order]), np.nan, q), order)


def spend(looks: Sequence[int], look: int, alpha: float = 0.05) -> float:
    """The alpha to test with at ``look``, one of the declared ``looks`` (numbers of seeds, rising).

    What the O'Brien–Fleming-type function 2 − 2Φ(z_{1−α/2}/√t), t = look/last look, gains since the look before (Lan
    and DeMets 1983).  These increments add up to alpha, so any tests may be used (union bound).

    :raises ValueError: looks that do not rise from 1 on, or a look that is not among them
    """
    if not looks or looks[0] < 1 or any(b <= a for a, b in pairwise(looks)):
        raise ValueError(f"Looks are rising numbers of seeds, not {list(looks)}.")
    if look not in looks:
        raise ValueError(f"A look at {look} seeds was not declared: the looks are {list(looks)}.")
    at = looks.index(look)
    before = _spent(looks[at - 1] / looks[-1], alpha) if at else 0.0
    return _spent(look / looks[-1], alpha) - before


def _spent(time: float, alpha: float) -> float:
    return 2 * float(ndtr(ndtri(alpha / 2) / np.sqrt(time)))


def _restored(values: Floats, order: "np.ndarray[tuple[int], np.dtype[np.intp]]") -> Floats:
    restored = np.empty_like(values)
    restored[order] = values
    return restored
