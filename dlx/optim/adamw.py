"""Adam with decoupled weight decay (Loshchilov and Hutter 2019, arXiv:1711.05101)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dlx.optim.adam import Adam, adaptive
from dlx.optim.base import Gradient, State, Tensors


@dataclass(frozen=True)
class AdamW(Adam):
    """θ ← (1 − ηλ)θ − η m̂ / (√ŝ + ε) with the moments of Adam, as ``torch.optim.AdamW``.

    lr: η; betas: (β₁, β₂), each in [0, 1); eps: ε; weight_decay: λ, decoupled from the gradient.
    """

    weight_decay: float = 0.01

    def update(
        self, gradient: Gradient, state: State, params: Tensors, hyper: Mapping[str, Any]
    ) -> tuple[Tensors, State]:
        """One step."""
        directions, state = adaptive(gradient(params), state, hyper)
        lr, kept = hyper["lr"], 1 - hyper["lr"] * hyper["weight_decay"]
        return {k: kept * p - lr * directions[k] for k, p in params.items()}, state
