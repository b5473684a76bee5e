"""Rules by which trials of a search are stopped early, judged among those that were asked together.

A *cohort* is what one search asks for in one generation, of one shape: its trials train in one pack on any machine, so
which of them are stopped does not depend on how many workers there are.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from statistics import fmean, median
from typing import Any, Protocol, runtime_checkable

from dlx.errors import DeclarationError


@runtime_checkable
class Rule(Protocol):
    """Says after which steps a cohort is looked at, and who goes on."""

    def rungs(self, steps: int) -> list[int]:
        """Steps, before the last of so many, after which trials may be stopped."""

    def survivors(self, scores: Sequence[Sequence[float]]) -> list[int]:
        """Which trials go on, by their place; scores of each at all rungs so far, smaller is better, inf is worst."""

    def check(self) -> None:
        """Raise DeclarationError naming the number that cannot be."""


@dataclass(frozen=True)
class Halving:
    """Successive halving (Jamieson and Talwalkar 2016, arXiv:1502.07943): at a rung the best 1/eta go on, rounded up.

    eta: more than 1; min_steps: the first rung, each further one eta times later.
    """

    eta: float = 3.0
    min_steps: int = 100

    def check(self) -> None:
        """Raise DeclarationError naming the number that cannot be."""
        if not 1.0 < self.eta < math.inf:
            raise DeclarationError(f"prune.eta is {self.eta}; it must be more than 1, for one of so many goes on.")
        check_positive(self)

    def rungs(self, steps: int) -> list[int]:
        """min_steps · etaᵏ, below the number of steps."""
        found: list[int] = []
        at: float = self.min_steps
        while round(at) < steps:
            found.append(round(at))
            at = max(at * self.eta, at + 1)
        return found

    def survivors(self, scores: Sequence[Sequence[float]]) -> list[int]:
        """The best 1/eta at the last rung; of equals the first."""
        ranked = sorted(range(len(scores)), key=lambda i: (scores[i][-1], i))
        return sorted(ranked[: math.ceil(len(scores) / self.eta)])


@dataclass(frozen=True)
class Median:
    """Stops whose best score is worse than the median of the others' mean scores (Golovin et al. 2017, Vizier).

    min_steps: the first rung; every: steps between rungs.
    """

    min_steps: int = 100
    every: int = 100

    def check(self) -> None:
        """Raise DeclarationError naming the number that cannot be."""
        check_positive(self)

    def rungs(self, steps: int) -> list[int]:
        """min_steps, min_steps + every, …, below the number of steps."""
        return list(range(self.min_steps, steps, self.every))

    def survivors(self, scores: Sequence[Sequence[float]]) -> list[int]:
        """Those at least as good as the median, and of a single one that one."""
        bar = median(fmean(of_one) for of_one in scores)
        return [i for i, of_one in enumerate(scores) if min(of_one) <= bar]


@dataclass(frozen=True)
class Prune:
    """A rule and the objective that it judges by; sign: 1 when smaller is better, −1 when larger is."""

    rule: Rule
    metric: str
    sign: int

    def score(self, value: float) -> float:
        """Smaller is better; what is not finite is worst."""
        return self.sign * value if math.isfinite(value) else math.inf


@dataclass(frozen=True)
class Pruned:
    """What a member of a pack returns that was stopped early: its last metrics."""

    metrics: Mapping[str, float]


def check_positive(rule: Any) -> None:
    """Raise DeclarationError where a number of steps is not at least 1."""
    for f in fields(rule):
        value = getattr(rule, f.name)
        if f.type in (int, "int") and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise DeclarationError(f"prune.{f.name} is {value!r}; it must be a number of steps, at least 1.")
