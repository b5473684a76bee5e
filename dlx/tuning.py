"""What a study says about tuning: an objective, and a search on an equal budget in every cell.

Optuna carries the searches out (``dlx.search``); here they are only declared.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import ClassVar, Literal

from dlx.errors import DeclarationError
from dlx.markers import Choice, Marker
from dlx.pruning import Rule

TUNING_SEEDS = 1_000_000_000  # seeds from here on tune; those below are for final runs
FINALS_OF_A_SEARCH = 1_000_000  # apart, so that the final seeds of two searches of a cell are different draws


def check_whole(name: str, value: object, least: int) -> None:
    """Raise DeclarationError unless the value is a whole number that is not too small."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise DeclarationError(f"{name} is {value!r}; it must be a whole number of at least {least}.")


@dataclasses.dataclass(frozen=True)
class Objective:
    """A metric of the validation split and the direction in which it is better."""

    metric: str
    direction: Literal["minimize", "maximize"]

    @property
    def sign(self) -> int:
        """1 when smaller is better, −1 when larger is."""
        return 1 if self.direction == "minimize" else -1

    @property
    def tested(self) -> str:
        """Its metric on the test split."""
        return f"test/{self.metric.rpartition('/')[2]}"

    def is_of(self, metric: str) -> bool:
        """Whether a metric is its own, on whatever split."""
        return self.metric.rpartition("/")[2] == metric.rpartition("/")[2]

    def check(self) -> None:
        """Raise DeclarationError when it names no metric."""
        if not isinstance(self.metric, str) or not self.metric:
            raise DeclarationError(
                f"objective is {self.direction}({self.metric!r}); name a metric, as in dlx.minimize('val/loss')."
            )


def ranked(metrics: Iterable[str], objective: Objective | None) -> list[str]:
    """The metrics: the objective on the test split, the objective, others of the test split, the rest."""
    first = (objective.tested, objective.metric) if objective else ("", "")
    return sorted(metrics, key=lambda n: (n != first[0], n != first[1], not n.startswith("test/"), n))


def minimize(metric: str) -> Objective:
    """Tune, and name cells' best, by the smallest value of a metric such as ``"val/error"``."""
    return Objective(metric, "minimize")


def maximize(metric: str) -> Objective:
    """Tune, and name cells' best, by the largest value of a metric such as ``"val/accuracy"``."""
    return Objective(metric, "maximize")


@dataclasses.dataclass(frozen=True)
class Search:
    """Base of the searches.

    ``trials``: asks of one search. ``repeats``: independent searches in every cell. ``parallel``: asks that are made
    together, without knowing of each other's results. ``top``: the settings of a search that are run again, on
    ``recheck`` further tuning seeds each, before one is chosen (0: the best ask is chosen as it is). ``prune``: a rule
    that stops the worse asks early, each among those asked together.
    """

    trials: int
    repeats: int = 1
    parallel: int = 4
    top: int = 3
    recheck: int = 2
    prune: Rule | None = dataclasses.field(default=None, kw_only=True)

    algorithm: ClassVar[str] = "search"
    requires: ClassVar[str | None] = None
    ranges: ClassVar[int] = 0  # how many axes a cell must have at least, and then no choice; 0: any will do

    def check(self) -> None:
        """Raise DeclarationError naming the number that cannot be."""
        for f in dataclasses.fields(self):
            if f.name != "prune":
                check_whole(f"search.{f.name}", getattr(self, f.name), 0 if f.name == "recheck" else 1)
        self._check_prune()

    def _check_prune(self) -> None:
        if self.prune is None:
            return
        if not isinstance(self.prune, Rule):
            raise DeclarationError(f"search.prune is {self.prune!r}; give a rule, such as dlx.Halving(min_steps=100).")
        self.prune.check()
        if self.parallel < 2 or self.trials % self.parallel:
            raise DeclarationError(
                f"search.prune judges asks among those made together, but trials={self.trials} are not made of "
                f"whole generations of parallel={self.parallel}; make parallel 2 or more, and trials a multiple of it."
            )

    def check_axes(self, axes: Mapping[str, Marker], cell: str) -> None:
        """Raise DeclarationError when the search cannot tune these nuisance axes of a cell."""
        choices = [name for name, marker in axes.items() if isinstance(marker, Choice)]
        if self.ranges and (choices or len(axes) < self.ranges):
            problem = f"cannot tune the choice at template.{choices[0]}" if choices else f"finds only {', '.join(axes)}"
            raise DeclarationError(
                f"search=dlx.{type(self).__name__}(...) {problem} in the cell ({cell}) and needs {self.ranges} or more "
                "ranges and no choice; use dlx.TPE(...)."
            )

    def identity(self) -> str:
        """What a search is apart from its budget: changing it makes it another search, extending it does not."""
        budget = {"trials", "repeats", "top", "recheck"} | ({"prune"} if self.prune is None else set())
        said = [f"{f.name}={getattr(self, f.name)!r}" for f in dataclasses.fields(self) if f.name not in budget]
        return f"{self.algorithm}({', '.join(said)})"


@dataclasses.dataclass(frozen=True)
class Random(Search):
    """Independent random draws."""

    algorithm: ClassVar[str] = "random"


@dataclasses.dataclass(frozen=True)
class TPE(Search):
    """Tree-structured Parzen estimator (Bergstra et al. 2011); ``startup``: random asks before the first model."""

    startup: int = 4
    algorithm: ClassVar[str] = "tpe"


@dataclasses.dataclass(frozen=True)
class GP(Search):
    """Gaussian-process Bayesian optimisation; ``startup``: random asks before the first model."""

    startup: int = 4
    algorithm: ClassVar[str] = "gp"


@dataclasses.dataclass(frozen=True)
class CMA(Search):
    """CMA-ES (Hansen 2016), for two or more continuous nuisance axes."""

    algorithm: ClassVar[str] = "cma"
    requires: ClassVar[str | None] = "cmaes"
    ranges: ClassVar[int] = 2


@dataclasses.dataclass(frozen=True)
class QMC(Search):
    """Scrambled Sobol points: evenly spread, blind to results."""

    algorithm: ClassVar[str] = "qmc"
