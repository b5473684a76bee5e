"""After which updates something is measured."""

from dataclasses import dataclass

from dlx.errors import DeclarationError


@dataclass(frozen=True)
class LogSpaced:
    """At most so many ``points`` from 1 to the total, spaced evenly in their logarithm."""

    points: int = 20

    def check(self) -> None:
        """Raise DeclarationError where a value is out of its range."""
        if self.points < 1:
            raise DeclarationError(f"points is {self.points}; give at least 1 step to measure at.")

    def steps(self, total: int) -> list[int]:
        """In order, the total among them."""
        inner = range(self.points - 1)
        return sorted({round(total ** (i / (self.points - 1))) for i in inner} | {total})


@dataclass(frozen=True)
class Every:
    """After every ``interval`` updates, and after the last."""

    interval: int

    def check(self) -> None:
        """Raise DeclarationError where a value is out of its range."""
        if self.interval < 1:
            raise DeclarationError(f"interval is {self.interval}; it is in updates and must be at least 1.")

    def steps(self, total: int) -> list[int]:
        """In order, the total among them."""
        return sorted({*range(self.interval, total, self.interval), total})


@dataclass(frozen=True)
class At:
    """After these numbers of updates, as far as they are reached, and after the last: ``At((100, 1_000))``."""

    points: tuple[int, ...]

    def check(self) -> None:
        """Raise DeclarationError where a value is out of its range."""
        if any(point < 1 for point in self.points):
            raise DeclarationError(f"points is {self.points}; each is a number of updates and must be at least 1.")

    def steps(self, total: int) -> list[int]:
        """In order, the total among them."""
        return sorted({point for point in self.points if point < total} | {total})
