"""The multilayer perceptron."""

import typing
from dataclasses import dataclass

from dlx.errors import DeclarationError

if typing.TYPE_CHECKING:
    import torch

    from dlx.data import Dimensions

ACTIVATIONS = {"relu": "ReLU", "gelu": "GELU", "tanh": "Tanh", "sigmoid": "Sigmoid"}


@dataclass(frozen=True)
class MLP:
    """Affine maps with an activation between them, inputs-width-…-width-outputs, with PyTorch's default initialisation.

    width: units in each hidden layer; depth: number of hidden layers; activation: relu, gelu, tanh or sigmoid.
    """

    width: int
    depth: int
    activation: str = "relu"
    bias: bool = True

    def check(self) -> None:
        """Raise DeclarationError where a value is out of its range."""
        if self.width < 1:
            raise DeclarationError(f"width is {self.width}; it must be at least 1.")
        if self.depth < 1:
            raise DeclarationError(f"depth is {self.depth}; give at least 1 hidden layer, or use models.Linear().")
        if self.activation not in ACTIVATIONS:
            raise DeclarationError(f"activation is {self.activation!r}; it must be one of {', '.join(ACTIVATIONS)}.")

    def build(self, of: "Dimensions") -> "torch.nn.Module":
        """A module from (batch, inputs) to (batch, outputs)."""
        import torch

        inputs = of.inputs
        layers: list[torch.nn.Module] = []
        for _ in range(self.depth):
            activation = getattr(torch.nn, ACTIVATIONS[self.activation])()
            layers += [torch.nn.Linear(inputs, self.width, bias=self.bias), activation]
            inputs = self.width
        return torch.nn.Sequential(*layers, torch.nn.Linear(inputs, of.outputs, bias=self.bias))
