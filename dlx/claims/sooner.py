"""Times to a threshold: in one condition a curve reaches a value sooner than in another."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dlx.claims.arms import Arm, Grid, said
from dlx.claims.base import Claim, check_conditions, check_number
from dlx.claims.compare import compared
from dlx.claims.draws import barren_searches
from dlx.claims.finding import Part
from dlx.claims.verdict import as_given
from dlx.errors import DlxError
from dlx.records import COMPLETED, DIVERGED, FINAL
from dlx.stats import Estimate, Floats, log_rank, log_rank_exact
from dlx.stats.survival import MOST_ARRANGEMENTS

if TYPE_CHECKING:
    from dlx.results import Results


@dataclass(frozen=True)
class Sooner(Claim):
    """A logged curve reaches a value sooner in one condition than in another: log-rank test (Mantel 1966).

    The effect is the log hazard ratio, above 0 where ``a`` is sooner. ``reaches``: in units of the metric, from above
    where ``falling``; ``a``, ``than``: as in ``Lower``. A trial that never gets there is censored at its last step, one
    that diverged at the last of all. A unit (the search of tuned cells, else the seed) counts once, by the median of
    its trials; with few units the test is exact.
    """

    metric: str
    reaches: float
    a: Mapping[str, Any]
    than: Mapping[str, Any]
    falling: bool = True

    @property
    def metrics(self) -> tuple[str, ...]:
        return (self.metric,)

    @property
    def sentence(self) -> str:
        way = "falls" if self.falling else "rises"
        return f"{self.metric} {way} to {as_given(self.reaches)} sooner with {said(self.a)} than with {said(self.than)}"

    def check_fields(self) -> None:
        super().check_fields()
        check_conditions("a", self.a)
        check_conditions("than", self.than)
        check_number("reaches", self.reaches)

    def arms(self, grid: Grid) -> list[Arm]:
        return compared(grid, [self.a, self.than], self.where)

    def parts(self, results: "Results", arms: Sequence[Arm], level: float) -> tuple[list[Part], tuple[str, ...]]:
        times = _Times(results, self.metric, self.reaches, self.falling)
        (a, seen_a), (b, seen_b) = (times.of(arm) for arm in arms)
        if not (seen_a.any() or seen_b.any()):
            raise DlxError(
                f"No final trial got {self.metric} to {as_given(self.reaches)}; train longer, or change reaches=."
            )
        what = f"log hazard ratio of {self.metric} reaching {as_given(self.reaches)}, {arms[0].said} to {arms[1].said}"
        lost = int((~seen_a).sum() + (~seen_b).sum())
        notes = (f"{lost} of {len(a) + len(b)} never got there and are censored.",) if lost else ()
        if min(len(a), len(b)) < 2:
            return [Part(what, 0.0, *(math.nan,) * 5, "log-rank", min(len(a), len(b)), level)], notes
        return [_log_rank(what, log_rank(a, seen_a, b, seen_b, level), log_rank_exact(a, seen_a, b, seen_b, level)
                          if math.comb(len(a) + len(b), len(a)) <= MOST_ARRANGEMENTS else None)], notes


def _log_rank(what: str, found: Estimate, exact: Estimate | None) -> Part:
    """The larger of both p, so that neither the interval nor the exact test is overruled."""
    part = Part.above(what, found)
    if exact is None:
        return part
    other = Part.above(what, exact)
    return Part(what, 0.0, part.effect, part.low, part.high, max(part.p_for, other.p_for),
                max(part.p_against, other.p_against), other.test, other.units, part.level, other.smallest_p)


class _Times:
    """By final trial: the first step at which a curve reaches a value, infinite where it never does."""

    def __init__(self, results: "Results", metric: str, reaches: float, falling: bool) -> None:
        ran = pc.is_in(results.table["status"], value_set=pa.array([COMPLETED, DIVERGED]))
        trials = results.table.filter(pc.and_(pc.equal(results.table["phase"], FINAL), ran)).combine_chunks()
        self._cell = pc.index_in(trials["cell"], value_set=results.grid["cell"].combine_chunks()).to_numpy()
        tuned = results.grid["tuned"].to_numpy()[self._cell]
        self._unit = np.where(tuned, pc.fill_null(trials["search"], 0).to_numpy(), trials["seed"].to_numpy())
        curves = results.where(phase=FINAL).history()
        curves = curves.filter(pc.equal(curves["metric"], metric))
        found = pc.index_in(curves["key"], value_set=trials["key"].combine_chunks())
        curves, at = curves.filter(pc.is_valid(found)), pc.drop_null(found).to_numpy()  # those that failed left out
        step, value = curves["step"].to_numpy(), curves["value"].to_numpy()
        self._last, self._first = np.full(len(trials), -np.inf), np.full(len(trials), np.inf)
        np.maximum.at(self._last, at, step)
        there = value <= reaches if falling else value >= reaches
        np.minimum.at(self._first, at[there], step[there])
        self._metric, self._empty = metric, np.isinf(self._last)
        diverged = np.asarray(pc.equal(trials["status"], DIVERGED).to_numpy(), dtype=bool)
        self._first[diverged] = np.inf
        self._last[diverged] = self._last.max(initial=0.0)
        self._add_barren(barren_searches(results))

    def _add_barren(self, barren: Sequence[tuple[int, int]]) -> None:
        """Searches in which every ask diverged never get there."""
        cells, units = (np.array([pair[i] for pair in barren], dtype=np.int64) for i in (0, 1))
        self._cell, self._unit = np.append(self._cell, cells), np.append(self._unit, units)
        self._first = np.append(self._first, np.full(len(barren), np.inf))
        self._last = np.append(self._last, np.full(len(barren), self._last.max(initial=0.0)))
        self._empty = np.append(self._empty, np.zeros(len(barren), dtype=bool))

    def of(self, arm: Arm) -> tuple[Floats, "np.ndarray[tuple[int], np.dtype[np.bool_]]"]:
        """A time for each unit (u,), and whether it got there (u,)."""
        here = np.isin(self._cell, arm.rows)
        if lost := int(self._empty[here].sum()):
            raise DlxError(f"{lost} of {int(here.sum())} final trials logged no curve of {self._metric}; log it.")
        units = np.unique(self._unit[here])
        found = [self._median(here & (self._unit == unit)) for unit in units]
        times, seen = zip(*found, strict=True) if found else ((), ())
        return np.array(times, dtype=float), np.array(seen, dtype=bool)

    def _median(self, mask: Any) -> tuple[float, bool]:
        """The (upper) median over trials; censored at their last step where it is not reached."""
        first = np.sort(self._first[mask])
        middle = float(first[len(first) // 2])
        return (middle, True) if math.isfinite(middle) else (float(self._last[mask].max()), False)
