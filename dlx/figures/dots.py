"""Dots: a metric by the options of an axis, one below the other, the figure for methods that have names."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dlx.errors import DlxError
from dlx.figures import lookup
from dlx.figures.curves import caption
from dlx.figures.lookup import Compared, Row
from dlx.figures.style import SMALL, canvas, finish, house_style, legend_over, log_scale, look, shown
from dlx.text import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from dlx.results import Results

ROW, BETWEEN, AROUND = 0.24, 0.42, 1.3  # inches of a row, of a panel beside its rows, and of the figure beside panels
MOST_ROWS, MOST_TICKS = 60, 5
Published = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Dots:
    """Means over seeds with their 95 % t intervals by the options of an axis, a panel for each option of others.

    rows: axis by name; metric: by name; panels: axes by name, of which a panel is called by the last that its cells
    have. published: values from elsewhere by panel (``""`` without panels) and row, written beside ours with the
    difference; a row that no cell has stands for itself. published_label: what they are called. title, x_label: with
    units; scale: what values are multiplied by; log: whether values are on a log scale; where: cells, as in
    ``Results.where``; name: of the files.
    """

    rows: str
    metric: str
    panels: Sequence[str] = ()
    published: Published | None = None
    published_label: str = "published"
    name: str = "dots"
    title: str = ""
    x_label: str = ""
    scale: float = 1.0
    log: bool = False
    where: Mapping[str, Any] | None = None

    def __call__(self, results: "Results") -> "Figure":
        """The figure; raises DlxError where there is nothing to show or too much, DeclarationError for names."""
        lookup.not_empty(self.name, results)
        results = results.where(self.where or {})
        axis, metric = lookup.axis(self.name, results, self.rows), lookup.metric(self.name, results, self.metric)
        others = [lookup.axis(self.name, results, p) for p in self.panels]
        cells = [r for r in results.cells().to_pylist() if r[axis] is not None]
        groups = {panel: self._rows(panel, group, axis) for panel, group in _panels(cells, others).items()}
        if not 0 < (count := sum(map(len, groups.values()))) <= MOST_ROWS:
            raise DlxError(f"The figure {self.name} would have {count} rows; give it where= with 1 to {MOST_ROWS}.")
        with house_style():
            figure = canvas(AROUND + ROW * count + BETWEEN * len(groups))
            panels = figure.subplots(len(groups), 1, squeeze=False, sharex=True,
                                     height_ratios=[len(rows) + BETWEEN for rows in groups.values()])[:, 0]
            values = [v for axes, (panel, rows) in zip(panels, groups.items(), strict=True)
                      for v in self._panel(axes, panel, rows, metric)]
            if self.log:
                log_scale(panels[-1], "x", values, MOST_TICKS)
            panels[-1].set_xlabel(self.x_label or shown(metric))
            if self.published:
                mark = panels[0].plot([], [], **_PUBLISHED)
                legend_over(figure, mark, [self.published_label], length=1)
            finish(figure, self.title, caption(cells, [metric]).replace("; bands:", "; bars:"))
            return figure

    def compared(self, results: "Results") -> Compared | None:
        """The published values beside the cells of their rows; raises as the figure does."""
        if not self.published:
            return None
        results = results.where(self.where or {})
        axis, metric = lookup.axis(self.name, results, self.rows), lookup.metric(self.name, results, self.metric)
        panels = _panels(results.cells().to_pylist(), [lookup.axis(self.name, results, p) for p in self.panels])
        rows = tuple(((*((panel,) if self.panels else ()), row), said, cell) for panel, cells in panels.items()
                     for cell in cells if (said := self._of(panel).get(row := shown(cell[axis]))) is not None)
        columns = (*((" / ".join(map(lookup.short, self.panels)),) if self.panels else ()), lookup.short(axis))
        return Compared(self.published_label, metric, self.scale, columns, rows)

    def _rows(self, panel: str, cells: Sequence[Row], axis: str) -> dict[str, Row | None]:
        """Cells by what their rows are called, and None for published rows without one."""
        found: dict[str, Row | None] = {}
        for cell in cells:
            if (label := shown(cell[axis])) in found:
                raise DlxError(f"The figure {self.name} has several cells for {label}; give it where= or panels= that "
                               "tell them apart.")
            found[label] = cell
        return found | {row: None for row in self._of(panel) if row not in found}

    def _of(self, panel: str) -> Mapping[str, float]:
        return (self.published or {}).get(panel, {})

    def _panel(self, axes: "Axes", panel: str, rows: Mapping[str, Row | None], metric: str) -> list[float]:
        """Draw one panel; the values that it shows."""
        drawn = []
        for place, (row, cell) in enumerate(rows.items()):
            theirs = self._of(panel).get(row)
            ours = None if cell is None or cell[f"{metric}.mean"] is None else cell[f"{metric}.mean"] * self.scale
            if ours is not None and cell is not None:
                half = (cell[f"{metric}.half_width"] or 0.0) * self.scale
                axes.errorbar([ours], [place], xerr=[half], linestyle="", **look(0))
            if theirs is not None:
                axes.plot([theirs], [place], **_PUBLISHED)
            axes.text(1.02, place, _said(ours, theirs), transform=axes.get_yaxis_transform(), va="center",
                      fontsize=SMALL)
            drawn += [v for v in (ours, theirs) if v is not None]
        axes.set_yticks(range(len(rows)), list(rows))
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_title(panel, fontsize=9)
        return drawn


_PUBLISHED: dict[str, Any] = {"marker": "D", "linestyle": "", "color": "#333333", "markerfacecolor": "none",
                              "markersize": 6.5}


def _panels(cells: Sequence[Row], axes: Sequence[str]) -> dict[str, list[Row]]:
    """Cells by the value of the last of these axes that they have."""
    groups: dict[str, list[Row]] = {}
    for cell in cells:
        known = [shown(cell[axis]) for axis in axes if cell[axis] is not None]
        groups.setdefault(known[-1] if known else "", []).append(cell)
    return groups


def _said(ours: float | None, theirs: float | None) -> str:
    """What stands beside a row: our value, the published one, their difference."""
    if ours is None:
        return "nothing stored" if theirs is None else f"published {number(theirs)}"
    if theirs is None:
        return f"{ours:#.3g}"
    sign = "+" if ours >= theirs else "−"
    return f"{ours:#.3g}, published {number(theirs)} ({sign}{abs(ours - theirs):.2g})"
