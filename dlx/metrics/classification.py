"""How often the largest output is the class, and by how much."""

import typing
from dataclasses import dataclass
from typing import ClassVar, Literal

from dlx.errors import DeclarationError
from dlx.metrics.base import by_sample
from dlx.metrics.finite import where_finite

if typing.TYPE_CHECKING:
    import torch

    from dlx.losses import Loss


@dataclass(frozen=True)
class Error:
    """Share of a split, in [0, 1], whose largest output is not the class; NaN where an output is not finite.

    With one output and signs as targets: whose output has not the sign of its target.
    """

    name: ClassVar[str] = "error"

    def measure(self, outputs: "torch.Tensor", targets: "torch.Tensor", loss: "Loss") -> "torch.Tensor":
        """0-d from outputs (n, classes) and classes (n,), with a length behind n or not; or from both (n, 1).

        Raises DeclarationError where targets are numbers for more than one output.
        """
        return where_finite(_wrong(outputs, targets).mean(), outputs)

    def measure_items(self, outputs: "torch.Tensor", targets: "torch.Tensor", loss: "Loss") -> "torch.Tensor":
        """(n,), 1 or 0, of a sequence the share of its positions, from what ``measure`` takes."""
        return by_sample(_wrong(outputs, targets))


@dataclass(frozen=True)
class Accuracy:
    """Share of a split, in [0, 1], whose largest output is the class; NaN where an output is not finite."""

    name: ClassVar[str] = "accuracy"

    def measure(self, outputs: "torch.Tensor", targets: "torch.Tensor", loss: "Loss") -> "torch.Tensor":
        """0-d from outputs and targets as ``Error`` takes them."""
        return 1.0 - Error().measure(outputs, targets, loss)

    def measure_items(self, outputs: "torch.Tensor", targets: "torch.Tensor", loss: "Loss") -> "torch.Tensor":
        """(n,), 1 or 0, of a sequence the share of its positions, from what ``measure`` takes."""
        return 1.0 - Error().measure_items(outputs, targets, loss)


@dataclass(frozen=True)
class Margin:
    """By how much the class's output exceeds the largest other one; with one output and signs: their product.

    over: the mean over a split or the min; normalised: divided by √ν, ν the variance of the outputs over the split,
        summed over them (Jiang et al. 2019, arXiv:1810.00113), so that scaling the outputs changes nothing. For a
        model that is homogeneous in its weights divide ``min_margin`` by a power of ``weight_norm`` instead.
    """

    over: Literal["mean", "min"] = "mean"
    normalised: bool = False

    @property
    def name(self) -> str:
        """``margin``, behind ``min_`` and ``normalised_`` where these are asked for."""
        return ("normalised_" if self.normalised else "") + ("min_" if self.over == "min" else "") + "margin"

    @property
    def averaged(self) -> bool:
        """Whether it is the mean over its samples."""
        return self.over == "mean" and not self.normalised

    def measure(self, outputs: "torch.Tensor", targets: "torch.Tensor", loss: "Loss") -> "torch.Tensor":
        """0-d, in the units of the outputs, from outputs and targets as ``Error`` takes them."""
        margins = _margins(outputs, targets)
        margin = margins.mean() if self.over == "mean" else margins.min()
        if self.normalised:
            margin = margin / outputs.flatten(0, -2).var(dim=0, correction=0).sum().sqrt()
        return where_finite(margin, outputs)

    def measure_items(self, outputs: "torch.Tensor", targets: "torch.Tensor", loss: "Loss") -> "torch.Tensor":
        """(n,), in the units of the outputs, of a sequence the mean over its positions, as ``measure`` takes them."""
        return by_sample(_margins(outputs, targets))


def _wrong(outputs: "torch.Tensor", targets: "torch.Tensor") -> "torch.Tensor":
    """1 where the largest output is not the class, else 0, (n, ...)."""
    wrong = _signed(outputs, targets) <= 0 if targets.is_floating_point() else outputs.max(dim=-1).indices != targets
    return wrong.to(outputs.dtype)


def _margins(outputs: "torch.Tensor", targets: "torch.Tensor") -> "torch.Tensor":
    """Margins, (n, ...), of classes or of signs."""
    return _signed(outputs, targets) if targets.is_floating_point() else _ahead(outputs, targets)


def _ahead(outputs: "torch.Tensor", targets: "torch.Tensor") -> "torch.Tensor":
    """Output of the class less the largest other, (n, ...), from (n, ..., classes) and classes (n, ...)."""
    import torch

    own = targets.unsqueeze(-1) == torch.arange(outputs.shape[-1], device=outputs.device)
    others = torch.where(own, -torch.inf, outputs).amax(dim=-1)
    return outputs.gather(-1, targets.unsqueeze(-1)).squeeze(-1) - others


def _signed(outputs: "torch.Tensor", targets: "torch.Tensor") -> "torch.Tensor":
    """Output times sign, (n, ...), from both (n, ..., 1)."""
    if outputs.shape[-1] != 1:
        raise DeclarationError(
            f"error, accuracy and margin need classes as targets, and these are numbers for {outputs.shape[-1]} "
            f"outputs; name other metrics, such as metrics.loss()."
        )
    return (outputs * targets).squeeze(-1)
