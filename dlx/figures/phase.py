"""Phase diagrams: a metric over two axes."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dlx.errors import DlxError
from dlx.figures import lookup
from dlx.figures.curves import caption
from dlx.figures.lookup import Row
from dlx.figures.style import (
    DASHES,
    GREY,
    SMALL,
    Panels,
    colour_map,
    finish,
    house_style,
    legend_over,
    panels,
    round_numbers,
    shown,
)
from dlx.text import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

    from dlx.results import Results

MOST_WRITTEN = 100  # cells whose values are written into them
MOST_PANELS = 12
MOST_TICKS = 10
MOST_UPRIGHT, MOST_DOWN = 28, 5  # columns and rows of cells in which values are written upright
LUMINANCE = (0.2126, 0.7152, 0.0722)  # of red, green and blue (ITU-R BT.709)
HATCHES = {"nothing stored": "////", "all diverged or failed": "xxxx", "some diverged": "||||"}
Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class PhaseDiagram:
    """A heat map of a metric's means over two axes, a panel for each combination of the others.

    x, y: axes by name, drawn in even steps; metric: by name. title, x_label, y_label, label (of the colours): with
    units; scale: what values are multiplied by; log: whether colours are on a log scale; contours: values (so scaled)
    between whose sides a line is drawn; where: cells, as in ``Results.where``; name: of the files.
    """

    x: str
    y: str
    metric: str
    name: str = "phase"
    title: str = ""
    x_label: str = ""
    y_label: str = ""
    label: str = ""
    scale: float = 1.0
    log: bool = False
    contours: Sequence[float] = ()
    where: Mapping[str, Any] | None = None

    def __call__(self, results: "Results") -> "Figure":
        """The figure; raises DlxError where there is nothing to show or too much, DeclarationError for names."""
        results = results.where(self.where or {})
        metric = lookup.metric(self.name, results, self.metric)
        x, y = (lookup.axis(self.name, results, name) for name in (self.x, self.y))
        rows = [r for r in results.cells().to_pylist() if r[x] is not None and r[y] is not None]
        others = lookup.varying(rows, [name for name in results.axes if name not in (x, y)])
        groups = lookup.grouped(rows, others)
        if len(groups) > MOST_PANELS:
            raise DlxError(f"The figure {self.name} would have {len(groups)} panels, one for each combination of "
                           f"{', '.join(others)}; give it where= with at most {MOST_PANELS} of them.")
        norm = self._norm([r[f"{metric}.mean"] for r in rows])
        values = lookup.values(rows, x), lookup.values(rows, y)
        with house_style():
            figure, grid = panels(list(groups), 2.2)
            seen: set[str] = set()
            for axes, cells in zip(grid.all, groups.values(), strict=True):
                colours = self._panel(axes, cells, values, (x, y, metric), norm, len(grid.bottom), seen)
            self._dress(figure, grid, colours, (x, y, metric), seen)
            finish(figure, self.title, caption(rows, [metric]).replace(" a point; bands: 95 % t intervals", " a cell"))
            return figure

    def _norm(self, means: Sequence[float | None]) -> "Normalize":
        from matplotlib.colors import LogNorm, Normalize

        found = [m * self.scale for m in means if m is not None and (m * self.scale > 0 or not self.log)]
        if not found:
            raise DlxError(f"The figure {self.name} has nothing to show: {self.metric} has no finite mean"
                           f"{' above 0, and log=True' if self.log else ''}; see dlx show.")
        return (LogNorm if self.log else Normalize)(min(found), max(found))

    def _panel(
        self, axes: "Axes", cells: Sequence[Row], values: tuple[list[Any], list[Any]], names: tuple[str, str, str],
        norm: "Normalize", columns: int, seen: set[str],
    ) -> "ScalarMappable":
        """One heat map; ``seen`` gathers which hatches it took."""
        x, y, metric = names
        means = np.full([len(v) for v in reversed(values)], np.nan)
        for row in cells:
            at = values[1].index(row[y]), values[0].index(row[x])
            if row[f"{metric}.mean"] is not None:
                means[at] = row[f"{metric}.mean"] * self.scale
            if what := _flaw(row, metric):
                seen.add(what)
                axes.fill_between([at[1] - 0.5, at[1] + 0.5], at[0] - 0.5, at[0] + 0.5, facecolor="none", linewidth=0,
                                  edgecolor="#999999" if np.isnan(means[at]) else "white", hatch=HATCHES[what])
        edges = [np.arange(len(v) + 1) - 0.5 for v in values]
        few = means.size <= MOST_WRITTEN
        look = {"edgecolor": "white", "linewidth": 0.8} if few else {"rasterized": means.size > 2_500}
        colours = axes.pcolormesh(*edges, np.ma.masked_invalid(means), cmap=colour_map(), norm=norm, zorder=0.5, **look)
        axes.grid(False)
        _name_steps(axes, values, columns)
        across, down = len(values[0]) * columns, len(values[1]) * columns
        if few and (across <= MOST_TICKS or (across <= MOST_UPRIGHT and down <= MOST_DOWN)):
            _write(axes, means, norm, self.log, 0 if across <= MOST_TICKS else 90)
        for level, dashes in zip(self.contours, itertools.cycle(DASHES)):
            _boundary(axes, means, level, dashes)
        return colours

    def _dress(
        self, figure: "Figure", grid: Panels, colours: "ScalarMappable", names: tuple[str, str, str], seen: set[str]
    ) -> None:
        from matplotlib.colors import LogNorm

        for axes in grid.bottom:
            axes.set_xlabel(self.x_label or lookup.short(names[0]))
        for axes in grid.left:
            axes.set_ylabel(self.y_label or lookup.short(names[1]))
        bar = figure.colorbar(colours, ax=grid.all, label=self.label or shown(names[2]), pad=0.02, aspect=28)
        bar.outline.set_visible(False)
        if self.log and isinstance(norm := colours.norm, LogNorm):
            ticks = round_numbers(float(norm.vmin or 0.0), float(norm.vmax or 0.0))
            bar.set_ticks(ticks, labels=[number(t) for t in ticks], minor=False)
            bar.ax.minorticks_off()
        self._legend(figure, seen)

    def _legend(self, figure: "Figure", seen: set[str]) -> None:
        """What hatches and lines mean, above the panels."""
        from matplotlib.lines import Line2D
        from matplotlib.patches import Patch

        entries: dict[str, Any] = {
            what: Patch(facecolor="#bbbbbb" if what == "some diverged" else "none", hatch=hatch, linewidth=0,
                        edgecolor="white" if what == "some diverged" else GREY)
            for what, hatch in HATCHES.items() if what in seen
        }
        for level, dashes in zip(self.contours, itertools.cycle(DASHES)):
            entries[f"across {number(level)}"] = Line2D([], [], color="black", linestyle=dashes)
        if entries:
            legend_over(figure, list(entries.values()), list(entries), length=2)


def _flaw(row: Row, metric: str) -> str:
    """Which hatch a cell wears, "" for none."""
    if row[f"{metric}.mean"] is None:
        return "all diverged or failed" if row["diverged"] + row["failed"] else "nothing stored"
    return "some diverged" if row["diverged"] or row[f"{metric}.n"] < row["n"] else ""


def _write(axes: "Axes", means: Array, norm: "Normalize", log: bool, turned: int) -> None:
    """Write values into their cells, turned by so many degrees, dark on light and light on dark."""
    found = means[np.isfinite(means)]
    spread = float(np.ptp(found)) or abs(float(found[0])) or 1.0
    decimals = min(max(2 - math.floor(math.log10(spread)), 0), 4)
    for (row, column), mean in np.ndenumerate(means):
        if np.isfinite(mean):
            said = number(float(f"{mean:.2g}")) if log else f"{mean:.{decimals}f}".replace("-", "−")
            ground = colour_map()(np.ravel(norm(mean))[0])  # between equal bounds LogNorm makes an array of a number
            dark = np.dot(ground[:3], LUMINANCE) < 0.5
            axes.text(column, row, said, ha="center", va="center", fontsize=SMALL, color="white" if dark else "black",
                      rotation=turned, bbox={"facecolor": ground, "linewidth": 0, "pad": 1.0})


def _name_steps(axes: "Axes", values: tuple[list[Any], list[Any]], columns: int) -> None:
    """Write the values of both axes at their steps: all of them, or evenly chosen ones where there are many."""
    for axis, found, most in ((axes.xaxis, values[0], MOST_TICKS // columns + 1), (axes.yaxis, values[1], MOST_TICKS)):
        steps = range(0, len(found), math.ceil(len(found) / most))
        axis.set_ticks(list(steps), [step_name(found[i]) for i in steps])
    if sum(len(text.get_text()) + 2 for text in axes.get_xticklabels()) > 56 // columns:
        axes.tick_params("x", rotation=30)
        for text in axes.get_xticklabels():
            text.set(ha="right", rotation_mode="anchor")


def step_name(value: Any) -> str:
    """A value of an axis as a tick says it."""
    whole = isinstance(value, bool) or not isinstance(value, int | float)
    return shown(value, 20) if whole else number(value)


def _boundary(axes: "Axes", means: Array, level: float, dashes: Any) -> None:
    """Lines along the edges between neighbouring cells of which one lies above the level and the other does not."""
    from matplotlib.collections import LineCollection

    above, known = means > level, np.isfinite(means)
    across = (above[1:] != above[:-1]) & known[1:] & known[:-1]
    beside = (above[:, 1:] != above[:, :-1]) & known[:, 1:] & known[:, :-1]
    edges = [[(x - 0.5, y + 0.5), (x + 0.5, y + 0.5)] for y, x in np.argwhere(across).tolist()]
    edges += [[(x + 0.5, y - 0.5), (x + 0.5, y + 0.5)] for y, x in np.argwhere(beside).tolist()]
    for width, colour, style in ((4.0, "white", "-"), (2.0, "black", dashes)):
        axes.add_collection(LineCollection(edges, colors=colour, linewidths=width, linestyles=[style]))
