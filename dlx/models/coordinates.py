"""Networks from coordinates to what is there: pictures, volumes, distances."""

import typing
from dataclasses import dataclass
from typing import ClassVar, Literal

from dlx.models.checks import check_choice, check_counts, check_positive, vector

if typing.TYPE_CHECKING:
    import torch

    from dlx.data import Dimensions

ENCODINGS = ("none", "basic", "log", "gaussian")


@dataclass(frozen=True)
class CoordinateNet:
    """An MLP over codes γ(x) = [cos 2πBx, sin 2πBx] of coordinates (Tancik et al. 2020, arXiv:2006.10739).

    width: units in each hidden layer; depth: number of hidden layers; encoding: ``none`` (x itself), ``basic`` (B the
    unit matrix), ``log`` (frequencies scale^(j/frequencies) for j = 0…frequencies−1 along each coordinate) or
    ``gaussian`` (B of (frequencies, coordinates) drawn from N(0, scale²)); scale: σ in cycles per unit of the inputs.
    activation: ``relu``, or ``sine`` for a SIREN (Sitzmann et al. 2020, arXiv:2006.09661) with ``omega`` as its ω₀.
    """

    width: int = 256
    depth: int = 3
    encoding: Literal["none", "basic", "log", "gaussian"] = "gaussian"
    frequencies: int = 256
    scale: float = 10.0
    activation: Literal["relu", "sine"] = "relu"
    omega: float = 30.0

    varies: ClassVar[tuple[str, ...]] = ("scale", "omega")

    def check(self) -> None:
        """Raise DeclarationError where a value is out of its range."""
        check_counts(width=self.width, depth=self.depth, frequencies=self.frequencies)
        check_choice("encoding", self.encoding, ENCODINGS)
        check_choice("activation", self.activation, ("relu", "sine"))
        check_positive(scale=self.scale, omega=self.omega)

    def build(self, of: "Dimensions") -> "torch.nn.Module":
        """A module from (batch, coordinates) to (batch, of.outputs)."""
        import torch

        from dlx.models.kernels import Frequencies, Sine

        inputs = vector(of, "CoordinateNet")
        layers: list[torch.nn.Module] = [torch.nn.Flatten()] if len(of.shape) > 1 else []
        if self.encoding != "none":
            frequencies = self._frequencies(inputs)
            layers, inputs = [*layers, Frequencies(frequencies)], 2 * len(frequencies)
        for i in range(self.depth):
            if self.activation == "sine":
                layers.append(Sine(inputs, self.width, self.omega, first=i == 0))
            else:
                layers += [torch.nn.Linear(inputs, self.width), torch.nn.ReLU()]
            inputs = self.width
        output = torch.nn.Linear(inputs, of.outputs)
        if self.activation == "sine":
            bound = (6 / inputs) ** 0.5 / self.omega
            torch.nn.init.uniform_(output.weight, -bound, bound)
        return torch.nn.Sequential(*layers, output)

    def _frequencies(self, inputs: int) -> "torch.Tensor":
        """B, (frequencies, inputs)."""
        import torch

        if self.encoding == "gaussian":
            return torch.randn(self.frequencies, inputs) * self.scale
        if self.encoding == "basic":
            return torch.eye(inputs)
        ladder = self.scale ** (torch.arange(self.frequencies) / self.frequencies)
        return torch.kron(ladder[:, None], torch.eye(inputs))
