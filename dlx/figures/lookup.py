"""What a figure asks of results by name, and what groups of cells are called."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from dlx.errors import DeclarationError, DlxError
from dlx.figures.style import shown
from dlx.text import by_end, nearest

if TYPE_CHECKING:
    from dlx.results import Results

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Compared:
    """Cells for which a figure has a value from elsewhere: texts under ``columns``, that value, the cell.

    ``label``: what those values are; ``metric``: in full, multiplied by ``scale``.
    """

    label: str
    metric: str
    scale: float
    columns: tuple[str, ...]
    rows: tuple[tuple[tuple[str, ...], float, Row], ...]


def not_empty(figure: str, results: "Results") -> None:
    """Raise DlxError while nothing is stored."""
    if not results.metrics:
        name = results.declaration.name
        raise DlxError(f"The figure {figure} has nothing to show: no trial of {name} is stored; run it.")


def axis(figure: str, results: "Results", name: str) -> str:
    """The axis with this name, or with a name that ends in it; raises DeclarationError when there is none."""
    if found := by_end(name, results.axes):
        return found
    unknown(figure, "axis", name, results.axes)


def metric(figure: str, results: "Results", name: str | None) -> str:
    """The metric with this name, the first one of the results for None; raises DeclarationError for an unknown one."""
    not_empty(figure, results)
    if name is None or name in results.metrics:
        return results.metrics[0] if name is None else name
    unknown(figure, "metric", name, results.metrics)


def unknown(figure: str, kind: str, name: str, known: Sequence[str]) -> NoReturn:
    """Raise DeclarationError with the nearest name that there is."""
    raise DeclarationError(
        f"The figure {figure} wants the {kind} {name!r}, which the results lack; {nearest(name, known)}")


def short(name: str) -> str:
    """The end of an axis' name, as people say it."""
    return shown(name.rpartition(".")[2].replace("_", " "))


def said(row: Row, axes: Iterable[str]) -> str:
    """What a cell is called by these axes."""
    return ", ".join(f"{short(name)} {shown(row[name])}" for name in axes if row[name] is not None)


def grouped(rows: Iterable[Row], axes: Iterable[str]) -> dict[str, list[Row]]:
    """Rows by what they are called by these axes, in order of appearance."""
    axes = list(axes)
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(said(row, axes), []).append(row)
    return groups


def values(rows: Iterable[Row], name: str) -> list[Any]:
    """Different values of a column in declared order, numbers in rising order; None apart."""
    found = dict.fromkeys(row[name] for row in rows if row[name] is not None)
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in found)
    return sorted(found) if numbers else list(found)


def numeric(found: Sequence[Any]) -> bool:
    """Whether there are values, and all of them are numbers."""
    return bool(found) and all(isinstance(v, int | float) and not isinstance(v, bool) for v in found)


def varying(rows: Sequence[Row], axes: Iterable[str]) -> list[str]:
    """The axes that have several values in these rows."""
    return [name for name in axes if len({row[name] for row in rows}) > 1]
