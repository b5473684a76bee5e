"""Losses: one number for each sample; training minimises the mean over a batch."""

import typing
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from dlx.shelf import Shelf

if typing.TYPE_CHECKING:
    import torch


@runtime_checkable
class Loss(Protocol, metaclass=Shelf):
    """A differentiable measure of how wrong outputs are."""

    def __call__(self, outputs: "torch.Tensor", targets: "torch.Tensor") -> "torch.Tensor":
        """The loss of each sample, (batch,), from outputs (batch, outputs) and targets."""


Loss.exemplify("losses.CrossEntropy()")


@dataclass(frozen=True)
class CrossEntropy:
    """−log softmax(outputs)[target], in nats."""

    def __call__(self, outputs: "torch.Tensor", targets: "torch.Tensor") -> "torch.Tensor":
        """(batch,) from logits (batch, classes) and classes (batch,)."""
        # logsumexp because log_softmax over few classes is five times slower on a CPU
        return outputs.logsumexp(dim=-1) - outputs.gather(-1, targets.unsqueeze(-1)).squeeze(-1)


@dataclass(frozen=True)
class MSE:
    """Squared error, averaged over the outputs of a sample; classes become one-hot vectors."""

    def __call__(self, outputs: "torch.Tensor", targets: "torch.Tensor") -> "torch.Tensor":
        """(batch,) from outputs (batch, outputs) and targets (batch, outputs), or classes (batch,)."""
        import torch

        if not targets.is_floating_point():
            classes = torch.arange(outputs.shape[-1], device=outputs.device)
            targets = (targets.unsqueeze(-1) == classes).to(outputs.dtype)
        return (outputs - targets).square().mean(dim=-1)
