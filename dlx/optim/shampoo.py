"""Shampoo (Gupta, Koren and Singer 2018, arXiv:1802.09568)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from dlx.errors import DeclarationError
from dlx.optim.base import Gradient, State, Tensors, check_not_negative, check_shares
from dlx.optim.kronecker import along, check_largest, inverse_root, second_moment


@dataclass(frozen=True)
class Shampoo:
    """L ← L + GGᵀ, R ← R + GᵀG, v ← μv + (L + εI)^(−1/4) G (R + εI)^(−1/4), W ← W − ηv.

    A tensor of k axes has k such matrices, to the power −1/2k. All roots are taken at every step, by eigenvectors.
    lr: η; momentum: μ in [0, 1); decay: L ← βL + (1−β)GGᵀ for β < 1 (Anil et al. 2020, arXiv:2002.09018), 1: the sum;
    eps: ε; largest: axes longer than this have no matrix (nor count in k), and tensors without any take G itself.
    """

    lr: float
    momentum: float = 0.0
    decay: float = 1.0
    eps: float = 1e-6
    largest: int = 1024

    varies: ClassVar[tuple[str, ...]] = ("lr", "momentum", "decay", "eps")

    def check(self) -> None:
        """Raise DeclarationError where a value is out of its range."""
        check_not_negative(lr=self.lr)
        check_shares(momentum=self.momentum)
        if not 0.0 < self.decay <= 1.0:
            raise DeclarationError(f"decay is {self.decay}; it must lie in (0, 1], where 1 keeps the sum.")
        if not self.eps > 0.0:
            raise DeclarationError(f"eps is {self.eps}; it must be positive, for the matrices start at 0.")
        check_largest(self.largest)

    def init(self, params: Tensors) -> State:
        """Velocity 0; for each parameter and axis, by its number, a matrix 0."""
        matrices = {
            k: {str(axis): p.new_zeros(n, n) for axis, n in enumerate(p.shape) if n <= self.largest}
            for k, p in params.items()
        }
        return {"velocity": {k: p.new_zeros(p.shape) for k, p in params.items()}, "matrices": matrices}

    def update(
        self, gradient: Gradient, state: State, params: Tensors, hyper: Mapping[str, Any]
    ) -> tuple[Tensors, State]:
        """One step."""
        decay, stepped = hyper["decay"], {}
        weight = 1 - decay + (decay == 1)
        after: State = {"velocity": {}, "matrices": {}}
        for k, g in gradient(params).items():
            matrices = {
                axis: decay * matrix + weight * second_moment(g, int(axis))
                for axis, matrix in state["matrices"][k].items()
            }
            for axis, matrix in matrices.items():
                g = along(g, int(axis), inverse_root(matrix, hyper["eps"], 2 * len(matrices)))
            v = hyper["momentum"] * state["velocity"][k] + g
            stepped[k] = params[k] - hyper["lr"] * v
            after["velocity"][k], after["matrices"][k] = v, matrices
        return stepped, after
