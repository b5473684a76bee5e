"""Learning curves: metrics over training steps, as the final trials logged them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dlx.errors import DlxError
from dlx.figures import lookup
from dlx.figures.curves import left_out, span
from dlx.figures.lookup import Row
from dlx.figures.style import (
    COLOURS,
    DASHES,
    GREY,
    Panels,
    colour_bar,
    finish,
    house_style,
    legend_over,
    line_colours,
    log_scale,
    panels,
    shown,
)
from dlx.records import COMPLETED, DIVERGED, FINAL

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from dlx.results import Results
    from dlx.stats import Floats, Integers

MOST_LINES = 40  # a panel
MOST_PANELS = 12
X_LABELS = {"step": "training step", "seconds": "time in a pack (s)"}
MOST_NAMED = 12  # colours that a legend names; numbers beyond have a colour bar


class Roles(NamedTuple):
    """Which axes tell lines apart: by colour, by dashes, by panel."""

    colour: str | None
    dash: str | None
    panels: list[str]


class Line(NamedTuple):
    """Mean and half-width (NaN below two units) by step, or second, of so many trials."""

    step: "Integers | Floats"
    mean: "Floats"
    half_width: "Floats"
    trials: int


@dataclass(frozen=True)
class LearningCurves:
    """Metrics over steps: means over the final trials of each cell as lines, their 95 % t intervals as bands.

    x: ``step``, or the ``seconds`` that steps and measurements took: a trial's share of its pack's wall time, spread
    evenly over its steps, in the fastest of the cell's packs, for others bear compilation and what else a machine does.
    metric: one or several by name, the first solid, the others dashed. colour, dash: the axes that lines differ by
    (chosen where left out; dash: for a single metric); panel, and further axes, have panels. title, x_label, y_label:
    with units; scale: what y is multiplied by; log_x, log_y: log scales; where: cells, as in ``Results.where``; level:
    a value of y to compare with, dotted; y_range: from where to where y is shown, what is beyond being cut off and the
    caption saying so; name: of the files.
    """

    metric: str | Sequence[str]
    colour: str | None = None
    dash: str | None = None
    name: str = "learning_curves"
    title: str = ""
    x_label: str = ""
    y_label: str = ""
    scale: float = 1.0
    log_x: bool = False
    log_y: bool = False
    where: Mapping[str, Any] | None = None
    x: Literal["step", "seconds"] = "step"
    panel: str | None = None
    level: float | None = None
    y_range: tuple[float, float] | None = None

    def __call__(self, results: "Results") -> "Figure":
        """The figure; raises DlxError where there is nothing to show or too much, DeclarationError for names."""
        lookup.not_empty(self.name, results)
        every = results.where(self.where or {})
        results = every.where(phase=FINAL)
        metrics = [self.metric] if isinstance(self.metric, str) else list(self.metric)
        rows = results.cells().to_pylist()
        found = self._lines(results, metrics)
        if self.x == "seconds":
            found = _timed(found, every)
        roles = self._roles(results, rows, len(metrics))
        groups: dict[str, list[int]] = {}
        for i, row in enumerate(rows):
            groups.setdefault(lookup.said(row, roles.panels), []).append(i)
        self._check_size(groups, len(metrics))
        colours = self._colours(rows, roles.colour)
        dashes = lookup.values(rows, roles.dash) if roles.dash else metrics
        with house_style():
            figure, grid = panels(list(groups), 2.0)
            for axes, cells in zip(grid.all, groups.values(), strict=True):
                for metric in metrics:
                    for i in (i for i in cells if (i, metric) in found):
                        look = {"color": colours[rows[i][roles.colour]] if roles.colour else COLOURS[0],
                                "linestyle": _dash(dashes, rows[i][roles.dash] if roles.dash else metric)}
                        self._draw(axes, found[i, metric], look)
            self._dress(grid, found, metrics)
            self._legend(figure, grid, roles, colours, dashes)
            finish(figure, self.title, self._caption(rows, found, results))
            return figure

    def _lines(self, results: "Results", metrics: Sequence[str]) -> dict[tuple[int, str], Line]:
        """By row of the grid and metric: the mean curve, as far as all trials of the cell have finite values."""
        ran = results.table.filter(pc.is_in(results.table["status"], value_set=pa.array([COMPLETED, DIVERGED])))
        history = results.history()
        known = pc.unique(history["metric"]).to_pylist()
        row = pc.index_in(history["key"], value_set=ran["key"].combine_chunks())
        cell = pc.index_in(ran["cell"], value_set=results.grid["cell"].combine_chunks()).to_numpy()
        unit = np.unique(_units(results, ran), return_inverse=True)[1]
        lines: dict[tuple[int, str], Line] = {}
        for metric in metrics:
            if metric not in known:
                if not known:
                    raise DlxError(f"The figure {self.name} has nothing to show: no final trial logged a curve.")
                lookup.unknown(self.name, "logged metric", metric, sorted(known))
            here = pc.and_(pc.equal(history["metric"], metric), pc.is_valid(row))
            at = row.filter(here).to_numpy()
            curve = history.filter(here)
            lines |= {(i, metric): line for i, line in mean_lines(
                cell, unit, at, curve["step"].to_numpy(), curve["value"].to_numpy(), len(results.grid)).items()}
        if not lines:
            raise DlxError(f"The figure {self.name} has nothing to show: no cell has a step that all its final trials "
                           f"logged {' or '.join(metrics)} at with finite values.")
        return lines

    def _roles(self, results: "Results", rows: Sequence[Row], metrics: int) -> Roles:
        varying = lookup.varying(rows, results.axes)
        asked = (self.colour, self.dash, self.panel)
        given = [lookup.axis(self.name, results, name) if name else None for name in asked]
        colour, dash, panel = given
        free = [name for name in varying if name not in given]
        if colour is None and free:
            colour = max(free, key=lambda name: len(lookup.values(rows, name)))
            free.remove(colour)
        short = [name for name in free if len(lookup.values(rows, name)) <= len(DASHES)]
        if dash is None and metrics == 1 and short:
            dash = min(short, key=lambda name: len(lookup.values(rows, name)))
            free.remove(dash)
        return Roles(colour, dash if metrics == 1 else None, [*([panel] if panel else []), *free])

    def _check_size(self, groups: Mapping[str, Sequence[int]], metrics: int) -> None:
        lines = max(map(len, groups.values())) * metrics
        if len(groups) > MOST_PANELS or lines > MOST_LINES:
            raise DlxError(f"The figure {self.name} would have {len(groups)} panels with {lines} lines each; give it "
                           f"where= that leaves at most {MOST_PANELS} with {MOST_LINES}.")

    def _colours(self, rows: Sequence[Row], axis: str | None) -> dict[Any, Any]:
        found = lookup.values(rows, axis) if axis else []
        few = len(found) <= len(COLOURS) and not (len(found) > 3 and lookup.numeric(found))
        return {**dict(zip(found, COLOURS if few else line_colours(len(found)), strict=False)), None: GREY}

    def _draw(self, axes: "Axes", line: Line, look: Mapping[str, Any]) -> None:
        mean, half = line.mean * self.scale, np.nan_to_num(line.half_width * self.scale)
        axes.plot(line.step, mean, **look)
        if np.isfinite(line.half_width).any():
            axes.fill_between(line.step, mean - half, mean + half, color=look["color"], alpha=0.18, linewidth=0)

    def _dress(self, grid: Panels, found: Mapping[Any, Line], metrics: Sequence[str]) -> None:
        steps = np.concatenate([line.step for line in found.values()])
        means = np.concatenate([line.mean for line in found.values()]) * self.scale
        for axes in grid.all:
            if self.level is not None:
                axes.axhline(self.level, color=GREY, linestyle=":", linewidth=1.4)
            if self.log_x:
                log_scale(axes, "x", steps, 8 // len(grid.bottom) + 1)
            if self.log_y:
                positive = means[means > 0]
                if not positive.size:
                    raise DlxError(f"The figure {self.name} has no value above 0 for its log scale; give log_y=False.")
                axes.set_ylim(positive.min() / 1.5, positive.max() * 1.5)
                log_scale(axes, "y", (positive.min() / 1.5, positive.max() * 1.5))
            if self.y_range is not None:
                axes.set_ylim(*self.y_range)
        for axes in grid.bottom:
            axes.set_xlabel(self.x_label or X_LABELS[self.x])
        for axes in grid.left:
            axes.set_ylabel(self.y_label or shown(", ".join(metrics)))

    def _legend(
        self, figure: "Figure", grid: Panels, roles: Roles, colours: Mapping[Any, Any], dashes: Sequence[Any]
    ) -> None:
        from matplotlib.lines import Line2D

        entries: dict[str, Any] = {}
        values = [value for value in colours if value is not None]
        if roles.colour and len(values) > MOST_NAMED and lookup.numeric(values):
            colour_bar(figure, grid.all, values, lookup.short(roles.colour))
        elif roles.colour:
            names = [lookup.said({roles.colour: v}, [roles.colour]) for v in values]
            entries |= {name: Line2D([], [], color=colours[v]) for name, v in zip(names, values, strict=True)}
        if len(dashes) > 1:
            entries |= {lookup.said({roles.dash: v}, [roles.dash]) if roles.dash else shown(v):
                        Line2D([], [], color=GREY, linestyle=_dash(dashes, v)) for v in dashes}
        if entries:
            legend_over(figure, list(entries.values()), list(entries))

    def _caption(self, rows: Sequence[Row], found: Mapping[Any, Line], results: "Results") -> str:
        bands = any(np.isfinite(line.half_width).any() for line in found.values())
        search = results.declaration.search
        over = f" over {search.repeats} searches" if search and search.repeats > 1 else ""
        said = f"Means, n = {span([line.trials for line in found.values()])} trials a line"
        ends = " A line ends where one of its trials diverges." if any(row["diverged"] for row in rows) else ""
        beyond = "" if self.y_range is None or not any(
            (line.mean * self.scale < min(self.y_range)).any() or (line.mean * self.scale > max(self.y_range)).any()
            for line in found.values()) else " Lines that leave the picture go on beyond it."
        return f"{said}{f'; bands: 95 % t intervals{over}' if bands else ''}.{ends}{beyond}{left_out(rows)}"


def mean_lines(
    cell: "Integers", unit: "Integers", row: "Integers", step: "Integers", value: "Floats", cells: int
) -> dict[int, Line]:
    """By cell: means with t intervals over units at the steps at which all its trials have a finite value.

    cell, unit: of each trial (trials,); row: which trial a logged value is of (values,); step, value: (values,).
    """
    from dlx.stats import clustered

    logging, finite = np.bincount(cell[np.unique(row)], minlength=cells), np.isfinite(value)
    row, step, value = row[finite], step[finite], value[finite]
    steps, place = np.unique(step, return_inverse=True)
    found = clustered(value, cell[row] * len(steps) + place, unit[row], cells * len(steps))
    whole = found.count.reshape(cells, -1) == logging[:, None]
    mean, half = found.mean.reshape(cells, -1), found.half_width.reshape(cells, -1)
    return {i: Line(steps[whole[i]], mean[i, whole[i]], half[i, whole[i]], int(logging[i]))
            for i in np.flatnonzero(logging).tolist() if whole[i].any()}


def _timed(lines: Mapping[tuple[int, str], Line], results: "Results") -> dict[tuple[int, str], Line]:
    """Lines by row of the grid and metric, over seconds: steps times the fewest seconds that one of the cell took."""
    table, history = results.table.combine_chunks(), results.history()
    row = pc.index_in(history["key"], value_set=table["key"].combine_chunks()).to_numpy()
    last = np.zeros(len(table))
    np.maximum.at(last, row, history["step"].to_numpy())
    cell = pc.index_in(table["cell"], value_set=results.grid["cell"].combine_chunks()).to_numpy()
    pace = np.full(len(results.grid), np.inf)
    np.minimum.at(pace, cell[last > 0], table["seconds"].to_numpy()[last > 0] / last[last > 0])
    return {(i, metric): line._replace(step=line.step * pace[i]) for (i, metric), line in lines.items()}


def _units(results: "Results", trials: pa.Table) -> "Integers":
    """What intervals are over, as in ``Results.cells``: the search of a trial, its seed where there is no other."""
    search = results.declaration.search
    if search is None or search.repeats == 1:
        return np.asarray(trials["seed"].to_numpy())
    return np.asarray(pc.coalesce(trials["search"].cast(pa.int64()), trials["seed"]).to_numpy())


def _dash(found: Sequence[Any], value: Any) -> Any:
    return DASHES[(found.index(value) if value in found else 0) % len(DASHES)]
