"""A pack: trials with equal shapes that run together on one worker; and what feeds packs to an executor."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Protocol, Self, TypeVar

from dlx.errors import DeclarationError, DlxError
from dlx.partials import Partial
from dlx.pruning import Prune
from dlx.records import Records
from dlx.trial import Trial
from dlx.tuning import Objective

T = TypeVar("T")
KINDS = {"memory": (0, "a whole number of bytes"), "workers": (1, "a whole number")}  # that are whole, at least


@dataclass(frozen=True, order=True)
class Resources:
    """What one pack occupies: CPUs, GPUs (fractions share one device) and memory in bytes (0: not reserved).

    workers: how many processes train one ``dlx.Training`` together, each with so many CPUs and so much memory and on
    one GPU or on none; of such a trial ``gpus=8`` says ``workers=8, gpus=1``.
    """

    cpus: float = 1.0
    gpus: float = 0.0
    memory: int = 0
    workers: int = 1

    def check(self) -> None:
        """Raise DeclarationError for what no worker can occupy."""
        for f in fields(self):
            value, least, kind = getattr(self, f.name), *KINDS.get(f.name, (0, "a number"))
            number = isinstance(value, int if f.name in KINDS else int | float) and not isinstance(value, bool)
            if not number or not math.isfinite(value) or value < least:
                raise DeclarationError(f"resources.{f.name} is {value!r}; it must be {kind} of at least {least}.")
        if self.gpus > 1 and not float(self.gpus).is_integer():
            raise DeclarationError(f"resources.gpus is {self.gpus}; give a whole number, or a fraction below 1.")
        if self.workers > 1 and self.gpus not in (0, 1):
            raise DeclarationError(
                f"resources.gpus is {self.gpus} for each of {self.workers} workers; a worker trains on one GPU, "
                "gpus=1, or on none."
            )

    @property
    def all_gpus(self) -> float:
        """GPUs of all workers."""
        return self.gpus * self.workers

    def a_gpu_each(self) -> Self:
        """The same GPUs, one for each of as many workers."""
        return replace(self, gpus=1.0, workers=int(self.gpus)) if self.gpus > 1 else self


@dataclass(frozen=True)
class Member:
    """One trial of a pack at its seed.

    ``keep``: its final state is a parent's; ``parent``: its parent's key; ``cohort``: with whom it is judged early.
    """

    key: str
    trial: Trial
    seed: int
    keep: bool = False
    parent: str | None = None
    cohort: str | None = None


@dataclass(frozen=True)
class Pack:
    """Members that run together.

    ``folder``: the study's folder in the home (URL); ``source``: digest of the code; ``whole``: no scheduler may stop
    it; ``checkpoint_every``: seconds between snapshots; ``resume``: packs whose snapshots may hold these members;
    ``prune``: how cohorts are judged; ``keep_final``, ``keep_best``: whether final weights are kept, and those where
    an objective was best.
    """

    members: tuple[Member, ...]
    resources: Resources
    folder: str
    source: str | None = None
    whole: bool = False
    checkpoint_every: float = math.inf
    resume: tuple[str, ...] = ()
    prune: Prune | None = None
    keep_final: bool = False
    keep_best: Objective | None = None


def halved(members: Sequence[T], cohorts: Sequence[str | None]) -> tuple[Sequence[T], Sequence[T]]:
    """Two parts of about equal size, at a border between cohorts; in the middle where there is no border."""
    n = len(members)
    borders = [i for i in range(1, n) if cohorts[i] is None or cohorts[i] != cohorts[i - 1]]
    at = min(borders, key=lambda i: abs(2 * i - n), default=n // 2)
    return members[:at], members[at:]


class Feed(Protocol):
    """Where an executor gets packs and brings what became of them; called from one thread only."""

    def take(self, resources: Resources | None = None) -> Pack | None:
        """The next pack (of these resources, when given), or None: nothing now, ask again after a result."""

    def done(self, pack: Pack, records: Records) -> None:
        """The pack ran; its members' rows."""

    def partial(self, pack: Pack, partial: Partial) -> None:
        """How far a pack is that has run for a while; cheap, and never raises."""

    def lost(self, pack: Pack, reason: str) -> None:
        """The worker died while it ran this pack."""

    def astray(self, pack: Pack, reason: str) -> None:
        """The worker could not read or write the home, which is no doing of the pack's."""

    def give_back(self, pack: Pack) -> None:
        """The pack was taken and never begun."""

    def refuse(self, pack: Pack, error: DlxError) -> None:
        """The pack was taken and can never be begun here, nor can others of its study; the error says why."""

    def say(self, line: str) -> None:
        """A sentence that a person must see."""

    @property
    def finished(self) -> bool:
        """Nothing is left to take, now or later: all is done, a budget is spent, or the user said stop."""

    @property
    def waiting(self) -> int:
        """How many packs could be taken now."""

    def waiting_for(self, resources: Resources) -> int:
        """How many of these are of such resources."""

    def tick(self) -> None:
        """Called at least once a second while anything runs: live view, commits, signals."""


class Executor(Protocol):
    """Runs what a feed gives until it is finished."""

    slots: int

    def run(self, feed: Feed) -> None:
        """Return when the feed is finished and nothing runs; raises ExecutorError when it cannot start."""
