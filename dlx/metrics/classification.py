"""How often the largest output is the class."""

import typing
from dataclasses import dataclass
from typing import ClassVar

if typing.TYPE_CHECKING:
    import torch

    from dlx.losses import Loss


@dataclass(frozen=True)
class Error:
    """Share of a split, in [0, 1], whose largest output is not the class; NaN where an output is not finite."""

    name: ClassVar[str] = "error"

    def measure(self, outputs: "torch.Tensor", targets: "torch.Tensor", loss: "Loss") -> "torch.Tensor":
        """0-d from outputs (n, classes) and classes (n,)."""
        wrong = (outputs.argmax(dim=-1) != targets).to(outputs.dtype)
        return (wrong + 0.0 * outputs.sum(dim=-1)).mean()  # 0 · inf and 0 · NaN are NaN


@dataclass(frozen=True)
class Accuracy:
    """Share of a split, in [0, 1], whose largest output is the class; NaN where an output is not finite."""

    name: ClassVar[str] = "accuracy"

    def measure(self, outputs: "torch.Tensor", targets: "torch.Tensor", loss: "Loss") -> "torch.Tensor":
        """0-d from outputs (n, classes) and classes (n,)."""
        return 1.0 - Error().measure(outputs, targets, loss)
