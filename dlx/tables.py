"""Tables for a terminal: cells with their intervals, and why trials failed; foreign text is shown, never obeyed."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dlx.text import clean, cut

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from dlx.results import Results

MOST_CELLS = 50
LONGEST = 200  # characters of a name, a value or a reason
WIDTH = 80
COUNTS = ("diverged", "failed", "pruned", "missing")


def plain(renderable: "RenderableType", width: int = WIDTH) -> str:
    """What rich would show, as plain text."""
    import io

    from rich.console import Console

    console = Console(file=io.StringIO(), width=width, no_color=True, legacy_windows=False, force_jupyter=False,
                      force_terminal=False)
    console.print(renderable)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    return "\n".join(line.rstrip() for line in text.splitlines())


def cells_table(results: "Results", width: int = WIDTH) -> "RenderableType":
    """Cells as rows: axes, tuned values, as many metrics (mean ± half-width) as fit, and what went wrong."""
    from rich.console import Group
    from rich.text import Text

    cells = results.cells()
    rows = cells.slice(0, MOST_CELLS).to_pylist()
    shared = set(cells.column_names) & set(results.table.column_names)
    tuned = [n.removeprefix("param.") for n in cells.column_names if n.startswith("param.") and n in shared]
    names = [*results.axes, *tuned]
    columns = {short(name, names): [shown(r[name]) for r in rows] for name in results.axes}
    columns |= {short(name, names): [shown(r[f"param.{name}"]) for r in rows] for name in tuned}
    columns["n"] = [str(r["n"]) for r in rows]
    tail = {name: [str(r[name] or "") for r in rows] for name in COUNTS if any(r[name] for r in rows)}
    if any(r["note"] for r in rows):
        tail["note"] = [r["note"] or "" for r in rows]
    left = width - _space(columns) - _space(tail)
    left_out = []
    for i, metric in enumerate(results.metrics):
        column = {metric: [_estimate(r, metric) for r in rows]}
        left -= _space(column)
        if left >= 0 or i == 0:
            columns |= column
        else:
            left_out.append(cut(metric, LONGEST))
    return Group(_table(columns | tail), Text(_caption(results, len(cells), left_out), style="dim"))


def _table(columns: Mapping[str, Sequence[str]]) -> "Table":
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    for name, values in columns.items():
        numeric = all(not v or v[0].isdigit() or v[0] in "-." for v in values)
        table.add_column(Text(clean(cut(name, LONGEST))), justify="right" if numeric else "left", overflow="fold")
    for row in zip(*columns.values(), strict=True):
        table.add_row(*(Text(clean(v)) for v in row))
    return table


def _caption(results: "Results", cells: int, left_out: Sequence[str]) -> str:
    lines = []
    if cells > MOST_CELLS:
        lines.append(f"{cells - MOST_CELLS:,} more cells; dlx export writes all of them.")
    if left_out:
        lines.append(f"Also stored: {', '.join(map(clean, left_out))}.")
    if results.metrics:
        search = results.declaration.search
        over = f"over {search.repeats} searches" if search and search.repeats > 1 else "over n final trials"
        lines.append(f"Mean ± half-width of the 95 % t interval {over}.")
    return "\n".join(lines)


def _space(columns: Mapping[str, Sequence[str]]) -> int:
    """Characters that columns take, their gaps included."""
    return sum(2 + max(map(len, [name, *values])) for name, values in columns.items())


def short(name: str, names: Iterable[str]) -> str:
    """The end of a dotted name where it says as much as the whole."""
    end = name.rpartition(".")[2]
    own = end not in ("n", "note", *COUNTS) and sum(n.rpartition(".")[2] == end for n in names) == 1
    return end if own else name


def shown(value: Any) -> str:
    """A value of a table as text, numbers to four digits."""
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else cut(str(value), LONGEST)


def _estimate(row: Mapping[str, Any], metric: str) -> str:
    mean, half, n = row[f"{metric}.mean"], row[f"{metric}.half_width"], row[f"{metric}.n"]
    if mean is None:
        return ""
    return interval(mean, half) + (f" (n={n})" if n < row["n"] else "")


def interval(mean: float, half: float | None) -> str:
    """Mean ± half-width, the latter to two digits and both to the same decimal place."""
    if not half:
        return f"{mean:.4g}"
    decimals = 1 - math.floor(math.log10(half))
    if not 0 <= decimals <= 6:
        return f"{mean:.4g} ± {half:.2g}"
    return f"{mean:.{decimals}f} ± {half:.{decimals}f}"


def reasons(results: "Results") -> list[tuple[int, str]]:
    """Why trials failed: the distinct last lines of their tracebacks, and how often each occurs, in falling order."""
    errors = results.failed()["error"].to_pylist()
    return [(n, clean(cut(line, LONGEST))) for line, n in Counter(map(last_line, errors)).most_common()]


def last_line(error: str | None) -> str:
    """The last line of a traceback that says something; the frame around a group of exceptions does not."""
    lines = [line.strip(" |+-") for line in (error or "").splitlines()]
    return next((line for line in reversed(lines) if line), "no reason is stored")
