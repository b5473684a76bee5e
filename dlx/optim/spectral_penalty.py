"""A penalty on the largest singular value of each matrix (Yoshida and Miyato 2017, arXiv:1705.10941)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from dlx.optim.base import Gradient, State, Tensors, Wrapper, check_not_negative

SMALLEST_NORM = 1e-12


@dataclass(frozen=True)
class SpectralPenalty(Wrapper):
    """The inner rule with the gradient of the loss + λ/2 Σ σ₁(W)² over all matrices W, which is λ σ₁ u vᵀ for each.

    u and v, the singular vectors of σ₁, come from one step of power iteration for each update, as in the paper, from
    u = the same number in all places. Tensors of more than two axes, (m, …), are matrices (m, rest); biases and gains
    are free. strength: λ.
    """

    strength: float = 0.01

    varies: ClassVar[tuple[str, ...]] = ("strength",)

    def check(self) -> None:
        """Raise DeclarationError where a value is out of its range."""
        check_not_negative(strength=self.strength)

    def init(self, params: Tensors) -> State:
        """The inner rule's state, and u of each matrix, (m,), of length 1."""
        rows = {k: p.new_full(p.shape[:1], p.shape[0] ** -0.5) for k, p in params.items() if p.ndim >= 2}
        return {**super().init(params), "left": rows}

    def update(
        self, gradient: Gradient, state: State, params: Tensors, hyper: Mapping[str, Any]
    ) -> tuple[Tensors, State]:
        """One step."""
        import torch

        left, right = {}, {}
        for k, u in state["left"].items():
            matrix = params[k].flatten(1)
            right[k] = torch.nn.functional.normalize(u @ matrix, dim=0, eps=SMALLEST_NORM)
            left[k] = torch.nn.functional.normalize(matrix @ right[k], dim=0, eps=SMALLEST_NORM)

        def penalised(params: Tensors) -> Tensors:
            grads = dict(gradient(params))
            for k, u in left.items():
                size = hyper["strength"] * (u @ params[k].flatten(1) @ right[k])
                grads[k] = grads[k] + (size * torch.outer(u, right[k])).view(params[k].shape)
            return grads

        stepped, inner = self.inner.update(penalised, state["inner"], params, hyper["inner"])
        return stepped, {"inner": inner, "left": left}
