"""Bounds: where the choice of a search lies in the range that it was given, and a wider range where it is at an end."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dlx.analysis.asks import choices
from dlx.stats import Floats, Integers

if TYPE_CHECKING:
    from dlx.declaration import Nuisance
    from dlx.results import Results

NEAR = 0.05  # share of a range, on its own scale, that counts as its end


class AtBound(NamedTuple):
    """One end of one nuisance axis: in which cells (rows of the grid) choices lie there, of how many searches each."""

    axis: str
    upper: bool
    cells: Integers
    searches: Integers
    of: Integers


def ends(results: "Results") -> list[AtBound]:
    """The ends near which more than half of a cell's searches have their choice: within 5 % of the range.

    The range is measured on its own scale, the logarithm for ``loguniform``; the first and last integers of a
    ``randint`` are its ends; a ``choice`` has none.
    """
    chosen, size, found = choices(results), len(results.grid), []
    of = np.bincount(chosen.cell, minlength=size)
    for name, axis in results.declaration.nuisance.items():
        if axis.low is None or f"param.{name}" not in results.table.column_names:
            continue
        column = pc.cast(results.table[f"param.{name}"].take(pa.array(chosen.row)), pa.float64())
        at = position(axis, np.array(column.to_numpy(), dtype=float))
        for upper, near in ((False, at <= NEAR), (True, at >= 1 - NEAR)):
            searches = np.bincount(chosen.cell[near], minlength=size)
            cells = np.flatnonzero(2 * searches > of)
            if len(cells):
                found.append(AtBound(name, upper, cells, searches[cells], of[cells]))
    return found


def position(axis: "Nuisance", values: Floats) -> Floats:
    """Where values lie in a range: 0 at its lower end, 1 at its upper; NaN where there is no value."""
    low, high = _limits(axis)
    if axis.kind == "loguniform":
        low, high, values = np.log(low), np.log(high), np.log(values)
    return np.asarray((values - low) / (high - low)) if high > low else np.full(len(values), np.nan)


def said(axis: "Nuisance", upper: bool) -> str:
    """An end of a range in words."""
    return f"{'upper' if upper else 'lower'} bound {_limits(axis)[upper]:.6g}"


def wider(axis: "Nuisance", upper: bool) -> str:
    """The marker of a range that reaches ten times as far beyond one end, or as far again where it is not a log."""
    low, high = float(axis.low or 0), float(axis.high or 0)
    if axis.kind == "loguniform":
        low, high = (low, high * 10) if upper else (low / 10, high)
    else:
        low, high = (low, 2 * high - low) if upper else (2 * low - high, high)
    return f"{axis.kind}({low:.6g}, {high:.6g})"


def _limits(axis: "Nuisance") -> tuple[float, float]:
    """The smallest and the largest value; a ``randint`` stops short of its upper bound."""
    low, high = float(axis.low or 0), float(axis.high or 0)
    return low, high - (axis.kind == "randint")
