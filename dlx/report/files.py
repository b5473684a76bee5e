"""A report as files: ``report.html``, its twin ``report.md``, and the figures of both."""

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

from dlx.errors import DlxError
from dlx.files import reason
from dlx.home import Home
from dlx.report.build import build
from dlx.report.content import Paragraph, Picture
from dlx.report.html import render_html
from dlx.report.markdown import render_markdown
from dlx.study import FULL

if TYPE_CHECKING:
    from dlx.results import Results


class Report(NamedTuple):
    """Where a report lies: one HTML file that needs nothing else, and a Markdown twin with its figures beside it.

    ``figures``: the pictures that the twin shows; ``problems``: a sentence for each figure that could not be drawn.
    """

    html: Path
    markdown: Path
    figures: tuple[Path, ...]
    problems: tuple[str, ...]


def folder_in(folder: Path, variant: str) -> Path:
    """Where reports on a variant of a study lie in its folder: ``report``, or ``report-quick`` for its preset quick."""
    return folder / ("report" if variant == FULL else f"report-{quote(variant, safe='')}")


def write(results: "Results", folder: str | Path | None = None, command: str = "") -> Report:
    """Write the report of a study into a folder.

    folder: by default ``folder_in`` the study's folder of the home; command: that runs the study again. Raises DlxError
    when the folder cannot be written.
    """
    folder = _usual(results) if folder is None else Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        page = build(results, folder, command)
        home = Home(str(folder))
        for name, text in (("report.html", render_html(page)), ("report.md", render_markdown(page))):
            home.put(home.path(name), text.encode())
    except OSError as e:
        raise DlxError(f"The report cannot be written to {folder} ({reason(e)}); name another folder.") from e
    figures = tuple(folder / block.file for block in page.blocks if isinstance(block, Picture))
    problems = tuple(block.text for block in page.blocks if isinstance(block, Paragraph) and block.warning)
    return Report(folder / "report.html", folder / "report.md", figures, problems)


def _usual(results: "Results") -> Path:
    if results.store.local_folder is None:
        raise DlxError(f"The home {results.store.home} is on another machine; name a folder here with --out.")
    return folder_in(results.store.local_folder, results.declaration.variant)
