"""Tiny Shakespeare: a million characters of plays, to be predicted one by one (Karpathy 2015)."""

import typing
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from dlx.data.base import Dimensions, Split, Streams, check_at_least
from dlx.data.files import PublicFile
from dlx.errors import DeclarationError
from dlx.trial import field

if typing.TYPE_CHECKING:
    import torch

CHARACTERS, SYMBOLS = 1_115_394, 65
BORDERS = (0, 1_003_854, 1_059_624, CHARACTERS)  # 90 % train, 5 % validate, 5 % test, in the order of the text
FILE = PublicFile(
    "tinyshakespeare/input.txt",
    "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",
    CHARACTERS,
    "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
)


@dataclass(frozen=True)
class TinyShakespeare:
    """The text cut into windows that do not overlap; each character is predicted from those before it in its window.

    length: of a window, in characters. Symbols are numbered in the order of their code points. The first 90 % of the
    text are trained on, the next 5 % validate, the last 5 % test, whatever the seed; held_out: windows of each of the
    latter two that are used, evenly spaced, None: all. File: ``tinyshakespeare/input.txt`` in the data folder.
    """

    length: int = 64
    held_out: int | None = field(None, absent=None)

    def check(self) -> None:
        """Raise DeclarationError where a value is out of its range."""
        check_at_least(1, length=self.length)
        if min(_windows(self.length)) < 1:
            held_out = BORDERS[2] - BORDERS[1]
            raise DeclarationError(f"length is {self.length}; a window must fit into the {held_out} that validate.")
        fewest = min(_windows(self.length)[1:])
        if self.held_out is not None and not 1 <= self.held_out <= fewest:
            raise DeclarationError(f"held_out is {self.held_out}; it must lie between 1 and the {fewest} windows.")

    def dimensions(self) -> Dimensions:
        """Of 65 symbols, (length,) tokens; 65 outputs at each position."""
        return Dimensions(SYMBOLS, SYMBOLS, (self.length,), tokens=True)

    def samples(self) -> int:
        """Number of windows in the train split."""
        return _windows(self.length)[0]

    def load(self, streams: Streams) -> Mapping[str, Split]:
        """Splits ``train``, ``val`` and ``test``; inputs and targets (table, length) int64, the next character each."""
        import torch

        splits = dict(zip(("train", "val", "test"), _table(self.length), strict=True))
        if (n := self.held_out) is not None:
            for name in ("val", "test"):
                rows = splits[name].rows
                splits[name] = splits[name]._replace(rows=rows[torch.arange(n) * len(rows) // n])
        return splits


def _windows(length: int) -> tuple[int, int, int]:
    """Number of windows in each part of the text; one character more is needed for the last target."""
    a, b, c, d = BORDERS
    return (b - a - 1) // length, (c - b - 1) // length, (d - c - 1) // length


@lru_cache(maxsize=4)
def _table(length: int) -> tuple[Split, ...]:
    import torch

    symbols = _symbols()
    starts = torch.cat([b + length * torch.arange(n) for b, n in zip(BORDERS, _windows(length), strict=False)])
    at = starts.unsqueeze(1) + torch.arange(length)
    inputs, targets = symbols[at], symbols[at + 1]
    return tuple(Split(inputs, targets, rows) for rows in torch.arange(len(starts)).split(_windows(length)))


@lru_cache(maxsize=1)
def _symbols() -> "torch.Tensor":
    """The text as (characters,) int64 from 0 to 64."""
    import numpy as np
    import torch

    _, symbols = np.unique(np.frombuffer(FILE.locate().read_bytes(), np.uint8), return_inverse=True)
    return torch.from_numpy(symbols.astype(np.int64))
