"""Scatter plots: one metric against another, trial by trial, with their correlation."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dlx.errors import DlxError
from dlx.figures import lookup
from dlx.figures.curves import left_out
from dlx.figures.style import (
    canvas,
    colour_bar,
    finish,
    house_style,
    legend_over,
    line_colours,
    log_scale,
    look,
    shown,
)
from dlx.figures.units import by_unit
from dlx.text import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from dlx.results import Results
    from dlx.stats import Floats

FEWEST_CELLS = 3  # for a correlation over cells
MOST_NAMED = 12
MOST_VECTORS = 2_000  # points; more are pixels in an SVG


@dataclass(frozen=True)
class Scatter:
    """Final trials by two metrics, with the correlation over cells, or over seeds where there are few cells.

    x, y: metrics by name; colour: axis by name. title, x_label, y_label: with units; log_x, log_y: log scales, on which
    the correlation is taken as well; where: cells, as in ``Results.where``; name: of the files.
    """

    x: str
    y: str
    colour: str | None = None
    name: str = "scatter"
    title: str = ""
    x_label: str = ""
    y_label: str = ""
    log_x: bool = False
    log_y: bool = False
    where: Mapping[str, Any] | None = None

    def __call__(self, results: "Results") -> "Figure":
        """The figure; raises DlxError where there is nothing to show, DeclarationError for names."""
        results = results.where(self.where or {})
        x, y = (lookup.metric(self.name, results, name) for name in (self.x, self.y))
        cell, values = results.finals(x).cell, np.stack([results.finals(x).value, results.finals(y).value])
        kept = np.isfinite(values).all(axis=0)
        for row, log in zip(values, (self.log_x, self.log_y), strict=True):
            kept &= (row > 0) | (not log)
        if not kept.any():
            raise DlxError(f"The figure {self.name} has nothing to show: no final trial has both {x} and {y}"
                           f"{' above 0' if self.log_x or self.log_y else ''}.")
        rows = results.cells().to_pylist()
        with house_style():
            figure = canvas()
            axes = figure.subplots()
            self._points(figure, axes, results, values[:, kept], cell[kept])
            if self.log_x:
                log_scale(axes, "x", values[0, kept])
            if self.log_y:
                log_scale(axes, "y", values[1, kept])
            axes.set(xlabel=self.x_label or shown(x), ylabel=self.y_label or shown(y))
            units = _logs(by_unit(results, x), self.log_x), _logs(by_unit(results, y), self.log_y)
            trials = _logs(values[0, kept], self.log_x), _logs(values[1, kept], self.log_y)
            lost = int((~kept).sum())
            said = f"n = {int(kept.sum()):,} final trials, {correlation(*units, *trials, cell[kept])}"
            nowhere = f" {lost:,} have no place here." if lost else ""
            finish(figure, self.title, f"{said}{nowhere}{left_out(rows)}")
            return figure

    def _points(self, figure: "Figure", axes: "Axes", results: "Results", values: "Floats", cell: Any) -> None:
        style: dict[str, Any] = {"linestyle": "", "alpha": 0.75, "markeredgewidth": 0, "markersize": 6,
                                 "rasterized": values.shape[1] > MOST_VECTORS}
        if self.colour is None:
            axes.plot(*values, **{**look(0), **style})
            return
        axis = lookup.axis(self.name, results, self.colour)
        labels = results.grid[axis].to_pylist()
        found = lookup.values([{axis: label} for label in labels], axis)
        ordered = lookup.numeric(found) and len(found) > 3
        colours = line_colours(len(found)) if ordered else []
        handles = []
        for i, value in enumerate([*found, None] if None in labels else found):
            here = np.isin(cell, [at for at, label in enumerate(labels) if label == value])
            own = {"color": colours[i], "marker": "o"} if ordered and value is not None else look(i)
            handles += axes.plot(*values[:, here], **own, **style)
        if ordered and len(found) > MOST_NAMED:
            colour_bar(figure, [axes], found, lookup.short(axis))
        else:
            names = [lookup.said({axis: value}, [axis]) or f"no {lookup.short(axis)}"
                     for value in ([*found, None] if None in labels else found)]
            legend_over(figure, handles, names, length=1)


def correlation(x_units: "Floats", y_units: "Floats", x: "Floats", y: "Floats", cell: Any) -> str:
    """Pearson's r with its interval in words: over cells within each unit, or within cells where there are few.

    x_units, y_units: (units, cells), NaN where a unit lacks a value; x, y, cell: of each trial (trials,).
    """
    from dlx.stats import correlations

    whole = np.isfinite(x_units + y_units)
    units, cells = whole.any(axis=1), whole.all(axis=0)
    if cells.sum() >= FEWEST_CELLS and units.sum() > 1:
        found = correlations(x_units[:, cells], y_units[:, cells])
        if math.isfinite(found.low):
            interval = f"[{number(found.low)}, {number(found.high)}]"
            return f"r = {number(found.value)} {interval} over {cells.sum():,} cells (t, {found.n} units)."
    r, low, high = within_cells(x, y, cell)
    if not math.isfinite(r):
        return "too few for a correlation."
    return f"r = {number(r)} [{number(low)}, {number(high)}] between trials of a cell (Fisher's z)."


def within_cells(x: "Floats", y: "Floats", cell: Any) -> tuple[float, float, float]:
    """Pearson's r of what x and y deviate from the means of their cells, with Fisher's (1921) interval; NaN if none."""
    from scipy.special import ndtri

    from dlx.stats import LEVEL

    present, at = np.unique(cell, return_inverse=True)
    x, y = (v - (np.bincount(at, v) / np.bincount(at))[at] for v in (x, y))
    freedom, norm = len(x) - len(present) - 2, float(np.sqrt((x @ x) * (y @ y)))
    if freedom < 1 or not norm > 0:
        return math.nan, math.nan, math.nan
    r = float(np.clip(x @ y / norm, -1 + 1e-12, 1 - 1e-12))
    half = float(ndtri((1 + LEVEL) / 2)) / math.sqrt(freedom)
    return r, math.tanh(math.atanh(r) - half), math.tanh(math.atanh(r) + half)


def _logs(values: "Floats", log: bool) -> "Floats":
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.log(np.where(values > 0, values, np.nan)) if log else values
