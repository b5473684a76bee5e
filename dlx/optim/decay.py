"""Weight decay that is decoupled from the gradient, around any rule (Loshchilov and Hutter 2019, arXiv:1711.05101)."""

import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from dlx.optim.base import Gradient, State, Tensors, Wrapper, check_not_negative

if typing.TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class DecoupledDecay(Wrapper):
    """θ ← θ − ηλθ and, from the same θ, the step of the inner rule, whose learning rate is η.

    weight_decay: λ, of all parameters.
    """

    weight_decay: float = 0.01

    varies: ClassVar[tuple[str, ...]] = ("weight_decay",)

    def check(self) -> None:
        """Raise DeclarationError where a value is out of its range."""
        check_not_negative(weight_decay=self.weight_decay)

    def update(
        self, gradient: Gradient, state: State, params: Tensors, hyper: Mapping[str, Any]
    ) -> tuple[Tensors, State]:
        """One step."""
        stepped, inner = self.inner.update(gradient, state["inner"], params, hyper["inner"])
        shrink = hyper["weight_decay"] * rate(hyper["inner"])
        return {k: stepped[k] - shrink * p for k, p in params.items()}, {"inner": inner}


def rate(hyper: Mapping[str, Any]) -> "torch.Tensor":
    """The learning rate of a rule, 0-d, however many wrappers are around it."""
    return hyper["lr"] if "lr" in hyper else rate(hyper["inner"])
