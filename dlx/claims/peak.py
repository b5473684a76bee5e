"""Peaks: over an axis, a metric is higher at a place than at two ends, all three named beforehand."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dlx.claims.arms import Arm, Grid
from dlx.claims.base import Claim, Test, check_number, location, paired, same_kind
from dlx.claims.finding import Part
from dlx.claims.verdict import as_given
from dlx.errors import DeclarationError
from dlx.stats import peak_t

if TYPE_CHECKING:
    from dlx.results import Results


@dataclass(frozen=True)
class Peak(Claim):
    """A metric is higher at a place on an axis of numbers than at a lower and at a higher value of it, ``by`` or more.

    ``at``: a value of the axis, compared with both ends (intersection–union, Berger 1982), or a window (from, to), in
    which the highest value stands out most: the max-statistic over the window's values (Hothorn, Bretz and Westfall
    2008). ``left``, ``right``: values of the axis below and above it; ``by``: in units of the metric; ``test``: of a
    single place, as in ``Lower``.
    """

    metric: str
    over: str
    at: float | tuple[float, float]
    left: float
    right: float
    by: float = 0.0
    test: Test = field(default="t", kw_only=True)

    @property
    def metrics(self) -> tuple[str, ...]:
        return (self.metric,)

    @property
    def sentence(self) -> str:
        first, last = self._window
        place = f"= {as_given(first)}" if first == last else f"in [{as_given(first)}, {as_given(last)}]"
        by = f" by at least {as_given(self.by)}" if self.by else ""
        ends = f"{as_given(self.left)} and {as_given(self.right)}"
        return f"{self.metric} peaks at {self.over} {place}, above its values at {ends}{by}"

    @property
    def _window(self) -> tuple[float, float]:
        return self.at if isinstance(self.at, tuple) else (self.at, self.at)

    def check_fields(self) -> None:
        super().check_fields()
        check_number("by", self.by, 0.0)
        if isinstance(self.at, tuple) and len(self.at) != 2:
            raise DeclarationError(f"at is {self.at!r}; give a value of the axis, or (from, to).")
        for name, value in (("left", self.left), ("right", self.right), *(("at", v) for v in self._window)):
            check_number(name, value)
        first, last = self._window
        if not self.left < first <= last < self.right:
            raise DeclarationError(
                f"at={self.at!r} does not lie between left={self.left!r} and right={self.right!r}; correct them."
            )
        if isinstance(self.at, tuple) and self.test != "t":
            raise DeclarationError(f"test={self.test!r} is for a peak at one value; leave it out for a window.")

    def arms(self, grid: Grid) -> list[Arm]:
        first, last = self._window
        inside = [v for v in grid.numbers(self.over, self.where, 3) if first <= v <= last]
        if not inside:
            raise DeclarationError(
                f"the axis {self.over!r} has no value at {self.at!r}; it has "
                f"{', '.join(map(str, grid.numbers(self.over, self.where, 3)))}."
            )
        arms = grid.arms([{self.over: v} for v in (self.left, *inside, self.right)], self.where)
        same_kind(arms, "peak")
        return arms

    def parts(self, results: "Results", arms: Sequence[Arm], level: float) -> tuple[list[Part], tuple[str, ...]]:
        draws = self.draws(results, self.metric, arms)
        values = paired(draws, arms)
        left, *inside, right = arms
        rises = values[:, 1:-1] - values[:, :1], values[:, 1:-1] - values[:, -1:]
        if not isinstance(self.at, tuple):
            return [
                Part.above(f"{self.metric} of {inside[0].said} − {end.said}",
                           location(rise[:, 0], self.by, self.test, level))
                for end, rise in zip((left, right), rises, strict=True)
            ], draws.notes
        best, found = peak_t(*rises, self.by, level)
        what = f"{self.metric} of {inside[best].said} − the higher of {left.said} and {right.said}"
        return [Part.above(what, found)], draws.notes
