"""Importance: how much of a metric's variance each axis accounts for, and what sets the best asks of a search apart."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import stdtrit

from dlx.analysis.asks import Asks, asks, firsts
from dlx.analysis.decomposition import Design, Parts, parts
from dlx.records import FAILED
from dlx.search import importances
from dlx.stats import LEVEL, Floats, Integers

if TYPE_CHECKING:
    from dlx.results import Results

FEWEST_UNITS = 3  # for an interval
MOST_FOLDS = 50  # of the jackknife, each without an equal share of units
TINY = 1e-12  # share below which its logarithm is cut off
FEWEST_ASKS = 10  # of an arm, for its importances
MOST_ASKS = 2_000  # of an arm that are looked at, in whole searches spread evenly


@dataclass(frozen=True)
class Share:
    """The share of variance, in [0, 1], of one axis, or of a pair of axes beyond what each does alone.

    ``axes``: none for what more axes do together and for noise, which ``name`` tells apart; ``low``, ``high``: its 95 %
    interval, None below three units.
    """

    axes: tuple[str, ...]
    share: float
    low: float | None
    high: float | None
    name: str


def axes_importance(results: "Results", metric: str) -> list[Share]:
    """Shares of the variance of final values: axes and pairs, largest first, then further interactions, then noise.

    Of cells that are crossed in full these are Hays' ω² (1963), with what seeds do in all cells taken out of the error
    (``dlx.analysis.decomposition``); of others each part is what it adds to all parts that do not contain it (type II).
    Noise is all that differs between units: seeds, or the searches of tuned cells. Diverged trials count as the worst
    value that any trial reached: by the objective where it is the same metric, else the highest. Intervals: jackknife
    over units, approximate for shares below 0.05. Empty where noise cannot be told from effects: fewer than two cells,
    or one axis and one seed. Raises DeclarationError for an unknown metric.
    """
    cell, unit, value = _draws(results, metric)
    present, cell = np.unique(cell, return_inverse=True)
    levels = {name: _codes(results.grid[name].take(present)) for name in results.axes}
    design = Design({name: codes for name, codes in levels.items() if len(np.unique(codes)) > 1}, len(present))
    whole = parts(design, cell, unit, value)
    if whole is None:
        return []
    fold = unit % MOST_FOLDS
    without = [parts(design, cell[fold != f], unit[fold != f], value[fold != f]) for f in np.unique(fold)]
    low, high = _jackknife(whole, without)
    return _named(design, whole, low, high, "searches" if _tuned(results).any() else "seeds")


def _draws(results: "Results", metric: str) -> tuple[Integers, Integers, Floats]:
    """Cell, unit and mean value of each unit of each cell; searches and seeds are different units."""
    finals = results.finals(metric)
    value = _with_worst(results, metric, finals.value, finals.diverged)
    kept = np.isfinite(value)
    cell, unit, value = finals.cell[kept], finals.unit[kept], value[kept]
    first, of = firsts(cell, unit)
    cell, unit, value = cell[first], unit[first], np.bincount(of, value) / np.maximum(np.bincount(of), 1)
    return cell, np.unique(2 * unit + _tuned(results)[cell], return_inverse=True)[1], value


def _tuned(results: "Results") -> Any:
    return results.grid["tuned"].to_numpy()


def _with_worst(results: "Results", metric: str, value: Floats, diverged: Any) -> Floats:
    """Values with the worst that any trial reached in place of those that diverged."""
    objective, finite = results.declaration.objective, np.isfinite(value)
    sign = objective.sign if objective is not None and objective.is_of(metric) else 1
    worst = sign * np.max(sign * value[finite], initial=-np.inf)
    return np.where(diverged & ~finite, worst, value)


def _codes(column: Any) -> Integers:
    """The levels of an axis as integers from 0; absent is a level."""
    encoded = column.combine_chunks().dictionary_encode("encode")
    return np.asarray(encoded.indices.to_numpy(), dtype=np.int64)


def _jackknife(whole: Parts, without: Sequence[Parts | None]) -> tuple[Floats, Floats]:
    """Ends of the intervals of all shares (Tukey 1958), on the scale of ``_log``; NaN where there are too few units."""
    found = np.array([_log(w.shares) for w in without if w is not None])
    n = len(found)
    if n < max(FEWEST_UNITS, len(without)):
        return np.full(len(whole.shares), np.nan), np.full(len(whole.shares), np.nan)
    half = stdtrit(n - 1, (1 + LEVEL) / 2) * np.sqrt((n - 1) * np.var(found, axis=0))
    left = _log(whole.shares)
    low, high = 1 - np.exp(left + half), 1 - np.exp(left - half)
    low[-1], high[-1] = 1 - high[-1], 1 - low[-1]
    return low, high


def _log(shares: Floats) -> Floats:
    """log(1 − share) of effects and log(share) of noise: variances on a log scale, where they scatter evenly."""
    return np.log(np.maximum(np.append(1 - shares[:-1], shares[-1]), TINY))


def _named(design: Design, whole: Parts, low: Floats, high: Floats, noise: str) -> list[Share]:
    left = "further interactions"
    last = noise if whole.replicated else f"{left} and {noise}"
    names = [*(" × ".join(term) for term in design.terms), left, last]
    known = ~np.isnan(low)
    shares = [
        Share(term, _unit(share), _unit(a) if sure else None, _unit(b) if sure else None, name)
        for term, share, a, b, sure, name
        in zip([*design.terms, (), ()], whole.shares, low, high, known, names, strict=True)
    ]
    kept = [s for s, df in zip(shares, [*whole.df, whole.df_left, 1], strict=True) if df]
    return sorted(kept, key=lambda s: (not s.axes, s.name == last, -s.share if s.axes else 0.0))


def _unit(share: float) -> float:
    return float(min(max(share, 0.0), 1.0))


# ---------------------------------------------------------------- nuisance axes


def nuisance_importance(results: "Results") -> dict[str, dict[str, float]]:
    """Arm → nuisance axis → share, 1 in sum, largest first, in what sets the best asks apart: Optuna's PED-ANOVA.

    An arm is all cells with the same nuisance axes; asks are ranked within their search, by the objective, and pooled
    over the arm. Arms with one nuisance axis, or with fewer than ten asks that ran, are left out.
    """
    nuisance = results.declaration.nuisance
    names = [n for n in nuisance if f"param.{n}" in results.table.column_names]
    found = asks(results)
    ran = np.array(results.table["status"].take(found.row)) != FAILED
    found = Asks(*(part[ran] for part in found))
    if not len(found.row) or len(names) < 2:
        return {}
    given = np.array([results.table[f"param.{n}"].take(found.row).is_valid().to_numpy() for n in names])
    ranks = _ranks(found)
    by_arm: dict[str, dict[str, float]] = {}
    for cells, axes in _arms(found.cell, given, len(results.grid)):
        at = _thinned(found, np.flatnonzero(np.isin(found.cell, cells)))
        if len(axes) < 2 or len(at) < FEWEST_ASKS:
            continue
        chosen = [names[i] for i in axes]
        rows = results.table.take(found.row[at]).select([f"param.{n}" for n in chosen]).rename_columns(chosen)
        told = [{name: v for name, v in row.items() if v is not None} for row in rows.to_pylist()]
        by_arm[_arm_name(results, cells, chosen)] = importances(
            told, ranks[at].tolist(), {n: nuisance[n] for n in chosen})
    return by_arm


def _ranks(found: Asks) -> Floats:
    """The place of each ask in its search, best first, as a share of the search in (0, 1)."""
    order = np.lexsort((found.ask, found.score, found.search, found.cell))
    first, of = firsts(found.cell[order], found.search[order])
    ranks = np.empty(len(order))
    ranks[order] = (np.arange(len(order)) - first[of] + 0.5) / np.bincount(of)[of]
    return ranks


def _arms(cell: Integers, given: Any, cells: int) -> list[tuple[Integers, list[int]]]:
    """Cells with the same nuisance axes, and these axes; given: (axes, asks), which axes an ask has."""
    has = np.array([np.bincount(cell[mask], minlength=cells) > 0 for mask in given])
    kinds, which = np.unique(has.T, axis=0, return_inverse=True)
    which = which.ravel()
    return [(np.flatnonzero(which == i), np.flatnonzero(kind).tolist()) for i, kind in enumerate(kinds) if kind.any()]


def _thinned(found: Asks, at: Integers) -> Integers:
    """Asks of whole searches spread evenly, at most as many as are looked at."""
    first, of = firsts(found.cell[at], found.search[at])
    most = max(1, MOST_ASKS * len(first) // max(len(at), 1))
    kept = np.unique(np.linspace(0, len(first) - 1, min(most, len(first))).astype(np.int64))
    return at[np.isin(of, kept)]


def _arm_name(results: "Results", cells: Integers, axes: Sequence[str]) -> str:
    """The options that all cells of an arm have and not all cells of the study, else its nuisance axes."""
    if len(cells) == len(results.grid):
        return "all cells"
    inside, own = results.grid.take(cells), {}
    for name in results.axes:
        options = inside[name].unique().to_pylist()
        if len(options) == 1 and options[0] is not None and len(results.grid[name].unique()) > 1:
            own[name] = options[0]
    return ", ".join(f"{name}={value}" for name, value in own.items()) or f"cells that tune {', '.join(axes)}"
