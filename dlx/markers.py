"""Markers: what stands in a template where values will be.

``grid`` marks a *scientific* axis (crossed as cells); ``uniform``, ``loguniform``, ``randint`` and ``choice`` mark
*nuisance* axes (tuned in every cell, names as in Ray Tune); ``derived`` marks a value that follows from others.
The same marker object used twice is one axis.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar, cast

from dlx.coercion import exact
from dlx.errors import DeclarationError

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Marker:
    """Base of all markers; equality is identity, because one object is one axis."""

    spelled: ClassVar[str] = "marker"

    def check(self, place: str) -> None:
        """Raise DeclarationError when the marker at this place stands for no value."""


@dataclass(frozen=True, eq=False, repr=False)
class Grid(Marker):
    options: tuple[Any, ...]
    spelled: ClassVar[str] = "grid"

    def __repr__(self) -> str:
        return f"{self.spelled}({', '.join(map(repr, self.options))})"

    def check(self, place: str) -> None:
        if not self.options:
            raise DeclarationError(f"{place} is an empty {self.spelled}(); give it at least one value.")


@dataclass(frozen=True, eq=False, repr=False)
class Choice(Grid):
    spelled: ClassVar[str] = "choice"

    def check(self, place: str) -> None:
        super().check(place)
        if len(set(map(repr, self.options))) < len(self.options):
            raise DeclarationError(f"{place}: {self!r} has an option twice; give each once.")


@dataclass(frozen=True, eq=False, repr=False)
class Range(Marker):
    low: float
    high: float

    def __repr__(self) -> str:
        return f"{self.spelled}({self.low!r}, {self.high!r})"

    def check(self, place: str) -> None:
        for bound in (self.low, self.high):
            if isinstance(bound, bool) or not isinstance(bound, int | float) or not math.isfinite(bound):
                raise DeclarationError(f"{place}: {self!r} has the bound {bound!r}; bounds must be finite numbers.")
        if self.low >= self.high:
            raise DeclarationError(
                f"{place}: {self!r} has its bounds reversed; write {self.spelled}(low, high) with low < high."
            )


@dataclass(frozen=True, eq=False, repr=False)
class Uniform(Range):
    spelled: ClassVar[str] = "uniform"


@dataclass(frozen=True, eq=False, repr=False)
class LogUniform(Range):
    spelled: ClassVar[str] = "loguniform"

    def check(self, place: str) -> None:
        super().check(place)
        if self.low <= 0:
            raise DeclarationError(f"{place}: {self!r} has a bound that is not positive; a log scale needs low > 0.")


@dataclass(frozen=True, eq=False, repr=False)
class RandInt(Range):
    spelled: ClassVar[str] = "randint"

    def check(self, place: str) -> None:
        super().check(place)
        if int(self.low) != self.low or int(self.high) != self.high:
            raise DeclarationError(f"{place}: {self!r} must have whole bounds.")


@dataclass(frozen=True, eq=False, repr=False)
class Derived(Marker):
    function: Callable[[Any], Any]
    name: str
    spelled: ClassVar[str] = "derived"

    def __repr__(self) -> str:
        return f"derived({self.name})"

    def check(self, place: str) -> None:
        if not callable(self.function) or not isinstance(self.name, str) or not self.name:
            raise DeclarationError(f"{place}: derived takes a function of the trial and name='…', as it is reported.")


def grid(*values: T) -> T:
    """A scientific axis: every value is crossed with those of all other grids; values may be whole components."""
    return cast(T, Grid(tuple(exact(v) for v in values)))


def uniform(low: float, high: float) -> float:
    """A nuisance axis, tuned on a linear scale between ``low`` and ``high``."""
    return cast(float, Uniform(exact(low), exact(high)))


def loguniform(low: float, high: float) -> float:
    """A nuisance axis, tuned on a logarithmic scale between ``low`` > 0 and ``high``."""
    return cast(float, LogUniform(exact(low), exact(high)))


def randint(low: int, high: int) -> int:
    """A nuisance axis over the integers ``low`` to ``high`` − 1 (as in Ray Tune)."""
    return cast(int, RandInt(exact(low), exact(high)))


def choice(*values: T) -> T:
    """A nuisance axis over a few options; an option may hold markers of its own."""
    return cast(T, Choice(tuple(exact(v) for v in values)))


def derived(function: Callable[[Any], T], name: str) -> T:
    """A value that follows from the resolved trial: ``derived(lambda t: 0.1 / t.model.width, name="mup")``.

    The value is part of the key, the function is not.
    """
    return cast(T, Derived(function, name))
