"""Final values as independent draws: one value an arm and unit, with what diverged counted as the worst."""

from typing import TYPE_CHECKING, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dlx.claims.arms import Arm
from dlx.errors import DlxError
from dlx.records import DIVERGED, PRUNED, TUNE
from dlx.stats import Floats, Integers

if TYPE_CHECKING:
    from dlx.results import Results

Worst = Literal["high", "low"]


class Draws:
    """Final values of a metric by cell and unit: the search of a tuned cell (mean over its seeds), else the seed.

    A diverged trial, and a search whose asks all diverged, has the worst value that any final trial of the study
    reached. Raises DlxError for a metric that the final trials of these cells (rows of the grid) did not return.
    """

    def __init__(self, results: "Results", metric: str, worst: Worst, rows: Integers) -> None:
        finals = results.finals(metric)
        finite = finals.value[np.isfinite(finals.value)]
        self.metric, self.rows = metric, rows
        self.worst = float((np.max if worst == "high" else np.min)(finite)) if len(finite) else np.nan
        here = np.isin(finals.cell, rows)
        self._cell, self._unit, self._seed = finals.cell[here], finals.unit[here], finals.seed[here]
        self._diverged = finals.diverged[here]
        self._value = np.where(self._diverged, self.worst, finals.value[here])
        self._barren = [(row, unit) for row, unit in barren_searches(results) if row in rows]
        self._units = np.union1d(self._unit, [unit for _, unit in self._barren]).astype(np.int64)
        self._check()
        self._values = self._by_unit()

    def _check(self) -> None:
        lost = int((~np.isfinite(self._value)).sum())
        if lost and not np.isfinite(self.worst):
            raise DlxError(f"No final trial of the study has a finite {self.metric}; correct what makes them diverge.")
        if lost:
            fix = ("train longer, or state the claim of a threshold that all reach, of restricted=True, or as Sooner"
                   if self.metric.startswith("crossing/") else "return it from each of them")
            raise DlxError(f"{lost} of {len(self._value)} final trials returned no {self.metric}; {fix}.")

    def _by_unit(self) -> Floats:
        """Means (cells, units, …), NaN where there is nothing."""
        at = np.searchsorted(self.rows, self._cell), np.searchsorted(self._units, self._unit)
        each = self._of_trials()
        sums = np.zeros((len(self.rows), len(self._units), *each.shape[1:]))
        count = np.zeros((*sums.shape[:2], *(1 for _ in each.shape[1:])))
        np.add.at(sums, at, each)
        np.add.at(count, at, 1)
        with np.errstate(invalid="ignore"):
            values = sums / count
        for row, unit in self._barren:
            values[np.searchsorted(self.rows, row), np.searchsorted(self._units, unit)] = self.worst
        return values

    def _of_trials(self) -> Floats:
        """What each final trial gives to the mean of its unit, (trials, …)."""
        return self._value

    def of(self, arm: Arm) -> tuple[Integers, Floats]:
        """Units (u,) and the arm's value in each (u, …): the weighted mean of its cells; units without one left out."""
        values = np.tensordot(arm.weights, self._values[np.searchsorted(self.rows, arm.rows)], 1)
        there = np.isfinite(values).all(axis=tuple(range(1, values.ndim)))
        return self._units[there], values[there]

    def complete(self) -> Floats:
        """Values (units, cells) in the order of rows, of the units that have all cells."""
        return self._values[:, np.isfinite(self._values).all(axis=0)].T

    @property
    def notes(self) -> tuple[str, ...]:
        """What was counted as the worst."""
        counts = (int(self._diverged.sum()), "diverged final trials"), (
            len(self._barren), "searches in which every ask diverged")
        said = " and ".join(f"{n} {what}" for n, what in counts if n)
        return (f"{said} count as the worst {self.metric} of the study, {self.worst:.3g}.",) if said else ()


def barren_searches(results: "Results") -> list[tuple[int, int]]:
    """Cells (rows of the grid) with the number of a search whose asks all ended, none well and none by an error."""
    search = results.declaration.search
    if search is None:
        return []
    table = results.table
    unwell = pc.and_(pc.equal(table["phase"], TUNE), pc.is_in(table["status"], value_set=pa.array([DIVERGED, PRUNED])))
    counts = table.filter(unwell).select(["cell", "search", "status"]).group_by(["cell", "search"]).aggregate(
        [("status", "count")])
    over = counts.filter(pc.equal(counts["status_count"], search.trials))
    rows = pc.index_in(over["cell"], value_set=results.grid["cell"].combine_chunks())
    return list(zip(rows.to_pylist(), over["search"].to_pylist(), strict=True))
