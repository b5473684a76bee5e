"""Diagnostics: what is wrong with how a study was tuned and trained, each finding a sentence with its fix."""

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.compute as pc

from dlx.analysis import bounds
from dlx.analysis.asks import Asks, asks, choices, firsts
from dlx.analysis.budgets import spent
from dlx.analysis.convergence import still_improving
from dlx.cells import places
from dlx.records import DIVERGED, FINAL, RECHECK, TUNE
from dlx.stats import Floats, Integers
from dlx.tables import reasons
from dlx.text import clean

if TYPE_CHECKING:
    from dlx.declaration import Nuisance
    from dlx.results import Results

MOST_DIVERGED = 0.1  # share of asks
MOMENT = 5.0  # seconds of all trials with an option, below which their differences are overheads
ALIKE, UNEQUAL = 1.01, 2.0  # ratio between the options of an axis of counts, and of seconds
CHANCE = 0.95  # that random asks put one into the better half of every nuisance axis


@dataclass(frozen=True)
class Diagnosis:
    """A finding: its kind, the keys of the cells that it is about (none: all), and a sentence with the fix."""

    kind: str
    cells: tuple[str, ...]
    sentence: str


def diagnose(results: "Results") -> list[Diagnosis]:
    """What is wrong with tuning and training, one finding a kind and place, worst first.

    Kinds: ``failed``, ``diverged``, ``bound`` (an optimum within 5 % of one), ``improving`` (at the last step),
    ``asks`` (too few), ``noise`` (of tuning), ``budget`` (unequal along an axis), ``metric`` (tuned for another one).
    """
    found = (_failed, _diverged, _bound, _improving, _few, _noise, _budget, _metric)
    return [diagnosis for look in found for diagnosis in look(results)]


def at_bound(results: "Results") -> dict[str, str]:
    """Cell key → sentence, for cells of which more than half of the searches chose a value within 5 % of one bound."""
    keys, found = results.grid["cell"].to_pylist(), dict[str, str]()
    for end in bounds.ends(results):
        axis = results.declaration.nuisance[end.axis]
        head, fix = f"{clean(end.axis)} lies within 5 % of its {bounds.said(axis, end.upper)} in", _widen(axis, end)
        for cell, n, of in zip(end.cells.tolist(), end.searches.tolist(), end.of.tolist(), strict=True):
            sentence = f"{head} {n} of {of} {'search' if of == 1 else 'searches'}; {fix}"
            found[keys[cell]] = f"{found[keys[cell]]} {sentence}" if keys[cell] in found else sentence
    return found


def _widen(axis: "Nuisance", end: bounds.AtBound) -> str:
    change = shlex.quote(clean(f"template.{end.axis}={bounds.wider(axis, end.upper)}"))
    return f"widen it, --set {change}, or fix it there if it can go no further."


def _keys(results: "Results", cells: Any) -> tuple[str, ...]:
    return tuple(results.grid["cell"].take(np.unique(cells)).to_pylist())


def _of(results: "Results", cells: int) -> str:
    return f"{cells:,} of {len(results.grid):,} cells"


def _are(table: Any, name: str, value: str) -> Any:
    return np.array(pc.equal(table[name], value), dtype=bool)


# ---------------------------------------------------------------- how trials ended


def _failed(results: "Results") -> Iterator[Diagnosis]:
    failed = results.failed()
    if not len(failed):
        return
    keys = _keys(results, places(failed, results.grid))
    count, why = reasons(results)[0]
    yield Diagnosis("failed", keys, (
        f"{len(failed):,} of {len(results.table):,} trials failed, in {_of(results, len(keys))}, {count:,} of them by "
        f"{why!r}; mend the cause and run the study again with --retry-failed."
    ))


def _diverged(results: "Results") -> Iterator[Diagnosis]:
    table, at = results.table, places(results.table, results.grid)
    diverged = _are(table, "status", DIVERGED)
    tune, final = _are(table, "phase", TUNE), _are(table, "phase", FINAL)
    if (diverged & tune).sum() > MOST_DIVERGED * tune.sum():
        keys = _keys(results, at[diverged & tune])
        yield Diagnosis("diverged", keys, (
            f"{(diverged & tune).sum():,} of {tune.sum():,} asks diverged, in {_of(results, len(keys))}, and taught "
            f"the search little{_where_diverged(results)}."
        ))
    if (diverged & final).any():
        keys = _keys(results, at[diverged & final])
        tuned = results.declaration.search is not None
        fix = "re-check choices on more seeds (search.recheck)" if tuned else "lower the learning rate there"
        yield Diagnosis("diverged", keys, (
            f"{(diverged & final).sum():,} of {final.sum():,} final trials diverged, in {_of(results, len(keys))}, and "
            f"count as worst; {fix}, or state that these settings are unstable."
        ))


def _where_diverged(results: "Results") -> str:
    """The end of the nuisance axis at which asks diverge, and what to do."""
    tune = results.table.filter(pc.equal(results.table["phase"], TUNE))
    diverged, found = _are(tune, "status", DIVERGED), []
    for name, axis in results.declaration.nuisance.items():
        if axis.low is None or f"param.{name}" not in tune.column_names:
            continue
        at = bounds.position(axis, np.array(pc.cast(tune[f"param.{name}"], "double").to_numpy(), dtype=float))
        bad, good = at[diverged & np.isfinite(at)], at[~diverged & np.isfinite(at)]
        if len(bad) and len(good):
            found.append((abs(bad.mean() - good.mean()), name, bad.mean() > good.mean()))
    if not found:
        return "; narrow the ranges of what is tuned"
    _, name, upper = max(found)
    return f"; {'lower the upper' if upper else 'raise the lower'} bound of template.{clean(name)}"


# ---------------------------------------------------------------- tuning


def _bound(results: "Results") -> Iterator[Diagnosis]:
    for end in bounds.ends(results):
        axis = results.declaration.nuisance[end.axis]
        yield Diagnosis("bound", _keys(results, end.cells), (
            f"{clean(end.axis)} was chosen within 5 % of its {bounds.said(axis, end.upper)} by {end.searches.sum():,} "
            f"of {end.of.sum():,} searches in {_of(results, len(end.cells))}, so the best may lie beyond; "
            f"{_widen(axis, end)}"
        ))


def _few(results: "Results") -> Iterator[Diagnosis]:
    """Fewer asks than random ones need to put one, with 95 % chance, into the better half of every nuisance axis."""
    plan, found = results.declaration.search, asks(results)
    columns = [n for n in results.table.column_names if n.startswith("param.")]
    if plan is None or not len(found.row):
        return
    rows = results.table.take(found.row)
    axes = np.sum([np.array(rows[name].is_valid().to_numpy(), dtype=int) for name in columns], axis=0)
    most = np.zeros(len(results.grid), dtype=int)
    np.maximum.at(most, found.cell, axes)
    needed = np.ceil(np.log(1 - CHANCE) / np.log1p(-0.5 ** np.maximum(most, 1))).astype(int)
    for count in np.unique(most[(most > 0) & (needed > plan.trials)]).tolist():
        cells = np.flatnonzero(most == count)
        yield Diagnosis("asks", _keys(results, cells), (
            f"{plan.trials} asks are few for {count} nuisance axes, in {_of(results, len(cells))}: it takes "
            f"{needed[cells[0]]} random ones to put one, with 95 % chance, into the better half of every axis; raise "
            "search.trials, or fix an axis."
        ))


def _noise(results: "Results") -> Iterator[Diagnosis]:
    """Whether the top settings of a search differ by less than one setting does between tuning seeds."""
    checks, asked = asks(results, RECHECK), asks(results)
    if not len(checks.row) or not np.isfinite(checks.score).any():
        return
    first, of = firsts(checks.cell, checks.search, checks.ask)
    count = np.bincount(of)
    with np.errstate(invalid="ignore"):
        mean = np.bincount(of, checks.score) / count
        squares = np.bincount(of, (checks.score - mean[of]) ** 2)
    usable = np.isfinite(squares) & (count > 1)
    if not usable.any():
        return
    within = squares[usable].sum() / (count[usable] - 1).sum()
    between = _between(checks.cell[first][usable], checks.search[first][usable], mean[usable])
    signal = max(between - within * np.mean(1 / count[usable]), 0.0)
    if not within > signal:
        return
    changed, searches = _changed(asked, choices(results))
    yield Diagnosis("noise", (), (
        f"One setting differs more between tuning seeds (standard deviation {np.sqrt(within):.2g}) than the top "
        f"settings of a search differ ({np.sqrt(signal):.2g}); re-checks changed the choice of {changed:,} of "
        f"{searches:,} searches; raise search.recheck, or take the top settings as equal."
    ))


def _between(cell: Integers, search: Integers, mean: Floats) -> float:
    """The variance of settings' means within their search, pooled over searches; 0 where each has one setting."""
    _, of = firsts(cell, search)
    count = np.bincount(of)
    centre = np.bincount(of, mean) / count
    return float(np.sum((mean - centre[of]) ** 2) / max(int((count - 1).sum()), 1))


def _changed(asked: Asks, chosen: Asks) -> tuple[int, int]:
    """How many searches did not choose the ask with the best score, of how many."""
    order = np.lexsort((asked.ask, asked.score, asked.search, asked.cell))
    first, _ = firsts(asked.cell[order], asked.search[order])
    best = {(c, s): a for c, s, a in np.stack([part[order][first] for part in asked[1:4]], axis=1).tolist()}
    picked = np.stack(chosen[1:4], axis=1).tolist()
    return sum(best.get((c, s)) != a for c, s, a in picked), len(picked)


def _metric(results: "Results") -> Iterator[Diagnosis]:
    objective = results.declaration.objective
    if objective is None or results.declaration.search is None:
        return
    for claim in results.declaration.claims:
        other = [m for m in claim.metrics if not objective.is_of(m)]
        if other:
            yield Diagnosis("metric", (), (
                f"The claim {clean(claim.title)!r} is about {clean(', '.join(other))}, but the cells were tuned for "
                f"{clean(objective.metric)}; claim that metric's twin on the test split as well."
            ))


# ---------------------------------------------------------------- training


def _improving(results: "Results") -> Iterator[Diagnosis]:
    objective, (cells, gains) = results.declaration.objective, still_improving(results)
    if objective is not None and len(cells):
        yield Diagnosis("improving", _keys(results, cells), (
            f"{clean(objective.metric)} still improves at the last step in {_of(results, len(cells))}: the last tenth "
            f"of the steps brings {np.median(gains):.1%} of all that a run gains (median); train longer, or "
            "state that the answer is for this many steps."
        ))


def _budget(results: "Results") -> Iterator[Diagnosis]:
    """Axes along which equal trials are not equal budgets: mean asks a cell, gradients and seconds a trial differ."""
    table, plan = spent(results), results.declaration.search
    trials = sum(np.array(table[phase].to_numpy(), dtype=float) for phase in (TUNE, RECHECK, FINAL))
    with np.errstate(invalid="ignore", divide="ignore"):
        each = {name: np.array(table[name].to_numpy(), dtype=float) / trials for name in ("gradients", "seconds")}
    asked = results.grid["tuned"].to_numpy() * float(plan.trials * plan.repeats if plan else 0)
    total = np.array(table["seconds"].to_numpy(), dtype=float)
    for axis in results.axes:
        if axis.rpartition(".")[2] == "steps":
            continue
        found = {
            "asks a cell": _extremes(table[axis], asked, ALIKE),
            "gradients a trial": _extremes(table[axis], each["gradients"], ALIKE),
            "seconds a trial": _extremes(table[axis], each["seconds"], UNEQUAL),
        }
        if (slow := found["seconds a trial"]) and total[slow[2]].sum() < MOMENT:
            found["seconds a trial"] = None
        said = [f"{name}: {low} to {high}" for name, (low, high, _) in ((n, f) for n, f in found.items() if f)]
        if said:
            cells = np.concatenate([f[2] for f in found.values() if f])
            yield Diagnosis("budget", _keys(results, cells), (
                f"Equal trials are not equal budgets along {clean(axis)}: {'; '.join(said)}. State it, or compare at "
                "equal budgets."
            ))


def _extremes(options: Any, values: Floats, least: float) -> tuple[str, str, Integers] | None:
    """The options with the smallest and largest mean, each with it, and the latter's cells; None if near enough."""
    encoded = options.combine_chunks().dictionary_encode("encode")
    code, names = encoded.indices.to_numpy(), encoded.dictionary.to_pylist()
    known = np.isfinite(values)
    count = np.bincount(code[known], minlength=len(names))
    if (count > 0).sum() < 2:
        return None
    with np.errstate(invalid="ignore"):
        mean = np.bincount(code[known], values[known], minlength=len(names)) / count
    low, high = int(np.nanargmin(mean)), int(np.nanargmax(mean))
    if not mean[high] > least * mean[low]:
        return None
    texts = [f"{mean[i]:.3g} ({clean(names[i])})" for i in (low, high)]
    return texts[0], texts[1], np.flatnonzero(code == high)
