"""Stochastic gradient descent with momentum."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from dlx.errors import DeclarationError
from dlx.optim.base import Gradient, State, Tensors, check_not_negative, check_shares


@dataclass(frozen=True)
class SGD:
    """g ← g + λθ, v ← μv + g, θ ← θ − ηv (with Nesterov: θ ← θ − η(g + μv)), as ``torch.optim.SGD``.

    lr: η; momentum: μ in [0, 1); weight_decay: λ, coupled (an L2 penalty λ‖θ‖²/2).
    """

    lr: float
    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0

    varies: ClassVar[tuple[str, ...]] = ("lr", "momentum", "weight_decay")

    def check(self) -> None:
        """Raise DeclarationError where a value is out of its range."""
        check_not_negative(lr=self.lr, weight_decay=self.weight_decay)
        check_shares(momentum=self.momentum)
        if self.nesterov and self.momentum == 0.0:
            raise DeclarationError("nesterov needs momentum; give momentum > 0 or nesterov=False.")

    def init(self, params: Tensors) -> State:
        """Velocity 0."""
        return {"velocity": {k: p.new_zeros(p.shape) for k, p in params.items()}}

    def update(
        self, gradient: Gradient, state: State, params: Tensors, hyper: Mapping[str, Any]
    ) -> tuple[Tensors, State]:
        """One step."""
        lr, momentum, decay = hyper["lr"], hyper["momentum"], hyper["weight_decay"]
        grads, stepped, velocities = gradient(params), {}, {}
        for k, p in params.items():
            g = grads[k] + decay * p
            v = momentum * state["velocity"][k] + g
            stepped[k] = p - lr * (g + momentum * v if self.nesterov else v)
            velocities[k] = v
        return stepped, {"velocity": velocities}
