"""Adam (Kingma and Ba 2015, arXiv:1412.6980)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from dlx.optim.base import Gradient, State, Tensors, averages, check_not_negative, check_shares


@dataclass(frozen=True)
class Adam:
    """g ← g + λθ, m ← β₁m + (1−β₁)g, s ← β₂s + (1−β₂)g², θ ← θ − η m̂ / (√ŝ + ε), as ``torch.optim.Adam``.

    lr: η; betas: (β₁, β₂), each in [0, 1); eps: ε; weight_decay: λ, coupled (an L2 penalty, part of the gradient).
    """

    lr: float
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0

    varies: ClassVar[tuple[str, ...]] = ("lr", "betas", "eps", "weight_decay")

    def check(self) -> None:
        """Raise DeclarationError where a value is out of its range."""
        check_not_negative(lr=self.lr, eps=self.eps, weight_decay=self.weight_decay)
        check_shares(**{"betas[0]": self.betas[0], "betas[1]": self.betas[1]})

    def init(self, params: Tensors) -> State:
        """Moments 0 after step 0."""
        return moments(params)

    def update(
        self, gradient: Gradient, state: State, params: Tensors, hyper: Mapping[str, Any]
    ) -> tuple[Tensors, State]:
        """One step."""
        grads = {k: g + hyper["weight_decay"] * params[k] for k, g in gradient(params).items()}
        directions, state = adaptive(grads, state, hyper)
        return {k: p - hyper["lr"] * directions[k] for k, p in params.items()}, state


def moments(params: Tensors) -> State:
    """The state of Adam before the first step: ``step`` 0-d int64, ``first`` and ``second`` as the parameters."""
    import torch

    first = {k: p.new_zeros(p.shape) for k, p in params.items()}
    second = {k: p.new_zeros(p.shape) for k, p in params.items()}
    some = next(iter(params.values()))
    return {"step": some.new_zeros((), dtype=torch.int64), "first": first, "second": second}


def adaptive(grads: Tensors, state: State, hyper: Mapping[str, Any]) -> tuple[Tensors, State]:
    """Directions m̂ / (√ŝ + ε) with both moments corrected for their start at 0, and the state after the step."""
    (beta1, beta2), eps = hyper["betas"], hyper["eps"]
    step = state["step"] + 1
    correction1, correction2 = 1 - beta1**step, (1 - beta2**step).sqrt()
    first = averages(state["first"], grads, beta1)
    second = {k: beta2 * state["second"][k] + (1 - beta2) * g * g for k, g in grads.items()}
    directions = {k: first[k] / (correction1 * (second[k].sqrt() / correction2 + eps)) for k in grads}
    return directions, {"step": step, "first": first, "second": second}
