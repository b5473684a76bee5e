"""Layers that several models are built of. Imported inside functions only."""

import math
import typing
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from dlx.models.checks import ACTIVATIONS

if typing.TYPE_CHECKING:
    from dlx.data import Dimensions


def activation(name: str) -> nn.Module:
    """The activation of a name in ``ACTIVATIONS``."""
    return Quadratic() if name == "quadratic" else getattr(nn, ACTIVATIONS[name])()


class Quadratic(nn.Module):
    """x² (Gromov 2023, arXiv:2301.02679)."""

    def forward(self, x: Tensor) -> Tensor:
        """The squares."""
        return x * x


def flat(of: "Dimensions") -> tuple[list[nn.Module], int]:
    """What makes a sample a vector, and the length of that: nothing, a reshape, or one-hot codes of tokens."""
    if of.tokens:
        return [OneHot(of.inputs), nn.Flatten()], math.prod(of.shape) * of.inputs
    return [nn.Flatten()] if len(of.shape) > 1 else [], of.inputs


class OneHot(nn.Module):
    """One-hot codes (..., symbols) of int64 tokens (...)."""

    one: Tensor

    def __init__(self, symbols: int) -> None:
        super().__init__()
        self.symbols = symbols
        self.register_buffer("one", torch.ones(()), persistent=False)  # tells the dtype of the model

    def forward(self, tokens: Tensor) -> Tensor:
        """The codes."""
        return (tokens[..., None] == torch.arange(self.symbols, device=tokens.device)).to(self.one.dtype)


class Residual(nn.Module):
    """x + f(x) (He et al. 2016, arXiv:1512.03385), for f that keeps the shape."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        """The sum."""
        return x + self.inner(x)


class Readout(nn.Module):
    """(batch, length, dim) as it is (``each``), at its last position (``last``) or averaged over them (``mean``)."""

    def __init__(self, readout: str) -> None:
        super().__init__()
        self.readout = readout

    def forward(self, x: Tensor) -> Tensor:
        """(batch, length, dim) or (batch, dim)."""
        if self.readout == "each":
            return x
        return x[:, -1] if self.readout == "last" else x.mean(1)


class Series(nn.Module):
    """(batch, length, channels) as it is, or from plain vectors (batch, length) as series of one channel."""

    def __init__(self, one: bool) -> None:
        super().__init__()
        self.one = one

    def forward(self, x: Tensor) -> Tensor:
        """(batch, length, channels)."""
        return x.unsqueeze(-1) if self.one else x


def embedding(of: "Dimensions", channels: int, dim: int) -> nn.Module:
    """(batch, length, dim) from tokens (batch, length), N(0, 1) each, or from series by an affine map."""
    if of.tokens:
        return nn.Embedding(channels, dim)
    return nn.Sequential(Series(len(of.shape) == 1), nn.Linear(channels, dim))


class Outputs(nn.Module):
    """Outputs (batch, length, width) of a recurrent layer, without its last state."""

    def __init__(self, core: nn.Module) -> None:
        super().__init__()
        self.core = core

    def forward(self, x: Tensor) -> Tensor:
        """(batch, length, width) from (batch, length, inputs)."""
        return self.core(x)[0]


class Scaled(nn.Module):
    """y = s x Wᵀ + t b: an affine map whose parameters live at other scales than they act at (arXiv:2011.14522).

    affine: what acts at first, but for its weights times ``initial``; weight_scale, bias_scale: s and t. To a rule
    linear in the gradient the learning rate seems s² and t² times as large, to one that only sees signs s and t times.
    """

    def __init__(self, affine: nn.Linear, weight_scale: float, bias_scale: float, initial: float) -> None:
        super().__init__()
        self.weight_scale, self.bias_scale = weight_scale, bias_scale
        self.weight = nn.Parameter(affine.weight.detach() * (initial / weight_scale))
        self.bias = None if affine.bias is None else nn.Parameter(affine.bias.detach() / bias_scale)

    def forward(self, x: Tensor) -> Tensor:
        """(..., outputs) from (..., inputs)."""
        bias = None if self.bias is None else self.bias * self.bias_scale
        return linear(x, self.weight * self.weight_scale, bias)


def parameterised(affine: nn.Linear, layer: str, rule: str, ratio: float) -> nn.Module:
    """An affine map as it is (``standard``), or in μP (Yang et al. 2022, arXiv:2203.03466, table 3).

    layer: ``input`` (only outputs grow), ``hidden`` (both grow) or ``output`` (only inputs grow); rule: ``mup-sgd`` or
    ``mup-adam``, for updates linear in the gradient or blind to its scale; ratio: width over the width at which μP is
    the standard parameterisation.
    """
    if rule == "standard":
        return affine
    root = math.sqrt(ratio)
    scales = {
        ("mup-sgd", "input"): (root, root, 1.0), ("mup-adam", "input"): (1.0, 1.0, 1.0),
        ("mup-sgd", "hidden"): (1.0, root, 1.0), ("mup-adam", "hidden"): (1 / ratio, 1.0, 1.0),
        ("mup-sgd", "output"): (1 / root, 1.0, 1 / root), ("mup-adam", "output"): (1 / ratio, 1.0, 1 / root),
    }
    return Scaled(affine, *scales[rule, layer])


def initialise(module: nn.Linear, rule: str, scale: float) -> None:
    """Weights of an affine map drawn by a rule, times a gain; biases stay PyTorch's, 0 with any other rule.

    rule: ``default`` (PyTorch's U(±1/√fan_in)), ``kaiming`` (N(0, 2/fan_in), arXiv:1502.01852), ``xavier``
    (U(±√(6/(fan_in + fan_out))), Glorot and Bengio 2010) or ``orthogonal`` (Saxe et al. 2014, arXiv:1312.6120).
    """
    draw: dict[str, Callable[[Tensor], object]] = {
        "kaiming": lambda w: nn.init.kaiming_normal_(w, nonlinearity="relu"),
        "xavier": nn.init.xavier_uniform_,
        "orthogonal": nn.init.orthogonal_,
    }
    with torch.no_grad():
        if rule in draw:
            draw[rule](module.weight)
            if module.bias is not None:
                module.bias.zero_()
        module.weight *= scale
