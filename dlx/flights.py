"""Packs that run: what is told of all of them is kept up to date, so that a thousand cost no more than one."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from dlx.agenda import Job
from dlx.pack import halved
from dlx.partials import Partial
from dlx.snapshot import identify

LIVES = 3  # workers that may die under one trial: two may be killed from outside by chance, a third is its own doing
STRAYS = 20  # workers that may fail to reach the home before this counts as a death; machines that do are not used


@dataclass
class Flight:
    """A pack that runs: its jobs, how often it took its worker down, whether it was begun before, when it began."""

    jobs: list[Job]
    losses: int = 0
    again: bool = False
    began: float = field(default_factory=time.monotonic)
    gpus: float = 0.0
    resume: tuple[str, ...] = ()  # packs whose snapshots may hold these jobs
    strays: int = 0  # workers that could not read or write the home
    partial: Partial | None = None  # how far it is


def begun_again(lost: Flight, astray: bool) -> list[Flight]:
    """What is begun again of a pack whose worker died, or could not reach the home; nothing: it has used its lives up.

    It is resumed once, then halved until the culprit is alone, which has three lives.
    """
    losses, resume = lost.losses + 1, (identify([job.key for job in lost.jobs]), *lost.resume)
    if astray and lost.strays < STRAYS:
        return [Flight(lost.jobs, lost.losses, again=True, resume=resume, strays=lost.strays + 1)]
    if losses == 1 or (len(lost.jobs) == 1 and losses < LIVES):
        return [Flight(lost.jobs, losses, again=True, resume=resume, strays=lost.strays)]
    if len(lost.jobs) == 1:
        return []
    halves = (list(part) for part in halved(lost.jobs, [job.cohort for job in lost.jobs]))
    return [Flight(jobs, 1, again=True, resume=resume, strays=lost.strays) for jobs in halves]


class Flights:
    """All of them, by the key of the first member."""

    def __init__(self) -> None:
        self.trials = 0
        self._flying: dict[str, Flight] = {}
        self._gpus = self._gpu_seconds = 0.0
        self._counted = time.monotonic()

    def __len__(self) -> int:
        return len(self._flying)

    def __iter__(self) -> Iterator[Flight]:
        return iter(self._flying.values())

    def get(self, key: str) -> Flight | None:
        """The pack whose first member has this key."""
        return self._flying.get(key)

    def begin(self, flight: Flight, gpus: float) -> None:
        """It runs from now on, on so many GPUs."""
        self._change(len(flight.jobs), gpus)
        flight.began, flight.gpus = self._counted, gpus
        self._flying[flight.jobs[0].key] = flight

    def end(self, key: str, counts: bool = True) -> Flight:
        """It runs no more; ``counts``: whether it ran at all."""
        flight = self._flying.pop(key)
        self._change(-len(flight.jobs), -flight.gpus)
        if not counts:
            self._gpu_seconds -= flight.gpus * (self._counted - flight.began)
        return flight

    @property
    def gpu_seconds(self) -> float:
        """What all packs have used so far."""
        return self._gpu_seconds + self._gpus * (time.monotonic() - self._counted)

    def _change(self, trials: int, gpus: float) -> None:
        self._gpu_seconds, self._counted = self.gpu_seconds, time.monotonic()
        self.trials += trials
        self._gpus = self._gpus + gpus if self._flying else max(0.0, gpus)
