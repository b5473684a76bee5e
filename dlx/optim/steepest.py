"""Steepest descent under a norm of one's choice (Bernstein and Newhouse 2024, arXiv:2409.20325)."""

import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from dlx.errors import DeclarationError
from dlx.optim.base import Gradient, State, Tensors, averages, check_not_negative, check_shares
from dlx.optim.norms import Frobenius, MaxNorm, Norm, Spectral

if typing.TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class SteepestDescent:
    """m ← μm + (1−μ)g, θ ← θ − η T(m) for each tensor, where T(m) is the direction of the norm, of size 1 in it.

    Under the largest of the norms of all tensors. Tensors of more than two axes, (m, …), are matrices (m, rest).
    lr: η; norm: of matrices; vectors: norm of vectors and numbers, ``Frobenius`` or ``MaxNorm``; momentum: μ in [0, 1);
    scaled: η is multiplied by the dual norm Σ ⟨m, T(m)⟩ over all tensors, which makes it the minimiser of
    ⟨m, Δ⟩ + ‖Δ‖²/2η.
    """

    lr: float
    norm: Norm = Spectral()
    vectors: Norm = Frobenius()
    momentum: float = 0.0
    scaled: bool = False

    varies: ClassVar[tuple[str, ...]] = ("lr", "momentum")

    def check(self) -> None:
        """Raise DeclarationError where a value is out of its range."""
        check_not_negative(lr=self.lr)
        check_shares(momentum=self.momentum)
        if not isinstance(self.vectors, Frobenius | MaxNorm):
            raise DeclarationError(
                f"vectors is {self.vectors}, a norm of matrices alone; give optim.Frobenius() or optim.MaxNorm()."
            )

    def init(self, params: Tensors) -> State:
        """Momentum 0."""
        return {"momentum": {k: p.new_zeros(p.shape) for k, p in params.items()}}

    def update(
        self, gradient: Gradient, state: State, params: Tensors, hyper: Mapping[str, Any]
    ) -> tuple[Tensors, State]:
        """One step."""
        smooth = averages(state["momentum"], gradient(params), hyper["momentum"])
        directions = {k: self.direction(m) for k, m in smooth.items()}
        step = hyper["lr"]
        if self.scaled:
            step = step * sum((smooth[k] * t).sum() for k, t in directions.items())
        return {k: p - step * directions[k] for k, p in params.items()}, {"momentum": smooth}

    def direction(self, tensor: "torch.Tensor") -> "torch.Tensor":
        """The direction for one tensor, of its shape."""
        if tensor.ndim < 2:
            return self.vectors.direction(tensor)
        return self.norm.direction(tensor.flatten(1)).view(tensor.shape)
