"""Axis descent: units of the first layer that read one input each, a rule that prefers the axes of its inputs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from dlx.errors import DeclarationError
from dlx.optim.base import Gradient, State, Tensors, check_not_negative, check_shares


@dataclass(frozen=True)
class AxisDescent:
    """v ← μv + g, θ ← θ − ηv, but of each row of the first matrix the largest |w| alone; the others ← (1 − δ)w.

    lr: η; momentum: μ in [0, 1); decay: δ in [0, 1). The first matrix is the first parameter with two axes, (units,
    inputs). Not equivariant under rotations of the inputs, as SGD is, but under their permutations and signs.
    """

    lr: float
    momentum: float = 0.9
    decay: float = 0.02

    varies: ClassVar[tuple[str, ...]] = ("lr", "momentum", "decay")

    def check(self) -> None:
        """Raise DeclarationError where a value is out of its range."""
        check_not_negative(lr=self.lr)
        check_shares(momentum=self.momentum, decay=self.decay)

    def init(self, params: Tensors) -> State:
        """Velocity 0; raises DeclarationError for parameters without a matrix."""
        if not any(p.ndim == 2 for p in params.values()):
            raise DeclarationError("optimizer is AxisDescent, and no parameter of the model is a matrix; take an MLP.")
        return {"velocity": {k: p.new_zeros(p.shape) for k, p in params.items()}}

    def update(
        self, gradient: Gradient, state: State, params: Tensors, hyper: Mapping[str, Any]
    ) -> tuple[Tensors, State]:
        """One step."""
        velocity = {k: hyper["momentum"] * state["velocity"][k] + g for k, g in gradient(params).items()}
        stepped = {k: p - hyper["lr"] * velocity[k] for k, p in params.items()}
        first = next(k for k, p in params.items() if p.ndim == 2)
        size = params[first].abs()
        own = size == size.amax(dim=1, keepdim=True)
        stepped[first] = stepped[first].where(own, (1 - hyper["decay"]) * params[first])
        return stepped, {"velocity": velocity}
