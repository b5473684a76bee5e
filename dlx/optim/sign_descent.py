"""Sign descent: signSGD, and Signum with momentum (Bernstein et al. 2018, arXiv:1802.04434)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from dlx.optim.base import Gradient, State, Tensors, averages, check_not_negative, check_shares


@dataclass(frozen=True)
class SignDescent:
    """m ← μm + (1−μ)g, θ ← θ − η sign(m).

    lr: η; momentum: μ in [0, 1), 0: signSGD.
    """

    lr: float
    momentum: float = 0.9

    varies: ClassVar[tuple[str, ...]] = ("lr", "momentum")

    def check(self) -> None:
        """Raise DeclarationError where a value is out of its range."""
        check_not_negative(lr=self.lr)
        check_shares(momentum=self.momentum)

    def init(self, params: Tensors) -> State:
        """Momentum 0."""
        return {"momentum": {k: p.new_zeros(p.shape) for k, p in params.items()}}

    def update(
        self, gradient: Gradient, state: State, params: Tensors, hyper: Mapping[str, Any]
    ) -> tuple[Tensors, State]:
        """One step."""
        smooth = averages(state["momentum"], gradient(params), hyper["momentum"])
        return {k: p - hyper["lr"] * smooth[k].sign() for k, p in params.items()}, {"momentum": smooth}
