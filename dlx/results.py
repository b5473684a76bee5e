"""Results: the stored rows that today's declaration wants, and what they say of each cell.

``Results.of`` lists the wanted slots, joins them with the stored trials by key, and gives every axis, metric and
tuned value a column of its own. Everything is Arrow and NumPy; no engine is imported.
"""

import difflib
from collections.abc import Collection, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dlx import exports, kept, wanted
from dlx.errors import DeclarationError
from dlx.records import COMPLETED, DIVERGED, FAILED, FINAL, PRUNED, TUNE
from dlx.stats import Means, clustered, means
from dlx.store import Store
from dlx.study import Study
from dlx.tuning import Objective

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    import torch

COUNTED = ("n", DIVERGED, FAILED, PRUNED, "missing", "note")  # columns of ``cells()`` beside axes and metrics
OWN = ("cell", "phase", "search", "ask", "seed", "key", "status", "seconds", "error")


class Results:
    """What is stored of a study's wanted trials: rows, curves, and a mean with its interval for each cell."""

    def __init__(self, study: Study, store: Store, grid: pa.Table, table: pa.Table, metrics: Mapping[str, str]) -> None:
        self.study = study
        self.store = store
        self.table = table
        self._grid = grid
        self._metrics = metrics  # name of the metric → name of its column

    @classmethod
    def of(cls, study: Study, home: str | None = None) -> "Results":
        """The wanted rows of today's declaration; starts nothing and writes nothing."""
        store = Store(study.name, home)
        cells = list(study.space.cells)
        grid = wanted.grid(study, cells, (*OWN, *COUNTED))
        slots = wanted.slots(study, cells, grid, store.membership())
        stored = store.trials(set(slots["key"].to_pylist())).combine_chunks()
        place = pc.index_in(slots["key"], value_set=stored["key"].combine_chunks())
        slots = slots.filter(pc.is_valid(place))
        rows = stored.take(pc.drop_null(place))
        axes = wanted.axis_names(grid)
        columns = {name: grid[name].take(slots["at"]) for name in axes}
        columns["cell"] = grid["cell"].take(slots["at"])
        columns |= {name: slots[name] for name in ("phase", "search", "ask", "seed", "key")}
        columns["status"] = rows["status"]
        values = wanted.metric_columns(rows["metrics"])
        names = {metric: f"metric.{metric}" if _is_taken(metric, axes) else metric for metric in values}
        columns |= {names[metric]: column for metric, column in values.items()}
        columns |= {"seconds": rows["seconds"], "error": rows["error"]}
        columns |= wanted.param_columns(slots["params"])
        return cls(study, store, grid, pa.table(columns), names)

    # ------------------------------------------------------------ what there is

    @property
    def axes(self) -> list[str]:
        """Names of the axes' columns."""
        return wanted.axis_names(self._grid)

    @property
    def metrics(self) -> list[str]:
        """Names of the metrics: the objective on the test split, the objective, others of the test split, the rest."""
        objective = self.study.objective.metric if self.study.objective else ""
        first = f"test/{objective.rpartition('/')[2]}", objective
        return sorted(self._metrics, key=lambda n: (n != first[0], n != first[1], not n.startswith("test/"), n))

    @property
    def missing(self) -> int:
        """How many final trials are wanted and not stored, less those of searches in which no ask ended well."""
        cells = self.cells()["missing"].to_numpy()
        return int(np.maximum(cells - len(self.study.seed_list) * self._fruitless, 0).sum())

    @property
    def _fruitless(self) -> np.ndarray[Any, Any]:
        """By cell: how many searches are over without a choice."""
        search = self.study.search
        if search is None:
            return np.zeros(len(self._grid), dtype=int)
        tune = _bools(pc.equal(self.table["phase"], TUNE))
        ended = _bools(pc.equal(self.table["status"], COMPLETED))
        groups = self._at * search.repeats + pc.fill_null(self.table["search"], 0).to_numpy()
        size = len(self._grid) * search.repeats
        asked, well = (np.bincount(groups[mask], minlength=size) for mask in (tune, tune & ended))
        fruitless = (asked == search.trials) & (well == 0)
        return cast("np.ndarray[Any, Any]", fruitless.reshape(-1, search.repeats).sum(axis=1))

    def write(self, path: "str | Path") -> None:
        """Write the table to ``….csv`` or ``….parquet``; raises DlxError when the file cannot be written."""
        exports.write(self.table, path)

    def to_pandas(self) -> "pd.DataFrame":
        """The table as a pandas data frame."""
        return self.table.to_pandas()

    def failed(self) -> pa.Table:
        """The rows of trials that failed, with the traceback in the column ``error``."""
        return self.table.filter(pc.equal(self.table["status"], FAILED))

    def history(self) -> pa.Table:
        """Logged curves, a row for each value: axes, phase, seed, key, metric, step, value."""
        keys = self.table["key"]
        curves = self.store.history(set(keys.to_pylist())).combine_chunks()
        pairs = pa.table({"key": keys, "row": np.arange(len(keys))}).join(
            pa.table({"key": curves["key"], "curve": np.arange(len(curves))}), "key", join_type="inner"
        ).sort_by([("row", "ascending"), ("curve", "ascending")])
        curves = curves.take(pairs["curve"]).combine_chunks()
        lengths = pc.list_value_length(curves["step"]).to_numpy().astype(np.int64)
        rows = self.table.take(np.repeat(pairs["row"].to_numpy(), lengths))
        columns = {name: rows[name] for name in (*self.axes, "phase", "seed", "key")}
        columns["metric"] = curves["metric"].take(np.repeat(np.arange(len(curves)), lengths))
        columns |= {name: pc.list_flatten(curves[name]) for name in ("step", "value")}
        return pa.table(columns)

    def load_model(self, key: str, which: kept.Which | None = None) -> "torch.nn.Module":
        """The model of a trial by its key, on the CPU in eval mode, with its weights after the last step or the best.

        which: as the study's ``keep`` says when left out. Raises StoreError where there are none, or none that fit.
        """
        return kept.load_model(
            self.study, self.store, self.table, key, which or ("best" if self.study.keep == "best" else "final"))

    # ------------------------------------------------------------ a part of it

    def where(self, conditions: Mapping[str, Any] | None = None, /, **more: Any) -> "Results":
        """The rows (and cells) whose axes or columns have these values, or one of several in a list or tuple.

        An axis may be called by the end of its name: ``where(width=32)`` for ``model.width``.
        Raises DeclarationError with the nearest match for an unknown column.
        """
        grid, table = self._grid, self.table
        for name, value in {**(conditions or {}), **more}.items():
            column = self._column(name)
            table = table.filter(_matches(table[column], value))
            if column in self.axes or column == "cell":
                grid = grid.filter(_matches(grid[column], value))
        return Results(self.study, self.store, grid, table, self._metrics)

    def _column(self, name: str) -> str:
        columns = self.table.column_names
        ends = [axis for axis in self.axes if axis.endswith(f".{name}")]
        if name in columns or len(ends) == 1:
            return name if name in columns else ends[0]
        near = difflib.get_close_matches(name, columns, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(columns)}."
        raise DeclarationError(f"The results of {self.study.name} have no column {name!r}; {hint}")

    # ------------------------------------------------------------ what it says of each cell

    def cells(self) -> pa.Table:
        """One row a cell: axes, ``n`` (final trials that ran), ``<metric>.mean``, ``.half_width`` (95 % t), ``.n``.

        Only finite values are averaged: ``.n`` is below ``n`` where some are not. With several searches a cell the
        interval is over searches, whose seeds share one draw. Further columns: ``diverged``, ``failed``, ``pruned``,
        ``missing`` (final trials), ``param.<name>`` (of the best search) and ``note``.
        """
        return self._cells

    @cached_property
    def _cells(self) -> pa.Table:
        status, phase = self.table["status"], self.table["phase"]
        final = pc.equal(phase, FINAL)
        ran = pc.and_(final, pc.is_in(status, value_set=pa.array([COMPLETED, DIVERGED])))
        columns = {name: self._grid[name] for name in ("cell", *self.axes)}
        columns["n"] = self._count(ran)
        for name in self.metrics:
            found = self._means(name, ran)
            columns[f"{name}.mean"] = _or_null(found.mean)
            columns[f"{name}.half_width"] = _or_null(found.half_width)
            columns[f"{name}.n"] = pa.array(found.count)
        for name in (DIVERGED, FAILED, PRUNED):
            columns[name] = self._count(pc.and_(final, pc.equal(status, name)))
        columns["missing"] = pc.max_element_wise(pc.subtract(self._grid["finals"], self._count(final)), 0)
        columns |= self._best_params()
        columns["note"] = self._notes()
        return pa.table(columns)

    @cached_property
    def _at(self) -> np.ndarray[Any, Any]:
        """Which cell each row belongs to, as a row of the grid."""
        return cast("np.ndarray[Any, Any]", pc.index_in(
            self.table["cell"], value_set=self._grid["cell"].combine_chunks()).to_numpy())

    def _count(self, mask: Any) -> pa.Array:
        return pa.array(np.bincount(self._at[_bools(mask)], minlength=len(self._grid)))

    def _means(self, metric: str, mask: Any) -> Means:
        chosen = self.table.filter(mask)
        values, at = _floats(chosen[self._metrics[metric]]), self._at[_bools(mask)]
        searches = pc.fill_null(chosen["search"], 0).to_numpy()
        repeats = self.study.search.repeats if self.study.search else 1
        if repeats == 1 or not len(searches):
            return means(values, at, len(self._grid))
        untuned = _bools(pc.is_null(chosen["search"]))  # each of their seeds is a draw of its own
        order = np.arange(len(at)) - np.searchsorted(at, at) if untuned.any() else searches
        return clustered(values, at, np.where(untuned, order, searches), len(self._grid))

    def _notes(self) -> pa.Array:
        """What a mean would hide: a cell in which all trials failed or diverged, or nothing is stored."""
        total = self._count(pc.is_valid(self.table["key"])).to_numpy()
        notes: list[str | None] = [None if n else "nothing stored yet" for n in total.tolist()]
        for status in (FAILED, DIVERGED):
            bad = self._count(pc.equal(self.table["status"], status)).to_numpy()
            for i in np.flatnonzero((bad == total) & (total > 0)).tolist():
                notes[i] = f"all {total[i]} trials {status}" if total[i] > 1 else f"all trials {status} (1)"
        return pa.array(notes, pa.string())

    def _best_params(self) -> dict[str, Any]:
        """The tuned values of each cell's best search: by its final trials, by its asks while there are none."""
        names = [n for n in self.table.column_names if n.startswith("param.")]
        objective = self.study.objective
        if not names or objective is None or objective.metric not in self._metrics:
            return {}
        phase = self.table["phase"]
        values = objective.sign * _floats(self.table[self._metrics[objective.metric]])
        final, tune = _bools(pc.equal(phase, FINAL)), _bools(pc.equal(phase, TUNE))
        searches = pc.fill_null(self.table["search"], 0).to_numpy()
        width = int(searches.max(initial=0)) + 1
        groups = self._at * width + searches
        values[final] = means(values[final], groups[final], len(self._grid) * width).mean[groups[final]]
        rows = np.flatnonzero(np.isfinite(values) & (final | tune))
        rows = rows[np.lexsort((values[rows], ~final[rows], self._at[rows]))]
        cells, first = np.unique(self._at[rows], return_index=True)
        chosen = np.full(len(self._grid), -1)
        chosen[cells] = rows[first]
        places = pa.array(chosen, mask=chosen < 0)
        return {name: self.table[name].take(places) for name in names}

    def best(self, metric: Objective | None = None) -> dict[str, Any] | None:
        """The row of ``cells()`` with the best mean, None while there is none; cells with diverged trials come last.

        ``metric``: ``dlx.minimize("test/error")`` or the like; the study's objective when left out.
        """
        objective = metric or self.study.objective
        if not isinstance(objective, Objective):
            said = "the study has no objective" if objective is None else f"metric is {objective!r}"
            raise DeclarationError(f"best() of {self.study.name}: {said}; write best(dlx.minimize('test/error')).")
        if objective.metric not in self._metrics:
            if not self.metrics:
                return None
            raise DeclarationError(
                f"best() of {self.study.name}: no trial returned {objective.metric!r}; there are "
                f"{', '.join(self.metrics)}."
            )
        cells = self.cells()
        values = objective.sign * _floats(cells[f"{objective.metric}.mean"])
        spoilt = cells[f"{objective.metric}.n"].to_numpy() < cells["n"].to_numpy()
        order = np.lexsort((values, spoilt, ~np.isfinite(values)))
        if not len(order) or not np.isfinite(values[order[0]]):
            return None
        return cast(dict[str, Any], cells.slice(int(order[0]), 1).to_pylist()[0])

    def __repr__(self) -> str:
        from dlx.tables import cells_table, plain

        return plain(cells_table(self))


# ---------------------------------------------------------------- columns


def _is_taken(metric: str, axes: Collection[str]) -> bool:
    """Whether a metric's name is that of another column, or might be."""
    return metric in (*OWN, *axes) or metric.startswith(("param.", "metric."))


def _bools(mask: Any) -> np.ndarray[Any, Any]:
    return np.asarray(pc.fill_null(mask, False).to_numpy(), dtype=bool)


def _floats(column: Any) -> np.ndarray[Any, Any]:
    return np.array(column.to_numpy(), dtype=float)


def _or_null(values: np.ndarray[Any, Any]) -> pa.Array:
    return pa.array(values, mask=np.isnan(values))


def _matches(column: Any, value: Any) -> Any:
    values = list(value) if isinstance(value, Collection) and not isinstance(value, str) else [value]
    if pa.types.is_string(column.type):
        values = [v if v is None else str(v) for v in values]
    try:
        return pc.is_in(column, value_set=pa.array(values, column.type))
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pc.is_in(column, value_set=pa.array([], column.type))
