"""A page as one HTML file: no script, nothing loaded from anywhere, every foreign text escaped."""

import base64
import hashlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from dlx.report.content import Page

if TYPE_CHECKING:
    from jinja2 import Template

HERE = Path(__file__).parent
MARKS = {"supported": "✓", "refuted": "✗", "undecided": "○"}  # shapes, for eyes that see no colours


def render_html(page: Page) -> str:
    """The page as HTML with its style and pictures inside; its policy forbids scripts and every request."""
    style = (HERE / "page.css").read_text(encoding="utf-8")
    return _template().render(
        page=page, marks=MARKS, base64=lambda content: base64.b64encode(content).decode(), style=_as_it_is(style),
        style_digest=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
    )


@cache
def _template() -> "Template":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, keep_trailing_newline=True,
    ).get_template("page.html")


def _as_it_is(style: str) -> str:
    from markupsafe import Markup

    return Markup(style)  # our own file, which has quotes and no tags
