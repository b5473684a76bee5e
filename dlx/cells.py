"""What stored rows say of each cell: means with intervals, counts of what went wrong, the values that were chosen."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dlx.records import COMPLETED, DIVERGED, FAILED, FINAL, PRUNED, TUNE
from dlx.stats import Floats, Integers, Means, clustered, means
from dlx.wanted import axis_names

if TYPE_CHECKING:
    from dlx.declaration import Declaration

Bools = np.ndarray[tuple[int], np.dtype[np.bool_]]


def summarise(table: pa.Table, grid: pa.Table, metrics: Mapping[str, str], declaration: "Declaration") -> pa.Table:
    """One row a cell, with the columns that ``Results.cells`` names; metrics: name → column of the table."""
    rows = _Rows(table, grid, declaration)
    final = pc.equal(table["phase"], FINAL)
    ran = pc.and_(final, pc.is_in(table["status"], value_set=pa.array([COMPLETED, DIVERGED])))
    columns = {name: grid[name] for name in ("cell", *axis_names(grid))}
    columns["n"] = rows.count(ran)
    for name, column in metrics.items():
        found = rows.means(column, ran)
        columns[f"{name}.mean"] = _or_null(found.mean)
        columns[f"{name}.half_width"] = _or_null(found.half_width)
        columns[f"{name}.n"] = pa.array(found.count)
    for name in (DIVERGED, FAILED, PRUNED):
        columns[name] = rows.count(pc.and_(final, pc.equal(table["status"], name)))
    columns["missing"] = pc.max_element_wise(pc.subtract(grid["finals"], rows.count(final)), 0)
    objective = declaration.objective
    if objective is not None and objective.metric in metrics:
        columns |= rows.chosen(objective.sign * floats(table[metrics[objective.metric]]))
    columns["note"] = rows.notes()
    return pa.table(columns)


def searches_without_choice(table: pa.Table, grid: pa.Table, declaration: "Declaration") -> Integers:
    """By cell: how many searches are over and found no value that ends well."""
    search = declaration.search
    if search is None:
        return np.zeros(len(grid), dtype=np.int64)
    tune, ended = bools(pc.equal(table["phase"], TUNE)), bools(pc.equal(table["status"], COMPLETED))
    groups = places(table, grid) * search.repeats + pc.fill_null(table["search"], 0).to_numpy()
    size = len(grid) * search.repeats
    asked, well = (np.bincount(groups[mask], minlength=size) for mask in (tune, tune & ended))
    fruitless = (asked == search.trials) & (well == 0)
    return cast(Integers, fruitless.reshape(-1, search.repeats).sum(axis=1))


def places(table: pa.Table, grid: pa.Table) -> Integers:
    """Which cell each row belongs to, as a row of the grid."""
    return cast(Integers, pc.index_in(table["cell"], value_set=grid["cell"].combine_chunks()).to_numpy())


class _Rows:
    """Rows of results with the cells that they belong to."""

    def __init__(self, table: pa.Table, grid: pa.Table, declaration: "Declaration") -> None:
        self.table, self.size, self.at = table, len(grid), places(table, grid)
        self.repeats = declaration.search.repeats if declaration.search else 1

    def count(self, mask: Any) -> pa.Array:
        return pa.array(np.bincount(self.at[bools(mask)], minlength=self.size))

    def means(self, column: str, mask: Any) -> Means:
        chosen = self.table.filter(mask)
        values, at = floats(chosen[column]), self.at[bools(mask)]
        searches = pc.fill_null(chosen["search"], 0).to_numpy()
        if self.repeats == 1 or not len(searches):
            return means(values, at, self.size)
        untuned = bools(pc.is_null(chosen["search"]))  # each of their seeds is a draw of its own
        order = np.arange(len(at)) - np.searchsorted(at, at) if untuned.any() else searches
        return clustered(values, at, np.where(untuned, order, searches), self.size)

    def notes(self) -> pa.Array:
        """What a mean would hide: a cell in which all trials failed or diverged, or nothing is stored."""
        total = self.count(pc.is_valid(self.table["key"])).to_numpy()
        notes: list[str | None] = [None if n else "nothing stored yet" for n in total.tolist()]
        for status in (FAILED, DIVERGED):
            bad = self.count(pc.equal(self.table["status"], status)).to_numpy()
            for i in np.flatnonzero((bad == total) & (total > 0)).tolist():
                notes[i] = f"all {total[i]} trials {status}" if total[i] > 1 else f"all trials {status} (1)"
        return pa.array(notes, pa.string())

    def chosen(self, values: Floats) -> dict[str, Any]:
        """The tuned values of each cell's best search: by its final trials, by its asks while there are none.

        values: of the objective, smaller ones better.
        """
        names = [n for n in self.table.column_names if n.startswith("param.")]
        if not names:
            return {}
        phase = self.table["phase"]
        final, tune = bools(pc.equal(phase, FINAL)), bools(pc.equal(phase, TUNE))
        searches = pc.fill_null(self.table["search"], 0).to_numpy()
        width = int(searches.max(initial=0)) + 1
        groups = self.at * width + searches
        values[final] = means(values[final], groups[final], self.size * width).mean[groups[final]]
        rows = np.flatnonzero(np.isfinite(values) & (final | tune))
        rows = rows[np.lexsort((values[rows], ~final[rows], self.at[rows]))]
        cells, first = np.unique(self.at[rows], return_index=True)
        best = np.full(self.size, -1)
        best[cells] = rows[first]
        return {name: self.table[name].take(pa.array(best, mask=best < 0)) for name in names}


def bools(mask: Any) -> Bools:
    """A mask of Arrow's as NumPy has it, nulls as false."""
    return np.asarray(pc.fill_null(mask, False).to_numpy(), dtype=bool)


def floats(column: Any) -> Floats:
    """A column of numbers as NumPy has it, nulls as NaN; a copy."""
    return np.array(column.to_numpy(), dtype=float)


def _or_null(values: Floats) -> pa.Array:
    return pa.array(values, mask=np.isnan(values))
