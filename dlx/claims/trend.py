"""Trends: a metric over a numeric axis is monotone, or has a slope within bounds."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

import numpy as np

from dlx.claims.arms import Arm, Grid
from dlx.claims.base import Claim, Test, check_number, location, paired, same_kind
from dlx.claims.finding import Part
from dlx.claims.verdict import as_given
from dlx.errors import DeclarationError, DlxError

if TYPE_CHECKING:
    from dlx.results import Results


@dataclass(frozen=True)
class Trend(Claim):
    """A metric is ``falling`` or ``rising`` over an axis at every step, or its slope lies between two bounds.

    ``over``: an axis of numbers; ``slope``: (low, high) in units of the metric by those of the axis, None for no bound
    on that side: each unit's least-squares slope, tested over units; ``log``: of logarithms of both, so that the slope
    is the exponent of a power law; ``direction``: all steps between neighbours (intersection–union, Berger 1982). Give
    one of ``slope`` and ``direction``; ``test``: ``t``, ``exact`` or ``trimmed``, as in ``Lower``.
    """

    metric: str
    over: str
    slope: tuple[float | None, float | None] | None = None
    direction: Literal["falling", "rising"] | None = None
    log: bool = False
    test: Test = field(default="t", kw_only=True)

    @property
    def metrics(self) -> tuple[str, ...]:
        return (self.metric,)

    @property
    def sentence(self) -> str:
        if self.slope is None:
            return f"{self.metric} is {self.direction} in {self.over} at every step"
        low, high = (None if bound is None else as_given(bound) for bound in self.slope)
        within = f"below {high}" if low is None else f"above {low}" if high is None else f"between {low} and {high}"
        return f"the {self._slope} of {self.metric} in {self.over} is {within}"

    @property
    def _slope(self) -> str:
        return "slope of logarithms" if self.log else "slope"

    def check_fields(self) -> None:
        super().check_fields()
        if (self.slope is None) == (self.direction is None):
            raise DeclarationError("give one of slope=(low, high) and direction='falling' or 'rising'.")
        if self.slope is None:
            if self.direction not in ("falling", "rising") or self.log:
                raise DeclarationError("direction= is 'falling' or 'rising', and log= is for a slope.")
            return
        bounds = [b for b in self.slope if b is not None] if isinstance(self.slope, tuple) else []
        for bound in bounds:
            check_number("slope", bound)
        if not bounds or len(self.slope) != 2 or (len(bounds) == 2 and not bounds[0] < bounds[1]):
            raise DeclarationError(f"slope is {self.slope!r}; give (low, high), one of them None for no bound there.")

    def arms(self, grid: Grid) -> list[Arm]:
        arms = grid.arms([{self.over: v} for v in grid.numbers(self.over, self.where, 2, self.log)], self.where)
        same_kind(arms, "trend")
        return arms

    def parts(self, results: "Results", arms: Sequence[Arm], level: float) -> tuple[list[Part], tuple[str, ...]]:
        draws = self.draws(results, self.metric, arms)
        values = paired(draws, arms)
        if self.direction is not None:
            side = Part.below if self.direction == "falling" else Part.above
            return [
                side(f"{self.metric} of {b.said} − {a.said}", location(step, 0.0, self.test, level))
                for (a, b), step in zip(pairwise(arms), np.diff(values, axis=1).T, strict=True)
            ], draws.notes
        x = np.array(Grid(results.grid, results.axes).numbers(self.over, self.where, 2), dtype=float)
        if self.log:
            if not (values > 0).all():
                raise DlxError(f"A logarithm of {self.metric} was asked, but a mean is 0 or below; give log=False.")
            x, values = np.log(x), np.log(values)
        centred = x - x.mean()
        slopes = values @ centred / (centred @ centred)
        return self._within(slopes, level), draws.notes

    def _within(self, slopes: "np.ndarray[tuple[int], np.dtype[np.float64]]", level: float) -> list[Part]:
        assert self.slope is not None
        what = f"{self._slope} of {self.metric} in {self.over}"
        low, high = self.slope
        parts = [] if low is None else [Part.above(what, location(slopes, low, self.test, level))]
        return parts if high is None else [*parts, Part.below(what, location(slopes, high, self.test, level))]
