"""Schedules of the learning rate: a factor on it for each step."""

import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

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


def scaled(hyper: Mapping[str, Any], factor: "torch.Tensor") -> dict[str, Any]:
    """The hyperparameters of an optimizer, and of its parts, with every ``lr`` times the factor."""
    return {
        name: scaled(value, factor) if isinstance(value, Mapping) else value * factor.to(value.dtype) if name == "lr" else value
        for name, value in hyper.items()
    }
