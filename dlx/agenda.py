"""What a study still wants: every missing trial once, parents first, searches as far as their results allow."""

import dataclasses
from collections import Counter, deque
from collections.abc import Iterator, Mapping

from dlx import checkpoint
from dlx.memory import Memory
from dlx.protocol import Slot, Tuning, Wanted
from dlx.records import COMPLETED, DIVERGED, FAILED, FINAL, PARENT, PRUNED, TUNE
from dlx.space import Cell
from dlx.study import Study
from dlx.trial import Trial, key, trial_key


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
    cohort: str | None = None  # asked together by a search that prunes


class Agenda:
    """Wanted minus stored, as jobs that may run now; it is told how each ended and then knows more."""

    def __init__(self, study: Study, memory: Memory) -> None:
        self.study, self.memory = study, memory
        self.cells_done = 0
        self.orphans: list[tuple[Job, str]] = []  # jobs that cannot run, and why
        self.filed: list[tuple[str, int, Slot]] = []  # membership of trials that were stored already
        self._jobs: dict[str, Job] = {}  # pulled, or waiting for a parent
        self._ready: deque[Job] = deque()
        self._children: dict[str, list[Job]] = {}
        self._tunings: dict[tuple[str, int], Tuning] = {}
        self._open: Counter[str] = Counter()  # cell → final trials, or searches, that are missing
        self._source = self._walk()
        self._walked = False
        self._seen = self._found = 0  # cells that were gone through, and jobs that they gave at once

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
            before = len(self._ready)
            if self.study.space.is_tuned(cell):
                self._begin_searches(cell)
            else:
                self._final_runs(cell)
            self._seen, self._found = self._seen + 1, self._found + len(self._ready) - before
            yield True

    @property
    def ahead(self) -> float:
        """About how many more jobs may run now, of cells that were not gone through yet."""
        left = len(self.study.space.cells) - self._seen
        return left * self._found / max(1, self._seen)

    def _final_runs(self, cell: Cell) -> None:
        slot, missing, trial = Slot(self.study.cell_key(cell), FINAL), 0, None
        for seed in self.study.seed_list:
            if (stored := self.memory.stored(identity := key(cell.digest, seed))) is None:
                missing += 1
                trial = self.study.space.trial(cell) if trial is None else trial
                self._submit(identity, trial, seed, slot)
            elif self.memory.filed(slot, seed) != stored:
                self.filed.append((stored, seed, slot))
        self._expect(slot.cell, missing)

    def _begin_searches(self, cell: Cell) -> None:
        assert self.study.search is not None
        name = self.study.cell_key(cell)
        self._expect(name, self.study.search.repeats)
        for repeat in range(self.study.search.repeats):
            tuning = Tuning(self.study, cell, repeat, self.memory.asked(name, repeat))
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
            if (stored := self.memory.known(one)) is None:
                trial = self.study.space.trial(one.cell, one.params)
                if (stored := self.memory.stored(identity := trial_key(trial, one.seed))) is None:
                    self._submit(identity, trial, one.seed, one.slot)
                    continue
            if self.memory.filed(one.slot, one.seed) != stored:
                self.filed.append((stored, one.seed, one.slot))
            waiting.extend(tuning.tell(one.slot, *self.memory.result(one.slot.phase, stored)))
        if tuning.finished:
            del self._tunings[tuning.name, tuning.repeat]
            self._settle(tuning.name)

    def _submit(self, identity: str, trial: Trial, seed: int, slot: Slot, keep: bool = False) -> None:
        if (job := self._jobs.get(identity)) is not None:
            if job.slots[-1] != slot:
                job.slots.append(slot)
            job.keep |= keep
            return
        job = self._jobs[identity] = Job(identity, trial, seed, [slot], keep, cohort=self._cohort(slot))
        if isinstance(parent := getattr(trial, "parent", None), Trial):
            job.parent = trial_key(parent, seed)
            self._after_parent(job, job.parent, parent, Slot(slot.cell, PARENT))
        else:
            self._ready.append(job)

    def _cohort(self, slot: Slot) -> str | None:
        """Who is judged together: the asks of one generation of one search."""
        search = self.study.search
        if search is None or search.prune is None or slot.phase != TUNE or slot.ask is None:
            return None
        return f"{slot.cell}/{slot.search}/{slot.ask // search.parallel}"

    def _after_parent(self, job: Job, identity: str, parent: Trial, slot: Slot) -> None:
        """Let a job run when its parent is stored with its checkpoint, else after the parent, or never."""
        if (stored := self.memory.stored(identity)) is not None:
            self._file_parent(stored, job.seed, slot)
            if checkpoint.exists(self.memory.store.folder, identity):
                self._ready.append(job)
                return
            if (status := self.memory.statuses[stored]) in (FAILED, PRUNED):
                self.orphans.append((job, f"Its parent {identity} {status}."))
                return
        self._children.setdefault(identity, []).append(job)
        self._submit(identity, parent, job.seed, slot, keep=True)

    def _file_parent(self, identity: str, seed: int, slot: Slot) -> None:
        known = self.memory.parents.setdefault(slot.cell, set())
        if (identity, seed) not in known:
            known.add((identity, seed))
            self.filed.append((identity, seed, slot))

    # ------------------------------------------------------------ what became of it

    def key_of(self, job: Job, status: str) -> str | None:
        """The key under which a job's row belongs; None: what is stored of this trial is better and stays."""
        if status == FAILED and self.memory.statuses.get(job.key) in (COMPLETED, DIVERGED):
            return None
        return self.memory.pruned_key(job.key) if status == PRUNED else job.key

    def tell(self, job: Job, status: str, metrics: Mapping[str, float], kept: bool) -> None:
        """Take in how a job ended, and whether its state was to be kept."""
        del self._jobs[job.key]
        if (identity := self.key_of(job, status)) is not None:
            self.memory.remember(identity, status, metrics)
        self._release(job, status, kept)
        for slot in job.slots:
            self._advance(slot, status, metrics)

    def _release(self, job: Job, status: str, kept: bool) -> None:
        """Let the children of a parent run, or say why they cannot."""
        children = self._children.pop(job.key, [])
        if not children:
            return
        if checkpoint.exists(self.memory.store.folder, job.key):
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
