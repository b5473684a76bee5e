"""Makes packs: jobs of equal shape and resources, as many as train together and as keep all slots busy."""

import math
from collections.abc import Hashable

from dlx.agenda import Agenda, Job
from dlx.pack import Resources
from dlx.study import Study

WINDOW = 4_096  # jobs that are looked at together, to find equal shapes among them

Group = tuple[Resources, Hashable]


class Packer:
    """Groups the agenda's jobs; packs of equal resources follow one another, so that workers stay."""

    def __init__(self, study: Study, agenda: Agenda) -> None:
        self.study, self.agenda = study, agenda
        self._groups: dict[Group, list[Job]] = {}
        self._waiting = 0

    def fill(self) -> None:
        """Look at as many jobs as may run now."""
        window = max(WINDOW, 4 * self.study.pack)
        while self._waiting < window and (job := self.agenda.pull()) is not None:
            self._groups.setdefault(self._group(job), []).append(job)
            self._waiting += 1

    def _group(self, job: Job) -> Group:
        resources, shape = self.study.resources_of(job.trial), job.trial.shape()
        alone = shape is None or self.study.scheduler is not None
        return resources, None if alone else (type(job.trial), shape)

    def take(self, slots: int, at_most: int, resources: Resources | None = None) -> list[Job]:
        """Jobs for one pack, of these resources when given; none: there is nothing now."""
        self.fill()
        fitting = [g for g in self._groups if resources is None or g[0] == resources]
        if not fitting:
            return []
        group = min(fitting, key=lambda g: (g[0], -len(self._groups[g]))) if resources is None else max(
            fitting, key=lambda g: len(self._groups[g])
        )
        size = min(self._size(group, slots), at_most)
        jobs, rest = self._groups[group][:size], self._groups[group][size:]
        self._waiting -= len(jobs)
        if rest:
            self._groups[group] = rest
        else:
            del self._groups[group]
        return jobs

    def _size(self, group: Group, slots: int) -> int:
        """As many as a pack may hold, fewer where slots would stay idle."""
        if group[1] is None:
            return 1
        share = math.ceil(len(self._groups[group]) / max(1, slots - len(self._groups) + 1))
        return max(1, min(self.study.pack, share))

    @property
    def waiting(self) -> int:
        """How many packs the jobs at hand make."""
        return sum(
            len(jobs) if shape is None else math.ceil(len(jobs) / self.study.pack)
            for (_, shape), jobs in self._groups.items()
        )

    def empty(self) -> list[Job]:
        """Give back all jobs that are not packed."""
        jobs = [job for group in self._groups.values() for job in group]
        self._groups, self._waiting = {}, 0
        return jobs
