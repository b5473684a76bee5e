"""Figures as files: SVG and PNG, the same bytes for the same results."""

import re
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlx.errors import DlxError
from dlx.figures.style import house_style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from dlx.results import Results


def name_of(function: Callable[..., Any]) -> str:
    """What a figure's files are called: its ``name`` if it has one, else the function's own."""
    name = getattr(function, "name", None) or getattr(function, "__name__", type(function).__name__)
    return re.sub(r"[^A-Za-z0-9._-]+", "-", str(name)).strip("-.") or "figure"


def save(figure: "Figure", path: Path) -> list[Path]:
    """Write the figure as SVG and PNG under the path with either suffix."""
    files = []
    for suffix, metadata in ((".svg", {"Date": None}), (".png", {})):
        files.append(path.with_name(path.name + suffix))
        with house_style(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph")  # of scripts that the font lacks
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
            with house_style():
                figure = function(results)
            folder.mkdir(parents=True, exist_ok=True)
            files += save(figure, folder / name)
        except DlxError as e:
            problems.append(str(e))
        except (Exception, SystemExit) as e:
            problems.append(f"The figure {name} could not be drawn: {type(e).__name__}: {e}")
    return files, problems
