"""Where a curve crosses a threshold: when, or what another metric is there, as in "at matched training loss"."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from dlx.errors import DeclarationError

Curves: TypeAlias = Mapping[str, tuple[Sequence[int], Sequence[float]]]  # full name of a metric → steps, values


@dataclass(frozen=True)
class Crossing:
    """The first measured step at which a metric is at or beyond a threshold, or another metric from that step on.

    called: in results ``crossing/<called>``; of: the metric in full, such as ``train/loss``; below, above: the
    threshold, one of them, in units of ``of``; value: a metric in full, of which the first value measured at that step
    or later is taken; None: the step itself, or how many times the step of another crossing, ``since``, it is. A trial
    that does not get there has no such number; where ``restricted`` its last step counts: means are restricted mean
    times (Royston and Parmar 2013).
    """

    called: str
    of: str
    below: float | None = None
    above: float | None = None
    value: str | None = None
    restricted: bool = False
    since: "Crossing | None" = None

    @property
    def name(self) -> str:
        """Its name in results, behind ``crossing/``."""
        return self.called

    @property
    def reads(self) -> tuple[str, ...]:
        """The metrics, in full, whose curves it needs."""
        before = () if self.since is None else self.since.reads
        return (self.of, *(() if self.value is None else (self.value,)), *before)

    def check(self) -> None:
        """Raise DeclarationError where a value is out of its range."""
        if not self.called:
            raise DeclarationError("called is empty; name it, as in metrics.crossing('fit', 'train/loss', below=0.1).")
        if (self.below is None) == (self.above is None):
            raise DeclarationError(f"The crossing {self.called!r} needs one of below= and above=.")
        if not math.isfinite(self.below if self.below is not None else self.above or 0.0):
            raise DeclarationError(f"The threshold of the crossing {self.called!r} must be a finite number.")
        if self.value is not None and (self.restricted or self.since is not None):
            raise DeclarationError(f"The crossing {self.called!r} takes restricted= and since= without value= only.")
        if self.since is not None and self.since.value is not None:
            raise DeclarationError(f"The crossing {self.called!r} counts since a step; leave value= of since= out.")

    def measure_curves(self, curves: Curves) -> float | None:
        """The number, from the logged curves by full name; None where the threshold, or the value, is not reached.

        Raises KeyError, with its name, for a metric that has no curve, say of a split that is not watched.
        """
        crossed = next((step for step, x in zip(*curves[self.of], strict=True) if self._beyond(x)), None)
        if crossed is None and self.restricted:
            crossed = curves[self.of][0][-1]
        if crossed is None or (self.value is None and self.since is None):
            return crossed
        if self.since is not None:
            before = self.since.measure_curves(curves)
            return crossed / before if before else None
        assert self.value is not None
        return next((x for step, x in zip(*curves[self.value], strict=True) if step >= crossed), None)

    def _beyond(self, x: float) -> bool:
        return x <= self.below if self.below is not None else x >= (self.above or 0.0)


def crossings(metrics: Iterable[Any], curves: Curves) -> dict[str, float]:
    """What the crossings among metrics come to, by full name, of trials that got there."""
    found = {f"crossing/{m.name}": m.measure_curves(curves) for m in metrics if isinstance(m, Crossing)}
    return {name: float(value) for name, value in found.items() if value is not None}
