"""Correlations of two metrics across cells."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from dlx.claims.arms import Arm, Grid
from dlx.claims.base import Claim, check_number
from dlx.claims.finding import Part
from dlx.claims.verdict import as_given
from dlx.errors import DeclarationError
from dlx.stats import correlations

if TYPE_CHECKING:
    from dlx.results import Results

Kind = Literal["spearman", "pearson"]
FEWEST_CELLS = 4  # of three points the correlation is rather often 1 by chance


@dataclass(frozen=True)
class Correlated(Claim):
    """Two metrics go together across cells: each unit's correlation over cells is above, or below, a bound.

    Tested over units on Fisher's z (1921). ``above``, ``below``: between −1 and 1, one of them; ``kind``: of ranks
    (Spearman 1904), or linear (``pearson``).
    """

    x_metric: str
    y_metric: str
    above: float | None = None
    below: float | None = None
    kind: Kind = "spearman"

    @property
    def metrics(self) -> tuple[str, ...]:
        return self.x_metric, self.y_metric

    @property
    def sentence(self) -> str:
        bound = f"below {as_given(self.below)}" if self.below is not None else f"above {as_given(self.above or 0.0)}"
        return f"the {self.kind} correlation of {self.x_metric} and {self.y_metric} across cells is {bound}"

    def check_fields(self) -> None:
        super().check_fields()
        if (self.above is None) == (self.below is None):
            raise DeclarationError("give one of above= and below=.")
        name = "above" if self.above is not None else "below"
        check_number(name, getattr(self, name))
        if not -1 < getattr(self, name) < 1:
            raise DeclarationError(f"{name} is {getattr(self, name)!r}; give a correlation between −1 and 1.")
        if self.kind not in get_args(Kind):
            raise DeclarationError(f"kind is {self.kind!r}; it must be {' or '.join(map(repr, get_args(Kind)))}.")

    def arms(self, grid: Grid) -> list[Arm]:
        (arm,) = grid.arms([{}], self.where)
        if len(arm.rows) < FEWEST_CELLS:
            raise DeclarationError(
                f"a correlation across {len(arm.rows)} cells says little; give {FEWEST_CELLS} or more by where=."
            )
        return [arm]

    def parts(self, results: "Results", arms: Sequence[Arm], level: float) -> tuple[list[Part], tuple[str, ...]]:
        x, y = (self.draws(results, metric, arms) for metric in self.metrics)
        side, null = (Part.above, self.above) if self.above is not None else (Part.below, self.below)
        found = correlations(x.complete(), y.complete(), level, null or 0.0, self.kind)
        what = f"{self.kind} correlation of {self.x_metric} and {self.y_metric}"
        return [side(what, found)], tuple(dict.fromkeys((*x.notes, *y.notes)))
