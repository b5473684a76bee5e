"""Values by unit: what a figure's slopes and correlations are taken over."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from dlx.results import Results
    from dlx.stats import Floats


def by_unit(results: "Results", metric: str) -> "Floats":
    """Means over seeds (units, cells): a unit is the search of a tuned cell, the seed of another.

    NaN where a cell lacks a unit, or a trial of it diverged or did not return the metric.
    """
    found, cells = results.finals(metric), len(results.grid)
    units, unit = np.unique(found.unit, return_inverse=True)
    place = unit * cells + found.cell
    value = np.where(np.isfinite(found.value), found.value, np.nan)
    with np.errstate(invalid="ignore"):
        means = np.bincount(place, value, len(units) * cells) / np.bincount(place, minlength=len(units) * cells)
    return means.reshape(len(units), cells)
