"""Layers that look at the whole mini-batch, or draw noise for all of it, while each process of a group has a part.

Imported inside functions only.
"""

import typing
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from dlx.models.batchnorm import TWINS as NORMS
from dlx.models.dropout import Noisy

if typing.TYPE_CHECKING:
    from dlx.parallel import Group


def share_layers(module: nn.Module, group: "Group") -> None:
    """Let dropout and batch normalisation in a module, the twins of ``stateless``, work across a group."""
    for layer in module.modules():
        changed: Any = layer
        if isinstance(layer, Noisy):
            changed.kept = partial(_kept, layer, group)
        elif isinstance(layer, tuple(NORMS.values())):
            changed.forward = partial(_normalised, layer, group)


def _kept(layer: Noisy, group: "Group", shape: Sequence[int]) -> Tensor:
    """This process's part of what is kept of the whole mini-batch; samples lie along the first axis."""
    each, odd = divmod(shape[0], group.part_rows)
    if odd:  # no axis of samples, which comes to light when a group tries its first rows
        return type(layer).kept(layer, shape)
    whole = type(layer).kept(layer, (each * group.whole_rows, *shape[1:]))
    return group.part(whole.unflatten(0, (group.whole_rows, each))).flatten(0, 1)


def _total(tensor: Tensor, group: "Group") -> Tensor:
    """The sum over a group."""
    return typing.cast(Tensor, typing.cast(Any, _Total).apply(tensor, group))


class _Total(torch.autograd.Function):
    """The sum over a group, of a tensor and, on the way back, of the gradients at it."""

    @staticmethod
    def forward(tensor: Tensor, group: "Group") -> Tensor:
        return group.add(tensor)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.group = inputs[1]

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return ctx.group.add(grads[0]), None


def _normalised(layer: Any, group: "Group", input: Tensor) -> Tensor:
    """(part, channels, ...) normalised by mean and variance over all parts, as ``SyncBatchNorm``."""
    if not layer.training or layer.running_mean is None:
        return typing.cast(Tensor, type(layer).forward(layer, input))
    layer._check_input_dim(input)
    axes, shape = (0, *range(2, input.ndim)), (-1, *[1] * (input.ndim - 2))
    size = input.numel() // input.shape[1] // group.part_rows * group.whole_rows
    mean = _total(input.sum(axes), group) / size
    centred = input - mean.view(shape)
    var = _total(centred.square().sum(axes), group) / size
    layer._follow(mean.detach().to(layer.running_mean.dtype),
                  (var.detach() * (size / (size - 1))).to(layer.running_mean.dtype))
    normalised = centred * (var + layer.eps).rsqrt().view(shape)
    return normalised if layer.weight is None else normalised * layer.weight.view(shape) + layer.bias.view(shape)
