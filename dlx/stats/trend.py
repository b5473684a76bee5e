"""How values go with a variable: slopes, correlations, monotone steps.  Each unit gives a number; units are tested."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from dlx.stats.estimate import Estimate, student, unknown
from dlx.stats.grouped import LEVEL, Floats
from dlx.stats.location import one_sample

LARGEST_PEARSON = 1 - 1e-12  # of a unit whose points lie on a line: Fisher's z stays finite


@dataclass(frozen=True)
class PowerLaw:
    """y = factor · x^exponent; ``r2``: share of the variance of log y that it explains."""

    exponent: Estimate
    factor: float
    r2: float


def slopes(x: Floats, y: Floats, level: float = LEVEL, null: float = 0.0) -> Estimate:
    """The mean over units of the least-squares slope of y (units, points) on x (points,), by a t test over units.

    A log-log slope is that of logarithms.

    :raises ValueError: x has fewer than two different values
    """
    centred = x - x.mean()
    if not np.ptp(x) > 0:
        raise ValueError("A slope takes at least two different values of x.")
    return one_sample(y @ centred / float(centred @ centred), null, level)


def fit_power_law(x: Floats, y: Floats, level: float = LEVEL) -> PowerLaw:
    """Least squares of log y on log x, both (points,), with the t interval of the exponent over points − 2.

    Points are taken as independent: over units that share draws take ``slopes`` of logarithms.  Two points have no
    interval.

    :raises ValueError: a value that is not positive and finite, or fewer than two different values of x
    """
    if not (np.isfinite([x, y]).all() and (x > 0).all() and (y > 0).all() and np.ptp(x) > 0):
        raise ValueError("A power law takes positive finite x and y, and at least two different values of x.")
    log_x, log_y = np.log(x), np.log(y)
    centred, n = log_x - log_x.mean(), x.size
    squares = float(centred @ centred)
    exponent = float(centred @ log_y) / squares
    left = log_y - log_y.mean() - exponent * centred
    whole = float(((log_y - log_y.mean()) ** 2).sum())
    error = float(np.sqrt(left @ left / max(n - 2, 1) / squares))
    if n > 2 and error > 0:
        fitted = student(exponent, error, n - 2, 0.0, level, "least squares", n)
    else:
        fitted = unknown(exponent, 0.0, level, "least squares", n)
    factor = float(np.exp(log_y.mean() - exponent * log_x.mean()))
    return PowerLaw(fitted, factor, 1 - float(left @ left) / whole if whole else 1.0)


def correlations(
    x: Floats, y: Floats, level: float = LEVEL, null: float = 0.0, kind: Literal["pearson", "spearman"] = "pearson"
) -> Estimate:
    """The typical correlation within a unit of x with y, both (units, points): tanh of the mean of Fisher's z (1921).

    t test over units.  Spearman's of points all in order counts as 1 − 6/(k(k² − 1)) for k points, halfway to the next
    possible value.  A unit whose x or y does not vary makes interval and p NaN.

    :raises ValueError: fewer than three points
    """
    k = x.shape[1]
    if k < 3:
        raise ValueError(f"A correlation takes at least three points, not {k}.")
    largest = LARGEST_PEARSON
    if kind == "spearman":
        from scipy.stats import rankdata

        finite = np.isfinite(x) & np.isfinite(y)
        x, y = (np.where(finite.all(axis=1, keepdims=True), rankdata(v, axis=1), np.nan) for v in (x, y))
        largest = 1 - 6 / (k * (k * k - 1))
    x, y = (v - v.mean(axis=1, keepdims=True) for v in (x, y))
    with np.errstate(invalid="ignore", divide="ignore"):
        r = (x * y).sum(axis=1) / np.sqrt((x * x).sum(axis=1) * (y * y).sum(axis=1))
    found = one_sample(np.arctanh(np.clip(r, -largest, largest)), float(np.arctanh(null)), level)
    value, low, high = (float(np.tanh(z)) for z in (found.value, found.low, found.high))
    return Estimate(value, low, high, found.p, null, level, found.df, f"{kind}, {found.test}", found.n,
                    found.smallest_p)


def isotone(y: Floats, null: float = 0.0, level: float = LEVEL) -> Estimate:
    """The least certain of the steps y[:, i + 1] − y[:, i] of y (units, points): all rise by ``null`` if this one does.

    Intersection–union (Berger 1982): ``p_greater`` is the largest of the steps' one-sided p, without correction.
    Falling: give −y.

    :raises ValueError: fewer than two points
    """
    if y.shape[1] < 2:
        raise ValueError("A monotone course takes at least two points.")
    steps = [one_sample(step, null, level) for step in np.diff(y, axis=1).T]
    return max(steps, key=lambda step: np.inf if np.isnan(step.p) else step.p_greater)
