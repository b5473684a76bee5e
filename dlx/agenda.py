"""What a study still wants: every missing trial once, parents first, searches as far as their results allow."""

import dataclasses
import json
import typing
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from typing import Any

from dlx import checkpoint
from dlx.errors import DeclarationError
from dlx.protocol import Slot, Tuning, Wanted
from dlx.records import COMPLETED, DIVERGED, FAILED, FINAL, PARENT, PRUNED, RECHECK, TUNE
from dlx.space import Cell
from dlx.study import Study
from dlx.trial import Trial, digest, key, setting_digest, trial_key

if typing.TYPE_CHECKING:
    from dlx.store import Store


@dataclasses.dataclass(eq=False)
class Job:
    """One trial to run; ``slots``: everything it is wanted for; ``keep``: its final state is a parent's."""

    key: str
    trial: Trial
    seed: int
    slots: list[Slot]
    keep: bool = False
    parent: str | None = None
    attempts: int = 0


class Agenda:
    """Wanted minus stored, as jobs that may run now; it is told how each ended and then knows more."""

    def __init__(self, study: Study, store: "Store", retry_failed: bool = False) -> None:
        self.study, self.store = study, store
        self.statuses = store.statuses()
        if retry_failed:
            self.statuses = {k: s for k, s in self.statuses.items() if s != FAILED}
        self.cells_done = 0
        self.orphans: list[tuple[Job, str]] = []  # jobs that cannot run, and why
        self.filed: list[tuple[str, int, Slot]] = []  # membership of trials that were stored already
        self._jobs: dict[str, Job] = {}  # pulled, or waiting for a parent
        self._ready: deque[Job] = deque()
        self._children: dict[str, list[Job]] = {}
        self._tunings: dict[tuple[str, int], Tuning] = {}
        self._open: Counter[str] = Counter()  # cell → final trials, or searches, that are missing
        self._memory = _Memory(store, study)
        self._source = self._walk()
        self._walked = False

    # ------------------------------------------------------------ what to run

    def pull(self) -> Job | None:
        """The next job that may run now; None: nothing until more is told, or at all."""
        while not self._ready and not self._walked:
            if next(self._source, None) is None:
                self._walked = True
        return self._ready.popleft() if self._ready else None

    @property
    def exhausted(self) -> bool:
        """Whether every wanted trial is done."""
        if not self._ready and not self._walked and (job := self.pull()) is not None:
            self._ready.appendleft(job)
        return not self._jobs and self._walked

    def put_back(self, job: Job) -> None:
        """The job was pulled and did not run."""
        self._ready.appendleft(job)

    def _walk(self) -> Iterator[bool]:
        """Go through the cells, one at each step, making jobs of what is missing."""
        for cell in self.study.space.cells:
            if self.study.space.is_tuned(cell):
                self._begin_searches(cell)
            else:
                self._final_runs(cell)
            yield True

    def _final_runs(self, cell: Cell) -> None:
        name = self.study.cell_key(cell)
        missing = 0
        for seed in self.study.seed_list:
            identity = key(cell.digest, seed)
            if (stored := self.stored(identity)) is None:
                missing += 1
                self._want(Wanted(cell, None, seed, Slot(name, FINAL)))
            elif (name, seed) not in self._memory.filed:
                self.filed.append((stored, seed, Slot(name, FINAL)))
        self._expect(name, missing)

    def _begin_searches(self, cell: Cell) -> None:
        assert self.study.search is not None
        name = self.study.cell_key(cell)
        self._expect(name, self.study.search.repeats)
        for repeat in range(self.study.search.repeats):
            tuning = Tuning(self.study, cell, repeat, self._memory.asked(name, repeat))
            self._tunings[name, repeat] = tuning
            self._pursue(tuning, tuning.begin())

    def _expect(self, cell: str, missing: int) -> None:
        if missing:
            self._open[cell] = missing
        else:
            self.cells_done += 1

    def _settle(self, cell: str) -> None:
        self._open[cell] -= 1
        if not self._open[cell]:
            del self._open[cell]
            self.cells_done += 1

    # ------------------------------------------------------------ from wanted to jobs

    def _pursue(self, tuning: Tuning, wanted: list[Wanted]) -> None:
        """Follow a search through what is stored, to what must run."""
        waiting = deque(wanted)
        while waiting:
            one = waiting.popleft()
            identity = key(setting_digest(self._resolve(one)), one.seed)
            if (stored := self.stored(identity)) is None:
                self._want(one)
                continue
            if not self._memory.knows(one, stored):
                self.filed.append((stored, one.seed, one.slot))
            result = (self.statuses[stored], None) if one.slot.phase == FINAL else self._memory.result(stored)
            waiting.extend(tuning.tell(one.slot, *result))
        if tuning.finished:
            self._settle(tuning.name)

    def _resolve(self, wanted: Wanted) -> Trial:
        return self.study.space.trial(wanted.cell, wanted.params)

    def _want(self, wanted: Wanted) -> None:
        trial = self._resolve(wanted)
        self._submit(trial, wanted.seed, wanted.slot, keep=False)

    def _submit(self, trial: Trial, seed: int, slot: Slot, keep: bool) -> None:
        identity = trial_key(trial, seed)
        if (job := self._jobs.get(identity)) is not None:
            job.slots.append(slot)
            job.keep |= keep
            return
        job = self._jobs[identity] = Job(identity, trial, seed, [slot], keep)
        parent = getattr(trial, "parent", None)
        if not isinstance(parent, Trial):
            self._ready.append(job)
            return
        job.parent = trial_key(parent, seed)
        if checkpoint.exists(self.store.folder, job.parent):
            self._ready.append(job)
            return
        self._children.setdefault(job.parent, []).append(job)
        self._submit(parent, seed, Slot(slot.cell, PARENT), keep=True)

    # ------------------------------------------------------------ what became of it

    def stored(self, identity: str) -> str | None:
        """The key under which a trial is stored: its own, or that of what the scheduler made of it; None: missing."""
        if identity in self.statuses:
            return identity
        if self.study.scheduler is not None and (pruned := self.pruned_key(identity)) in self.statuses:
            return pruned
        return None

    def pruned_key(self, identity: str) -> str:
        """The key of a trial that the scheduler stopped, which depends on scheduler and search as well."""
        said = {n: v for n, v in vars(self.study.scheduler).items() if isinstance(v, bool | int | float | str)}
        search = self.study.search.identity() if self.study.search else ""
        scheduler = json.dumps([type(self.study.scheduler).__name__, said], sort_keys=True)
        return digest(f"{identity}\0{scheduler}\0{search}".encode()).hex()

    def tell(self, job: Job, status: str, metrics: Mapping[str, float], kept: bool) -> str:
        """Take in how a job ended, and whether its state was to be kept; the key under which its row belongs."""
        del self._jobs[job.key]
        identity = self.pruned_key(job.key) if status == PRUNED else job.key
        self.statuses[identity] = status
        self._memory.remember(identity, status, metrics)
        self._release(job, status, kept)
        for slot in job.slots:
            self._advance(slot, status, metrics)
        return identity

    def _release(self, job: Job, status: str, kept: bool) -> None:
        """Let the children of a parent run, or say why they cannot."""
        children = self._children.pop(job.key, [])
        if not children:
            return
        if checkpoint.exists(self.store.folder, job.key):
            self._ready.extend(children)
        elif status in (COMPLETED, DIVERGED) and not kept:  # it ran before anyone knew that it is a parent
            slots = [Slot(children[0].slots[0].cell, PARENT)]
            again = self._jobs[job.key] = dataclasses.replace(job, slots=slots, keep=True)
            self._children[job.key] = children
            self._ready.appendleft(again)
        else:
            why = "ended without a checkpoint; call ctx.save(state) in its run" if status == COMPLETED else status
            self.orphans += [(child, f"Its parent {job.key} {why}.") for child in children]

    def _advance(self, slot: Slot, status: str, metrics: Mapping[str, float]) -> None:
        if slot.search is not None:
            assert self.study.objective is not None
            tuning = self._tunings[slot.cell, slot.search]
            self._pursue(tuning, tuning.tell(slot, status, metrics.get(self.study.objective.metric)))
        elif slot.phase == FINAL:
            self._settle(slot.cell)


class _Memory:
    """What earlier runs filed: which rows a cell has, what its searches asked, and how those trials ended."""

    def __init__(self, store: "Store", study: Study) -> None:
        self._store = store
        self._metric = study.objective.metric if study.objective else None
        table = store.membership()
        columns = [table.column(n).to_pylist() for n in ("key", "seed", "cell", "phase", "search", "ask", "params")]
        self.filed: set[tuple[str, int]] = set()
        self._asked: dict[tuple[str, int], dict[int, Mapping[str, Any]]] = {}
        self._slots: set[tuple[str, int, Slot]] = set()
        keys = []
        for identity, seed, cell, phase, search, ask, params in zip(*columns, strict=True):
            if search is None:
                if phase == FINAL:
                    self.filed.add((cell, seed))
                continue
            if phase == TUNE:
                self._asked.setdefault((cell, search), {})[ask] = json.loads(params)
            if phase in (TUNE, RECHECK):
                keys.append(identity)
            self._slots.add((identity, seed, Slot(cell, phase, search, ask, params)))
        self._results = self._read(keys)

    def _read(self, keys: list[str]) -> dict[str, tuple[str, float | None]]:
        if not keys:
            return {}
        table = self._store.trials(keys)
        columns = (table.column(n).to_pylist() for n in ("key", "status", "metrics"))
        return {k: (s, dict(m or ()).get(self._metric)) for k, s, m in zip(*columns, strict=True)}

    def remember(self, identity: str, status: str, metrics: Mapping[str, float]) -> None:
        """Keep how a trial of this run ended, for searches that come upon the same values."""
        if self._metric is not None:
            self._results[identity] = status, metrics.get(self._metric)

    def asked(self, cell: str, search: int) -> Mapping[int, Mapping[str, Any]]:
        """Nuisance values by the number of the ask."""
        return self._asked.get((cell, search), {})

    def knows(self, wanted: Wanted, identity: str) -> bool:
        """Whether the membership table has this row."""
        return (identity, wanted.seed, wanted.slot) in self._slots

    def result(self, identity: str) -> tuple[str, float | None]:
        """Status and objective of a stored trial."""
        if identity not in self._results:
            self._results |= self._read([identity])
        if identity not in self._results:
            raise DeclarationError(f"The trial {identity} was removed from the store while it was read; run again.")
        return self._results[identity]
