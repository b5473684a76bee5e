"""Lion (Chen et al. 2023, arXiv:2302.06675)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from dlx.optim.base import Gradient, State, Tensors, check_not_negative, check_shares


@dataclass(frozen=True)
class Lion:
    """θ ← (1 − ηλ)θ − η sign(β₁m + (1−β₁)g), then m ← β₂m + (1−β₂)g.

    lr: η; betas: (β₁, β₂), each in [0, 1); weight_decay: λ, decoupled from the gradient.
    """

    lr: float
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 0.0

    varies: ClassVar[tuple[str, ...]] = ("lr", "betas", "weight_decay")

    def check(self) -> None:
        """Raise DeclarationError where a value is out of its range."""
        check_not_negative(lr=self.lr, weight_decay=self.weight_decay)
        check_shares(**{"betas[0]": self.betas[0], "betas[1]": self.betas[1]})

    def init(self, params: Tensors) -> State:
        """Momentum 0."""
        return {"momentum": {k: p.new_zeros(p.shape) for k, p in params.items()}}

    def update(
        self, gradient: Gradient, state: State, params: Tensors, hyper: Mapping[str, Any]
    ) -> tuple[Tensors, State]:
        """One step."""
        grads, old = gradient(params), state["momentum"]
        (beta1, beta2), lr = hyper["betas"], hyper["lr"]
        kept = 1 - lr * hyper["weight_decay"]
        stepped = {k: kept * p - lr * (beta1 * old[k] + (1 - beta1) * grads[k]).sign() for k, p in params.items()}
        return stepped, {"momentum": {k: beta2 * old[k] + (1 - beta2) * g for k, g in grads.items()}}
