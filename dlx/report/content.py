"""What a report says, before it is HTML or Markdown: a page of sections, each a list of blocks of plain text.

Both renderers read this and nothing else, so that they cannot disagree.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

DIGITS = r"[−-]?\d[\d,]*(?:\.\d+)?(?:e[−+-]?\d+)?"
NUMBER = re.compile(rf"(?:< )?{DIGITS}(?: (?:±|to) {DIGITS})?(?: \(n=\d+\))?(?:\s%)?")


@dataclass(frozen=True)
class Paragraph:
    """Running text; ``warning``: of the kind that must not be overlooked."""

    text: str
    warning: bool = False
    kind: ClassVar[str] = "paragraph"


@dataclass(frozen=True)
class Items:
    """A list of sentences."""

    texts: tuple[str, ...]
    kind: ClassVar[str] = "items"


@dataclass(frozen=True)
class Facts:
    """Terms and what they are."""

    pairs: tuple[tuple[str, str], ...]
    kind: ClassVar[str] = "facts"


@dataclass(frozen=True)
class Code:
    """Text that is shown letter by letter: a command, a traceback."""

    text: str
    kind: ClassVar[str] = "code"


@dataclass(frozen=True)
class Table:
    """Rows of texts under named columns; ``bars``: a share from 0 to 1 for each row, drawn beside it."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""
    bars: tuple[float, ...] = ()
    kind: ClassVar[str] = "table"

    @cached_property
    def numeric(self) -> tuple[bool, ...]:
        """By column: whether it has numbers alone."""
        columns = zip(*self.rows, strict=True) if self.rows else [()] * len(self.columns)
        return tuple(any(column) and all(not v or is_number(v) for v in column) for column in columns)


@dataclass(frozen=True)
class Folded:
    """A block that is shown when asked for."""

    summary: str
    block: Table | Code
    kind: ClassVar[str] = "folded"


@dataclass(frozen=True)
class Picture:
    """A figure; ``media`` and ``content``: of the file that HTML shows, ``file``: where the twin finds it.

    ``content`` is empty where the page has no room for it; ``caption``: of what has no title in the picture; ``data``:
    what it shows, as a table, where that is short.
    """

    file: str
    alt: str
    caption: str
    media: str
    content: bytes
    data: Table | None = None
    kind: ClassVar[str] = "picture"


@dataclass(frozen=True)
class Judged:
    """A claim with its verdict: ``outcome`` supported, refuted or undecided; ``label`` confirmatory or weaker.

    ``name``: what the study calls it, where that is not the sentence itself.
    """

    name: str
    claim: str
    outcome: str
    label: str
    facts: tuple[tuple[str, str], ...]
    reasons: tuple[str, ...]
    kind: ClassVar[str] = "judged"


Block = Paragraph | Items | Facts | Code | Table | Folded | Picture | Judged


@dataclass(frozen=True)
class Section:
    """Blocks under a heading; ``anchor``: its name in links."""

    anchor: str
    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Page:
    """A whole report; ``outline``: short facts under the question; ``notices``: what a reader must know first."""

    title: str
    question: str
    outline: tuple[str, ...]
    notices: tuple[str, ...]
    sections: tuple[Section, ...]
    made: str

    @property
    def blocks(self) -> tuple[Block, ...]:
        """All blocks of all sections."""
        return tuple(block for section in self.sections for block in section.blocks)


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], caption: str = "") -> Table:
    """A table of lists."""
    return Table(tuple(columns), tuple(map(tuple, rows)), caption)


def is_number(text: str) -> bool:
    """Whether a text is a number, with its interval or n where it has them."""
    return NUMBER.fullmatch(text) is not None
