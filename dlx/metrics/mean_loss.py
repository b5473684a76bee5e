"""The loss that is trained on, over a whole split."""

import typing
from dataclasses import dataclass
from typing import ClassVar

if typing.TYPE_CHECKING:
    import torch

    from dlx.losses import Loss


@dataclass(frozen=True)
class MeanLoss:
    """Mean loss over a split, in the units of the loss (nats for cross-entropy)."""

    name: ClassVar[str] = "loss"

    def measure(self, outputs: "torch.Tensor", targets: "torch.Tensor", loss: "Loss") -> "torch.Tensor":
        """0-d from outputs (n, outputs) and targets (n, ...)."""
        return loss(outputs, targets).mean()

    def measure_items(self, outputs: "torch.Tensor", targets: "torch.Tensor", loss: "Loss") -> "torch.Tensor":
        """(n,) from what ``measure`` takes."""
        return loss(outputs, targets)
