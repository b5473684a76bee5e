"""The noise of the gradient between batches, against its size."""

import typing
from dataclasses import dataclass
from typing import ClassVar

from dlx.errors import DeclarationError
from dlx.metrics.base import Objective, Tensors

if typing.TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class GradientNoise:
    """Simple noise scale tr Σ / |G|², in samples (McCandlish et al. 2018, arXiv:1812.06162, appendix A.1).

    Σ is the covariance of the gradient of one sample and G its mean; both are estimated without bias from gradients
    over small batches and over all of them together. Negative where |G|² is lost in its noise.
    batches: small batches, into which the samples are cut; samples: the first so many training samples.
    """

    batches: int = 8
    samples: int = 1_024

    name: ClassVar[str] = "gradient_noise"

    def check(self) -> None:
        """Raise DeclarationError where values are out of range or do not fit together."""
        if self.batches < 2:
            raise DeclarationError(f"batches is {self.batches}; give at least 2, whose gradients can differ.")
        if self.samples < 1 or self.samples % self.batches:
            raise DeclarationError(
                f"samples is {self.samples}; it must be a multiple of batches, which is {self.batches}."
            )

    def measure_loss(self, objective: Objective, params: Tensors, key: "torch.Tensor") -> "torch.Tensor":
        """0-d from an objective that gives the mean loss of each batch, (batches,)."""
        import torch

        losses, pullback, *_ = torch.func.vjp(objective, params)
        grads = torch.stack([_flat(pullback(one)[0]) for one in torch.eye(self.batches).to(losses)])
        mean = grads.mean(dim=0)
        between = (grads - mean).square().sum() / (self.batches - 1)
        return between * (self.samples // self.batches) / (mean.square().sum() - between / self.batches)


def _flat(tensors: Tensors) -> "torch.Tensor":
    """All numbers as (parameters,)."""
    import torch

    return torch.cat([t.flatten() for t in tensors.values()])
