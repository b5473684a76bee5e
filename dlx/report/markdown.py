"""A page as Markdown, for reviews and repositories; foreign text is escaped so that it is shown as it is."""

import html
import re
from collections.abc import Sequence

from dlx.report.content import Block, Code, Facts, Folded, Items, Judged, Page, Paragraph, Picture, Table
from dlx.text import markdown


def render_markdown(page: Page) -> str:
    """The page as GitHub's Markdown; pictures are files beside it."""
    parts = [f"# {escape(page.question)}", f"*{escape(page.title)}* — {escape(' · '.join(page.outline))}"]
    parts += [f"> **Note.** {escape(notice)}" for notice in page.notices]
    for section in page.sections:
        parts.append(f"## {escape(section.title)}")
        parts += [_block(block) for block in section.blocks]
    return "\n\n".join([*parts, "---", escape(page.made)]) + "\n"


def escape(text: str) -> str:
    """A text on one line that GitHub shows as it is: ``markdown`` without formulas between dollars."""
    return markdown(text).replace("$", r"\$")


def fenced(text: str) -> str:
    """A block of code whose fence is longer than any in the text."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{text}\n{fence}"


def rows(columns: Sequence[str], values: Sequence[Sequence[str]], numeric: Sequence[bool] | None = None) -> str:
    """A table in pipes."""
    rule = ["---:" if right else "---" for right in numeric or [False] * len(columns)]
    lines = [list(map(escape, columns)), rule, *(list(map(escape, row)) for row in values)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _block(block: Block) -> str:
    match block:
        case Paragraph():
            return f"**{escape(block.text)}**" if block.warning else escape(block.text)
        case Items():
            return "\n".join(f"- {escape(text)}" for text in block.texts)
        case Facts():
            return "\n".join(f"- {escape(term)}: {escape(text)}" for term, text in block.pairs)
        case Code():
            return fenced(block.text)
        case Table():
            caption = f"{escape(block.caption)}\n\n" if block.caption else ""
            return caption + rows(block.columns, block.rows, block.numeric)
        case Folded():
            return _folded(block.summary, _block(block.block))
        case Picture():
            data = "\n\n" + _folded("The numbers", _block(block.data)) if block.data else ""
            caption = f"\n\n{escape(block.caption)}" if block.caption else ""
            return f"![{escape(block.alt)}]({block.file}){caption}{data}"
        case Judged():
            return _judged(block)


def _folded(summary: str, inner: str) -> str:
    shown = html.escape(" ".join(summary.split()), quote=False)
    return f"<details><summary>{shown}</summary>\n\n{inner}\n\n</details>"


def _judged(block: Judged) -> str:
    name = f": {escape(block.name)}" if block.name else ""
    lines = [f"### {escape(block.claim)}", f"**{block.outcome}** ({block.label}){name}", _block(Facts(block.facts))]
    lines += [f"> {escape(reason)}" for reason in block.reasons]
    return "\n\n".join(lines)
