"""Makes packs: jobs of equal shape and resources, as many as train together and as keep all slots busy."""

import math
from collections import deque
from collections.abc import Hashable, Mapping

from dlx.agenda import Agenda, Job
from dlx.pack import Resources
from dlx.pilot import Sizes
from dlx.records import Records
from dlx.snapshot import discard, held
from dlx.store import Store
from dlx.study import Study

WINDOW = 4_096  # jobs that are looked at together, to find equal shapes among them
WORTH = 10.0  # seconds that a pack shall take at least, before some of its jobs are left to slots that are busy now


class _Group:
    """Jobs of one shape (None: each alone), in units that stay together: jobs of one cohort are one."""

    def __init__(self) -> None:
        self.jobs = 0
        self._units: deque[list[Job]] = deque()

    def add(self, job: Job) -> None:
        if job.cohort is not None and self._units and self._units[-1][0].cohort == job.cohort:
            self._units[-1].append(job)
        else:
            self._units.append([job])
        self.jobs += 1

    def take(self, size: int) -> list[Job]:
        """The first unit, and as many more as fit."""
        taken = self._units.popleft()
        while self._units and len(taken) + len(self._units[0]) <= size:
            taken += self._units.popleft()
        self.jobs -= len(taken)
        return taken

    def packs(self, size: int | None) -> int:
        """How many packs they make; size: of each, None: one for each unit."""
        return len(self._units) if size is None else math.ceil(self.jobs / size)


class Packer:
    """Groups the agenda's jobs; packs of equal resources follow one another, so that workers stay.

    Groups of equal resources take turns, so that a search in a rare shape does not come last.
    halfway: key → the pack in whose snapshots it stands; such trials go on together.
    """

    def __init__(self, study: Study, agenda: Agenda, halfway: Mapping[str, str]) -> None:
        self.study, self.agenda, self.halfway = study, agenda, halfway
        self._groups: dict[Resources, dict[Hashable, _Group]] = {}  # by shape, the next turn first
        self._waiting = 0
        self._seconds: dict[Hashable, float] = {}  # of one trial of a shape, in the pack that ran last
        self.sizes = Sizes(study.pack)

    def fill(self) -> None:
        """Look at as many jobs as may run now."""
        window = max(WINDOW, 4 * (self.study.pack or 1))
        last: Job | None = None
        while (job := self.agenda.pull()) is not None:
            begun = last is not None and job.cohort is not None and job.cohort == last.cohort
            if self._waiting >= window and not begun:
                self.agenda.put_back(job)
                return
            shapes = self._groups.setdefault(self.study.resources_of(job.trial), {})
            shapes.setdefault(self.shape(job), _Group()).add(job)
            self._waiting += 1
            last = job

    def shape(self, job: Job) -> Hashable:
        """What jobs of one pack have in common, None for a job that runs alone."""
        alone = self.study.scheduler is not None or self.study.resources_of(job.trial).workers > 1
        shape = None if alone else job.trial.shape()
        return None if shape is None else (type(job.trial), shape, self.halfway.get(job.key))

    def learn(self, job: Job, members: int, records: Records) -> None:
        """Take note of how the pack of a job ran, of so many members."""
        if (shape := self.shape(job)) is None:
            return
        seconds = self._seconds[shape] = records.trials.column("seconds")[0].as_py()
        together = max(records.trials.column("members").to_pylist())
        if together < members:  # they did not run together, as when memory ran out
            self.sizes.too_large(shape, members)
        else:
            group = self._groups.get(self.study.resources_of(job.trial), {}).get(shape)
            self.sizes.learn(shape, members, records.pace, seconds * (self._jobs(group) if group else 0))

    def lost(self, job: Job, members: int) -> None:
        """The pack of a job took its worker down more than once."""
        self.sizes.too_large(self.shape(job), members)

    def take(self, slots: int, busy: int, at_most: int, resources: Resources | None = None) -> list[Job]:
        """Jobs for one pack, of these resources when given, else of the least; none: there is nothing now.

        slots: how many packs run at once; busy: how many do now.
        """
        self.fill()
        if resources is None:
            resources = min(self._groups, default=None)
        if resources is None or not (shapes := self._groups.get(resources)):
            return []
        shape, group = next(iter(shapes.items()))
        taken = group.take(min(self._size(shape, self._jobs(group), slots, busy), at_most))
        self._waiting -= len(taken)
        del shapes[shape]
        if group.jobs:
            shapes[shape] = group  # behind the others
        elif not shapes:
            del self._groups[resources]
        return taken

    def _jobs(self, group: _Group) -> int:
        """How many jobs a group has, or will have when all are looked at, if those to come are like those at hand."""
        return math.ceil(group.jobs * (1 + self.agenda.ahead / self._waiting))

    def _size(self, shape: Hashable, jobs: int, slots: int, busy: int) -> int:
        """As many as a pack may hold, fewer where slots are idle, or will be while this pack takes long."""
        if shape is None:
            return 1
        others = sum(map(len, self._groups.values())) - 1
        soon, now = (math.ceil(jobs / max(1, n - others)) for n in (slots, slots - busy))
        worth = math.ceil(WORTH / max(self._seconds.get(shape, math.inf), 1e-9))
        return max(1, min(self.sizes[shape], max(soon, min(now, worth))))

    @property
    def waiting(self) -> int:
        """How many packs the jobs at hand make."""
        return sum(map(self.waiting_for, self._groups))

    def waiting_for(self, resources: Resources) -> int:
        """How many of these are of such resources."""
        return sum(group.packs(None if shape is None else self.sizes[shape])
                   for shape, group in self._groups.get(resources, {}).items())


def halfway(store: Store, agenda: Agenda) -> dict[str, str]:
    """Key of a missing trial → the pack whose snapshots hold it; those that nobody wants any more are removed."""
    found = held(store.folder)
    missing = {key: pack for key, pack in found.items() if agenda.memory.stored(key) is None}
    discard(store.folder, set(found.values()) - set(missing.values()))
    return missing
