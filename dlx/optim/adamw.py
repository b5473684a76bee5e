"""Adam with decoupled weight decay (Loshchilov and Hutter 2019, arXiv:1711.05101)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from dlx.optim.adam import adaptive, moments
from dlx.optim.base import State, Tensors, check_not_negative, check_shares


@dataclass(frozen=True)
class AdamW:
    """θ ← (1 − ηλ)θ − η m̂ / (√ŝ + ε) with the moments of Adam, as ``torch.optim.AdamW``.

    lr: η; betas: (β₁, β₂), each in [0, 1); eps: ε; weight_decay: λ, decoupled from the gradient.
    """

    lr: float
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.01

    varies: ClassVar[tuple[str, ...]] = ("lr", "betas", "eps", "weight_decay")

    def check(self) -> None:
        """Raise DeclarationError where a value is out of its range."""
        check_not_negative(lr=self.lr, eps=self.eps, weight_decay=self.weight_decay)
        check_shares(**{"betas[0]": self.betas[0], "betas[1]": self.betas[1]})

    def init(self, params: Tensors) -> State:
        """Moments 0 after step 0."""
        return moments(params)

    def update(self, grads: Tensors, state: State, params: Tensors, hyper: Mapping[str, Any]) -> tuple[Tensors, State]:
        """One step."""
        directions, state = adaptive(grads, state, hyper)
        lr, kept = hyper["lr"], 1 - hyper["lr"] * hyper["weight_decay"]
        return {k: kept * p - lr * directions[k] for k, p in params.items()}, state
