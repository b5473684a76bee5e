"""Stored rows as MLflow runs: tags, name, parameters, learning curves; pure functions of the tables."""

import json
import math
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from dlx.records import FAILED, FINAL, ITEMS, PARENT, PRUNED, RECHECK, TUNE
from dlx.tables import shown
from dlx.text import markdown
from dlx.tracking.client import Point, Run

POINTS = 200  # of a learning curve that MLflow is told; the store keeps all
ROWS = 500  # of a table in a description
Curves = Mapping[str, tuple[Sequence[int], Sequence[float]]]
Labels = Callable[[str], Mapping[str, Any]]

_ORDER = {FINAL: 0, RECHECK: 1, TUNE: 2, PARENT: 3}
_STATUS = {FAILED: "FAILED", PRUNED: "KILLED"}


class Slot(NamedTuple):
    """One place that a key is filed under; ``params``: JSON of its nuisance values."""

    cell: str
    phase: str
    search: int | None
    params: str | None


class Slots:
    """Where keys are filed; a key in several places is tagged with the last phase it serves."""

    def __init__(self) -> None:
        self._of: dict[str, tuple[Slot, ...]] = {}

    def add(self, membership: pa.Table) -> None:
        """File more rows of a membership table."""
        columns = [membership.column(n).to_pylist() for n in ("key", "cell", "phase", "search", "params")]
        for key, cell, phase, search, params in zip(*columns, strict=True):
            slot = Slot(sys.intern(cell), sys.intern(phase), search, params)
            if slot not in (known := self._of.get(key, ())):
                self._of[sys.intern(key)] = (*known, slot)

    def first(self, key: str) -> Slot:
        """The slot that names the run of a key."""
        slots = self._of.get(key) or (Slot("", "", None, None),)
        return min(slots, key=lambda s: (_ORDER.get(s.phase, 9), s.cell, -1 if s.search is None else s.search))

    def __contains__(self, key: str) -> bool:
        return key in self._of

    def tags(self, key: str, labels: Labels) -> dict[str, str]:
        """Cell (by name and by key), phase and (several, with commas, when they chose alike) search of a key."""
        first = self.first(key)
        same = {s.search for s in self._of.get(key, ()) if (s.cell, s.phase) == first[:2] and s.search is not None}
        name = describe_cell(labels(first.cell)) or first.cell
        return {"cell": name, "cell_key": first.cell, "phase": first.phase, "search": ",".join(map(str, sorted(same)))}

    def final(self) -> dict[str, list[tuple[str, int]]]:
        """Cell → (key, search) of its final trials, in a fixed order; trials without a search are of search 0."""
        found: defaultdict[str, set[tuple[str, int]]] = defaultdict(set)
        for key, slots in self._of.items():
            for slot in slots:
                if slot.phase == FINAL:
                    found[slot.cell].add((key, slot.search or 0))
        return {cell: sorted(rows) for cell, rows in found.items()}


def milliseconds(row: Mapping[str, Any]) -> int:
    """When a trial began, since the epoch."""
    return int(row["started"].timestamp() * 1000 + 0.5)


def curves_of(history: pa.Table) -> dict[str, dict[str, tuple[list[int], list[float]]]]:
    """Key → metric → (steps, values) of a history table; values by item are no curves."""
    found: defaultdict[str, dict[str, tuple[list[int], list[float]]]] = defaultdict(dict)
    for row in history.filter(pc.invert(pc.ends_with(history["metric"], ITEMS))).to_pylist():
        found[row["key"]][row["metric"]] = (row["step"], row["value"])
    return found


def run_of(row: Mapping[str, Any], curves: Curves, slots: Slots, labels: Labels) -> Run:
    """The run of one row of the table of trials."""
    key, started = row["key"], milliseconds(row)
    ended = started + round(row["seconds"] * 1000)
    slot = slots.first(key)
    tags = {"kind": "trial", "key": key, "seed": str(row["seed"]), "status": row["status"]}
    tags |= {name: value for name, value in slots.tags(key, labels).items() if value}
    tags |= {name: str(row[name]) for name in ("members", "host", "device", "source", "error") if row[name]}
    return Run(
        name=name_of_trial(slot, row["seed"], labels(slot.cell)), tags=tags,
        status=_STATUS.get(row["status"], "FINISHED"), started=started, ended=ended, params=json.loads(row["values"]),
        points=list(_points(dict(row["metrics"] or []), curves, started, ended)),
    )


def thin(steps: Sequence[int], values: Sequence[float], most: int = POINTS) -> Iterator[tuple[int, float]]:
    """At most so many points of a curve, evenly among those measured, first and last included."""
    n = len(steps)
    chosen: Iterable[int] = range(n) if n <= most else (i * (n - 1) // (most - 1) for i in range(most))
    return ((steps[i], values[i]) for i in chosen)


def describe_cell(labels: Mapping[str, Any]) -> str:
    """What sets a cell apart, in one short line: ``width=32 optimizer=SGD``."""
    return " ".join(f"{axis.rpartition('.')[2]}={value}" for axis, value in labels.items())


def name_of_trial(slot: Slot, seed: int, labels: Mapping[str, Any]) -> str:
    """What sets a trial apart: ``width=32 optimizer=SGD lr=0.1 tune seed=3``."""
    nuisance = json.loads(slot.params) if slot.params else {}
    phase = "" if slot.phase == FINAL else slot.phase
    return " ".join(filter(None, (describe_cell(labels), describe_cell(nuisance), phase, f"seed={seed}")))


def _points(metrics: Mapping[str, float], curves: Curves, started: int, ended: int) -> Iterator[Point]:
    for metric, (steps, values) in curves.items():
        yield from (Point(metric, value, step, started) for step, value in thin(steps, values))
    for metric, value in metrics.items():
        steps, values = curves.get(metric, ((), ()))
        step = max(steps, default=0)
        if not steps or steps[-1] != step or not _same(values[-1], value):
            yield Point(metric, value, step, ended)


def _same(a: float, b: float) -> bool:
    return a == b or (math.isnan(a) and math.isnan(b))


def pipes(table: pa.Table) -> str:
    """A table as Markdown, its first 500 rows, numbers to four digits."""
    lines = ["| " + " | ".join(map(markdown, table.column_names)) + " |", "|" + " --- |" * table.num_columns]
    for row in table.slice(0, ROWS).to_pylist():
        lines.append("| " + " | ".join(markdown(shown(value)) for value in row.values()) + " |")
    if table.num_rows > ROWS:
        lines.append(f"\n… and {table.num_rows - ROWS} more rows.")
    return "\n".join(lines)
