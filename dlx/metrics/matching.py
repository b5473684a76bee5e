"""Weight matching: the order of hidden units, or channels, in which two networks are closest."""

import typing
from collections.abc import Mapping
from itertools import pairwise
from typing import NamedTuple

from dlx.errors import DeclarationError

if typing.TYPE_CHECKING:
    import torch

RESOLVED = 1e-12  # relative gain below which an assignment counts as no better, above rounding in float64


class Layer(NamedTuple):
    """Names of the parameters of a linear layer or a convolution; ``bias`` is None where there is none."""

    weight: str
    bias: str | None


def match(a: "Mapping[str, torch.Tensor]", b: "Mapping[str, torch.Tensor]") -> "dict[str, torch.Tensor]":
    """The parameters of b with the hidden units of each layer in the order that maximises Σ ⟨aₖ, bₖ⟩, layer by layer.

    Coordinate descent over the hidden layers, first to last, each solved exactly as a linear assignment, until none
    gains (Ainsworth et al. 2023, arXiv:2209.04836, algorithm 1, which takes the layers in random order). The function
    that b computes stays the same, the activation being applied to each unit alone.
    a, b: parameters of ``nn.Sequential`` of ``Linear`` layers and convolutions, weights (outputs, inputs, ...) and
    biases (outputs,); what lies between them treats units, or channels, alike.
    Raises DeclarationError where they are of something else, or of different shapes.
    """
    if {k: p.shape for k, p in a.items()} != {k: p.shape for k, p in b.items()}:
        raise DeclarationError("The two models have parameters of different names or shapes; match equal models.")
    layers = _layers(a)
    matched, gained = dict(b), True
    while gained:
        gained = False
        for layer, following in pairwise(layers):
            order = _better_order(a, matched, layer, following)
            if order is not None:
                _reorder(matched, layer, following, order)
                gained = True
    return matched


def _layers(params: "Mapping[str, torch.Tensor]") -> list[Layer]:
    """The layers in their order."""
    weights = [name for name in params if name.endswith("weight")]
    layers = []
    for weight in weights:
        bias = weight.removesuffix("weight") + "bias"
        layers.append(Layer(weight, bias if bias in params else None))
    known = {name for layer in layers for name in layer}
    linear = all(params[name].ndim >= 2 for name in weights)
    if not (known.issuperset(params) and linear and all(
        params[one].shape[0] == params[other].shape[1] for one, other in pairwise(weights)
    )):
        raise DeclarationError(
            f"match needs linear layers and convolutions, one behind the other, and the model has {', '.join(params)}; "
            f"give parameters of an MLP, or of a CNN that reads out a mean, without normalisation or residuals."
        )
    return layers


def _better_order(
    a: "Mapping[str, torch.Tensor]", b: "Mapping[str, torch.Tensor]", layer: Layer, following: Layer
) -> "torch.Tensor | None":
    """The best order (units,) of b's units in this layer; None where theirs is as good."""
    import torch
    from scipy.optimize import linear_sum_assignment

    def inner(name: str, units: int) -> torch.Tensor:
        """⟨a's unit, b's unit⟩ over the other axis, (units, units)."""
        ours, theirs = (params[name].detach().double().movedim(units, 0) for params in (a, b))
        return (ours.reshape(len(ours), -1) @ theirs.reshape(len(theirs), -1).T).cpu()

    similar = inner(layer.weight, 0) + inner(following.weight, 1)
    if layer.bias is not None:
        similar = similar + inner(layer.bias, 0)
    order = torch.from_numpy(linear_sum_assignment(similar.numpy(), maximize=True)[1])
    gain = similar.gather(1, order.unsqueeze(1)).sum() - similar.trace()
    return order.to(b[layer.weight].device) if gain > RESOLVED * similar.abs().sum() else None


def _reorder(params: "dict[str, torch.Tensor]", layer: Layer, following: Layer, order: "torch.Tensor") -> None:
    """Put the units of a layer into this order, in its own parameters and where the next layer reads them."""
    params[layer.weight] = params[layer.weight][order]
    if layer.bias is not None:
        params[layer.bias] = params[layer.bias][order]
    params[following.weight] = params[following.weight][:, order]
