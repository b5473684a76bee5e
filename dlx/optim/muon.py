"""Muon: momentum, orthogonalised (Jordan et al. 2024, kellerjordan.github.io/posts/muon)."""

import math
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from dlx.optim.adam import moments
from dlx.optim.adamw import AdamW
from dlx.optim.base import Gradient, State, Tensors, check_not_negative, check_shares

if typing.TYPE_CHECKING:
    import torch

QUINTIC = (3.4445, -4.7750, 2.0315)  # of Jordan et al.; takes singular values to about 1 in NEWTON_SCHULZ steps
NEWTON_SCHULZ = 5
SMALLEST_NORM = 1e-7


@dataclass(frozen=True)
class Muon:
    """B ← μB + (1−μ)G, W ← (1 − ηλ)W − 0.2 √max(m, n) η NS(B) for hidden matrices (m, n); AdamW for the rest.

    Hidden are the matrices between the first, which reads the inputs, and the last, which gives the outputs. The factor
    0.2 √max(m, n) gives steps the size of AdamW's, so that one η serves both (Liu et al. 2025, arXiv:2502.16982). As
    ``torch.optim.Muon(adjust_lr_fn="match_rms_adamw")``, but for the precision of NS, which is the parameters' and not
    bfloat16. lr: η; momentum: μ in [0, 1); nesterov: NS of (1−μ)G + μB; weight_decay: λ, decoupled, everywhere.
    """

    lr: float
    momentum: float = 0.95
    nesterov: bool = True
    weight_decay: float = 0.0

    varies: ClassVar[tuple[str, ...]] = ("lr", "momentum", "weight_decay")

    def check(self) -> None:
        """Raise DeclarationError where a value is out of its range."""
        check_not_negative(lr=self.lr, weight_decay=self.weight_decay)
        check_shares(momentum=self.momentum)

    def init(self, params: Tensors) -> State:
        """Momentum 0 for hidden matrices, AdamW's state for the rest (``rest``)."""
        inner, outer = split(params)
        state: State = {"momentum": {k: p.new_zeros(p.shape) for k, p in inner.items()}}
        return {**state, "rest": moments(outer)} if outer else state

    def update(
        self, gradient: Gradient, state: State, params: Tensors, hyper: Mapping[str, Any]
    ) -> tuple[Tensors, State]:
        """One step."""
        import torch

        inner, outer = split(params)
        grads, stepped, buffers = gradient(params), {}, {}
        kept = hyper["momentum"]
        for k, p in inner.items():
            g = grads[k]
            buffers[k] = kept * state["momentum"][k] + (1 - kept) * g
            direction = kept * buffers[k] + (1 - kept) * g if self.nesterov else buffers[k]
            scale = 0.2 * math.sqrt(max(p.shape)) * hyper["lr"]
            stepped[k] = (1 - hyper["lr"] * hyper["weight_decay"]) * p - scale * orthogonalise(direction)
        after: State = {"momentum": buffers}
        if outer:
            betas = tuple(torch.full_like(hyper["lr"], beta) for beta in AdamW.betas)
            others = {"betas": betas, "eps": AdamW.eps, **hyper}
            outer_grads = {k: grads[k] for k in outer}
            rest, after["rest"] = AdamW(self.lr).update(lambda _: outer_grads, state["rest"], outer, others)
            stepped |= rest
        return {k: stepped[k] for k in params}, after


def split(params: Tensors) -> tuple[Tensors, Tensors]:
    """Hidden matrices, and all other parameters."""
    matrices = [k for k, p in params.items() if p.ndim == 2]
    inner = {k: params[k] for k in matrices[1:-1]}
    return inner, {k: p for k, p in params.items() if k not in inner}


def orthogonalise(matrix: "torch.Tensor") -> "torch.Tensor":
    """About U Vᵀ of the matrix U S Vᵀ, (m, n), by the quintic Newton–Schulz iteration."""
    a, b, c = QUINTIC
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / x.norm().clamp(min=SMALLEST_NORM)
    for _ in range(NEWTON_SCHULZ):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if tall else x
