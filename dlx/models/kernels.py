"""Features that stand for kernels, codes of coordinates, and powers of weights. Imported inside functions only."""

import torch
from torch import Tensor, nn
from torch.nn.functional import linear


class Random(nn.Module):
    """Fixed features √(2/features) · relu(Wx), or √(2/features) · cos(Wx + b) where there are phases b.

    weight: (features, inputs); phase: (features,) in radians or None.
    """

    weight: Tensor
    phase: Tensor | None

    def __init__(self, weight: Tensor, phase: Tensor | None) -> None:
        super().__init__()
        self.register_buffer("weight", weight)
        self.register_buffer("phase", phase)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, features) from (batch, inputs)."""
        z = linear(x, self.weight, self.phase)
        return (z.relu() if self.phase is None else z.cos()) * (2 / z.shape[-1]) ** 0.5


class Gaussians(nn.Module):
    """exp(−‖x − cⱼ‖²/(2σⱼ²)); centres: (units, inputs); bandwidth: initial σ, kept as its logarithm, (units,)."""

    centres: Tensor
    log_bandwidth: Tensor

    def __init__(self, centres: Tensor, bandwidth: float, trained: bool) -> None:
        super().__init__()
        logs = torch.full((len(centres),), bandwidth).log()
        for name, value in (("centres", centres), ("log_bandwidth", logs)):
            if trained:
                self.register_parameter(name, nn.Parameter(value))
            else:
                self.register_buffer(name, value)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, units) from (batch, inputs)."""
        squared = (x[:, None, :] - self.centres).square().sum(-1)
        return (-0.5 * squared * (-2 * self.log_bandwidth).exp()).exp()


class Frequencies(nn.Module):
    """[cos 2πBx, sin 2πBx] (Tancik et al. 2020, arXiv:2006.10739), B fixed: (frequencies, inputs), cycles a unit."""

    frequencies: Tensor

    def __init__(self, frequencies: Tensor) -> None:
        super().__init__()
        self.register_buffer("frequencies", frequencies)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, 2 · frequencies) from (batch, inputs)."""
        angles = 2 * torch.pi * linear(x, self.frequencies)
        return torch.cat([angles.cos(), angles.sin()], -1)


class Bumps(nn.Module):
    """exp(−(scale · (x − c))²/2) for each coordinate x and each of equally spaced c (Zheng et al. 2021).

    scale: 1/σ per unit of x, 0-d; centres: c, (codes,).
    """

    scale: Tensor
    centres: Tensor

    def __init__(self, codes: int, scale: float) -> None:
        super().__init__()
        self.register_buffer("scale", torch.tensor(scale, dtype=torch.float64))
        self.register_buffer("centres", torch.linspace(-1, 1, codes))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, inputs · codes) from (batch, inputs)."""
        distances = self.scale.to(x.dtype) * (x.unsqueeze(-1) - self.centres)
        return (-0.5 * distances.square()).exp().flatten(1)


class OneHot(nn.Module):
    """Which of equal intervals around 0 holds a coordinate, the outermost ones open; one-hot for each coordinate.

    scale: intervals in a unit of x, 0-d; slots: their numbers, (codes,).
    """

    scale: Tensor
    slots: Tensor

    def __init__(self, codes: int, scale: float) -> None:
        super().__init__()
        self.register_buffer("scale", torch.tensor(scale, dtype=torch.float64))
        self.register_buffer("slots", torch.arange(codes))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, inputs · codes) from (batch, inputs)."""
        codes = len(self.slots)
        slot = (self.scale * x + codes / 2).floor().clamp(0, codes - 1)
        return (slot.unsqueeze(-1) == self.slots).to(x.dtype).flatten(1)


class Sine(nn.Module):
    """sin(ω(Wx + b)) (Sitzmann et al. 2020, arXiv:2006.09661).

    omega: ω; first: whether this layer reads the coordinates; weights are U(±1/inputs) there and U(±√(6/inputs)/ω)
    elsewhere, biases PyTorch's.
    """

    omega: Tensor

    def __init__(self, inputs: int, outputs: int, omega: float, first: bool) -> None:
        super().__init__()
        self.affine = nn.Linear(inputs, outputs)
        self.register_buffer("omega", torch.tensor(omega, dtype=torch.float64))
        bound = 1 / inputs if first else (6 / inputs) ** 0.5 / omega
        nn.init.uniform_(self.affine.weight, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, outputs) from (batch, inputs)."""
        return (self.omega * self.affine(x)).sin()


class PowerDifference(nn.Module):
    """β = u^depth − v^depth, y = x βᵀ (Woodworth et al. 2020, arXiv:2002.09277); u = v = scale at first, so β = 0."""

    def __init__(self, inputs: int, outputs: int, depth: int, scale: float) -> None:
        super().__init__()
        self.depth = depth
        self.u = nn.Parameter(torch.full((outputs, inputs), scale))
        self.v = nn.Parameter(torch.full((outputs, inputs), scale))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, outputs) from (batch, inputs)."""
        return linear(x, self.u**self.depth - self.v**self.depth)
