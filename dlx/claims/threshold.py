"""Thresholds: a metric is below or above a value in every cell."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dlx.claims.arms import Arm, Grid
from dlx.claims.base import Claim, Test, check_number, location
from dlx.claims.finding import Part
from dlx.claims.verdict import as_given

if TYPE_CHECKING:
    from dlx.results import Results


@dataclass(frozen=True)
class _Threshold(Claim):
    """What ``Below`` and ``Above`` share."""

    metric: str
    value: float
    test: Test = field(default="t", kw_only=True)

    @property
    def metrics(self) -> tuple[str, ...]:
        return (self.metric,)

    def check_fields(self) -> None:
        super().check_fields()
        check_number("value", self.value)

    def arms(self, grid: Grid) -> list[Arm]:
        return grid.arms([{}], self.where)

    def parts(self, results: "Results", arms: Sequence[Arm], level: float) -> tuple[list[Part], tuple[str, ...]]:
        draws, grid = self.draws(results, self.metric, arms), Grid(results.grid, results.axes)
        side = Part.below if isinstance(self, Below) else Part.above
        return [
            side(f"{self.metric} of {arm.said}", location(draws.of(arm)[1], self.value, self.test, level))
            for arm in grid.each(arms[0])
        ], draws.notes


@dataclass(frozen=True)
class Below(_Threshold):
    """A metric is below ``value``, in its units, in every cell of ``where`` (intersection–union, Berger 1982).

    ``test``: as in ``Lower``.
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
