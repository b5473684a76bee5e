"""Peak signal-to-noise ratio, of pictures and other signals."""

import typing
from dataclasses import dataclass
from typing import ClassVar

from dlx.errors import DeclarationError
from dlx.metrics.finite import where_finite

if typing.TYPE_CHECKING:
    import torch

    from dlx.losses import Loss


@dataclass(frozen=True)
class PSNR:
    """10 log₁₀(peak² / mean squared error over a split), in dB.

    peak: the largest possible target less the smallest, such as 1 for pictures in [0, 1]. An error below the square
    of what the precision resolves counts as that, so that a perfect fit stays finite.
    """

    peak: float = 1.0

    name: ClassVar[str] = "psnr"

    def check(self) -> None:
        """Raise DeclarationError where a value is out of its range."""
        if not self.peak > 0.0:
            raise DeclarationError(f"peak is {self.peak}; it must be above 0.")

    def measure(self, outputs: "torch.Tensor", targets: "torch.Tensor", loss: "Loss") -> "torch.Tensor":
        """0-d from outputs (n, ...) and targets (n, ...) of the same shape."""
        import torch

        relative = (outputs - targets) / self.peak
        smallest = torch.finfo(outputs.dtype).eps ** 2
        return where_finite(-10.0 * relative.square().mean().clamp_min(smallest).log10(), outputs)
