"""What a run would do: cells, trials by phase, packs, stored, missing, time; planning changes nothing."""

import dataclasses
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from dlx.pack import Resources
from dlx.records import FINAL, PARENT, RECHECK, TUNE
from dlx.space import MOST_CHECKED, Cell
from dlx.store import Store
from dlx.study import Study
from dlx.trial import Trial, key, trial_key


@dataclasses.dataclass(frozen=True)
class Phase:
    """Trials of one phase: ``wanted`` (at most, where a search decides) and how many of them are ``stored``."""

    wanted: int
    stored: int

    @property
    def missing(self) -> int:
        return self.wanted - self.stored


@dataclasses.dataclass(frozen=True)
class Plan:
    """Counts of a study against its store; ``seconds``: of one trial on one slot, from stored ones (None: unknown)."""

    study: str
    cells: int
    tuned_cells: int
    phases: Mapping[str, Phase]
    packs: int
    packs_exact: bool
    seconds: float | None

    @property
    def wanted(self) -> int:
        return sum(p.wanted for p in self.phases.values())

    @property
    def stored(self) -> int:
        return sum(p.stored for p in self.phases.values())

    @property
    def missing(self) -> int:
        return self.wanted - self.stored

    def __str__(self) -> str:
        tuned = f", {self.tuned_cells:,} of them tuned" if self.tuned_cells else ""
        lines = [f"{self.study}: {self.cells:,} cells{tuned}", ""]
        lines.append(f"{'phase':<10}{'wanted':>12}{'stored':>12}{'missing':>12}")
        total = Phase(self.wanted, self.stored)
        rows = [*self.phases.items(), *([("all", total)] if len(self.phases) > 1 else [])]
        lines += [f"{name:<10}{p.wanted:>12,}{p.stored:>12,}{p.missing:>12,}" for name, p in rows]
        about = "" if self.packs_exact else "about "
        lines += ["", f"packs to run: {about}{self.packs:,}", f"time on one slot: {self._time()}"]
        return "\n".join(lines)

    def _time(self) -> str:
        if not self.missing:
            return "none, all is stored"
        return "unknown, no trial is stored yet" if self.seconds is None else duration(self.seconds * self.missing)


def duration(seconds: float) -> str:
    """Seconds in words, such as ``2 min 5 s``."""
    if seconds < 60:
        return f"{seconds:.0f} s" if seconds >= 1 else "under 1 s"
    if seconds < 3600:
        return f"{seconds // 60:.0f} min {seconds % 60:.0f} s"
    return f"{seconds // 3600:,.0f} h {seconds % 3600 // 60:.0f} min"


def make_plan(study: Study, store: Store) -> Plan:
    """Wanted minus stored; raises DeclarationError for what cannot be run."""
    study.space.check()
    statuses = store.statuses()
    tuned, fixed = _sorted(study)
    phases: dict[str, Phase] = {}
    if tuned:
        phases |= _searched(study, tuned, store, statuses)
    final = phases.get(FINAL, Phase(0, 0))
    seeds = study.seed_list
    stored = sum(key(d, s) in statuses for d in _digests(study, fixed) for s in seeds) if statuses else 0
    phases[FINAL] = Phase(final.wanted + len(fixed) * len(seeds), final.stored + stored)
    sample = fixed[:: math.ceil(len(fixed) / MOST_CHECKED)] if fixed else []
    trials = [study.space.trial(cell) for cell in sample]
    found = (getattr(trial, "parent", None) for trial in trials)
    if parents := {trial_key(parent, seed) for parent in found if isinstance(parent, Trial) for seed in seeds}:
        phases = {PARENT: Phase(len(parents), len(parents & statuses.keys())), **phases}
    missing = sum(p.missing for p in phases.values())
    packs, exact = _packs(study, trials, missing, not tuned and len(sample) == len(fixed))
    return Plan(study.name, len(study.space.cells), len(tuned), phases, packs, exact, _seconds(store, bool(statuses)))


def _sorted(study: Study) -> tuple[list[Cell], Sequence[Cell]]:
    """Cells with and without nuisance axes."""
    if not study.space.tuned:
        return [], study.space.cells
    cells = list(study.space.cells)
    return [c for c in cells if study.space.is_tuned(c)], [c for c in cells if not study.space.is_tuned(c)]


def _digests(study: Study, fixed: Sequence[Cell]) -> Iterable[bytes]:
    return getattr(fixed, "digests", None) or (cell.digest for cell in fixed)


def _searched(study: Study, tuned: list[Cell], store: Store, statuses: Mapping[str, str]) -> dict[str, Phase]:
    """Phases of the tuned cells; what is stored is read from the membership table."""
    search = study.search
    assert search is not None
    searches = len(tuned) * search.repeats
    top = min(search.top, search.trials)
    checks = top * search.recheck if top > 1 else 0
    wanted = {TUNE: searches * search.trials, RECHECK: searches * checks, FINAL: searches * len(study.seed_list)}
    names, stored = {study.cell_key(c) for c in tuned}, Counter[str]()
    table = store.membership() if statuses else None
    if table is not None:
        columns = (table.column(n).to_pylist() for n in ("key", "cell", "phase", "search", "ask", "seed"))
        for identity, cell, phase, repeat, ask, seed in zip(*columns, strict=True):
            known = cell in names and identity in statuses and repeat is not None and repeat < search.repeats
            stored[phase] += known and (ask < search.trials if phase != FINAL else seed in study.seed_list)
    return {phase: Phase(n, min(n, stored[phase])) for phase, n in wanted.items() if n}


def _packs(study: Study, trials: list[Trial], missing: int, exact: bool) -> tuple[int, bool]:
    """Packs that the missing trials make, and whether that was counted on all of them."""
    if not trials or not missing:
        return math.ceil(missing / study.pack), not missing
    groups: Counter[tuple[Resources, object]] = Counter()
    for trial in trials:
        alone = study.scheduler is not None or (shape := trial.shape()) is None
        groups[study.resources_of(trial), None if alone else (type(trial), shape)] += 1
    packs = 0
    for (_, shape), n in groups.items():
        share = missing * n / len(trials)
        packs += math.ceil(share if shape is None else share / study.pack)
    return packs, exact


def _seconds(store: Store, any_stored: bool) -> float | None:
    if not any_stored:
        return None
    seconds = [s for s in store.trials(columns=["seconds"]).column("seconds").to_pylist() if s > 0]
    return sum(seconds) / len(seconds) if seconds else None
