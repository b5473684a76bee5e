"""The linear model."""

import typing
from dataclasses import dataclass

if typing.TYPE_CHECKING:
    import torch

    from dlx.data import Dimensions


@dataclass(frozen=True)
class Linear:
    """One affine map y = x Wᵀ + b from (batch, *shape) to (batch, outputs), with PyTorch's default initialisation.

    Pictures are read as vectors, tokens as their one-hot codes.
    """

    bias: bool = True

    def build(self, of: "Dimensions") -> "torch.nn.Module":
        """A module from (batch, *of.shape) to (batch, of.outputs)."""
        import torch

        from dlx.models.layers import flat

        before, inputs = flat(of)
        affine = torch.nn.Linear(inputs, of.outputs, bias=self.bias)
        return torch.nn.Sequential(*before, affine) if before else affine
