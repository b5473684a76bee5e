"""Asks: what the searches of a study tried, and how each ended; the twin of ``dlx.finals`` for tuning."""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow.compute as pc

from dlx.cells import places
from dlx.records import COMPLETED, FINAL, TUNE
from dlx.stats import Floats, Integers

if TYPE_CHECKING:
    from dlx.results import Results


class Asks(NamedTuple):
    """Equally long columns over stored trials, in the order of cell, search, ask and seed.

    ``row``: of ``Results.table``; ``cell``: row of ``Results.grid``; ``score``: the objective, smaller is better,
    infinite where a trial did not end well.
    """

    row: Integers
    cell: Integers
    search: Integers
    ask: Integers
    score: Floats


def asks(results: "Results", phase: str = TUNE) -> Asks:
    """The asks of a study's searches, or what became of their choices in another phase; none without a search."""
    table, objective = results.table, results.declaration.objective
    mask = pc.and_(pc.equal(table["phase"], phase), pc.is_valid(table["search"]))
    rows = np.flatnonzero(np.array(mask)) if results.declaration.search and objective else np.empty(0, dtype=np.int64)
    chosen = table.take(rows)
    cell, search, ask = (places(chosen, results.grid), _whole(chosen["search"]), _whole(chosen["ask"]))
    score = np.full(len(rows), np.inf)
    if objective is not None and objective.metric in results.metrics:
        value = objective.sign * np.array(chosen[results.column(objective.metric)].to_numpy(), dtype=float)
        score = np.where(np.isfinite(value) & np.array(pc.equal(chosen["status"], COMPLETED)), value, np.inf)
    order = np.lexsort((_whole(chosen["seed"]), ask, search, cell))
    return Asks(rows[order], cell[order], search[order], ask[order], score[order])


def choices(results: "Results") -> Asks:
    """The choice of each search whose final trials have begun: its first final trial, and the mean of their scores."""
    finals = asks(results, FINAL)
    first, of = firsts(finals.cell, finals.search)
    score = np.bincount(of, finals.score) / np.bincount(of) if len(of) else finals.score
    return Asks(finals.row[first], finals.cell[first], finals.search[first], finals.ask[first], score)


def firsts(*parts: Integers) -> tuple[Integers, Integers]:
    """Where each group of equal neighbours begins, and which group each place is in; parts: (n,) each."""
    new = np.zeros(len(parts[0]), dtype=bool)
    new[:1] = True
    for part in parts:
        new[1:] |= part[1:] != part[:-1]
    return np.flatnonzero(new), np.cumsum(new) - 1


def _whole(column: Any) -> Integers:
    return np.array(column.to_numpy(), dtype=np.int64)
