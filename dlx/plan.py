"""What a run would do: cells, trials by phase, packs, stored, missing, time; planning changes nothing."""

import dataclasses
import math
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence

from dlx.coercion import is_component
from dlx.markers import Marker
from dlx.memory import Memory
from dlx.pack import Resources
from dlx.pilot import FIRST
from dlx.protocol import Tuning, Wanted
from dlx.records import FINAL, PARENT, RECHECK, TUNE
from dlx.space import MOST_CHECKED, Cell
from dlx.store import Store
from dlx.study import Study
from dlx.trial import Trial, key, setting_digest

ORDER = (PARENT, TUNE, RECHECK, FINAL)


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
    damaged: tuple[str, ...] = ()  # a sentence for each damaged part of the store

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

    def _repr_html_(self) -> str:
        from dlx.notebook import plan_html

        return plan_html(self)

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


def make_plan(study: Study, store: Store, memory: Memory | None = None) -> Plan:
    """Wanted minus stored, as ``memory`` has it when given; raises DeclarationError for what cannot be run."""
    study.space.check()
    memory = memory or Memory(study, store)
    tuned, fixed = _sorted(study)
    parents = Parents(study, memory, fixed)
    stored, missing = _searched(study, tuned, memory, parents)
    seeds, final = study.seed_list, len(fixed) * len(study.seed_list)
    if memory.statuses:
        stored[FINAL] += (found := sum(memory.stored(key(d, s)) is not None for d in _digests(fixed) for s in seeds))
        final -= found
    missing[FINAL] += final
    sample = _sampled(fixed, memory, seeds)
    trials = [(study.space.trial(cell), absent) for cell, absent in sample if absent]
    for trial, absent in trials:
        parents.want(trial, absent)
    stored[PARENT], missing[PARENT] = parents.stored(), parents.missing
    phases = {p: Phase(stored[p] + missing[p], stored[p]) for p in ORDER if stored[p] + missing[p] or p == FINAL}
    exact = not tuned and not missing[PARENT] and len(sample) == len(fixed)
    packs = _packs(study, trials, missing.total(), exact)
    seconds = _seconds(store) if memory.statuses else None
    counts = len(study.space.cells), len(tuned), phases, packs, exact or not packs
    return Plan(study.name, *counts, seconds, tuple(store.damaged))


def _sorted(study: Study) -> tuple[list[Cell], Sequence[Cell]]:
    """Cells with and without nuisance axes."""
    if not study.space.tuned:
        return [], study.space.cells
    tuned: list[Cell] = []
    fixed: list[Cell] = []
    for cell in study.space.cells:
        (tuned if study.space.is_tuned(cell) else fixed).append(cell)
    return tuned, fixed


def _digests(fixed: Sequence[Cell]) -> Iterable[bytes]:
    return getattr(fixed, "digests", None) or (cell.digest for cell in fixed)


def _sampled(fixed: Sequence[Cell], memory: Memory, seeds: Sequence[int]) -> list[tuple[Cell, list[int]]]:
    """At most so many cells as are checked, evenly among all, each with the seeds that are missing."""
    step = max(1, math.ceil(len(fixed) / MOST_CHECKED))
    return [(c, [s for s in seeds if memory.stored(key(c.digest, s)) is None]) for c in fixed[::step]]


# ---------------------------------------------------------------- searches


def _searched(
    study: Study, tuned: list[Cell], memory: Memory, parents: "Parents"
) -> tuple[Counter[str], Counter[str]]:
    """Trials of the searches by phase, those stored and those that may at most be missing."""
    stored, missing = Counter[str](), Counter[str]()
    for cell in tuned:
        assert study.search is not None
        name = study.cell_key(cell)
        for repeat in range(study.search.repeats):
            tuning = Tuning(study, cell, repeat, memory.asked(name, repeat), replay=True)
            for one, there in _followed(tuning, memory):
                (stored if there else missing)[one.slot.phase] += 1
                if not there and parents.any:
                    parents.want(study.space.trial(cell, one.params), [one.seed])
            ahead = list(tuning.ahead())
            missing.update(phase for phase, _ in ahead)
            if ahead and parents.any:
                parents.want(study.space.resolve(cell.options, None), [seed for _, seed in ahead])
    return stored, missing


def _followed(tuning: Tuning, memory: Memory) -> Iterator[tuple[Wanted, bool]]:
    """What a search wanted, and whether it is stored, as far as it came."""
    waiting = deque(tuning.begin())
    while waiting:
        one = waiting.popleft()
        stored = memory.look_up(one)
        yield one, stored is not None
        if stored is not None:
            waiting.extend(tuning.tell(one.slot, *memory.result(one.slot.phase, stored)))


# ---------------------------------------------------------------- parents


class Parents:
    """Counts the trials that others start from, each once, and not those that are cells' own."""

    def __init__(self, study: Study, memory: Memory, fixed: Sequence[Cell]) -> None:
        self._study, self._memory = study, memory
        self.any = hasattr(study.template, "parent")
        self._own = set(_digests(fixed)) if self.any else set()
        self._wanted: set[str] = set()
        self._open = 0  # with nuisance values of their own, which are not known yet

    def want(self, trial: Trial, seeds: Sequence[int]) -> None:
        """Count what must run before a missing trial at these seeds."""
        if not self.any:
            return
        ancestors = list(_ancestors(trial))
        self._open += len(seeds) * sum(map(_is_open, ancestors))
        digests = [setting_digest(parent) for parent in ancestors if not _is_open(parent)]
        for seed in set(seeds):
            for identity, digest in ((key(d, seed), d) for d in digests):
                if self._memory.stored(identity) is not None:
                    break
                if digest not in self._own:
                    self._wanted.add(identity)

    @property
    def missing(self) -> int:
        """How many must run, at most."""
        return len(self._wanted) + self._open

    def stored(self) -> int:
        """How many are stored of today's cells."""
        if not (filed := self._memory.parents):
            return 0
        names = {self._study.cell_key(cell) for cell in self._study.space.cells}
        keys = {k for cell, found in filed.items() if cell in names for k, _ in found if k in self._memory.statuses}
        return len(keys - {key(d, s) for d in self._own for s in self._study.seed_list})


def _ancestors(trial: object) -> Iterator[object]:
    while isinstance(parent := getattr(trial, "parent", None), Trial | Marker):
        yield parent
        trial = parent


def _is_open(value: object) -> bool:
    """Whether a nuisance axis stands somewhere in a value."""
    if isinstance(value, Marker):
        return True
    if is_component(value):
        return any(_is_open(getattr(value, f.name)) for f in dataclasses.fields(value))  # type: ignore[arg-type]
    if isinstance(value, Mapping):
        return any(map(_is_open, value.values()))
    return isinstance(value, list | tuple) and any(map(_is_open, value))


# ---------------------------------------------------------------- packs and time


def _packs(study: Study, trials: list[tuple[Trial, list[int]]], missing: int, exact: bool) -> int:
    """Packs that the missing trials make, or about as many when not all of them are at hand."""
    groups: Counter[tuple[Resources, object]] = Counter()
    for trial, absent in trials:
        asked = study.resources_of(trial)
        alone = study.scheduler is not None or asked.workers > 1 or (shape := trial.shape()) is None
        groups[asked, None if alone else (type(trial), shape)] += len(absent)
    counted = groups.total()
    if not counted:
        return math.ceil(missing / (study.pack or FIRST))
    packs = 0
    for (_, shape), n in groups.items():
        share = n if exact else missing * n / counted
        packs += math.ceil(share if shape is None else share / (study.pack or FIRST))
    return packs


def _seconds(store: Store) -> float | None:
    """Mean time of the stored trials that took any."""
    seconds = [s for s in store.trials(columns=["seconds"]).column("seconds").to_pylist() if s > 0]
    return sum(seconds) / len(seconds) if seconds else None
