"""Scaling: power laws fitted in log-log."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from dlx.errors import DlxError
from dlx.figures import lookup
from dlx.figures.curves import left_out, span
from dlx.figures.style import canvas, finish, house_style, legend_over, log_scale, look, shown
from dlx.figures.units import by_unit
from dlx.text import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from dlx.results import Results
    from dlx.stats import Estimate, Floats

MOST_LINES = 14
MOST_CHARACTERS = 78  # of a line of the legend


class Fit(NamedTuple):
    """y = factor · x^exponent through means, and the largest share by which one of them is off."""

    exponent: "Estimate"
    factor: float
    r2: float
    off: float


@dataclass(frozen=True)
class Scaling:
    """Means over a numeric axis on log scales, with a power law fitted to each combination of the other axes.

    The exponent is the mean over seeds (searches of a tuned cell) of the slope of log y on log x within one, with a t
    interval; where there is one seed only, or one lacks a value, it is that of the means, with the interval of least
    squares. x: axis by name; y: metric by name. title, x_label, y_label: with units; scale: what y is multiplied by;
    where: cells, as in ``Results.where``; name: of the files.
    """

    x: str
    y: str
    name: str = "scaling"
    title: str = ""
    x_label: str = ""
    y_label: str = ""
    scale: float = 1.0
    where: Mapping[str, Any] | None = None

    def __call__(self, results: "Results") -> "Figure":
        """The figure; raises DlxError where there is nothing to fit or too much, DeclarationError for names."""
        results = results.where(self.where or {})
        metric, x = lookup.metric(self.name, results, self.y), lookup.axis(self.name, results, self.x)
        rows = [{**row, "at": i} for i, row in enumerate(results.cells().to_pylist()) if row[x] is not None]
        if not lookup.numeric(lookup.values(rows, x)):
            raise DlxError(f"The figure {self.name} fits power laws over {x}, which has no numbers; name another axis.")
        rows = [row for row in rows if row[x] > 0]
        lines = lookup.grouped(rows, lookup.varying(rows, [name for name in results.axes if name != x]))
        if len(lines) > MOST_LINES:
            raise DlxError(f"The figure {self.name} would have {len(lines)} lines; give it where= that leaves at most "
                           f"{MOST_LINES}.")
        units = by_unit(results, metric) * self.scale
        with house_style():
            figure = canvas(3.8)
            axes = figure.subplots()
            drawn = [self._line(axes, said, sorted(cells, key=lambda row: row[x]), x, metric, units, i)
                     for i, (said, cells) in enumerate(lines.items())]
            if not any(drawn):
                raise DlxError(f"The figure {self.name} has nothing to show: no mean of {metric} is above 0.")
            points = [(row[x], row[f"{metric}.mean"] * self.scale) for row in rows if row[f"{metric}.mean"] is not None]
            log_scale(axes, "x", [p[0] for p in points])
            log_scale(axes, "y", axes.get_ylim() if axes.get_ylim()[0] > 0 else [p[1] for p in points])
            axes.set(xlabel=self.x_label or shown(x), ylabel=self.y_label or shown(metric))
            named = [line for line in drawn if line is not None]
            legend_over(figure, [handle for handle, _ in named], [text for _, text in named], length=2)
            counts = [row[f"{metric}.n"] for row in rows if row[f"{metric}.n"]]
            finish(figure, self.title, f"Means, n = {span(counts)} a point; bars: 95 % t intervals; lines: power laws, "
                   f"exponents with 95 % intervals.{left_out(rows)}")
            return figure

    def _line(
        self, axes: "Axes", said: str, rows: Sequence[lookup.Row], x: str, metric: str, units: "Floats", i: int
    ) -> tuple[Any, str] | None:
        """Points, bars and the power law of one line; what the legend says of it."""
        rows = [row for row in rows if (row[f"{metric}.mean"] or 0.0) * self.scale > 0]
        if not rows:
            return None
        at, mean = (np.array(column, dtype=float) for column in zip(
            *((row[x], row[f"{metric}.mean"] * self.scale) for row in rows), strict=True))
        half = np.array([(row[f"{metric}.half_width"] or 0.0) * self.scale for row in rows])
        low = np.minimum(half, mean * 0.9)  # what reaches below 0 ends at a tenth of the mean
        handle = axes.errorbar(at, mean, [low, half], linestyle="", elinewidth=1.2, **look(i))
        found = fit(at, mean, units[:, [row["at"] for row in rows]])
        name = said or metric
        if found is None:
            return handle, name
        ends = np.array([at.min(), at.max()])
        axes.plot(ends, found.factor * ends**found.exponent.value, color=look(i)["color"], linewidth=1.4)
        fitted = law(found, len(at))
        return handle, f"{name}:{' ' if len(name) + len(fitted) <= MOST_CHARACTERS else chr(10)}{fitted}"


def fit(x: "Floats", means: "Floats", units: "Floats") -> Fit | None:
    """The power law through means (points,) over x (points,), from units (units, points); None for fewer than two."""
    from dlx.stats import fit_power_law, slopes

    if len(x) < 2:
        return None
    through = fit_power_law(x, means)
    units = units[~np.isnan(units).all(axis=1)]  # the others are those of lines that are not tuned, or tuned
    whole = units[(np.isfinite(units) & (units > 0)).all(axis=1)]
    exponent, factor = through.exponent, through.factor
    if len(whole) == len(units) > 1:
        exponent = slopes(np.log(x), np.log(whole))
        factor = float(np.exp(np.mean(np.log(means)) - exponent.value * np.mean(np.log(x))))
    return Fit(exponent, factor, through.r2, float(np.max(np.abs(means / (factor * x**exponent.value) - 1))))


def law(found: Fit, points: int) -> str:
    """A fit in words: its exponent with its interval, R², and how far means lie from it."""
    low, high = found.exponent.low, found.exponent.high
    interval = f" [{number(low)}, {number(high)}]" if np.isfinite([low, high]).all() else ""
    off = f"off by ≤ {100 * found.off:.2g} %" if found.off >= 5e-4 else "off by < 0.1 %"
    rest = f", R² {found.r2:.3f}, {off}" if points > 2 else ""
    return f"exponent {number(found.exponent.value)}{interval}{rest}"
