"""Schedules of the learning rate: a factor on it for each step."""

import math
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

from dlx.errors import DeclarationError
from dlx.optim.base import check_shares
from dlx.shelf import Shelf

if typing.TYPE_CHECKING:
    import torch


@runtime_checkable
class Schedule(Protocol, metaclass=Shelf):
    """A factor on every learning rate; ``varies`` on the class names the fields that enter as tensors in ``hyper``."""

    def factor(self, step: "torch.Tensor", steps: int, hyper: Mapping[str, Any]) -> "torch.Tensor":
        """The factor, 0-d, in update number ``step`` (0-d, the first is 0) of ``steps``."""


Schedule.exemplify("optim.Cosine()")


@dataclass(frozen=True)
class Constant:
    """Factor 1 throughout."""

    def factor(self, step: "torch.Tensor", steps: int, hyper: Mapping[str, Any]) -> "torch.Tensor":
        """1, 0-d."""
        return step.new_ones(())


@dataclass(frozen=True)
class WarmUp:
    """Factor (t + 1)/w for t < w, then 1, where w is the number of steps of warm-up, as ``LinearLR`` from 1/w.

    warmup: w as a share of all steps, in [0, 1), rounded to whole ones.
    """

    warmup: float = 0.05

    varies: ClassVar[tuple[str, ...]] = ("warmup",)

    def check(self) -> None:
        """Raise DeclarationError where a value is out of its range."""
        check_shares(warmup=self.warmup)

    def factor(self, step: "torch.Tensor", steps: int, hyper: Mapping[str, Any]) -> "torch.Tensor":
        """min(1, (t + 1)/w), 0-d."""
        return rise(step, steps, hyper)[0]


@dataclass(frozen=True)
class Cosine:
    """Warm-up over w steps, then f + (1−f)(1 + cos π(t−w)/(T−w))/2, as ``CosineAnnealingLR`` (arXiv:1608.03983).

    warmup: w as a share of all T steps, in [0, 1); final: f, which step T itself would have, in [0, 1].
    """

    warmup: float = 0.0
    final: float = 0.0

    varies: ClassVar[tuple[str, ...]] = ("warmup", "final")

    def check(self) -> None:
        """Raise DeclarationError where a value is out of its range."""
        check_shares(warmup=self.warmup)
        check_final(self.final)

    def factor(self, step: "torch.Tensor", steps: int, hyper: Mapping[str, Any]) -> "torch.Tensor":
        """The product of warm-up and cosine, 0-d."""
        warm, start = rise(step, steps, hyper)
        progress = ((step - start) / (steps - start)).clamp(min=0)
        return warm * (hyper["final"] + (1 - hyper["final"]) * (1 + (math.pi * progress).cos()) / 2)


@dataclass(frozen=True)
class StepDecay:
    """Warm-up, then γ to the power of how many milestones have been passed, as ``MultiStepLR``.

    milestones: shares of all steps, each in [0, 1], rounded to whole steps; gamma: γ, in [0, 1]; warmup: as of WarmUp.
    """

    milestones: tuple[float, ...] = (0.5, 0.75)
    gamma: float = 0.1
    warmup: float = 0.0

    varies: ClassVar[tuple[str, ...]] = ("gamma", "warmup")

    def check(self) -> None:
        """Raise DeclarationError where a value is out of its range."""
        check_shares(warmup=self.warmup)
        for i, share in enumerate(self.milestones):
            check_final(share, f"milestones[{i}]")
        check_final(self.gamma, "gamma")

    def factor(self, step: "torch.Tensor", steps: int, hyper: Mapping[str, Any]) -> "torch.Tensor":
        """The product of warm-up and steps, 0-d."""
        factor = rise(step, steps, hyper)[0]
        for share in self.milestones:
            factor = factor * hyper["gamma"] ** (step >= round(share * steps))
        return factor


@dataclass(frozen=True)
class WSD:
    """Warm-up, stable, decay: 1 until the last d steps, then linear to f (Hu et al. 2024, arXiv:2404.06395).

    warmup: as of WarmUp; decay: d as a share of all steps, in (0, 1 − warmup], rounded to whole ones; final: f, which
    the step after the last would have, in [0, 1]. Linear as in Hägele et al. 2024 (arXiv:2405.18392).
    """

    warmup: float = 0.05
    decay: float = 0.2
    final: float = 0.0

    varies: ClassVar[tuple[str, ...]] = ("warmup", "decay", "final")

    def check(self) -> None:
        """Raise DeclarationError where a value is out of its range."""
        check_shares(warmup=self.warmup)
        check_final(self.final)
        if not 0.0 < self.decay <= 1.0 - self.warmup:
            raise DeclarationError(
                f"decay is {self.decay}; it must be positive, and at most the {1.0 - self.warmup} that warmup leaves."
            )

    def factor(self, step: "torch.Tensor", steps: int, hyper: Mapping[str, Any]) -> "torch.Tensor":
        """The product of warm-up and decay, 0-d."""
        last = (hyper["decay"] * steps).round().clamp(min=1)
        left = ((steps - step) / last).clamp(max=1)
        return rise(step, steps, hyper)[0] * (hyper["final"] + (1 - hyper["final"]) * left)


def rise(step: "torch.Tensor", steps: int, hyper: Mapping[str, Any]) -> "tuple[torch.Tensor, torch.Tensor]":
    """The factor of warm-up in a step, and how many steps it takes; both 0-d."""
    start = (hyper["warmup"] * steps).round()
    return ((step + 1) / start.clamp(min=1)).clamp(max=1), start


def check_final(value: float, name: str = "final") -> None:
    """Raise DeclarationError for a share outside [0, 1]."""
    if not 0.0 <= value <= 1.0:
        raise DeclarationError(f"{name} is {value}; it must lie in [0, 1].")


def scaled(hyper: Mapping[str, Any], factor: "torch.Tensor") -> dict[str, Any]:
    """The hyperparameters of an optimizer, and of its parts, with every ``lr`` times the factor."""
    scaling: dict[str, Any] = {}
    for name, value in hyper.items():
        if isinstance(value, Mapping):
            scaling[name] = scaled(value, factor)
        else:
            scaling[name] = value * factor.to(value.dtype) if name == "lr" else value
    return scaling
