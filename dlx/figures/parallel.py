"""Parallel coordinates: what trials were set to, axis beside axis, and how they did."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dlx.errors import DlxError
from dlx.figures import lookup
from dlx.figures.phase import step_name
from dlx.figures.style import GREY, SMALL, canvas, colour_map, finish, house_style, legend_over, shown
from dlx.records import COMPLETED, DIVERGED, FINAL, TUNE
from dlx.text import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from dlx.results import Results
    from dlx.stats import Floats

MOST_AXES = 9
MOST_STEPS = 9  # values that an axis writes out
MOST_VECTORS = 500  # lines; more are pixels in an SVG
ABSENT = -0.1  # where a line passes an axis that its trial does not have
SHARE = 0.95  # of the values that the colours tell apart, from the best on


class Scale(NamedTuple):
    """An axis of the figure: its name, where each trial passes it (trials,) in [0, 1] or ABSENT, and its ticks."""

    name: str
    place: "Floats"
    ticks: Mapping[float, str]


@dataclass(frozen=True)
class Parallel:
    """Trials as lines over scientific and nuisance axes, coloured by a metric: asks thin, final trials thick.

    metric: by name, the objective where left out, else the first of the results; loguniform axes are on a log scale;
    the best lines lie on top. title, label (of the colours): with units; scale: what the metric is multiplied by;
    where: trials, as in ``Results.where``; name: of the files.
    """

    metric: str | None = None
    name: str = "parallel"
    title: str = ""
    label: str = ""
    scale: float = 1.0
    where: Mapping[str, Any] | None = None

    def __call__(self, results: "Results") -> "Figure":
        """The figure; raises DlxError where there is nothing to show or too much, DeclarationError for names."""
        lookup.not_empty(self.name, results)
        objective = results.declaration.objective
        known = objective.metric if objective and objective.metric in results.metrics else None
        metric = lookup.metric(self.name, results, self.metric or known)
        sign = objective.sign if objective else 1
        trials, values = self._trials(results.where(self.where or {}), metric)
        scales = _scales(results, trials)
        if not scales or len(scales) > MOST_AXES:
            raise DlxError(f"The figure {self.name} would have {len(scales)} axes that vary; give it where= that "
                           f"leaves 1 to {MOST_AXES}.")
        with house_style():
            figure = canvas(4.6)
            axes = figure.subplots()
            worst = float(np.quantile(sign * values, SHARE))
            self._lines(figure, axes, scales, trials, values, sign, worst, metric)
            _axes(axes, scales)
            finals = int(pc.sum(pc.equal(trials["phase"], FINAL)).as_py() or 0)
            beyond = int((sign * values > worst).sum())
            absent = " —: no axis of the trial." if any((s.place == ABSENT).any() for s in scales) else ""
            counts = {"asks": len(trials) - finals, "final trials": finals}
            n = " and ".join(f"{count:,} {what}" for what, count in counts.items() if count)
            last = f"; the worst {beyond:,} share the last colour" if beyond else ""
            finish(figure, self.title, f"n = {n} with finite values{last}.{absent}")
            return figure

    def _trials(self, results: "Results", metric: str) -> "tuple[pa.Table, Floats]":
        """Asks and final trials with finite values, the worst first."""
        table, column = results.table, results.column(metric)
        ran = pc.and_(pc.is_in(table["status"], value_set=pa.array([COMPLETED, DIVERGED])),
                      pc.is_in(table["phase"], value_set=pa.array([TUNE, FINAL])))
        table = table.filter(pc.and_(ran, pc.fill_null(pc.is_finite(table[column]), False)))
        if not len(table):
            raise DlxError(f"The figure {self.name} has nothing to show: no ask or final trial has a finite {metric}.")
        values = np.array(table[column].to_numpy(), dtype=float)
        objective = results.declaration.objective
        order = np.argsort(-values * (objective.sign if objective else 1), kind="stable")
        return table.take(pa.array(order)), values[order] * self.scale

    def _lines(
        self, figure: "Figure", axes: "Axes", scales: Sequence[Scale], trials: pa.Table, values: "Floats", sign: int,
        worst: float, metric: str,
    ) -> None:
        from matplotlib.collections import LineCollection
        from matplotlib.colors import Normalize
        from matplotlib.lines import Line2D

        best = float(np.min(sign * values))
        norm = Normalize(min(sign * best, sign * worst), max(sign * best, sign * worst))
        colours = colour_map() if sign > 0 else colour_map().reversed()
        final = np.array(pc.equal(trials["phase"], FINAL).to_numpy(), dtype=bool)
        points = np.stack([scale.place for scale in scales], axis=1)
        paths = np.stack([np.broadcast_to(np.arange(len(scales)), points.shape), points], axis=2)
        for here, width, alpha in ((~final, 0.7, 0.55), (final, 1.7, 0.8)):
            lines = LineCollection(list(paths[here]), linewidths=width, alpha=alpha, cmap=colours, norm=norm,
                                   rasterized=int(here.sum()) > MOST_VECTORS)
            lines.set_array(values[here])
            axes.add_collection(lines)
        extend = "neither" if not (sign * values > worst).any() else "max" if sign > 0 else "min"
        bar = figure.colorbar(lines, ax=axes, label=self.label or shown(metric), pad=0.04, aspect=28, extend=extend)
        bar.outline.set_visible(False)
        if bar.solids is not None:
            bar.solids.set_alpha(1)
        if not final.all() and final.any():
            handles = [Line2D([], [], color=GREY, linewidth=width) for width in (0.7, 1.7)]
            legend_over(figure, handles, ["ask", "final trial"])


def _scales(results: "Results", trials: pa.Table) -> list[Scale]:
    """The axes that vary among trials: scientific ones in declared steps, nuisance ones over their ranges."""
    found = []
    for name in results.axes:
        values = trials[name].to_pylist()
        labels = lookup.values([{name: v} for v in results.grid[name].to_pylist()], name)
        if len(set(values)) > 1:
            found.append(_steps(lookup.short(name), values, labels))
    for name, nuisance in results.declaration.nuisance.items():
        column = f"param.{name}"
        if column not in trials.column_names or len(set(values := trials[column].to_pylist())) < 2:
            continue
        if nuisance.low is None or nuisance.high is None:
            found.append(_steps(shown(name), values, lookup.values([{name: v} for v in values], name)))
        else:
            found.append(_range(shown(name), values, nuisance.low, nuisance.high, nuisance.kind == "loguniform"))
    return found


def _steps(name: str, values: Sequence[Any], labels: Sequence[Any]) -> Scale:
    """An axis of separate values in even steps."""
    last = max(len(labels) - 1, 1)
    places = {label: i / last for i, label in enumerate(labels)}
    written = range(0, len(labels), -(-len(labels) // MOST_STEPS))
    place = np.array([ABSENT if v is None else places[v] for v in values])
    return Scale(name, place, {i / last: step_name(labels[i]) for i in written})


def _range(name: str, values: Sequence[float | None], low: float, high: float, log: bool) -> Scale:
    """An axis of numbers between two bounds."""
    ends = np.log([low, high]) if log else np.array([low, high])
    found = np.array([np.nan if v is None else v for v in values], dtype=float)
    place = ((np.log(found) if log else found) - ends[0]) / (ends[1] - ends[0])
    ticks = {f: ends[0] + f * (ends[1] - ends[0]) for f in (0.0, 0.25, 0.5, 0.75, 1.0)}
    return Scale(name, np.where(np.isnan(place), ABSENT, place),
                 {f: number(float(f"{np.exp(v) if log else v:.2g}")) for f, v in ticks.items()})


def _axes(axes: "Axes", scales: Sequence[Scale]) -> None:
    """Upright lines with their ticks, and the names above them."""
    for i, scale in enumerate(scales):
        low = ABSENT if (scale.place == ABSENT).any() else 0.0
        axes.plot([i, i], [low, 1.0], color="#222222", linewidth=1.0, zorder=3)
        box = {"boxstyle": "square,pad=0.1", "facecolor": "white", "alpha": 0.75, "linewidth": 0}
        for place, said in [*scale.ticks.items(), *([(ABSENT, "—")] if low else [])]:
            axes.annotate(said, (i, place), xytext=(3, 0), textcoords="offset points", fontsize=SMALL, va="center",
                          zorder=4, bbox=box)
    axes.set(xlim=(-0.1, len(scales) - 0.7), ylim=(ABSENT - 0.05, 1.05), yticks=[])
    axes.set_xticks(range(len(scales)), [_in_lines(s.name) for s in scales], fontsize=SMALL)
    axes.tick_params("x", length=0, top=True, labeltop=True, bottom=False, labelbottom=False)
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _in_lines(name: str) -> str:
    """A name in two lines of at most 16 characters, parted before its last dot or at a space."""
    if len(name) <= 14:
        return name
    head, dot, tail = name.rpartition("." if "." in name else " ")
    return "\n".join(part if len(part) <= 16 else f"…{part[-15:]}" for part in (head, dot.strip() + tail) if part)
