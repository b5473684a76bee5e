"""What a study says about tuning: an objective, and a search on an equal budget in every cell.

Optuna carries the searches out (``dlx.search``); here they are only declared.
"""

import dataclasses
from typing import ClassVar, Literal

from dlx.errors import DeclarationError

TUNING_SEEDS = 1_000_000_000  # seeds from here on tune; those below are for final runs

@dataclasses.dataclass(frozen=True)
class Objective:
    """A metric of the validation split and the direction in which it is better."""

    metric: str
    direction: Literal["minimize", "maximize"]

    @property
    def sign(self) -> int:
        """1 when smaller is better, −1 when larger is."""
        return 1 if self.direction == "minimize" else -1


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
    ``recheck`` further tuning seeds each, before one is chosen (0: the best ask is chosen as it is).
    """

    trials: int
    repeats: int = 1
    parallel: int = 4
    top: int = 3
    recheck: int = 2

    algorithm: ClassVar[str] = "search"
    requires: ClassVar[str | None] = None

    def check(self) -> None:
        """Raise DeclarationError naming the number that cannot be."""
        for name, least in (("trials", 1), ("repeats", 1), ("parallel", 1), ("top", 1), ("recheck", 0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise DeclarationError(f"search.{name} is {value!r}; it must be a whole number of at least {least}.")

    def identity(self) -> str:
        """What a search is apart from its budget: changing it makes it another search, extending it does not."""
        budget = {"trials", "repeats", "top", "recheck"}
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


@dataclasses.dataclass(frozen=True)
class QMC(Search):
    """Scrambled Sobol points: evenly spread, blind to results."""

    algorithm: ClassVar[str] = "qmc"
