"""The house style: light, safe for colour-blind eyes, legible at 600 pixels, with a title, units and n in a caption.

A figure is 6 inches wide, whatever its height: at 600 pixels a point is 1.4 pixels, and the smallest text 11. Names and
values of a study are shown as they are; a title or a label that its author writes may hold matplotlib's ``$…$``.
"""

import itertools
import math
import textwrap
import typing
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Literal, NamedTuple

from dlx.text import clean, cut, number

if typing.TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")  # Okabe and Ito 2008
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES: tuple[Any, ...] = ("-", (0, (4, 2)), (0, (1, 1.5)))
GREY, PALE = "#555555", "#e6e6e6"
STYLE: dict[Any, Any] = {
    "figure.facecolor": "white", "figure.dpi": 200, "savefig.dpi": 200,
    "font.size": 10, "font.family": "sans-serif", "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial"],
    "axes.titlesize": 11.5, "axes.titlelocation": "left",
    "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": GREY, "axes.axisbelow": True,
    "axes.grid": True, "grid.color": PALE, "grid.linewidth": 0.8, "hatch.linewidth": 0.6,
    "lines.linewidth": 1.8, "lines.markersize": 4.5, "legend.frameon": False,
    "axes.xmargin": 0.03, "svg.fonttype": "none", "svg.hashsalt": "dlx",
}
WIDTH = 6.0  # inches
SIZE = (WIDTH, 4.2)
LINE = 0.19  # inches of a line of a legend
SMALL = 8.5  # points, as all that is neither title nor label of an axis
MOST_TICKS = 8  # of a log scale
LONGEST = 60  # characters of a name or value


def house_style() -> AbstractContextManager[None]:
    """Within it matplotlib draws in the house style."""
    from matplotlib import rc_context

    return rc_context(STYLE)


def canvas(height: float = SIZE[1]) -> "Figure":
    """An empty figure of this height in inches, whose parts make room for one another."""
    from matplotlib.figure import Figure

    return Figure(figsize=(WIDTH, height), layout="constrained")


class Panels(NamedTuple):
    """Small multiples: all axes in reading order, those at the bottom of a column, those at the left."""

    all: list["Axes"]
    bottom: list["Axes"]
    left: list["Axes"]


def panels(titles: Sequence[str], height: float) -> tuple["Figure", Panels]:
    """A figure with a panel for each title, all on the same scales; height: of a row of several, in inches."""
    count = len(titles)
    columns = 1 if count == 1 else 2 if count <= 4 else 3
    rows = math.ceil(count / columns)
    figure = canvas(1.4 + (2.8 if count == 1 else height * rows))
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    places = list(grid.flat)
    for axes, title in zip(places, titles, strict=False):
        lines = textwrap.wrap(title, 66 // columns, max_lines=2, placeholder="…")
        axes.set_title("\n".join(lines), fontsize=9)
    for axes in places[count:]:
        axes.set_axis_off()
    bottom = places[max(count - columns, 0):count]
    for axes in bottom:
        axes.tick_params("x", labelbottom=True)
    return figure, Panels(places[:count], bottom, places[:count:columns])


def shown(text: object, longest: int = LONGEST) -> str:
    """A name or value as it is, cut where it is longer: no control characters, no mathematics between dollars."""
    return cut(clean(text), longest).replace("$", r"\$")


def finish(figure: "Figure", title: str, caption: str) -> None:
    """Put the title above, over the legend if there is one, and the caption below, in as many lines as they need."""
    said = textwrap.fill(title, 74)
    for legend in figure.legends:
        legend.set_title(said)
        legend.get_title().set_fontsize(STYLE["axes.titlesize"])
    if title and not figure.legends:
        figure.suptitle(said, x=0.01, ha="left", fontsize=STYLE["axes.titlesize"])
    figure.supxlabel(textwrap.fill(caption, 94), x=0.01, ha="left", fontsize=SMALL, color=GREY)


# ---------------------------------------------------------------- lines and their names


def look(i: int) -> dict[str, Any]:
    """Colour and marker of the line at this place; the first 49 all differ."""
    turn, place = divmod(i, len(COLOURS))
    return {"color": COLOURS[place], "marker": MARKERS[(place + turn) % len(MARKERS)]}


def colour_map() -> "Colormap":
    """Viridis (Smith and van der Walt 2015): perceptually uniform, and the same to colour-blind eyes."""
    from matplotlib import colormaps

    return colormaps["viridis"]


def line_colours(count: int) -> list[Any]:
    """Colours of ordered lines on white: viridis without its yellow end."""
    return [colour_map()(0.88 * i / max(count - 1, 1)) for i in range(count)]


def colour_bar(figure: "Figure", axes: Sequence["Axes"], values: Sequence[float], name: str) -> None:
    """What the colours of many ordered lines mean: a bar with the first, middle and last of their values."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, Normalize

    count = len(values)
    colours = ScalarMappable(Normalize(-0.5, count - 0.5), ListedColormap(line_colours(count)))
    places = sorted({round(i * (count - 1) / 4) for i in range(5)})
    bar = figure.colorbar(colours, ax=axes, label=name, ticks=places, pad=0.02, aspect=28)
    bar.ax.set_yticklabels([number(values[i]) for i in places])
    bar.outline.set_visible(False)


def legend_above(axes: "Axes", handles: Sequence["Artist"], names: Sequence[str]) -> None:
    """A legend above the only axes of a figure, which grows by the rows beyond the third."""
    columns = 2 if all(len(name) <= 38 for name in names) else 1
    _legend(axes, handles, names, columns, loc="lower left", bbox_to_anchor=(-0.1, 1.0))
    figure, rows = axes.get_figure(root=True), math.ceil(len(names) / columns)
    if figure is not None and rows > 3:
        figure.set_figheight(figure.get_figheight() + LINE * (rows - 3))


def legend_over(figure: "Figure", handles: Sequence["Artist"], names: Sequence[str], length: float = 3) -> None:
    """A legend over all axes of a figure, which grows by it; length: of handles, in units of the font size."""
    longest = max(len(line) for name in names for line in name.split("\n"))
    columns = 4 if longest <= 12 else 3 if longest <= 23 else 2 if longest <= 38 else 1
    _legend(figure, handles, names, columns, loc="outside upper left", handlelength=length, alignment="left",
            borderpad=0)
    lines = sum(name.count("\n") + 1 for name in names)
    figure.set_figheight(figure.get_figheight() + LINE * math.ceil(lines / columns))


def _legend(
    place: "Axes | Figure", handles: Sequence["Artist"], names: Sequence[str], columns: int, **options: Any
) -> None:
    """A legend that shows names even where they begin with an underscore."""
    stand_ins = [name if not name.startswith("_") else "0" * len(name) for name in names]
    drawn = place.legend(handles, stand_ins, **{"ncols": columns, "fontsize": 9, "handlelength": 3, **options})
    for text, name in zip(drawn.get_texts(), names, strict=True):
        text.set_text(name)


# ---------------------------------------------------------------- scales


def log_scale(axes: "Axes", which: Literal["x", "y"], values: Iterable[float], most: int = MOST_TICKS) -> None:
    """A log scale over these values whose ticks are round numbers, written out; values ≤ 0 have no place on it."""
    from matplotlib.ticker import FixedLocator, NullLocator

    getattr(axes, f"set_{which}scale")("log")
    axis = axes.xaxis if which == "x" else axes.yaxis
    positive = [v for v in values if v > 0 and math.isfinite(v)]
    if positive:
        axis.set_major_locator(FixedLocator(round_numbers(min(positive), max(positive), most)))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(lambda value, _: number(value))


def round_numbers(low: float, high: float, most: int = MOST_TICKS) -> list[float]:
    """Round numbers from low > 0 to high for a log scale, as many as there may be, or powers of ten."""
    from matplotlib.ticker import MaxNLocator

    powers = range(-30, 31, max(1, math.ceil(math.log10(high / low) / (most - 1))))
    for steps in ((1, 2, 3, 4, 6, 8), (1, 2, 5), (1,)):
        found = [float(f"{m}e{e}") for e, m in itertools.product(powers, steps) if low <= m * 10.0**e <= high * 1.0001]
        if len(found) <= most:
            break
    return found if len(found) > 1 else [float(t) for t in MaxNLocator(4).tick_values(low, high) if low <= t <= high]
