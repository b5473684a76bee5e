"""An audit: some stored trials run again, each alone, and their numbers beside the stored ones.

Sums in another order differ in the last digit, and training doubles such a difference every few steps: measured in
float32 on two cores, MLPs and recurrent nets on one thread give equal bits alone and in a pack; convolutions, and
products on two threads, agree to 2·10⁻⁷ for the first 50 to 100 steps and part by whole digits within 200 more. So
curves must begin together; where they part later, final values may differ by no more than those of two seeds would.
"""

import dataclasses
import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dlx import discrepancy
from dlx.errors import DeclarationError
from dlx.pack import Executor
from dlx.records import COMPLETED, DIVERGED, FINAL
from dlx.rerun import Again, run_again
from dlx.results import Results
from dlx.study import Study
from dlx.tables import plain
from dlx.text import clean

if TYPE_CHECKING:
    from rich.console import RenderableType

Outcome = Literal["different", "failed", "unknown", "parted", "close", "equal"]
MEANING = {
    "different": "not the stored numbers, and no rounding explains it",
    "failed": "raised, or took its worker down",
    "unknown": "could not be run again, or not be compared",
    "parted": "began together, parted by rounding, ended no further apart than two seeds would",
    "close": "all values agree but for rounding",
    "equal": "all values agree in every bit",
}
WIDTH = 100  # characters of the table as text
COLUMNS = ("outcome", "cell", "phase", "seed", "metric", "stored", "again", "note")


@dataclasses.dataclass(frozen=True)
class Audited:
    """A trial that was run again: where it stands, how it compares, and what was not as it was.

    ``labels``: axis → value of its cell; ``outcome``: see ``MEANING``; ``together``: the last measured step up to which
    its curves agree, of ``steps``; ``members``: how many trained together when it was stored.
    """

    key: str
    labels: Mapping[str, Any]
    phase: str
    seed: int
    members: int
    outcome: Outcome
    metrics: tuple[discrepancy.Pair, ...] = ()
    together: int | None = None
    steps: int | None = None
    notes: tuple[str, ...] = ()

    @property
    def worst(self) -> discrepancy.Pair | None:
        """The metric whose values differ most, as a share of the stored one."""
        return max(self.metrics, key=lambda pair: pair.relative, default=None)


@dataclasses.dataclass(frozen=True, repr=False)
class Audit:
    """Trials that were run again, the worst first; ``left_out``: status → stored trials that cannot be audited."""

    study: str
    seed: int
    trials: tuple[Audited, ...]
    left_out: Mapping[str, int]

    @cached_property
    def counts(self) -> Mapping[str, int]:
        """Outcome → number of trials, the worst first."""
        found = Counter(one.outcome for one in self.trials)
        return {outcome: found[outcome] for outcome in get_args(Outcome) if found[outcome]}

    @property
    def passed(self) -> bool:
        """Whether trials were run again and all gave what is stored, but for rounding."""
        return bool(self.trials) and not {"different", "failed", "unknown"} & set(self.counts)

    def __repr__(self) -> str:
        return plain(table(self), WIDTH)

    def _repr_html_(self) -> str:
        from dlx.notebook import fragment

        return fragment(table(self))


def audit(
    study: Study, home: str | None = None, trials: int = 10, seed: int = 0, executor: Executor | None = None
) -> Audit:
    """Run so many stored trials again, each alone, and compare; phases and cells take turns in a random order.

    seed: of the choice of trials, which is the same for the same results; executor: None: this process. Failed trials,
    and those that were stopped early, are left out. Raises DeclarationError where trials is below 1.
    """
    if trials < 1:
        raise DeclarationError(f"trials is {trials}; an audit runs at least 1 trial again.")
    results = Results.of(study, home)
    ran = pc.is_in(results.table["status"], value_set=pa.array([COMPLETED, DIVERGED]))
    left_out = Counter(results.table.filter(pc.invert(ran))["status"].to_pylist())
    rows = _chosen(results.table.filter(ran), trials, seed)
    comparison = _Comparison(results, run_again(study, results.store, rows, executor))
    found = [comparison.of(row) for row in rows]
    order = {outcome: i for i, outcome in enumerate(get_args(Outcome))}
    found.sort(key=lambda one: (order[one.outcome], -one.worst.relative if one.worst else 0.0))
    return Audit(study.name, seed, tuple(found), dict(left_out))


def _chosen(table: pa.Table, trials: int, seed: int) -> list[dict[str, Any]]:
    """So many rows of different trials: the phases take turns, final trials first, and in each phase the cells."""
    rows = table.select(["key", "cell", "phase", "seed"]).to_pylist()
    order = np.random.default_rng(seed).permutation(len(rows)).tolist()
    shuffled = list({rows[i]["key"]: rows[i] for i in order}.values())
    by_cells = sorted(_in_turns(shuffled, "phase", "cell"), key=lambda row: row["phase"] != FINAL)
    return _in_turns(by_cells, "phase")[:trials]


def _in_turns(rows: Sequence[dict[str, Any]], *names: str) -> list[dict[str, Any]]:
    """Rows so that groups of equal values take turns."""
    seen: Counter[tuple[Any, ...]] = Counter()
    turns = []
    for row in rows:
        group = tuple(row[name] for name in names)
        turns.append(seen[group])
        seen[group] += 1
    return [rows[i] for i in sorted(range(len(rows)), key=lambda i: turns[i])]


def table(audit: Audit) -> "RenderableType":
    """A row a trial, the worst first, and what the outcomes mean.

    ``metric``: the one that differs most.
    """
    from rich import box
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    rows = [_row(one) for one in audit.trials]
    for name in (n for n in COLUMNS if any(row[n] for row in rows)):
        numeric, words = name in ("seed", "stored", "again"), name in ("cell", "note")
        shown.add_column(name, justify="right" if numeric else "left", no_wrap=not words, overflow="fold",
                         min_width=16 if words else None)
    for row in rows:
        shown.add_row(*(Text(clean(row[str(column.header)])) for column in shown.columns))
    return Group(shown, Text(_caption(audit), style="dim"))


def _row(one: Audited) -> dict[str, str]:
    labels = (f"{name.rpartition('.')[2]}={value}" for name, value in one.labels.items() if value is not None)
    worst, notes = one.worst, list(one.notes)
    if one.together is not None and one.steps is not None and one.together < one.steps:
        notes.insert(0, f"together up to step {one.together:,} of {one.steps:,}")
    values = (worst.metric, f"{worst.stored:.5g}", f"{worst.again:.5g}") if worst else ("", "", "")
    said = (one.outcome, " ".join(labels), one.phase, str(one.seed), *values, "; ".join(notes))
    return dict(zip(COLUMNS, said, strict=True))


def _caption(audit: Audit) -> str:
    total = len(audit.trials)
    lines = [f"{n:,} of {total:,} {outcome}: {MEANING[outcome]}." for outcome, n in audit.counts.items()]
    if not total:
        lines.append("No stored trial can be run again.")
    if audit.left_out:
        lines.append("Left out: " + ", ".join(f"{n:,} {status}" for status, n in audit.left_out.items()) + ".")
    return "\n".join(lines)


class _Comparison:
    """Of trials that ran again (key → what came of it) with what is stored of them."""

    def __init__(self, results: Results, again: Mapping[str, Again]) -> None:
        self.results, self.again = results, again
        self.stored = {row["key"]: row for row in results.store.trials(set(again)).to_pylist()}
        self.curves = _curves(results.store.history(set(again)))

    def of(self, row: Mapping[str, Any]) -> Audited:
        """Of one row of the results."""
        key, ran = row["key"], self.again[row["key"]]
        known = {"key": key, "labels": ran.labels, "phase": row["phase"], "seed": row["seed"],
                 "members": self.stored[key]["members"]}
        if ran.records is None:
            return Audited(**known, outcome="failed" if ran.died else "unknown", notes=(ran.reason,))
        (now,) = ran.records.trials.to_pylist()
        notes = _surroundings(self.stored[key], now)
        if now["status"] not in (COMPLETED, DIVERGED):
            return Audited(**known, outcome="failed", notes=(now["error"].strip().splitlines()[-1], *notes))
        curves = self.curves[key], _curves(pa.Table.from_batches([ran.records.history]))[now["key"]]
        tolerance = discrepancy.tolerance(getattr(ran.trial, "dtype", "float32"))
        pairs = discrepancy.pairs(dict(self.stored[key]["metrics"]), dict(now["metrics"]), self._spreads(row["cell"]))
        together, steps = discrepancy.agreement(*curves, tolerance)
        outcome = discrepancy.judge(pairs, *curves, together, tolerance)
        if outcome == "unknown":
            notes = ("measured too rarely to tell rounding from another computation", *notes)
        return Audited(**known, outcome=outcome, metrics=pairs, together=together, steps=steps, notes=notes)

    def _spreads(self, cell: str) -> dict[str, float]:
        """Metric → standard deviation over the final trials of a cell, where there are three at least."""
        values = {m: self.results.finals(m, {"cell": cell}).value for m in self.results.metrics}
        finite = {m: found[np.isfinite(found)] for m, found in values.items()}
        return {m: float(found.std(ddof=1)) for m, found in finite.items() if len(found) >= discrepancy.FEWEST}


def _curves(history: pa.Table) -> dict[str, discrepancy.Curves]:
    """Key → metric → step → value."""
    found: dict[str, discrepancy.Curves] = defaultdict(dict)
    for row in history.to_pylist():
        found[row["key"]][row["metric"]] = dict(zip(row["step"], row["value"], strict=True))
    return found


def _surroundings(stored: Mapping[str, Any], again: Mapping[str, Any]) -> tuple[str, ...]:
    """What was another: source, host, device, versions."""
    notes = [f"{name} {stored[name]} → {again[name]}" for name in ("host", "device") if stored[name] != again[name]]
    before, now = (json.loads(row["versions"] or "{}") for row in (stored, again))
    notes += [f"{name} {before[name]} → {now[name]}" for name in before if name in now and before[name] != now[name]]
    if stored["source"] is not None and stored["source"] != again["source"]:
        notes.append("its source has changed since it ran")
    return tuple(notes)

