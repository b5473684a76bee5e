"""How many trials train together: found out on the packs that run, by their throughput and their memory."""

from collections.abc import Hashable
from dataclasses import dataclass

from dlx.records import Pace

FIRST = 64  # trials in a pack of which nothing is known yet
MOST = 4_096
GAIN = 1.1  # how much faster twice the size must be, to be worth it
RECORDING = 5.0  # seconds that the first packs of another size cost, over all workers
FULL = 0.8  # share of a worker's memory that a pack may take


@dataclass
class _Known:
    """Of one shape: the size to try, and the fastest so far."""

    size: int = FIRST
    settled: bool = False
    best: int = FIRST
    rate: float = 0.0


class Sizes:
    """The size of packs by shape: doubled as long as that pays and memory allows; fixed: the one that the user gave."""

    def __init__(self, fixed: int | None) -> None:
        self.fixed = fixed
        self._known: dict[Hashable, _Known] = {}

    def __getitem__(self, shape: Hashable) -> int:
        return self.fixed or self._known.setdefault(shape, _Known()).size

    def learn(self, shape: Hashable, members: int, pace: Pace | None, left: float) -> None:
        """A pack of so many members ran at this pace; what is no full pack teaches nothing.

        left: seconds of work of this shape that wait; a larger size is tried when it may save more than it costs.
        """
        known = self._known.setdefault(shape, _Known())
        if pace is None or known.settled or members < known.size:
            return
        if members > known.best and pace.rate < GAIN * known.rate:
            known.size, known.settled = known.best, True
            return
        known.rate = pace.rate if members > known.best else max(pace.rate, known.rate)
        known.best = members
        if 2 * pace.memory > FULL or 2 * members > MOST:
            known.settled = True
        elif left * (1 - 1 / GAIN) > RECORDING:
            known.size = 2 * members

    def too_large(self, shape: Hashable, members: int) -> None:
        """A pack of so many members ran out of memory, or took its worker down."""
        known = self._known.setdefault(shape, _Known())
        known.size, known.settled = max(1, min(known.size, members // 2)), True
