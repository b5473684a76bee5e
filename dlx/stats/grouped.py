"""Statistics of repeated trials: the mean, and the half-width of its t interval."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

LEVEL = 0.95
Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Means:
    """By group: how many values, their mean (NaN for none) and the half-width of its interval (NaN below two)."""

    count: Integers
    mean: Floats
    half_width: Floats


def means(values: Floats, groups: Integers, size: int, level: float = LEVEL) -> Means:
    """Mean and t interval (Student 1908) of the finite values (n,) in each of ``size`` groups (n, integers)."""
    finite = np.isfinite(values)
    values, groups = values[finite], groups[finite]
    count = np.bincount(groups, minlength=size)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.bincount(groups, values, minlength=size) / count
        squares = np.bincount(groups, (values - mean[groups]) ** 2, minlength=size)
        error = np.sqrt(squares / (count - 1) / count)
        half_width = stdtrit(count - 1, (1 + level) / 2) * error
    return Means(count, mean, np.where(count > 1, half_width, np.nan))


def clustered(values: Floats, groups: Integers, clusters: Integers, size: int, level: float = LEVEL) -> Means:
    """The same where values of one cluster (n, integers from 0) share a random draw: clusters' means are the sample.

    ``count`` still counts values.
    """
    width = int(clusters.max(initial=0)) + 1
    inner = means(values, groups * width + clusters, size * width, level)
    outer = means(inner.mean, np.repeat(np.arange(size), width), size, level)
    return Means(inner.count.reshape(size, width).sum(axis=1), outer.mean, outer.half_width)
