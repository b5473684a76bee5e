"""Convergence: in which cells the objective still improves when training ends."""

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy.special import stdtr

from dlx.analysis.asks import firsts
from dlx.finals import units
from dlx.records import COMPLETED, FINAL
from dlx.stats import Floats, Integers, benjamini_hochberg

if TYPE_CHECKING:
    from dlx.results import Results

LAST = 0.1  # share of the steps that is looked at
GAIN = 0.01  # of a curve's range, gained there, that counts
DISCOVERY = 0.05  # false discovery rate over cells


def still_improving(results: "Results") -> tuple[Integers, Floats]:
    """Rows of the grid, and what the last tenth of the steps gains there as a share of the whole range of a curve.

    Of the objective's curves in completed final trials, each linear between measured steps. A cell counts where the
    mean gain is at least 1 % and above 0 over units (seeds, or searches), one-sided t test with a false discovery rate
    of 5 % over cells (Benjamini and Hochberg 1995). Empty without an objective, its curves, or two units in a cell.
    """
    nothing = np.empty(0, dtype=np.int64), np.empty(0)
    cell, unit, gain = _gains(results)
    if not len(cell):
        return nothing
    first, of = firsts(cell, unit)
    size, cell, gain = len(results.grid), cell[first], np.bincount(of, gain) / np.bincount(of)
    count = np.bincount(cell, minlength=size)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.bincount(cell, gain, minlength=size) / count
        error = np.sqrt(np.bincount(cell, (gain - mean[cell]) ** 2, minlength=size) / (count - 1) / count)
        p = 1 - stdtr(count - 1, mean / error)
    tested = np.flatnonzero((count > 1) & np.isfinite(p))
    if not len(tested):
        return nothing
    kept = tested[(benjamini_hochberg(p[tested]) < DISCOVERY) & (mean[tested] >= GAIN)]
    return kept, mean[kept]


def _gains(results: "Results") -> tuple[Integers, Integers, Floats]:
    """Cell, unit and gain of each curve, in the order of cells and units."""
    objective, table = results.declaration.objective, results.table
    ended = pc.and_(pc.equal(table["phase"], FINAL), pc.equal(table["status"], COMPLETED))
    rows = table.filter(pc.fill_null(ended, False))
    curves = results.store.history(set(rows["key"].to_pylist())) if objective and len(rows) else None
    if curves is None or objective is None:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64), np.empty(0)
    curves = curves.filter(pc.equal(curves["metric"], objective.metric)).combine_chunks()
    at = pc.index_in(rows["key"], value_set=_joined(curves["key"]))
    rows = rows.filter(pc.is_valid(at))
    gain = _gained(curves)[pc.drop_null(at).to_numpy()] * objective.sign
    cell, unit = units(rows, results.grid)
    order = np.lexsort((unit, cell))
    order = order[np.isfinite(gain[order])]
    return cell[order].astype(np.int64), unit[order], gain[order]


def _gained(curves: pa.Table) -> Floats:
    """By curve: how much it falls over the last tenth of its steps, as a share of its range; NaN for a flat one."""
    steps, values = _joined(curves["step"]), _joined(curves["value"])
    ends, x, y = steps.offsets.to_numpy(), steps.values.to_numpy(), values.values.to_numpy()
    found = np.full(len(curves), np.nan)
    for i, (a, b) in enumerate(zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True)):
        span = np.ptp(y[a:b]) if b - a > 2 else 0.0
        if span > 0:
            before = np.interp((1 - LAST) * x[b - 1] + LAST * x[a], x[a:b], y[a:b])
            found[i] = (before - y[b - 1]) / span
    return found


def _joined(column: Any) -> Any:
    """A column as one array that begins at its first offset."""
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
