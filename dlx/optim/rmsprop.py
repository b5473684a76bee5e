"""RMSprop (Tieleman and Hinton 2012, Coursera lecture 6.5), also centred (Graves 2013, arXiv:1308.0850)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from dlx.optim.base import Gradient, State, Tensors, check_not_negative, check_shares


@dataclass(frozen=True)
class RMSprop:
    """g ← g + λθ, s ← αs + (1−α)g², v ← μv + g / (√s + ε), θ ← θ − ηv, as ``torch.optim.RMSprop``.

    lr: η; alpha: α in [0, 1); eps: ε; momentum: μ in [0, 1); centered: √(s − a²) for √s, with a the average of g by α;
    weight_decay: λ, coupled (an L2 penalty λ‖θ‖²/2).
    """

    lr: float
    alpha: float = 0.99
    eps: float = 1e-8
    momentum: float = 0.0
    centered: bool = False
    weight_decay: float = 0.0

    varies: ClassVar[tuple[str, ...]] = ("lr", "alpha", "eps", "momentum", "weight_decay")

    def check(self) -> None:
        """Raise DeclarationError where a value is out of its range."""
        check_not_negative(lr=self.lr, eps=self.eps, weight_decay=self.weight_decay)
        check_shares(alpha=self.alpha, momentum=self.momentum)

    def init(self, params: Tensors) -> State:
        """Averages and velocity 0."""
        names = ("square", "mean", "velocity") if self.centered else ("square", "velocity")
        return {name: {k: p.new_zeros(p.shape) for k, p in params.items()} for name in names}

    def update(
        self, gradient: Gradient, state: State, params: Tensors, hyper: Mapping[str, Any]
    ) -> tuple[Tensors, State]:
        """One step."""
        alpha, grads = hyper["alpha"], gradient(params)
        stepped: Tensors = {}
        after: State = {name: {} for name in state}
        for k, p in params.items():
            g = grads[k] + hyper["weight_decay"] * p
            variance = after["square"][k] = alpha * state["square"][k] + (1 - alpha) * g * g
            if self.centered:
                mean = after["mean"][k] = alpha * state["mean"][k] + (1 - alpha) * g
                variance = (variance - mean * mean).clamp(min=0)
            v = hyper["momentum"] * state["velocity"][k] + g / (variance.sqrt() + hyper["eps"])
            stepped[k], after["velocity"][k] = p - hyper["lr"] * v, v
        return stepped, after
