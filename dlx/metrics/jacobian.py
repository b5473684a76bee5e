"""How much a network stretches its inputs, near the training samples."""

import typing
from dataclasses import dataclass

from dlx.errors import DeclarationError
from dlx.metrics.base import Network, Tensors
from dlx.metrics.finite import singular_values
from dlx.metrics.weights import SpectralNorm

if typing.TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class JacobianNorm:
    """The mean over samples x of σ₁(∂f/∂x), the largest gain of the network f for small changes of x.

    (Novak et al. 2018, arXiv:1802.08760, by the Frobenius norm.) samples: the first so many training samples;
    relative: divided by Π σ₁(W) over the matrices, which bounds it for a chain of these with activations of slope ≤ 1
    between: 1 where each layer passes on to the next what it amplifies most.
    """

    samples: int = 64
    relative: bool = False

    @property
    def name(self) -> str:
        """``jacobian_norm``, with ``relative_`` before it where it is."""
        return "relative_jacobian_norm" if self.relative else "jacobian_norm"

    def check(self) -> None:
        """Raise DeclarationError where a value is out of its range."""
        if self.samples < 1:
            raise DeclarationError(f"samples is {self.samples}; give at least 1.")

    def measure_network(self, network: Network, params: Tensors, inputs: "torch.Tensor") -> "torch.Tensor":
        """0-d from inputs (samples, ...) of real numbers and a network that gives (samples, outputs)."""
        import torch

        def summed(inputs: "torch.Tensor") -> "torch.Tensor":
            """Σ over samples, each of which has a Jacobian of its own."""
            return network(params, inputs).sum(dim=0)

        jacobians = torch.func.jacrev(summed)(inputs).movedim(0, 1).flatten(2)
        norm = singular_values(jacobians)[:, 0].mean()
        return norm / SpectralNorm().measure_weights(params) if self.relative else norm
