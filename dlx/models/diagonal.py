"""The diagonal linear network, whose initial scale decides what gradient descent is biased towards."""

import typing
from dataclasses import dataclass
from typing import ClassVar

from dlx.errors import DeclarationError
from dlx.models.checks import check_positive, vector

if typing.TYPE_CHECKING:
    import torch

    from dlx.data import Dimensions


@dataclass(frozen=True)
class DiagonalLinear:
    """y = ⟨β, x⟩ with β = u^depth − v^depth, all of u and v at ``scale`` at first (Woodworth et al. 2020,
    arXiv:2002.09277): a small scale is biased to the least ℓ₁ norm, a large one to the least ℓ₂ norm.
    """

    scale: float
    depth: int = 2

    varies: ClassVar[tuple[str, ...]] = ("scale",)

    def check(self) -> None:
        """Raise DeclarationError where a value is out of its range."""
        check_positive(scale=self.scale)
        if self.depth < 2:
            raise DeclarationError(f"depth is {self.depth}; give at least 2, or use models.Linear(bias=False).")

    def build(self, of: "Dimensions") -> "torch.nn.Module":
        """A module from (batch, *of.shape) to (batch, of.outputs)."""
        import torch

        from dlx.models.kernels import PowerDifference

        net = PowerDifference(vector(of, "DiagonalLinear"), of.outputs, self.depth, self.scale)
        return torch.nn.Sequential(torch.nn.Flatten(), net)
