"""Text: that of others, such as names, values and tracebacks, is shown and never obeyed; and words that many print."""

import difflib
import html
import math
import re
from collections.abc import Iterable
from urllib.parse import urlsplit

SPECIAL = re.compile(r"[\\`*~|\[\]]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])|:(?=//|[\w+-]+:)|^[#+=-]|(?<=^\d)[.)](?=\s|$)")
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def clean(text: object) -> str:
    """Text without control characters, so that no name can move the cursor or change colours."""
    return "".join(c if c.isprintable() else " " for c in str(text))


def markdown(text: str) -> str:
    """Text on one line that Markdown, and the HTML in it, shows as it is."""
    return SPECIAL.sub(r"\\\g<0>", html.escape(" ".join(text.split()), quote=False))


def cut(text: str, longest: int) -> str:
    """Text, its end left out where it has more characters than ``longest``."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def count(n: int, one: str, many: str = "") -> str:
    """A number with its noun, such as ``3 seeds``."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def number(value: float) -> str:
    """A number to three digits as people write it: 0.05, 20, 12,345, 3×10⁻⁶, −∞."""
    if not math.isfinite(value):
        said = "nan" if math.isnan(value) else "∞" if value > 0 else "-∞"
    elif value and not 1e-4 <= abs(value) < 1e5:
        mantissa, _, power = f"{value:.3g}".partition("e") if "e" in f"{value:.3g}" else f"{value:.2e}".partition("e")
        digits = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
        ten = f"10{str(int(power)).translate(SUPERSCRIPTS)}"
        said = ten if digits == "1" else f"{digits}×{ten}"
    else:
        said = f"{value + 0.0:.3g}" if abs(value) < 999.5 else f"{value:,.0f}"
    return said.replace("-", "−")


def holds_password(address: str) -> bool:
    """Whether an address has a password in it, which commands, reports and logs would show."""
    parts = urlsplit(address)
    return bool(parts.password) or "secret_key" in parts.query


# ---------------------------------------------------------------- names


def by_end(name: str, names: Iterable[str]) -> str | None:
    """The name itself if it is one of these, else the only one that ends in it after a dot; None: no such name."""
    known = list(names)
    ends = [whole for whole in known if whole.endswith(f".{name}")]
    return name if name in known else ends[0] if len(ends) == 1 else None


def nearest(name: str, names: Iterable[str]) -> str:
    """How an unknown name is answered: with the closest known one, else with all."""
    known = list(names)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known) or 'none'}."
