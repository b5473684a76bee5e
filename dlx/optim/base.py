"""What any optimizer offers: a pure ``init`` and a pure ``update``, for one model."""

import math
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, runtime_checkable

from dlx.errors import DeclarationError
from dlx.shelf import Shelf

if typing.TYPE_CHECKING:
    import torch

Tensors: TypeAlias = "dict[str, torch.Tensor]"  # name of a parameter → tensor of its shape
State: TypeAlias = dict[str, Any]  # nested dicts of tensors
Gradient: TypeAlias = Callable[[Tensors], Tensors]  # parameters → gradient there of the mean loss of the step's batch


@runtime_checkable
class Optimizer(Protocol, metaclass=Shelf):
    """A rule for steps; ``varies`` on the class names the fields that enter ``update`` as 0-d tensors in ``hyper``."""

    def init(self, params: Tensors) -> State:
        """The state before the first step."""

    def update(
        self, gradient: Gradient, state: State, params: Tensors, hyper: Mapping[str, Any]
    ) -> tuple[Tensors, State]:
        """Parameters and state after one step; changes none of its arguments."""


Optimizer.exemplify("optim.SGD(lr=0.1)")


@dataclass(frozen=True)
class Wrapper:
    """A rule around another one, ``inner``, which sees its hyperparameters as ``hyper["inner"]``."""

    inner: Optimizer

    def init(self, params: Tensors) -> State:
        """The inner rule's state, under ``inner``."""
        return {"inner": self.inner.init(params)}

    def evaluated(self, state: State, params: Tensors) -> Tensors:
        """The parameters that are measured and kept."""
        return evaluated(self.inner, state["inner"], params)


def evaluated(optimizer: Optimizer, state: State, params: Tensors) -> Tensors:
    """The parameters that are measured and kept: those of the last step, or what a wrapper makes of them."""
    return optimizer.evaluated(state, params) if isinstance(optimizer, Wrapper) else params


def averages(old: Tensors, new: Tensors, kept: "torch.Tensor") -> Tensors:
    """Exponential averages after one more value: βm + (1−β)g for each tensor; kept: β, 0-d."""
    return {k: kept * old[k] + (1 - kept) * g for k, g in new.items()}


def global_norm(tensors: Tensors) -> "torch.Tensor":
    """The ℓ₂ norm over all entries of all tensors, 0-d."""
    import torch

    return torch.stack([t.square().sum() for t in tensors.values()]).sum().sqrt()


def check_not_negative(**fields: float) -> None:
    """Raise DeclarationError for a field that is negative or not finite."""
    for name, value in fields.items():
        if not 0.0 <= value < math.inf:
            raise DeclarationError(f"{name} is {value}; it must be finite and not negative.")


def check_shares(**fields: float) -> None:
    """Raise DeclarationError for a field outside [0, 1)."""
    for name, value in fields.items():
        if not 0.0 <= value < 1.0:
            raise DeclarationError(f"{name} is {value}; it must lie in [0, 1).")
