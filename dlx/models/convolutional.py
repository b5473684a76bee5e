"""Convolutional networks over series and pictures."""

import typing
from dataclasses import dataclass
from typing import ClassVar, Literal

from dlx.errors import DeclarationError
from dlx.models.checks import ACTIVATIONS, check_choice, check_counts, check_dropout, picture, series

if typing.TYPE_CHECKING:
    import torch

    from dlx.data import Dimensions


@dataclass(frozen=True)
class _Convolutions:
    """What both kinds share: each convolution has norm, activation and max pooling."""

    channels: tuple[int, ...] = (32, 64)
    kernel: int = 3
    activation: str = "relu"
    norm: Literal["none", "batch"] = "none"
    pool: bool = True
    readout: Literal["mean", "flat"] = "mean"
    dropout: float | None = None

    varies: ClassVar[tuple[str, ...]] = ("dropout",)

    def check(self) -> None:
        """Raise DeclarationError where a value is out of its range."""
        if not self.channels or min(self.channels) < 1:
            raise DeclarationError(f"channels is {self.channels}; give at least one convolution of at least 1 channel.")
        if self.kernel < 1 or self.kernel % 2 == 0:
            raise DeclarationError(f"kernel is {self.kernel}; it must be odd and positive.")
        check_choice("activation", self.activation, ACTIVATIONS)
        check_choice("norm", self.norm, ("none", "batch"))
        check_choice("readout", self.readout, ("mean", "flat"))
        check_dropout(self.dropout)


@dataclass(frozen=True)
class CNN1d(_Convolutions):
    """Convolutions along a series, (batch, length) or (batch, length, channels); fields as of ``CNN2d``."""

    def build(self, of: "Dimensions") -> "torch.nn.Module":
        """A module from (batch, *of.shape) to (batch, of.outputs)."""
        from dlx.models.blocks import Channels, convolutions

        length, channels = series(of, "CNN1d")
        return convolutions(self, channels, (length,), of.outputs, before=[Channels(len(of.shape) == 1)])


@dataclass(frozen=True)
class CNN2d(_Convolutions):
    """Convolutions over a picture (batch, channels, height, width), then a linear read-out.

    channels: of each convolution; kernel: its length along each side, odd; activation: as of ``MLP``;
    norm: none or batch (arXiv:1502.03167); pool: whether a maximum over 2 × 2 (2 in a series) follows each; readout:
    of the last one, its ``mean`` over all places or all of it (``flat``); dropout: rate before the read-out.
    Initialisation is PyTorch's default.
    """

    def build(self, of: "Dimensions") -> "torch.nn.Module":
        """A module from (batch, *of.shape) to (batch, of.outputs)."""
        from dlx.models.blocks import convolutions

        channels, *sides = picture(of, "CNN2d")
        return convolutions(self, channels, tuple(sides), of.outputs, before=[])


@dataclass(frozen=True)
class ResNet:
    """The residual network for small pictures (He et al. 2016, arXiv:1512.03385, section 4.2): 6 · blocks + 2 layers.

    blocks: in each of the three stages, 3 for ResNet-20; width: channels of the first stage, doubled at each, 16 there.
    Shortcuts have no parameters (option A), weights are N(0, 2/fan_in), norm is batch norm. Reads (batch, channels,
    height, width).
    """

    blocks: int = 3
    width: int = 16

    def check(self) -> None:
        """Raise DeclarationError where a value is out of its range."""
        check_counts(blocks=self.blocks, width=self.width)

    def build(self, of: "Dimensions") -> "torch.nn.Module":
        """A module from (batch, *of.shape) to (batch, of.outputs)."""
        from dlx.models.blocks import residual_network

        channels, height, width = picture(of, "ResNet")
        if min(height, width) < 4:
            raise DeclarationError(f"model is ResNet, which halves pictures twice; these are {height} × {width}.")
        return residual_network(channels, of.outputs, self.blocks, self.width)
