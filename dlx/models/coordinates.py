"""Networks from coordinates to what is there: pictures, volumes, distances."""

import typing
from dataclasses import dataclass
from typing import ClassVar, Literal

from dlx.models.checks import check_choice, check_counts, check_positive, vector
from dlx.trial import field

if typing.TYPE_CHECKING:
    import torch

    from dlx.data import Dimensions

ENCODINGS = ("none", "basic", "log", "gaussian", "bumps", "rbf", "onehot")


@dataclass(frozen=True)
class CoordinateNet:
    """An MLP over codes γ(x) of coordinates, periodic or not.

    Periodic (Tancik et al. 2020, arXiv:2006.10739): γ(x) = [cos 2πBx, sin 2πBx]. Not periodic (Zheng et al. 2021,
    arXiv:2107.02561): γ falls with the distance from places in [−1, 1] for each coordinate, or in the whole cube.

    width: units in each hidden layer; depth: number of hidden layers; encoding: ``none`` (x itself), ``basic`` (B the
    unit matrix), ``log`` (frequencies scale^(j/frequencies) for j = 0…frequencies−1 along each coordinate),
    ``gaussian`` (B of (frequencies, coordinates) drawn from N(0, scale²)), ``bumps`` (exp(−(scale · (x − c))²/2) for
    ``frequencies`` equally spaced c along each coordinate), ``rbf`` (exp(−(scale · ‖x − c‖)²/2) for ``frequencies``
    centres drawn in [−1, 1]^coordinates) or ``onehot`` (which of ``frequencies`` intervals around 0, ``scale`` of them
    in a unit, holds x, along each coordinate); scale: in cycles, 1/σ of bumps, or intervals per unit; length: of this
    unit in that of the inputs, so that it is 2 for the side of [−1, 1]².
    activation: ``relu``, or ``sine`` for a SIREN (Sitzmann et al. 2020, arXiv:2006.09661) with ``omega`` as its ω₀.
    """

    width: int = 256
    depth: int = 3
    encoding: Literal["none", "basic", "log", "gaussian", "bumps", "rbf", "onehot"] = "gaussian"
    frequencies: int = 256
    scale: float = 10.0
    activation: Literal["relu", "sine"] = "relu"
    omega: float = 30.0
    length: float = field(1.0, absent=1.0)

    varies: ClassVar[tuple[str, ...]] = ("scale", "omega")

    def check(self) -> None:
        """Raise DeclarationError where a value is out of its range."""
        check_counts(width=self.width, depth=self.depth, frequencies=self.frequencies)
        check_choice("encoding", self.encoding, ENCODINGS)
        check_choice("activation", self.activation, ("relu", "sine"))
        check_positive(scale=self.scale, omega=self.omega, length=self.length)

    def build(self, of: "Dimensions") -> "torch.nn.Module":
        """A module from (batch, coordinates) to (batch, of.outputs)."""
        import torch

        from dlx.models.kernels import Sine

        inputs = vector(of, "CoordinateNet")
        layers: list[torch.nn.Module] = [torch.nn.Flatten()] if len(of.shape) > 1 else []
        if self.encoding != "none":
            code, inputs = self._code(inputs)
            layers.append(code)
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

    def _code(self, inputs: int) -> "tuple[torch.nn.Module, int]":
        """γ, and how many numbers it gives."""
        import torch

        from dlx.models.kernels import Bumps, Frequencies, Gaussians, OneHot

        if self.encoding == "bumps":
            return Bumps(self.frequencies, self.scale / self.length), inputs * self.frequencies
        if self.encoding == "onehot":
            return OneHot(self.frequencies, self.scale / self.length), inputs * self.frequencies
        if self.encoding == "rbf":
            centres = torch.rand(self.frequencies, inputs) * 2 - 1
            return Gaussians(centres, self.length / self.scale, trained=False), self.frequencies
        frequencies = self._frequencies(inputs) / self.length
        return Frequencies(frequencies), 2 * len(frequencies)

    def _frequencies(self, inputs: int) -> "torch.Tensor":
        """B, (frequencies, inputs), in cycles per length."""
        import torch

        if self.encoding == "gaussian":
            return torch.randn(self.frequencies, inputs) * self.scale
        if self.encoding == "basic":
            return torch.eye(inputs)
        ladder = self.scale ** (torch.arange(self.frequencies) / self.frequencies)
        return torch.kron(ladder[:, None], torch.eye(inputs))
