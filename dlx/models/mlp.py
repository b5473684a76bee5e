"""The multilayer perceptron."""

import typing
from dataclasses import dataclass
from typing import ClassVar, Literal

from dlx.errors import DeclarationError
from dlx.models.checks import ACTIVATIONS, check_choice, check_counts, check_dropout, check_positive
from dlx.trial import field

if typing.TYPE_CHECKING:
    import torch

    from dlx.data import Dimensions

PARAMETERISATIONS = ("standard", "mup-sgd", "mup-adam")


@dataclass(frozen=True)
class MLP:
    """Affine maps with an activation between them, inputs-width-…-width-outputs, with PyTorch's default initialisation.

    width: units in each hidden layer; depth: hidden layers; activation: relu, gelu, tanh, sigmoid or quadratic (x²);
    norm: of each hidden layer before its activation, none, layer (arXiv:1607.06450) or batch (arXiv:1502.03167);
    init: of the weights, default, kaiming, xavier or orthogonal (see ``layers.initialise``); init_scale: factor on
    them; residual: hidden layers after the first add to what they read; dropout: rate after each activation.
    parameterisation: ``standard``, or μP (Yang and Hu 2021, arXiv:2011.14522; Yang et al. 2022, arXiv:2203.03466,
    table 3): a learning rate tuned at one width holds at others. Factors in the forward pass do it, none on learning
    rates. ``mup-sgd`` is right for rules linear in the gradient (SGD with or without momentum), ``mup-adam`` for rules
    that do not see the gradient's scale (Adam, AdamW, RMSprop, Lion, sign descent). base_width: where μP is standard.
    """

    width: int
    depth: int
    activation: str = "relu"
    bias: bool = True
    norm: Literal["none", "layer", "batch"] = field("none", absent="none")
    init: Literal["default", "kaiming", "xavier", "orthogonal"] = field("default", absent="default")
    init_scale: float = field(1.0, absent=1.0)
    residual: bool = field(False, absent=False)
    dropout: float | None = field(None, absent=None)
    parameterisation: Literal["standard", "mup-sgd", "mup-adam"] = field("standard", absent="standard")
    base_width: int = field(64, absent=64)

    varies: ClassVar[tuple[str, ...]] = ("init_scale", "dropout")

    def check(self) -> None:
        """Raise DeclarationError where a value is out of its range."""
        check_counts(width=self.width, base_width=self.base_width)
        if self.depth < 1:
            raise DeclarationError(f"depth is {self.depth}; give at least 1 hidden layer, or use models.Linear().")
        check_choice("activation", self.activation, ACTIVATIONS)
        check_choice("norm", self.norm, ("none", "layer", "batch"))
        check_choice("init", self.init, ("default", "kaiming", "xavier", "orthogonal"))
        check_choice("parameterisation", self.parameterisation, PARAMETERISATIONS)
        check_positive(init_scale=self.init_scale)
        check_dropout(self.dropout)

    def build(self, of: "Dimensions") -> "torch.nn.Module":
        """A module from (batch, *of.shape) to (batch, of.outputs); pictures are read as vectors, tokens as one-hot."""
        import torch

        from dlx.models.layers import Residual, flat

        layers, inputs = flat(of)
        for i in range(self.depth):
            hidden = self._hidden(inputs, first=i == 0)
            layers += [Residual(torch.nn.Sequential(*hidden))] if self.residual and i > 0 else hidden
            inputs = self.width
        return torch.nn.Sequential(*layers, self._affine(inputs, of.outputs, "output"))

    def _hidden(self, inputs: int, first: bool) -> "list[torch.nn.Module]":
        import torch

        from dlx.models.layers import activation

        layers = [self._affine(inputs, self.width, "input" if first else "hidden")]
        if self.norm != "none":
            layers.append({"layer": torch.nn.LayerNorm, "batch": torch.nn.BatchNorm1d}[self.norm](self.width))
        layers.append(activation(self.activation))
        return layers if self.dropout is None else [*layers, torch.nn.Dropout(self.dropout)]

    def _affine(self, inputs: int, outputs: int, layer: str) -> "torch.nn.Module":
        import torch

        from dlx.models.layers import initialise, parameterised

        affine = torch.nn.Linear(inputs, outputs, bias=self.bias)
        initialise(affine, self.init, self.init_scale)
        return parameterised(affine, layer, self.parameterisation, self.width / self.base_width)
