"""Losses: one number for each sample; training minimises the mean over a batch.

Sequences have a length behind the batch, in outputs and targets; the loss of one is the mean over its positions.
"""

import typing
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from dlx.errors import DeclarationError
from dlx.shelf import Shelf

if typing.TYPE_CHECKING:
    import torch


@runtime_checkable
class Loss(Protocol, metaclass=Shelf):
    """A differentiable measure of how wrong outputs are."""

    def __call__(self, outputs: "torch.Tensor", targets: "torch.Tensor") -> "torch.Tensor":
        """The loss of each sample, (batch,), from outputs (batch, outputs) or (batch, length, outputs) and targets."""


Loss.exemplify("losses.CrossEntropy()")


@dataclass(frozen=True)
class CrossEntropy:
    """−log softmax(outputs)[target], in nats; of a sequence the mean over its positions."""

    def __call__(self, outputs: "torch.Tensor", targets: "torch.Tensor") -> "torch.Tensor":
        """(batch,) from logits (batch, classes) and classes (batch,), or with a length behind the batch in both."""
        # logsumexp because log_softmax over few classes is five times slower on a CPU
        return _by_sample(outputs.logsumexp(dim=-1) - outputs.gather(-1, targets.unsqueeze(-1)).squeeze(-1))


@dataclass(frozen=True)
class MSE:
    """Squared error, averaged over the outputs (and positions) of a sample; classes become one-hot vectors."""

    def __call__(self, outputs: "torch.Tensor", targets: "torch.Tensor") -> "torch.Tensor":
        """(batch,) from outputs (batch, outputs) and targets (batch, outputs), or classes (batch,).

        With a length behind the batch in both for sequences.
        """
        import torch

        if not targets.is_floating_point():
            classes = torch.arange(outputs.shape[-1], device=outputs.device)
            targets = (targets.unsqueeze(-1) == classes).to(outputs.dtype)
        return _by_sample((outputs - targets).square().mean(dim=-1))


@dataclass(frozen=True)
class Pinball:
    """max(q (y − f), (q − 1)(y − f)) of the output f that is to be the quantile q of y (Koenker and Bassett 1978).

    quantiles: in (0, 1), one for each output; averaged over the outputs (and positions) of a sample.
    """

    quantiles: tuple[float, ...]

    def check(self) -> None:
        """Raise DeclarationError where a quantile lies outside (0, 1)."""
        if not self.quantiles or not all(0.0 < q < 1.0 for q in self.quantiles):
            raise DeclarationError(f"quantiles is {self.quantiles}; give one in (0, 1) for each output.")

    def __call__(self, outputs: "torch.Tensor", targets: "torch.Tensor") -> "torch.Tensor":
        """(batch,) from outputs (batch, quantiles) and targets (batch, quantiles).

        With a length behind the batch in both for sequences. Raises DeclarationError for other numbers of outputs.
        """
        import torch

        if outputs.shape[-1] != len(self.quantiles):
            raise DeclarationError(f"The data asks for {outputs.shape[-1]} outputs and Pinball has "
                                   f"{len(self.quantiles)} quantiles; give as many.")
        q, left = torch.tensor(self.quantiles, dtype=outputs.dtype, device=outputs.device), targets - outputs
        return _by_sample(torch.maximum(q * left, (q - 1) * left).mean(dim=-1))


@dataclass(frozen=True)
class Logistic:
    """log(1 + exp(−yf)) of output f and sign y, in nats; averaged over the outputs (and positions) of a sample.

    With one linear output gradient descent tends to the direction of the largest margin (Soudry et al. 2018,
    arXiv:1710.10345).
    """

    def __call__(self, outputs: "torch.Tensor", targets: "torch.Tensor") -> "torch.Tensor":
        """(batch,) from outputs (batch, outputs) and signs −1.0 or 1.0 (batch, outputs).

        With a length behind the batch in both for sequences.
        """
        import torch

        return _by_sample(torch.nn.functional.softplus(-targets * outputs).mean(dim=-1))


def _by_sample(losses: "torch.Tensor") -> "torch.Tensor":
    """The mean over all axes but the first."""
    return losses if losses.ndim == 1 else losses.flatten(1).mean(dim=1)
