"""The linear model."""

import typing
from dataclasses import dataclass

if typing.TYPE_CHECKING:
    import torch

    from dlx.data import Dimensions


@dataclass(frozen=True)
class Linear:
    """One affine map y = x Wᵀ + b from (batch, inputs) to (batch, outputs), with PyTorch's default initialisation."""

    bias: bool = True

    def build(self, of: "Dimensions") -> "torch.nn.Module":
        """The module."""
        import torch

        return torch.nn.Linear(of.inputs, of.outputs, bias=self.bias)
