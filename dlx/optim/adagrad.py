"""Adagrad (Duchi, Hazan and Singer 2011, JMLR 12)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from dlx.optim.base import Gradient, State, Tensors, check_not_negative


@dataclass(frozen=True)
class Adagrad:
    """g ← g + λθ, s ← s + g², θ ← θ − ηg / (√s + ε), as ``torch.optim.Adagrad``.

    lr: η; eps: ε; weight_decay: λ, coupled (an L2 penalty λ‖θ‖²/2).
    """

    lr: float
    eps: float = 1e-10
    weight_decay: float = 0.0

    varies: ClassVar[tuple[str, ...]] = ("lr", "eps", "weight_decay")

    def check(self) -> None:
        """Raise DeclarationError where a value is out of its range."""
        check_not_negative(lr=self.lr, eps=self.eps, weight_decay=self.weight_decay)

    def init(self, params: Tensors) -> State:
        """Sums of squares 0."""
        return {"sum": {k: p.new_zeros(p.shape) for k, p in params.items()}}

    def update(
        self, gradient: Gradient, state: State, params: Tensors, hyper: Mapping[str, Any]
    ) -> tuple[Tensors, State]:
        """One step."""
        grads = {k: g + hyper["weight_decay"] * params[k] for k, g in gradient(params).items()}
        sums = {k: state["sum"][k] + g * g for k, g in grads.items()}
        stepped = {k: p - hyper["lr"] * grads[k] / (sums[k].sqrt() + hyper["eps"]) for k, p in params.items()}
        return stepped, {"sum": sums}
