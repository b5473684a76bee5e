"""Clipping of gradients by their global norm (Pascanu, Mikolov and Bengio 2013, arXiv:1211.5063)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from dlx.optim.base import Gradient, State, Tensors, Wrapper, check_not_negative, global_norm

SMALLEST_NORM = 1e-6  # as in PyTorch


@dataclass(frozen=True)
class Clip(Wrapper):
    """The inner rule with the gradient g min(1, c/‖g‖₂), as ``torch.nn.utils.clip_grad_norm_``.

    norm: c, the largest norm over all parameters together.
    """

    norm: float = 1.0

    varies: ClassVar[tuple[str, ...]] = ("norm",)

    def check(self) -> None:
        """Raise DeclarationError where a value is out of its range."""
        check_not_negative(norm=self.norm)

    def update(
        self, gradient: Gradient, state: State, params: Tensors, hyper: Mapping[str, Any]
    ) -> tuple[Tensors, State]:
        """One step."""

        def clipped(params: Tensors) -> Tensors:
            grads = gradient(params)
            scale = (hyper["norm"] / (global_norm(grads) + SMALLEST_NORM)).clamp(max=1)
            return {k: scale * g for k, g in grads.items()}

        stepped, inner = self.inner.update(clipped, state["inner"], params, hyper["inner"])
        return stepped, {"inner": inner}
