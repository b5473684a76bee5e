"""Makes packs: jobs of equal shape and resources, as many as train together and as keep all slots busy."""

import math
from collections import deque
from collections.abc import Hashable, Mapping

from dlx.agenda import Agenda, Job
from dlx.pack import Resources
from dlx.snapshot import discard, held
from dlx.store import Store
from dlx.study import Study

WINDOW = 4_096  # jobs that are looked at together, to find equal shapes among them


class Packer:
    """Groups the agenda's jobs; packs of equal resources follow one another, so that workers stay.

    Groups of equal resources take turns, so that a search in a rare shape does not come last.
    halfway: key → the pack in whose snapshots it stands; such trials go on together.
    """

    def __init__(self, study: Study, agenda: Agenda, halfway: Mapping[str, str]) -> None:
        self.study, self.agenda, self.halfway = study, agenda, halfway
        self._groups: dict[Resources, dict[Hashable, deque[Job]]] = {}  # by shape (None: alone), the next turn first
        self._waiting = 0

    def fill(self) -> None:
        """Look at as many jobs as may run now."""
        window = max(WINDOW, 4 * self.study.pack)
        while self._waiting < window and (job := self.agenda.pull()) is not None:
            shapes = self._groups.setdefault(self.study.resources_of(job.trial), {})
            shapes.setdefault(self._shape(job), deque()).append(job)
            self._waiting += 1

    def _shape(self, job: Job) -> Hashable:
        shape = None if self.study.scheduler is not None else job.trial.shape()
        return None if shape is None else (type(job.trial), shape, self.halfway.get(job.key))

    def take(self, slots: int, at_most: int, resources: Resources | None = None) -> list[Job]:
        """Jobs for one pack, of these resources when given, else of the least; none: there is nothing now."""
        self.fill()
        if resources is None:
            resources = min(self._groups, default=None)
        if resources is None or not (shapes := self._groups.get(resources)):
            return []
        shape, jobs = next(iter(shapes.items()))
        size = min(self._size(shape, len(jobs), slots), at_most)
        taken = [jobs.popleft() for _ in range(size)]
        self._waiting -= size
        del shapes[shape]
        if jobs:
            shapes[shape] = jobs  # behind the others
        elif not shapes:
            del self._groups[resources]
        return taken

    def _size(self, shape: Hashable, jobs: int, slots: int) -> int:
        """As many as a pack may hold, fewer where slots would stay idle."""
        if shape is None:
            return 1
        others = sum(map(len, self._groups.values())) - 1
        return max(1, min(self.study.pack, math.ceil(jobs / max(1, slots - others))))

    @property
    def waiting(self) -> int:
        """How many packs the jobs at hand make."""
        return sum(
            len(jobs) if shape is None else math.ceil(len(jobs) / self.study.pack)
            for shapes in self._groups.values() for shape, jobs in shapes.items()
        )


def halfway(store: Store, agenda: Agenda) -> dict[str, str]:
    """Key of a missing trial → the pack whose snapshots hold it; those that nobody wants any more are removed."""
    found = held(store.folder)
    missing = {key: pack for key, pack in found.items() if agenda.memory.stored(key) is None}
    discard(store.folder, set(found.values()) - set(missing.values()))
    return missing
