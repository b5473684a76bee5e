"""Partial records: how far a pack has come and what its members logged, while it runs; shown, and never stored."""

import math
import time
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from dlx.records import ITEMS

if typing.TYPE_CHECKING:
    from dlx.context import Context

FIRST, EVERY = 5.0, 10.0  # seconds: a pack that ends before hands nothing over; between two
LEAST_OFTEN = 30.0  # seconds between two, when there are very many workers
MOST_MEMBERS = 8  # of a pack whose curves are handed over; of the others its end is heard
MOST_POINTS = 100  # of one curve in one partial record

Curves = dict[str, tuple[list[int], list[float]]]  # metric → steps and values


@dataclass(frozen=True)
class Partial:
    """How far a pack is: ``step`` of ``steps`` updates (None: not known), and by key what is new of its curves."""

    step: int
    steps: int | None = None
    curves: Mapping[str, Curves] = field(default_factory=dict)


Send = Callable[[Partial], None]


class Partials:
    """Hands over, from time to time, what is new of a pack; ``send`` may fail, which the pack does not notice.

    contexts: of the members by their keys; every: seconds between two; steps: how many updates the pack will make,
    set by a loop that hands over by itself.
    """

    def __init__(self, send: Send, contexts: Mapping[str, "Context"], every: float = EVERY) -> None:
        self.steps: int | None = None
        self._send, self._every = send, every
        self._contexts = dict(list(contexts.items())[:MOST_MEMBERS])
        self._sent: dict[tuple[str, str], int] = {}  # key and metric → how many points
        self._next = time.monotonic() + min(FIRST, every)

    @property
    def due(self) -> bool:
        """Whether it is time for the next."""
        return time.monotonic() >= self._next

    def logged(self, step: int) -> None:
        """A member logged at this step."""
        if self.steps is None and self.due:
            self.hand_over(step)

    def hand_over(self, step: int) -> None:
        """Send what is new after so many updates."""
        try:
            self._send(Partial(step, self.steps, self._news()))
            self._next = time.monotonic() + self._every
        except Exception:
            self._next = math.inf

    def _news(self) -> dict[str, Curves]:
        found: dict[str, Curves] = {}
        for key, ctx in self._contexts.items():
            for metric, (steps, values) in list(ctx.history.items()):
                if metric.endswith(ITEMS):
                    continue
                known, total = self._sent.get((key, metric), 0), len(steps)
                begin = known if known <= total else 0  # a history may begin anew
                if begin < total:
                    thin = slice(begin, total, -(-(total - begin) // MOST_POINTS))
                    found.setdefault(key, {})[metric] = (steps[thin], values[thin])
                self._sent[key, metric] = total
        return found
