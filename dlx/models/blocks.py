"""Blocks of convolutional networks. Imported inside functions only."""

import math
import typing
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from dlx.errors import DeclarationError
from dlx.models.layers import activation

if typing.TYPE_CHECKING:
    from dlx.models.convolutional import _Convolutions


class Channels(nn.Module):
    """(batch, channels, length) from series (batch, length, channels), or from (batch, length) with one channel."""

    def __init__(self, one: bool) -> None:
        super().__init__()
        self.one = one

    def forward(self, x: Tensor) -> Tensor:
        """Channels before the length."""
        return x.unsqueeze(1) if self.one else x.transpose(1, 2)


def convolutions(
    model: "_Convolutions", channels: int, sides: tuple[int, ...], outputs: int, before: Sequence[nn.Module]
) -> nn.Module:
    """The network of a declaration for samples (channels, *sides); DeclarationError where pooling leaves none."""
    Conv, Norm, Pool = [
        (nn.Conv1d, nn.BatchNorm1d, nn.MaxPool1d), (nn.Conv2d, nn.BatchNorm2d, nn.MaxPool2d)
    ][len(sides) - 1]
    left = [side >> len(model.channels) if model.pool else side for side in sides]
    if min(left) < 1:
        raise DeclarationError(
            f"channels is {model.channels}, and pooling by 2 after each leaves nothing of {sides}; give fewer."
        )
    layers: list[nn.Module] = [*before]
    for width in model.channels:
        layers.append(Conv(channels, width, model.kernel, padding=model.kernel // 2))
        layers += [Norm(width)] if model.norm == "batch" else []
        layers.append(activation(model.activation))
        layers += [Pool(2)] if model.pool else []
        channels = width
    layers.append(nn.Flatten() if model.readout == "flat" else Mean())
    layers += [] if model.dropout is None else [nn.Dropout(model.dropout)]
    return nn.Sequential(*layers, nn.Linear(channels * (math.prod(left) if model.readout == "flat" else 1), outputs))


class Mean(nn.Module):
    """(batch, channels), the mean of (batch, channels, ...) over all places."""

    def forward(self, x: Tensor) -> Tensor:
        """The mean."""
        return x.flatten(2).mean(2)


class Block(nn.Module):
    """x + (3 × 3 convolution, norm, relu, 3 × 3 convolution, norm), then relu (arXiv:1512.03385, figure 2)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.stride, self.more = stride, outputs - inputs
        self.inner = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(batch, outputs, height/stride, width/stride); the shortcut has zeros in channels that are new."""
        short = pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.more))
        return torch.relu(short + self.inner(x))


def residual_network(channels: int, outputs: int, blocks: int, width: int) -> nn.Module:
    """A convolution, three stages of blocks that halve the sides and double the channels, the mean, a read-out."""
    layers: list[nn.Module] = [
        nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()
    ]
    inputs = width
    for stage in range(3):
        for block in range(blocks):
            layers.append(Block(inputs, width << stage, stride=2 if stage and not block else 1))
            inputs = width << stage
    net = nn.Sequential(*layers, Mean(), nn.Linear(inputs, outputs))
    for part in net.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, nonlinearity="relu")
    return net
