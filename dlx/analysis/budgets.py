"""Budgets: what each cell cost in trials, gradients and seconds, and the best to expect of fewer asks."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy.special import gammaln

from dlx.analysis.asks import asks, choices, firsts
from dlx.cells import places
from dlx.records import FAILED, FINAL, PRUNED, RECHECK, TUNE
from dlx.stats import Floats, means
from dlx.tuning import Random

if TYPE_CHECKING:
    from dlx.results import Results

GRADIENTS = {"SAM": 2, "ASAM": 2}  # wrappers of optimizers that ask for more than one gradient a step
PHASES = (TUNE, RECHECK, FINAL)


def spent(results: "Results") -> pa.Table:
    """One row a cell: axes, trials by phase (``tune``, ``recheck``, ``final``), ``gradients`` and ``seconds`` of all.

    A gradient is that of one batch: an optimizer step takes one, under SAM two. Of trials stopped early the steps that
    were measured count, of failed ones none; null where a trial is no ``Training`` or ``PBT``. Seconds are shares of
    packs' wall time. Parents are in the cell that first asked for them.
    """
    table, size = results.table, len(results.grid)
    at = places(table, results.grid)
    columns = {name: results.grid[name] for name in ("cell", *results.axes)}
    for phase in PHASES:
        columns[phase] = pa.array(np.bincount(at[_are(table["phase"], phase)], minlength=size))
    taken = _gradients(results)
    unknown = np.bincount(at, np.isnan(taken), minlength=size) > 0
    total = np.bincount(at, np.nan_to_num(taken), minlength=size)
    columns["gradients"] = pa.array(total.astype(np.int64), mask=unknown)
    columns["seconds"] = pa.array(np.bincount(at, table["seconds"].to_numpy(), minlength=size))
    return pa.table(columns)


def _gradients(results: "Results") -> Floats:
    """By row of the table: gradients taken; NaN where that is not known."""
    table = results.table
    stored = results.store.trials(set(table["key"].to_pylist()), ("key", "values")).combine_chunks()
    texts = stored["values"].combine_chunks().dictionary_encode()
    costs = np.array([_cost(json.loads(text)) for text in texts.dictionary.to_pylist()] or [(np.nan, np.nan)])
    where = pc.index_in(table["key"], value_set=stored["key"].combine_chunks()).to_numpy()
    each, steps = costs[texts.indices.to_numpy()[where]].T
    early = np.flatnonzero(_are(table["status"], PRUNED))
    done = _measured(results)
    steps[early] = [done.get(key, 0) for key in table["key"].take(early).to_pylist()]
    return np.where(_are(table["status"], FAILED), 0.0, each * steps)


def _are(column: Any, value: str) -> Any:
    return np.array(pc.equal(column, value), dtype=bool)


def _cost(values: Mapping[str, Any]) -> tuple[float, float]:
    """Gradients in a step, and steps, of a trial with these stored values; NaN where it is of another kind."""
    kind = values.get("trial")
    inside = {"Training": "", "PBT": "training."}.get(str(kind))
    if inside is None or f"{inside}optimizer" not in values or f"{inside}steps" not in values:
        return np.nan, np.nan
    each, rule = (1 if kind == "Training" else int(values["members"])), f"{inside}optimizer"
    while rule in values:
        each, rule = each * GRADIENTS.get(values[rule], 1), f"{rule}.inner"
    return each, values[f"{inside}steps"]


def _measured(results: "Results") -> dict[str, int]:
    """Key → last measured step of the trials that were stopped early."""
    pruned = results.table.filter(pc.equal(results.table["status"], PRUNED))["key"].to_pylist()
    curves = results.store.history(set(pruned)) if pruned else None
    last: dict[str, int] = {}
    for key, steps in zip(curves["key"].to_pylist(), curves["step"].to_pylist(), strict=True) if curves else ():
        last[key] = max(last.get(key, 0), *steps)
    return last


# ---------------------------------------------------------------- the best of k asks


def best_against_budget(results: "Results") -> pa.Table:
    """One row a tuned cell and number of asks: axes, ``asks``, ``best`` to expect of so many, and what came of it.

    ``best``: of independent draws (``dlx.Random``) the unbiased estimate over all subsets of a search's asks (Dodge et
    al. 2019, arXiv:1909.03004; Tang et al. 2020, arXiv:2004.13705), else the best so far; mean over ``searches`` that
    are complete, with the ``half_width`` of its 95 % t interval. Asks that did not end well count as the worst of
    their cell. ``final``, ``final.half_width``: the objective of the searches' choices on fresh seeds, beside which
    the best of all asks is too good to be true.
    """
    plan, objective, found = results.declaration.search, results.declaration.objective, asks(results)
    kept = {name: results.grid[name] for name in ("cell", *results.axes)}
    if plan is None or objective is None:
        return _against(kept, np.empty(0, dtype=np.int64), np.empty((0, 0)), np.empty((0, 0)), {})
    first, of = firsts(found.cell, found.search)
    whole = np.bincount(of, minlength=len(first)) == plan.trials
    cell = found.cell[first[whole]]
    scores = found.score[whole[of]].reshape(-1, plan.trials) if len(first) else np.empty((0, plan.trials))
    worst = np.full(len(results.grid), -np.inf)
    np.maximum.at(worst, cell, np.where(np.isfinite(scores), scores, -np.inf).max(axis=1, initial=-np.inf))
    scores, cell = scores[np.isfinite(worst[cell])], cell[np.isfinite(worst[cell])]
    scores = np.where(np.isfinite(scores), scores, worst[cell][:, None])
    best = _expected(scores) if plan.algorithm == Random.algorithm else np.minimum.accumulate(scores, axis=1)
    columns = [means(column, cell, len(results.grid)) for column in best.T]
    cells = np.unique(cell)
    chosen = choices(results)
    final = means(chosen.score, chosen.cell, len(results.grid))
    more = {"searches": columns[0].count[cells], "final": objective.sign * final.mean[cells],
            "final.half_width": final.half_width[cells]}
    mean, half = (np.array([getattr(c, part)[cells] for c in columns]) for part in ("mean", "half_width"))
    return _against(kept, cells, objective.sign * mean, half, more)


def _against(kept: Mapping[str, Any], cells: Any, best: Floats, half: Floats, more: Mapping[str, Any]) -> pa.Table:
    """The table of cells and numbers of asks; best, half: (asks, cells)."""
    at = np.repeat(cells, len(best))
    columns = {name: column.take(at) for name, column in kept.items()}
    columns["asks"] = pa.array(np.tile(np.arange(1, len(best) + 1), len(cells)))
    floats = {"best": best.T.ravel(), "half_width": half.T.ravel()}
    floats |= {name: np.repeat(more.get(name, np.empty(0)), len(best)) for name in ("final", "final.half_width")}
    columns |= {name: pa.array(values, pa.float64(), mask=~np.isfinite(values)) for name, values in floats.items()}
    columns["searches"] = pa.array(np.repeat(more.get("searches", np.empty(0, dtype=np.int64)), len(best)))
    return pa.table(columns)


def _expected(scores: Floats) -> Floats:
    """The mean smallest of k scores over all subsets of each row, for k = 1 to n; scores: (searches, n)."""
    n = scores.shape[1]
    place, k = np.arange(1, n + 1)[:, None], np.arange(1, n + 1)[None, :]
    with np.errstate(invalid="ignore"):
        chance = np.exp(_log_choose(n - place, k - 1) - _log_choose(n, k))
    return np.asarray(np.sort(scores, axis=1) @ np.where(k - 1 <= n - place, chance, 0.0))


def _log_choose(n: Any, k: Any) -> Any:
    return gammaln(n + 1) - gammaln(k + 1) - gammaln(np.maximum(n - k, 0) + 1)
