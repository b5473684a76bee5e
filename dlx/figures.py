"""Figures: results as pictures in one house style, light, safe for colour-blind eyes, with units and n in the caption.

A figure of a study is any function of its results that returns a ``matplotlib.figure.Figure``; ``Curves`` makes the
one that most questions need. Matplotlib is imported where something is drawn.
"""

import difflib
import itertools
import re
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dlx.errors import DeclarationError, DlxError

if typing.TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from dlx.results import Results

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")  # Okabe and Ito 2008
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES = ("-", (0, (4, 2)), (0, (1, 1.5)))
STYLE: dict[Any, Any] = {
    "figure.facecolor": "white", "figure.dpi": 200, "savefig.dpi": 200,
    "font.size": 10, "font.family": "DejaVu Sans", "axes.titlesize": 11.5, "axes.titlelocation": "left",
    "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": "#555555", "axes.axisbelow": True,
    "axes.grid": True, "grid.color": "#e6e6e6", "grid.linewidth": 0.8,
    "lines.linewidth": 1.8, "lines.markersize": 4.5, "legend.frameon": False,
    "axes.xmargin": 0.03, "svg.fonttype": "none", "svg.hashsalt": "dlx",
}
SIZE = (6.0, 4.2)  # inches: at a width of 600 pixels its text is 14 pixels high


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
    is on a log scale; points: values to compare with; name: of the files.
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

    def __call__(self, results: "Results") -> "Figure":
        """The figure; raises DlxError while nothing is stored, DeclarationError for an unknown axis or metric."""
        from matplotlib import rc_context
        from matplotlib.figure import Figure

        metrics = [self.y] if isinstance(self.y, str) else list(self.y)
        _check_names(self.name, results, self.x, metrics)
        rows = results.cells().to_pylist()
        with rc_context(STYLE):
            figure = Figure(figsize=SIZE, layout="constrained")
            axes = figure.subplots()
            lines = _lines(rows, self.x, results.axes)
            for i, (label, line) in enumerate(lines.items()):
                for metric, dashes in zip(metrics, itertools.cycle(DASHES)):
                    said = ", ".join(w for w in (label, metric if len(metrics) > 1 or not label else "") if w)
                    self._line(axes, line, metric, label=said, linestyle=dashes, **_look(i))
            self._dress(figure, axes, rows, metrics)
            return figure

    def _line(self, axes: "Axes", rows: Sequence[Mapping[str, Any]], metric: str, **look: Any) -> None:
        found = [(r[self.x], r[f"{metric}.mean"], r[f"{metric}.half_width"] or 0.0) for r in rows
                 if r[f"{metric}.mean"] is not None]
        if not found:
            return
        x, mean, half = zip(*sorted(found), strict=True)
        y = [m * self.scale for m in mean]
        axes.plot(x, y, **look)
        low, high = ([m + sign * h * self.scale for m, h in zip(y, half, strict=True)] for sign in (-1, 1))
        axes.fill_between(x, low, high, color=look["color"], alpha=0.18, linewidth=0)

    def _dress(self, figure: "Figure", axes: "Axes", rows: Sequence[Mapping[str, Any]], metrics: Sequence[str]) -> None:
        if self.points is not None:
            axes.plot(list(self.points.values), list(self.points.values.values()), "D", label=self.points.label,
                      color="#333333", markerfacecolor="none", markersize=6.5)
        if self.log_x:
            _log_ticks(axes, [r[self.x] for r in rows])
        axes.set(xlabel=self.x_label or self.x, ylabel=self.y_label or ", ".join(metrics))
        if self.title:
            figure.suptitle(self.title, x=0.01, ha="left", fontsize=STYLE["axes.titlesize"])
        axes.legend(loc="lower left", bbox_to_anchor=(-0.1, 1.0), ncols=2, fontsize=9, handlelength=3)
        figure.supxlabel(caption(rows, metrics), x=0.01, ha="left", fontsize=8.5, color="#555555")


def caption(rows: Sequence[Mapping[str, Any]], metrics: Sequence[str]) -> str:
    """What the points and bands of rows of ``Results.cells()`` are, with the number of seeds and what is left out."""
    counts = [r[f"{m}.n"] for r in rows for m in metrics if r[f"{m}.n"]]
    least, most = min(counts), max(counts)
    n = f"{least}" if least == most else f"{least}–{most}"
    bands = "; bands: 95 % t intervals" if most > 1 else ""
    lost = {what: sum(r[what] for r in rows) for what in ("diverged", "failed", "missing")}
    left_out = ", ".join(f"{count} {what}" for what, count in lost.items() if count)
    return f"Means, n = {n} a point{bands}." + (f" Left out: {left_out}." if left_out else "")


def _check_names(figure: str, results: "Results", x: str, metrics: Sequence[str]) -> None:
    if not results.metrics:
        raise DlxError(f"The figure {figure} has nothing to show: no trial of {results.study.name} is stored; run it.")
    for kind, name, known in [("axis", x, results.axes), *(("metric", m, results.metrics) for m in metrics)]:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known) or 'none'}."
            raise DeclarationError(f"The figure {figure} wants the {kind} {name!r}, which the results lack; {hint}")


def _lines(rows: Iterable[Mapping[str, Any]], x: str, axes: Iterable[str]) -> dict[str, list[Mapping[str, Any]]]:
    """Rows by what they are called apart from their place on the axis x."""
    others = [name for name in axes if name != x]
    lines: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        said = [f"{name.rpartition('.')[2].replace('_', ' ')} {row[name]}" for name in others if row[name] is not None]
        lines.setdefault(", ".join(said), []).append(row)
    return lines


def _look(i: int) -> dict[str, Any]:
    """Colour and marker of the line at this place; the first 49 all differ."""
    turn, place = divmod(i, len(COLOURS))
    return {"color": COLOURS[place], "marker": MARKERS[(place + turn) % len(MARKERS)]}


def _log_ticks(axes: "Axes", values: Iterable[float]) -> None:
    """A log scale whose ticks are round numbers, written out."""
    from matplotlib.ticker import FixedLocator, NullLocator

    axes.set_xscale("log")
    positive = [v for v in values if v > 0]
    rounds = [m * 10.0**e for e in range(-12, 13) for m in (1, 2, 5)]
    ticks = [t for t in rounds if min(positive) <= t <= max(positive)]
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")


# ---------------------------------------------------------------- files


def name_of(function: Callable[..., Any]) -> str:
    """What a figure's files are called: its ``name`` if it has one, else the function's own."""
    name = getattr(function, "name", None) or getattr(function, "__name__", type(function).__name__)
    return re.sub(r"[^A-Za-z0-9._-]+", "-", str(name)).strip("-.") or "figure"


def save(figure: "Figure", path: Path) -> list[Path]:
    """Write the figure as SVG and PNG under the path with either suffix."""
    from matplotlib import rc_context

    files = []
    for suffix, metadata in ((".svg", {"Date": None}), (".png", {})):
        files.append(path.with_name(path.name + suffix))
        with rc_context(STYLE):
            figure.savefig(files[-1], metadata=metadata)
    return files


def draw(
    functions: Iterable[Callable[["Results"], Any]], results: "Results", folder: str | Path
) -> tuple[list[Path], list[str]]:
    """Draw figures into a folder; returns the files, and a sentence for each figure that could not be drawn."""
    folder = Path(folder)
    files: list[Path] = []
    problems = []
    for function in functions:
        name = name_of(function)
        try:
            figure = function(results)
            folder.mkdir(parents=True, exist_ok=True)
            files += save(figure, folder / name)
        except DlxError as e:
            problems.append(str(e))
        except (Exception, SystemExit) as e:
            problems.append(f"The figure {name} could not be drawn: {type(e).__name__}: {e}")
    return files, problems
