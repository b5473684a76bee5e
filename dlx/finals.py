"""Final values: a metric of the trials that claims are judged by, with what their seeds share."""

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dlx.records import COMPLETED, DIVERGED, FINAL
from dlx.stats import Floats, Integers


class Finals(NamedTuple):
    """Equally long columns over final trials that ran, sorted by cell, unit and seed.

    ``cell``: row of ``Results.grid``; ``unit``: the independent draw, which is the search of a tuned cell and the seed
    of another; ``value``: NaN or infinite where a trial diverged or did not return it.
    """

    cell: Integers
    unit: Integers
    seed: Integers
    value: Floats
    diverged: np.ndarray[tuple[int], np.dtype[np.bool_]]


def units(rows: pa.Table, grid: pa.Table) -> tuple[Integers, Integers]:
    """Cell (row of the grid) and independent draw of each final trial: the search of a tuned cell, else the seed."""
    cell = pc.index_in(rows["cell"], value_set=grid["cell"].combine_chunks()).to_numpy()
    tuned = grid["tuned"].to_numpy()[cell]
    return cell, np.where(tuned, pc.fill_null(rows["search"], 0).to_numpy(), rows["seed"].to_numpy())


def finals(table: pa.Table, grid: pa.Table, column: str) -> Finals:
    """The final values in a column of a table of results."""
    ran = pc.and_(pc.equal(table["phase"], FINAL), pc.is_in(table["status"], value_set=pa.array([COMPLETED, DIVERGED])))
    rows = table.filter(pc.fill_null(ran, False))
    (cell, unit), seed = units(rows, grid), rows["seed"].to_numpy()
    order = np.lexsort((seed, unit, cell))
    value = np.array(rows[column].to_numpy(), dtype=float)
    diverged = np.array(pc.equal(rows["status"], DIVERGED).to_numpy(), dtype=bool)
    return Finals(*(np.asarray(part)[order] for part in (cell, unit, seed, value, diverged)))
