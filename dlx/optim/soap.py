"""SOAP: Adam in the eigenbasis of Shampoo's matrices (Vyas et al. 2024, arXiv:2409.11321)."""

import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from dlx.errors import DeclarationError
from dlx.optim.adam import moments
from dlx.optim.base import Gradient, State, Tensors, check_not_negative, check_shares
from dlx.optim.kronecker import along, check_largest, in_single, second_moment

if typing.TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class SOAP:
    """W ← (1 − ηλ)(W − η Q_L (m̂ / (√ŝ + ε)) Q_Rᵀ): m averages G, rotated to Q_Lᵀ m Q_R; s averages (Q_Lᵀ G Q_R)².

    Q_L and Q_R near the eigenvectors of the averages L of GGᵀ and R of GᵀG by one QR of LQ_L and RQ_R every so many
    steps. They start as I, so that the first steps are Adam's; the authors' start, the eigenvectors of the first G, has
    an arbitrary basis where that G is 0. As theirs, ε is added before √ŝ is corrected for its start at 0.
    lr: η; betas: (β₁, β₂), of m, and of s, L and R; eps: ε; weight_decay: λ, decoupled; precondition_every: steps, of
    which the cost does not depend on; largest: axes longer than this are not rotated, nor are tensors of one axis.
    """

    lr: float
    betas: tuple[float, float] = (0.95, 0.95)
    eps: float = 1e-8
    weight_decay: float = 0.01
    precondition_every: int = 10
    largest: int = 1024

    varies: ClassVar[tuple[str, ...]] = ("lr", "betas", "eps", "weight_decay", "precondition_every")

    def check(self) -> None:
        """Raise DeclarationError where a value is out of its range."""
        check_not_negative(lr=self.lr, eps=self.eps, weight_decay=self.weight_decay)
        check_shares(**{"betas[0]": self.betas[0], "betas[1]": self.betas[1]})
        if self.precondition_every < 1:
            raise DeclarationError(f"precondition_every is {self.precondition_every}; it must be at least 1 step.")
        check_largest(self.largest)

    def init(self, params: Tensors) -> State:
        """Moments 0 after step 0; for each parameter and axis, by its number, a matrix 0 and the basis I."""
        axes = {
            k: {str(axis): n for axis, n in enumerate(p.shape) if n <= self.largest and p.ndim > 1}
            for k, p in params.items()
        }
        matrices = {k: {a: params[k].new_zeros(n, n) for a, n in sizes.items()} for k, sizes in axes.items()}
        bases = {k: {a: m + m.new_ones(len(m)).diag() for a, m in of.items()} for k, of in matrices.items()}
        return {**moments(params), "matrices": matrices, "bases": bases}

    def update(
        self, gradient: Gradient, state: State, params: Tensors, hyper: Mapping[str, Any]
    ) -> tuple[Tensors, State]:
        """One step."""
        (beta1, beta2), lr = hyper["betas"], hyper["lr"]
        step, stepped = state["step"] + 1, {}
        rate = lr * (1 - beta2**step).sqrt() / (1 - beta1**step)
        due = step % hyper["precondition_every"] == 0
        after: State = {"step": step, "first": {}, "second": {}, "matrices": {}, "bases": {}}
        for k, g in gradient(params).items():
            bases = state["bases"][k]
            first = beta1 * state["first"][k] + (1 - beta1) * g
            second = beta2 * state["second"][k] + (1 - beta2) * rotated(g, bases).square()
            direction = rotated(first, bases) / (second.sqrt() + hyper["eps"])
            direction = rotated(direction, {axis: basis.T for axis, basis in bases.items()})
            stepped[k] = (1 - lr * hyper["weight_decay"]) * (params[k] - rate * direction)
            matrices = {
                axis: beta2 * matrix + (1 - beta2) * second_moment(g, int(axis))
                for axis, matrix in state["matrices"][k].items()
            }
            after["second"][k], after["bases"][k] = refreshed(second, matrices, bases, due)
            after["first"][k], after["matrices"][k] = first, matrices
        return stepped, after


def rotated(tensor: "torch.Tensor", bases: Tensors) -> "torch.Tensor":
    """The tensor with each of these axes in the coordinates of a basis (n, n), whose columns are its vectors."""
    for axis, basis in bases.items():
        tensor = along(tensor, int(axis), basis)
    return tensor


def refreshed(
    second: "torch.Tensor", matrices: Tensors, bases: Tensors, due: "torch.Tensor"
) -> "tuple[torch.Tensor, Tensors]":
    """Second moment and bases after a step of orthogonal iteration, largest eigenvalue first, where it is due (0-d)."""
    import torch

    after = {}
    for axis, basis in bases.items():
        moved = matrices[axis] @ basis
        order = (basis * moved).sum(0).argsort(descending=True, stable=True)
        better = in_single(lambda m: torch.linalg.qr(m).Q, moved.index_select(1, order))
        second = torch.where(due, second.index_select(int(axis), order), second)
        after[axis] = torch.where(due, better, basis)
    return second, after
