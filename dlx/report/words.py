"""Numbers as a page prints them: with a real minus sign, and as many digits as they deserve."""

import math
import shlex
from typing import Any

from dlx.tables import LONGEST, shown
from dlx.text import clean, cut

THIN = "\u202f"  # a narrow space that does not break


def number(value: Any) -> str:
    """A value of a table: floats to four digits, nothing for None, foreign text on one line without control characters.

    ``nan`` and ``inf`` are words.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return clean(shown(value))
    return shown(value).replace("-", "−") if isinstance(value, float) else f"{value:,}".replace("-", "−")


def command(*words: str) -> str:
    """A command line, quoted for a shell."""
    return clean(shlex.join(words))


def share(value: float | None) -> str:
    """A share as a percentage."""
    return "" if value is None or math.isnan(value) else f"{100 * value:.0f}{THIN}%".replace("-", "−")


def interval_of_shares(low: float | None, high: float | None) -> str:
    """The interval of a share; nothing where there is none."""
    return "" if low is None or high is None else f"{100 * low:.0f} to {share(high)}"


def several(texts: Any, most: int = 12) -> str:
    """Texts with commas; when they are many the first ones and how many more there are."""
    texts = [clean(cut(str(t), LONGEST)) for t in texts]
    rest = f" and {len(texts) - most:,} more" if len(texts) > most else ""
    return ", ".join(texts[:most]) + rest
