"""What a claim measures before the protocol judges it: its parts, each an estimate with tests in both directions."""

import math
from dataclasses import dataclass
from typing import Self

from dlx.stats import Equivalence, Estimate, Integers


@dataclass(frozen=True)
class Part:
    """One comparison: an effect, its interval at ``level``, and the two-sided p that would support and refute it.

    ``margin``: where the outcome turns, in units of the effect; ``units``: independent draws; both p are NaN where
    nothing can be tested.
    """

    what: str
    margin: float
    effect: float
    low: float
    high: float
    p_for: float
    p_against: float
    test: str
    units: int
    level: float
    smallest_p: float | None = None

    @classmethod
    def above(cls, what: str, found: Estimate) -> Self:
        """The part that the effect is above its null."""
        return cls._of(what, found, found.p_greater, found.p_less)

    @classmethod
    def below(cls, what: str, found: Estimate) -> Self:
        """The part that the effect is below its null."""
        return cls._of(what, found, found.p_less, found.p_greater)

    @classmethod
    def within(cls, what: str, found: Equivalence) -> Self:
        """The part that the effect is inside ±margin; its margin is the end that the effect is nearer to."""
        margin = found.margin if found.value >= 0 else -found.margin
        return cls(what, margin, found.value, found.low, found.high, found.p, found.p_beyond, found.test, found.n,
                   2 * found.level - 1, found.smallest_p)

    @classmethod
    def _of(cls, what: str, found: Estimate, *tails: float) -> Self:
        p_for, p_against = (math.nan if math.isnan(found.p) else min(1.0, 2 * tail) for tail in tails)
        return cls(what, found.null + 0.0, found.value, found.low, found.high, p_for, p_against, found.test, found.n,
                   found.level, found.smallest_p)


@dataclass(frozen=True)
class Finding:
    """All parts of a claim: supported when every part is (intersection–union), refuted when any is (Bonferroni).

    ``cells``: rows of the results' grid that it looks at; ``seeds``: wanted of each cell, or of each of its
    ``searches``, 0 for an untuned claim; ``seeds_alone``: whether seeds are the draws of some arm; ``notes``: what was
    counted how; ``problem``: why nothing can be tested, with the fix.
    """

    cells: Integers
    seeds: int
    searches: int
    seeds_alone: bool
    parts: tuple[Part, ...] = ()
    notes: tuple[str, ...] = ()
    problem: str | None = None

    @property
    def p_for(self) -> float:
        """The p at which all parts hold; NaN where one cannot be tested."""
        found = [part.p_for for part in self.parts]
        return math.nan if not found or any(map(math.isnan, found)) else max(found)

    @property
    def p_against(self) -> float:
        """The p at which some part is refuted; NaN where none can be tested."""
        found = [part.p_against for part in self.parts if not math.isnan(part.p_against)]
        return min(1.0, len(self.parts) * min(found)) if found else math.nan

    @property
    def p(self) -> float:
        """The smaller of both; NaN where nothing can be tested."""
        found = [p for p in (self.p_for, self.p_against) if not math.isnan(p)]
        return min(found) if found else math.nan

    @property
    def smallest_p(self) -> float | None:
        """The smallest p that the claim can reach, its tests being exact; None where none is."""
        return max((part.smallest_p for part in self.parts if part.smallest_p is not None), default=None)

    @property
    def decisive(self) -> Part | None:
        """The part that refutes, else the weakest of those that must all hold."""
        tested = [p for p in self.parts if not math.isnan(p.p_for)] or list(self.parts)
        if self.p_against < self.p_for:
            return min(tested, key=lambda part: part.p_against)
        return max(tested, key=lambda part: part.p_for, default=None)
