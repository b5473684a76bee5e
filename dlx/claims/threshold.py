"""Thresholds: a metric is below or above a value in every cell."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, get_args

from dlx.claims.arms import Arm, Grid
from dlx.claims.base import Claim, check_number, location
from dlx.claims.finding import Part
from dlx.claims.items import ItemTest, check_block
from dlx.claims.verdict import as_given

if TYPE_CHECKING:
    from dlx.results import Results


@dataclass(frozen=True)
class _Threshold(Claim):
    """What ``Below`` and ``Above`` share."""

    metric: str
    value: float
    test: ItemTest = field(default="t", kw_only=True)
    block: int | None = field(default=None, kw_only=True)
    tests: ClassVar[tuple[str, ...]] = get_args(ItemTest)

    @property
    def metrics(self) -> tuple[str, ...]:
        return (self.metric,)

    def check_fields(self) -> None:
        super().check_fields()
        check_number("value", self.value)
        check_block(self.test, self.block)

    def arms(self, grid: Grid) -> list[Arm]:
        return grid.arms([{}], self.where)

    def parts(self, results: "Results", arms: Sequence[Arm], level: float) -> tuple[list[Part], tuple[str, ...]]:
        draws, grid = self.draws(results, self.metric, arms), Grid(results.grid, results.axes)
        side = Part.below if isinstance(self, Below) else Part.above
        found = [location(draws.of(arm)[1], self.value, self.test, level, self.block) for arm in grid.each(arms[0])]
        said = [f"{self.metric} of {arm.said}" for arm in grid.each(arms[0])]
        return list(map(side, said, found)), draws.notes


@dataclass(frozen=True)
class Below(_Threshold):
    """A metric is below ``value``, in its units, in every cell of ``where`` (intersection–union, Berger 1982).

    ``test``, ``block``: as in ``Lower``.
    """

    @property
    def sentence(self) -> str:
        return f"{self.metric} is below {as_given(self.value)} in every cell"


@dataclass(frozen=True)
class Above(_Threshold):
    """A metric is above ``value``, in its units, in every cell of ``where``; fields as in ``Below``."""

    @property
    def sentence(self) -> str:
        return f"{self.metric} is above {as_given(self.value)} in every cell"
