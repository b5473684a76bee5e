"""Comparisons: one arm lower or higher than another, in the declared order, or the same within a margin."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar, get_args

from dlx.claims.arms import Arm, Grid, overlap, said
from dlx.claims.base import Claim, Test, check_conditions, check_number, difference, sample
from dlx.claims.finding import Part
from dlx.claims.items import ItemTest, check_block
from dlx.claims.verdict import as_given
from dlx.errors import DeclarationError
from dlx.stats import tost, tost_welch

if TYPE_CHECKING:
    from dlx.results import Results

Found = tuple[list[Part], tuple[str, ...]]


def compared(grid: Grid, conditions: Sequence[Mapping[str, Any]], where: Mapping[str, Any] | None) -> list[Arm]:
    """Arms that agree in all other axes; raises DeclarationError where two of them mean the same cell."""
    arms = grid.arms(conditions, where)
    if overlap(arms):
        raise DeclarationError(f"{' and '.join(map(said, conditions))} have cells in common; name others.")
    return arms


@dataclass(frozen=True)
class _Comparison(Claim):
    """What ``Lower`` and ``Higher`` share."""

    metric: str
    a: Mapping[str, Any]
    than: Mapping[str, Any]
    by: float = 0.0
    test: ItemTest = field(default="t", kw_only=True)
    block: int | None = field(default=None, kw_only=True)
    tests: ClassVar[tuple[str, ...]] = get_args(ItemTest)

    @property
    def metrics(self) -> tuple[str, ...]:
        return (self.metric,)

    def check_fields(self) -> None:
        super().check_fields()
        check_number("by", self.by, 0.0)
        check_block(self.test, self.block)
        check_conditions("a", self.a)
        check_conditions("than", self.than)

    def arms(self, grid: Grid) -> list[Arm]:
        arms = compared(grid, [self.a, self.than], self.where)
        if arms[0].tuned != arms[1].tuned and self.test != "t":
            raise DeclarationError(f"test={self.test!r} takes pairs, but only one side is tuned; leave test= out.")
        return arms

    def _said(self, word: str) -> str:
        by = f" by at least {as_given(self.by)}" if self.by else ""
        return f"{self.metric} of {said(self.a)} is {word} than of {said(self.than)}{by}"


@dataclass(frozen=True)
class Lower(_Comparison):
    """A metric is lower in one condition than in another: a − than < −by.

    ``a``, ``than``: axis → value, or several, as ``results.where`` takes them. Where they match several cells, pairs
    agree in all other axes, and each unit (the search of tuned cells, else the seed) gives the mean over its pairs.
    ``by``: the smallest difference that matters, in units of the metric; ``test``: ``t`` (Student 1908; Welch 1947
    where only one side is tuned), ``exact`` (sign flips, Fisher 1935), ``trimmed`` (interquartile mean, Yuen 1974), or,
    where trials recorded the metric of each item of one fixed test set (``items=`` of ``Training``, ``Context.items``),
    ``items``, over new units and new items (Efron 1979), and ``blocks``, where these are windows of a series (Künsch
    1989), ``block`` of them resampled together, None: as many as fit their autocorrelation.
    """

    @property
    def sentence(self) -> str:
        return self._said("lower")

    def parts(self, results: "Results", arms: Sequence[Arm], level: float) -> Found:
        draws = self.draws(results, self.metric, arms)
        found = difference(draws, arms[0], arms[1], -self.by, self.test, level, self.block)
        return [Part.below(_what(self.metric, arms[0], arms[1]), found)], draws.notes


@dataclass(frozen=True)
class Higher(_Comparison):
    """A metric is higher in one condition than in another: a − than > by; fields as in ``Lower``."""

    @property
    def sentence(self) -> str:
        return self._said("higher")

    def parts(self, results: "Results", arms: Sequence[Arm], level: float) -> Found:
        draws = self.draws(results, self.metric, arms)
        found = difference(draws, arms[0], arms[1], self.by, self.test, level, self.block)
        return [Part.above(_what(self.metric, arms[0], arms[1]), found)], draws.notes


@dataclass(frozen=True)
class Ordering(Claim):
    """A metric rises along conditions, each lower than the next by at least ``by`` (intersection–union, Berger 1982).

    ``conditions``: two or more of axis → value; ``test``: ``t``, ``exact`` or ``trimmed``, as in ``Lower``.
    """

    metric: str
    conditions: Sequence[Mapping[str, Any]]
    by: float = 0.0
    test: Test = field(default="t", kw_only=True)

    @property
    def metrics(self) -> tuple[str, ...]:
        return (self.metric,)

    @property
    def sentence(self) -> str:
        by = f", each by at least {as_given(self.by)}" if self.by else ""
        return f"{self.metric} rises from {' to '.join(map(said, self.conditions))}{by}"

    def check_fields(self) -> None:
        super().check_fields()
        check_number("by", self.by, 0.0)
        if not isinstance(self.conditions, tuple) or len(self.conditions) < 2:
            raise DeclarationError(f"conditions is {self.conditions!r}; give a list of two or more.")
        for i, condition in enumerate(self.conditions):
            check_conditions(f"conditions[{i}]", condition)

    def arms(self, grid: Grid) -> list[Arm]:
        arms = compared(grid, self.conditions, self.where)
        if self.test != "t" and any(a.tuned != b.tuned for a, b in pairwise(arms)):
            raise DeclarationError(f"test={self.test!r} takes pairs, but some arms are tuned; leave test= out.")
        return arms

    def parts(self, results: "Results", arms: Sequence[Arm], level: float) -> Found:
        draws = self.draws(results, self.metric, arms)
        return [
            Part.below(_what(self.metric, a, b), difference(draws, a, b, -self.by, self.test, level))
            for a, b in pairwise(arms)
        ], draws.notes


@dataclass(frozen=True)
class Equivalent(Claim):
    """Two conditions differ in a metric by less than ``margin``: two one-sided tests (Schuirmann 1987).

    Its interval is at 2·level − 1 (90 % for 95 %). ``a``, ``b``: as in ``Lower``; ``margin``: above 0, in units of the
    metric.
    """

    metric: str
    a: Mapping[str, Any]
    b: Mapping[str, Any]
    margin: float

    @property
    def metrics(self) -> tuple[str, ...]:
        return (self.metric,)

    @property
    def sentence(self) -> str:
        return f"{self.metric} of {said(self.a)} and of {said(self.b)} differ by less than {as_given(self.margin)}"

    def check_fields(self) -> None:
        super().check_fields()
        check_conditions("a", self.a)
        check_conditions("b", self.b)
        check_number("margin", self.margin)
        if self.margin <= 0:
            raise DeclarationError(f"margin is {self.margin!r}; give the smallest difference that matters, above 0.")

    def arms(self, grid: Grid) -> list[Arm]:
        return compared(grid, [self.a, self.b], self.where)

    def parts(self, results: "Results", arms: Sequence[Arm], level: float) -> Found:
        draws = self.draws(results, self.metric, arms)
        values = sample(draws, arms[0], arms[1])
        found = tost_welch(*values, self.margin, level) if len(values) == 2 else tost(*values, self.margin, level)
        return [Part.within(_what(self.metric, arms[0], arms[1]), found)], draws.notes


def _what(metric: str, a: Arm, b: Arm) -> str:
    return f"{metric} of {a.said} − {b.said}"
