"""Figures on a page: drawn into a folder beside it, and inside it as SVG, or as PNG where that is smaller."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlx.report.content import Paragraph, Picture, Table, table
from dlx.report.words import number
from dlx.tables import short
from dlx.text import clean

if TYPE_CHECKING:
    from dlx.results import Results

LARGEST_SVG = 150_000  # bytes, above which the smaller of SVG and PNG is shown
MOST_BYTES = 2_500_000  # of all pictures on a page, before base64 makes them a third longer
MOST_ROWS = 80  # of the table of what a figure shows
FOLDER = "figures"
MEDIA = {".svg": "image/svg+xml", ".png": "image/png"}


class Album:
    """Draws figures for one page and keeps count of the room that they take; files go into ``figures`` of a folder."""

    def __init__(self, results: "Results", folder: Path) -> None:
        self._results = results
        self._folder = folder / FOLDER
        self._left = MOST_BYTES

    def draw(self, functions: Iterable[Callable[..., Any]], silent: bool = False) -> list[Picture | Paragraph]:
        """A picture for each figure, and a sentence for one that cannot be drawn unless ``silent``."""
        from dlx import figures

        blocks: list[Picture | Paragraph] = []
        for function in functions:
            files, problems = figures.draw((function,), self._results, self._folder)
            blocks += [Paragraph(clean(problem), warning=True) for problem in problems if not silent]
            if files:
                blocks.append(self._picture(function, {f.suffix: f for f in files}))
        return blocks

    def _picture(self, function: Callable[..., Any], files: Mapping[str, Path]) -> Picture:
        drawn = clean(getattr(function, "title", ""))
        title = drawn or clean(files[".png"].stem.replace("_", " ").replace("-", " ")).capitalize()
        data = _data(function, self._results)
        chosen = _smaller(files)
        content = chosen.read_bytes()
        if len(content) > self._left:
            content = b""
        self._left -= len(content)
        told = "; its numbers are in the table below it" if data else ""
        captioned = content and (drawn or dataclasses.is_dataclass(function))  # in the picture itself
        return Picture(f"{FOLDER}/{files['.png'].name}", f"{type(function).__name__} figure: {title}{told}.",
                       "" if captioned else f"{title}.", MEDIA[chosen.suffix], content, data)


def _smaller(files: Mapping[str, Path]) -> Path:
    svg, png = files[".svg"], files[".png"]
    small = svg.stat().st_size <= max(LARGEST_SVG, png.stat().st_size)
    return svg if small else png


def _data(function: Callable[..., Any], results: "Results") -> Table | None:
    """Means of the metrics that a figure names, by cell; None for a figure of the user's own, and for many cells."""
    if not dataclasses.is_dataclass(function):
        return None
    named = [text for f in dataclasses.fields(function) for text in _texts(getattr(function, f.name))]
    metrics = [m for m in results.metrics if m in named]
    rows = results.cells().to_pylist() if len(results.cells()) <= MOST_ROWS else []
    if not metrics or not rows:
        return None
    ends = ("mean", "half_width", "n")
    columns = [*(short(a, results.axes) for a in results.axes), *(f"{m} {e.replace('_', '-')}" for m in metrics
                                                                  for e in ends)]
    values = [[number(r[name]) for name in (*results.axes, *(f"{m}.{e}" for m in metrics for e in ends))] for r in rows]
    return table([clean(c) for c in columns], values, "Means over final trials, half-widths of their 95 % intervals.")


def _texts(value: Any) -> Sequence[str]:
    if isinstance(value, str):
        return (value,)
    return [v for v in value if isinstance(v, str)] if isinstance(value, list | tuple) else ()
