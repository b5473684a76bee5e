"""The linear model."""

import typing
from dataclasses import dataclass

if typing.TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Linear:
    """One affine map y = x Wᵀ + b from (batch, inputs) to (batch, outputs), with PyTorch's default initialisation."""

    bias: bool = True

    def build(self, inputs: int, outputs: int) -> "torch.nn.Module":
        """The module."""
        import torch

        return torch.nn.Linear(inputs, outputs, bias=self.bias)
