"""Curves: metrics over one axis, the figure that most questions need."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dlx.errors import DlxError
from dlx.figures import lookup
from dlx.figures.lookup import Compared, Row
from dlx.figures.style import (
    COLOURS,
    DASHES,
    MARKERS,
    canvas,
    finish,
    house_style,
    legend_above,
    log_scale,
    look,
    shown,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from dlx.results import Results

MOST_LINES = len(COLOURS) * len(MARKERS)  # that look different


@dataclass(frozen=True)
class Points:
    """Values from elsewhere, to compare with: published ones, or theory."""

    label: str
    values: Mapping[float, float]


@dataclass(frozen=True)
class Curves:
    """A figure of metrics over one axis: means over seeds as lines, their 95 % t intervals as bands.

    x: axis by name; y: metrics by name, the first solid, the others dashed; every combination of the other axes has a
    colour. title, x_label, y_label: with units; scale: what y is multiplied by, 100 for shares in %; log_x: whether x
    is on a log scale; points: values to compare with; where: cells, as in ``Results.where``; name: of the files.
    """

    x: str
    y: str | Sequence[str]
    name: str = "curves"
    title: str = ""
    x_label: str = ""
    y_label: str = ""
    scale: float = 1.0
    log_x: bool = False
    points: Points | None = None
    where: Mapping[str, Any] | None = None

    def __call__(self, results: "Results") -> "Figure":
        """The figure; raises DlxError where there is nothing to show or too much, DeclarationError for names."""
        lookup.not_empty(self.name, results)
        results = results.where(self.where or {})
        x = lookup.axis(self.name, results, self.x)
        metrics = [lookup.metric(self.name, results, m) for m in ([self.y] if isinstance(self.y, str) else self.y)]
        rows = [r for r in results.cells().to_pylist() if r[x] is not None]
        lines = lookup.grouped(rows, [name for name in results.axes if name != x])
        if len(lines) > MOST_LINES:
            raise DlxError(f"The figure {self.name} would have {len(lines)} lines a metric; give it where= that leaves "
                           f"at most {MOST_LINES}.")
        with house_style():
            figure = canvas()
            axes = figure.subplots()
            for i, (label, line) in enumerate(lines.items()):
                for metric, dashes in zip(metrics, itertools.cycle(DASHES)):
                    said = ", ".join(w for w in (label, metric if len(metrics) > 1 or not label else "") if w)
                    self._line(axes, line, x, metric, label=said, linestyle=dashes, **look(i))
            self._dress(figure, axes, [r[x] for r in rows], metrics)
            finish(figure, self.title, caption(rows, metrics))
            return figure

    def compared(self, results: "Results") -> Compared | None:
        """The points beside the cells that lie at their places; raises as the figure does."""
        if self.points is None:
            return None
        values = self.points.values
        x = lookup.axis(self.name, results, self.x)
        metric = lookup.metric(self.name, results, self.y if isinstance(self.y, str) else self.y[0])
        axes = [x, *(a for a in results.axes if a != x)]
        cells = results.where({**(self.where or {}), x: list(values)}).cells().to_pylist()
        rows = tuple((tuple(shown(c[a]) for a in axes), values[c[x]], c) for c in cells if c[x] in values)
        return Compared(self.points.label, metric, self.scale, tuple(map(lookup.short, axes)), rows)

    def _line(self, axes: "Axes", rows: Sequence[Row], place: str, metric: str, **look: Any) -> None:
        found = [(r[place], r[f"{metric}.mean"], r[f"{metric}.half_width"] or 0.0) for r in rows
                 if r[f"{metric}.mean"] is not None]
        if not found:
            return
        x, mean, half = zip(*sorted(found), strict=True)
        y = [m * self.scale for m in mean]
        axes.plot(x, y, **look)
        low, high = ([m + sign * h * self.scale for m, h in zip(y, half, strict=True)] for sign in (-1, 1))
        axes.fill_between(x, low, high, color=look["color"], alpha=0.18, linewidth=0)

    def _dress(self, figure: "Figure", axes: "Axes", places: Sequence[float], metrics: Sequence[str]) -> None:
        if self.points is not None:
            axes.plot(list(self.points.values), list(self.points.values.values()), "D", label=self.points.label,
                      color="#333333", markerfacecolor="none", markersize=6.5)
        if self.log_x:
            log_scale(axes, "x", places)
        axes.set(xlabel=self.x_label or shown(self.x), ylabel=self.y_label or shown(", ".join(metrics)))
        legend_above(axes, axes.lines, [str(line.get_label()) for line in axes.lines])


def caption(rows: Sequence[Row], metrics: Sequence[str]) -> str:
    """What the points and bands of rows of ``Results.cells()`` are, with the number of seeds and what is left out."""
    counts = [r[f"{m}.n"] for r in rows for m in metrics if r[f"{m}.n"]]
    bands = "; bands: 95 % t intervals" if max(counts, default=0) > 1 else ""
    return f"Means, n = {span(counts)} a point{bands}.{left_out(rows)}"


def span(counts: Sequence[int]) -> str:
    """The smallest and the largest of some counts: 5, or 3–5."""
    least, most = min(counts, default=0), max(counts, default=0)
    return f"{least}" if least == most else f"{least}–{most}"


def left_out(rows: Sequence[Row]) -> str:
    """A sentence on the final trials of cells that no mean holds, if there are any."""
    lost = {what: sum(r[what] for r in rows) for what in ("diverged", "failed", "missing")}
    said = ", ".join(f"{count:,} {what}" for what, count in lost.items() if count)
    return f" Left out: {said}." if said else ""
