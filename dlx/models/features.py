"""Two-layer networks of fixed or local features: random features and Gaussian kernels."""

import typing
from dataclasses import dataclass
from typing import ClassVar, Literal

from dlx.models.checks import check_choice, check_counts, check_positive, vector

if typing.TYPE_CHECKING:
    import torch

    from dlx.data import Dimensions

KINDS = ("relu", "fourier")


@dataclass(frozen=True)
class RandomFeatures:
    """A trained read-out of fixed random features (Rahimi and Recht 2007): y = φ(x) Wᵀ.

    features: how many; kind: ``relu`` (√(2/features) · relu(Wx), rows of W uniform on the sphere of radius 1) or
    ``fourier`` (√(2/features) · cos(Wx + b), for the kernel exp(−‖x − x′‖²/(2 bandwidth²))); bandwidth: in units of
    the inputs, of ``fourier`` alone; scale: of the read-out's initial weights, N(0, scale²/features).
    """

    features: int
    kind: Literal["relu", "fourier"] = "relu"
    bandwidth: float = 1.0
    scale: float = 0.0

    varies: ClassVar[tuple[str, ...]] = ("bandwidth", "scale")

    def check(self) -> None:
        """Raise DeclarationError where a value is out of its range."""
        check_counts(features=self.features)
        check_choice("kind", self.kind, KINDS)
        check_positive(bandwidth=self.bandwidth)

    def build(self, of: "Dimensions") -> "torch.nn.Module":
        """A module from (batch, *of.shape) to (batch, of.outputs)."""
        import torch

        from dlx.models.kernels import Random

        directions = torch.randn(self.features, vector(of, "RandomFeatures"))
        if self.kind == "relu":
            first = Random(torch.nn.functional.normalize(directions), None)
        else:
            first = Random(directions / self.bandwidth, torch.rand(self.features) * 2 * torch.pi)
        readout = torch.nn.Linear(self.features, of.outputs, bias=False)
        torch.nn.init.normal_(readout.weight, std=self.scale / self.features**0.5)
        return torch.nn.Sequential(torch.nn.Flatten(), first, readout)


@dataclass(frozen=True)
class GaussianKernelNet:
    """y = W φ(x) + b with φⱼ(x) = exp(−‖x − cⱼ‖²/(2σⱼ²)), all of it trained (Broomhead and Lowe 1988).

    units: how many centres; bandwidth: initial σ, spread: initial centres are N(0, spread²), both in the units of the
    inputs; trained: whether centres and bandwidths are trained too.
    """

    units: int
    bandwidth: float
    spread: float = 1.0
    trained: bool = True

    varies: ClassVar[tuple[str, ...]] = ("bandwidth", "spread")

    def check(self) -> None:
        """Raise DeclarationError where a value is out of its range."""
        check_counts(units=self.units)
        check_positive(bandwidth=self.bandwidth, spread=self.spread)

    def build(self, of: "Dimensions") -> "torch.nn.Module":
        """A module from (batch, *of.shape) to (batch, of.outputs)."""
        import torch

        from dlx.models.kernels import Gaussians

        centres = torch.randn(self.units, vector(of, "GaussianKernelNet")) * self.spread
        kernel = Gaussians(centres, self.bandwidth, self.trained)
        return torch.nn.Sequential(torch.nn.Flatten(), kernel, torch.nn.Linear(self.units, of.outputs))
