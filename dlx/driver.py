"""Feeds an executor from the agenda, and writes down what comes back: the one writer of store and tracking."""

import math
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from dlx.agenda import Agenda, Job
from dlx.beacon import Beacon
from dlx.budget import Budget
from dlx.errors import DeclarationError, DlxError, HeldError, StoreError
from dlx.flights import LIVES, Flight, Flights, begun_again
from dlx.lease import Lease
from dlx.ledger import Ledger
from dlx.live import Shield, View
from dlx.monitor import Monitor
from dlx.pack import Executor, Member, Pack, Resources
from dlx.packer import Packer, halfway
from dlx.partials import Partial
from dlx.pilot import MOST
from dlx.protocol import Slot
from dlx.provenance import source_digest
from dlx.records import COMPLETED, FAILED, PARENT, TUNE, Outcome, Records, now, to_records, versions
from dlx.store import Store
from dlx.study import Study
from dlx.trial import values

INTERRUPTED = "you asked for it"  # why a run stopped
LOOK = 5.0  # seconds between two looks for the home, where workers miss it


class Driver:
    """The feed of one run: what to run next, what became of it, when to stop."""

    def __init__(
        self, study: Study, store: Store, agenda: Agenda, budget: Budget, view: View, lease: Lease
    ) -> None:
        self.study, self.store, self.agenda, self.budget = study, store, agenda, budget
        self.view = Shield(view, Beacon(store.folder))
        self.lease, self.packer = lease, Packer(study, agenda, halfway(store, agenda))
        self.ledger = Ledger(store)
        self.executor: Executor | None = None
        self.error: Exception | None = None
        self.stopped: str | None = None  # why nothing more is begun
        self.interrupts = 0
        self.began = time.monotonic()
        self.begun = 0
        self.monitor = Monitor(study, self.view)
        self._again: deque[Flight] = deque()  # whose worker died, or which raised and may be tried again
        self._flying = Flights()
        self._notes: set[str] = set()  # said before
        self._looked = -math.inf  # for the home

    # ------------------------------------------------------------ what an executor calls

    def take(self, resources: Resources | None = None) -> Pack | None:
        """The next pack, or None: nothing now."""
        try:
            self._check_budget()
            return None if self.stopped else self._take(resources)
        except DlxError as e:
            self._fail(e)
            return None

    def _take(self, resources: Resources | None) -> Pack | None:
        for flight in self._again:
            if resources is None or self.study.resources_of(flight.jobs[0].trial) == resources:
                self._again.remove(flight)
                return self._launch(flight)
        if not self._left:
            return None
        slots, busy = self.executor.slots if self.executor else 1, len(self._flying)
        jobs = self.packer.take(slots, busy, self._left, resources)
        while self.agenda.orphans:  # a search that hears of them may go on
            self._bury_orphans()
            jobs = jobs or self.packer.take(slots, busy, self._left, resources)
        if not jobs:
            return None
        self.begun += len(jobs)
        return self._launch(Flight(jobs))

    @property
    def _homeless(self) -> bool:
        """Whether the home could not be read or written."""
        return isinstance(self.error, StoreError)

    @property
    def _left(self) -> int:
        """How many more trials may be begun, of one pack."""
        most = self.study.pack or MOST
        left = most if self.budget.max_trials is None else self.budget.max_trials - self.begun
        return max(0, min(left, most))

    def _launch(self, flight: Flight) -> Pack:
        members = tuple(Member(j.key, j.trial, j.seed, j.keep, j.parent, j.cohort) for j in flight.jobs)
        trial, whole = flight.jobs[0].trial, any(_whole(slot) for job in flight.jobs for slot in job.slots)
        resources = self.study.resources_of(trial)
        self._flying.begin(flight, resources.all_gpus)
        stored_half = [pack for job in flight.jobs if (pack := self.packer.halfway.get(job.key)) is not None]
        return Pack(members, resources, self.store.folder, source_digest(trial), whole,
                    self.study.checkpoint_every, tuple(dict.fromkeys((*flight.resume, *stored_half))),
                    self.study.prune, self.study.keep == "final",
                    self.study.objective if self.study.keep == "best" else None)

    def done(self, pack: Pack, records: Records) -> None:
        """The pack ran; its members' rows."""
        flight = self._flying.end(pack.members[0].key)
        try:
            self._record(flight.jobs, records, {m.key: m.keep for m in pack.members})
            self.ledger.landed(flight.jobs)
        except DlxError as e:
            self._fail(e)
        self.tick()

    def partial(self, pack: Pack, partial: Partial) -> None:
        """How far a pack is; nothing of it is stored."""
        if (flight := self._flying.get(pack.members[0].key)) is not None:
            curves = partial.curves or (flight.partial.curves if flight.partial else {})
            flight.partial = replace(partial, curves=curves)
            self.ledger.partial(flight.jobs, partial, time.time() - (time.monotonic() - flight.began))
            self._show()

    def lost(self, pack: Pack, reason: str) -> None:
        """The worker died: what is left of the pack's lives is begun again."""
        self._begin_again(pack, reason, astray=False)

    def astray(self, pack: Pack, reason: str) -> None:
        """The worker could not read or write the home; where this driver cannot either, the run ends."""
        try:
            if not self._homeless and time.monotonic() - self._looked > LOOK:
                self.store.touch()
                self._looked = time.monotonic()
        except StoreError as e:
            self._fail(e)
        self._begin_again(pack, reason, astray=True)

    def _begin_again(self, pack: Pack, reason: str, astray: bool) -> None:
        flight = self._flying.end(pack.members[0].key)
        again = begun_again(flight, astray)
        self._again.extend(again)
        if len(again) > 1:
            self.packer.lost(flight.jobs[0], len(flight.jobs))
        if not again:
            self._bury(flight.jobs[0], f"{LIVES} workers did not bring this trial to an end, the last since {reason}")
            self._bury_orphans()
        self.tick()

    def give_back(self, pack: Pack) -> None:
        """The pack was taken and never begun."""
        flight = self._flying.end(pack.members[0].key, counts=False)
        if flight.again:
            self._again.appendleft(flight)
            return
        self.begun -= len(flight.jobs)
        for job in reversed(flight.jobs):
            self.agenda.put_back(job)

    def refuse(self, pack: Pack, error: DlxError) -> None:
        """The pack cannot be begun: the run ends, and its error is this one."""
        self.give_back(pack)
        self._fail(error)

    def say(self, line: str) -> None:
        """Show a sentence."""
        self.view.say(line)

    @property
    def finished(self) -> bool:
        """Nothing is left to take, now or later."""
        self._check_budget()
        if self.stopped:
            return True
        if self._again or self._flying:
            return False
        exhausted = self.agenda.exhausted
        while self.agenda.orphans:
            self._bury_orphans()
            exhausted = self.agenda.exhausted
        return exhausted

    @property
    def waiting(self) -> int:
        """How many packs could be taken now."""
        if self.stopped:
            return 0
        return len(self._again) + (self.packer.waiting if self._left else 0)

    def waiting_for(self, resources: Resources) -> int:
        """How many of these are of such resources."""
        if self.stopped:
            return 0
        again = sum(self.study.resources_of(flight.jobs[0].trial) == resources for flight in self._again)
        return again + (self.packer.waiting_for(resources) if self._left else 0)

    def tick(self) -> None:
        """Commit what is due, show progress, mind the second Ctrl-C."""
        if self.interrupts > 1:
            raise KeyboardInterrupt
        if self.lease.lost and self.error is None:
            name = self.study.name
            self._fail(HeldError(f"Another driver took the study {name} over, having heard nothing of this one."))
        last = not self._flying and self.finished
        if self.ledger.due(last) and not self._homeless:  # then once more at the end
            self.commit()
        self._show()

    # ------------------------------------------------------------ writing down

    def _record(self, jobs: list[Job], records: Records, kept: Mapping[str, bool]) -> None:
        """Keep the rows for the next commit, then tell the agenda; what raised and may be tried again is not over."""
        for note in set(records.notes) - self._notes:
            self.view.say(note)
        self._notes |= set(records.notes)
        by_key = {job.key: job for job in jobs}
        columns = (records.trials.column(n).to_pylist() for n in ("key", "status", "metrics", "error"))
        self.packer.learn(jobs[0], len(jobs), records)
        ended, again = [], []
        for key, status, metrics, error in zip(*columns, strict=True):
            job = by_key[key]
            if status == FAILED:
                self.monitor.failed(error)
            if status == FAILED and job.attempts < self.study.retries:
                job.attempts += 1
                again.append(job)
            else:
                ended.append((job, status, dict(metrics or ())))
        if again:
            self._again.append(Flight(again, again=True))
        self._keep([(job, status) for job, status, _ in ended], records)
        for job, status, metrics in ended:
            self._tell(job, status, metrics, kept[job.key])
        self._bury_orphans()

    def _keep(self, ended: list[tuple[Job, str]], records: Records) -> None:
        """Rows of these jobs, and what each is filed under, for the next commit."""
        keys = {job.key: key for job, status in ended if (key := self.agenda.key_of(job, status)) is not None}
        filed = [(keys[job.key], job.seed, slot) for job, _ in ended if job.key in keys for slot in job.slots]
        self.ledger.add(keys, records, filed)

    def _tell(self, job: Job, status: str, metrics: Mapping[str, float], kept: bool) -> None:
        self.monitor.ended(status)
        counts = status == COMPLETED and any(slot.phase != PARENT for slot in job.slots)
        if counts and (problem := self.monitor.completed(metrics)):
            self._fail(DeclarationError(problem))
        self.agenda.tell(job, status, metrics, kept)

    def _bury(self, job: Job, why: str) -> None:
        """Write down that a trial failed without having run to its end."""
        outcome = Outcome(job.key, job.seed, values(job.trial), FAILED, 0.0, now(), error=why)
        self._keep([(job, FAILED)], to_records([outcome], versions()))
        self.monitor.failed(why)
        self._tell(job, FAILED, {}, job.keep)

    def _bury_orphans(self) -> None:
        while self.agenda.orphans:
            self._bury(*self.agenda.orphans.pop())

    def commit(self) -> None:
        """Write what is due, unless another driver has taken over."""
        filed, self.agenda.filed = self.agenda.filed, []
        self.ledger.file(filed)
        if self.lease.lost:
            return
        try:
            self.ledger.commit()
        except DlxError as e:
            self._fail(e)

    # ------------------------------------------------------------ stopping and showing

    def _fail(self, error: Exception) -> None:
        """Begin nothing more and raise this at the end."""
        self.error = self.error or error
        self.stopped = self.stopped or "an error"

    def interrupt(self, *_: Any) -> None:
        """Ctrl-C or SIGTERM: once, finish what runs; twice, stop now."""
        self.interrupts += 1
        self.stopped = self.stopped or INTERRUPTED
        if self.interrupts == 1:
            self.view.say("Stopping: what runs is finished and stored; once more to stop at once.")

    def _check_budget(self) -> None:
        if self.stopped:
            return
        trials = 0 if self._again or self._flying else self.begun  # what was begun is ended first
        if spent := self.budget.spent(time.monotonic() - self.began, trials, self._flying.gpu_seconds / 3600):
            self.stopped = f"{spent} is used up"

    def _show(self) -> None:
        packs = ((len(f.jobs), f.began, f.partial) for f in self._flying)
        self.monitor.show(self.agenda.cells_done, self._flying.trials, packs)


def _whole(slot: Slot) -> bool:
    """Whether a trial must run to its end: children start from it, or the worth of a setting is measured by it."""
    return slot.phase == PARENT or (slot.search is not None and slot.phase != TUNE)
