"""Results: the stored rows that today's declaration wants, and what they say of each cell.

``Results.of`` lists the wanted slots, joins them with the stored trials by key, and gives every axis, metric and
tuned value a column of its own. Everything is Arrow and NumPy; no engine is imported.
"""

from collections.abc import Collection, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dlx import exports, kept, wanted
from dlx.cells import floats, searches_without_choice, summarise
from dlx.declaration import Declaration
from dlx.errors import DeclarationError, DlxError
from dlx.finals import Finals, finals
from dlx.items import Items, items
from dlx.records import FAILED
from dlx.register import Register
from dlx.store import Store
from dlx.study import Study
from dlx.text import by_end, nearest
from dlx.tuning import Objective, ranked

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    import torch

    from dlx.verdicts import Verdicts

READ = ("key", "metrics", "status", "error", "seconds")  # columns of stored trials


class Results:
    """What is stored of a study's wanted trials: rows, curves, and a mean with its interval for each cell.

    ``stopped``: why the run that returned them ended early; empty where it did not.
    """

    stopped = ""

    def __init__(
        self, declaration: Declaration, store: Store, grid: pa.Table, table: pa.Table, metrics: Mapping[str, str],
        study: Study | None = None,
    ) -> None:
        self.declaration = declaration
        self.store = store
        self.table = table
        self.grid = grid  # one row a cell: ``cell`` (its key), ``tuned``, ``finals`` (final trials wanted), axes
        self._metrics = metrics  # name of the metric → name of its column
        self._study = study
        self._finals: dict[str, Finals] = {}

    @classmethod
    def of(cls, study: Study | Declaration, home: str | None = None) -> "Results":
        """The wanted rows of a study, or of what a home keeps of its declaration; starts and writes nothing."""
        wants = study if isinstance(study, Declaration) else Declaration.of(study)
        store, grid = Store(wants.name, home), wants.grid
        slots = wanted.slots(wants, store.membership())
        stored = store.trials(set(slots["key"].to_pylist()), READ).combine_chunks()
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
        return cls(wants, store, grid, pa.table(columns), names, study if isinstance(study, Study) else None)

    @property
    def study(self) -> Study:
        """The study; raises DlxError where only its declaration is known, as in a home that was copied."""
        if self._study is None:
            raise DlxError(f"The file of the study {self.declaration.name} is not here; put it there and load it.")
        return self._study

    # ------------------------------------------------------------ what there is

    @property
    def axes(self) -> list[str]:
        """Names of the axes' columns."""
        return wanted.axis_names(self.grid)

    @property
    def metrics(self) -> list[str]:
        """Names of the metrics: the objective on the test split, the objective, others of the test split, the rest."""
        return ranked(self._metrics, self.declaration.objective)

    def column(self, metric: str) -> str:
        """The name of a metric's column in the table: ``metric.<name>`` where an axis or another column has its name.

        Raises DeclarationError for a metric that no trial returned.
        """
        if metric not in self._metrics:
            raise DeclarationError(
                f"No trial of {self.declaration.name} returned {metric!r}; {nearest(metric, self.metrics)}")
        return self._metrics[metric]

    @property
    def missing(self) -> int:
        """How many final trials are wanted and not stored, less those of searches in which no ask ended well."""
        fruitless = searches_without_choice(self.table, self.grid, self.declaration)
        left = self.cells()["missing"].to_numpy() - len(self.declaration.seeds) * fruitless
        return int(np.maximum(left, 0).sum())

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
        """Logged curves, a row for each value: axes, phase, seed, key, metric, step, value; items are left out."""
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

    def finals(self, metric: str, where: Mapping[str, Any] | None = None) -> Finals:
        """Values of a metric over the final trials that ran, of the cells that ``where`` names; see ``Finals``.

        Raises DeclarationError for a metric that no trial returned, and for unknown columns.
        """
        column = self.column(metric)
        if where:
            return finals(self.where(where).table, self.grid, column)
        if metric not in self._finals:
            self._finals[metric] = finals(self.table, self.grid, column)
        return self._finals[metric]

    def items(self, metric: str, where: Mapping[str, Any] | None = None) -> Items:
        """Values of a metric by item of the test set, of the final trials that recorded them; see ``Items``.

        Raises DlxError where there are none, or trials have other items than each other.
        """
        return items(self.where(where).table, self.grid, self.store, metric)

    @cached_property
    def register(self) -> Register:
        """Which claims were stated before their trials ran, and when they were looked at."""
        return Register(self.store, self.grid["cell"].to_pylist())

    def verdicts(self) -> "Verdicts":
        """What the results say of each claim of the study."""
        return self._verdicts

    @cached_property
    def _verdicts(self) -> "Verdicts":
        from dlx.verdicts import judge

        return judge(self)

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
        grid, table = self.grid, self.table
        for name, value in {**(conditions or {}), **more}.items():
            column = self._column(name)
            table = table.filter(_matches(table[column], value))
            if column in self.axes or column == "cell":
                grid = grid.filter(_matches(grid[column], value))
        return Results(self.declaration, self.store, grid, table, self._metrics, self._study)

    def _column(self, name: str) -> str:
        columns = self.table.column_names
        if (found := name if name in columns else by_end(name, self.axes)) is None:
            raise DeclarationError(
                f"The results of {self.declaration.name} have no column {name!r}; {nearest(name, columns)}")
        return found

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
        return summarise(self.table, self.grid, {name: self._metrics[name] for name in self.metrics}, self.declaration)

    def best(self, metric: Objective | None = None) -> dict[str, Any] | None:
        """The row of ``cells()`` with the best mean, None while there is none; cells with diverged trials come last.

        ``metric``: ``dlx.minimize("test/error")`` or the like; the study's objective when left out.
        """
        objective = metric or self.declaration.objective
        if not isinstance(objective, Objective):
            said = "the study has no objective" if objective is None else f"metric is {objective!r}"
            raise DeclarationError(
                f"best() of {self.declaration.name}: {said}; write best(dlx.minimize('test/error'))."
            )
        if objective.metric not in self._metrics:
            if not self.metrics:
                return None
            raise DeclarationError(
                f"best() of {self.declaration.name}: no trial returned {objective.metric!r}; there are "
                f"{', '.join(self.metrics)}."
            )
        cells = self.cells()
        values = objective.sign * floats(cells[f"{objective.metric}.mean"])
        spoilt = cells[f"{objective.metric}.n"].to_numpy() < cells["n"].to_numpy()
        order = np.lexsort((values, spoilt, ~np.isfinite(values)))
        if not len(order) or not np.isfinite(values[order[0]]):
            return None
        return cast(dict[str, Any], cells.slice(int(order[0]), 1).to_pylist()[0])

    def _repr_html_(self) -> str:
        from dlx.notebook import results_html

        return results_html(self)

    def __repr__(self) -> str:
        from dlx.tables import cells_table, plain

        return plain(cells_table(self))


# ---------------------------------------------------------------- columns


def _is_taken(metric: str, axes: Collection[str]) -> bool:
    """Whether a metric's name is that of another column, or might be."""
    return metric in (*wanted.OWN, *axes) or metric.startswith(("param.", "metric."))


def _matches(column: Any, value: Any) -> Any:
    values = list(value) if isinstance(value, Collection) and not isinstance(value, str) else [value]
    if pa.types.is_string(column.type):
        values = [v if v is None else str(v) for v in values]
    try:
        return pc.is_in(column, value_set=pa.array(values, column.type))
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pc.is_in(column, value_set=pa.array([], column.type))
