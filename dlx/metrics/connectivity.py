"""The loss along the line between two models."""

import typing
from collections.abc import Callable, Mapping

from dlx.errors import DeclarationError

if typing.TYPE_CHECKING:
    import torch

    Params = Mapping[str, torch.Tensor]


def line(
    loss_at: "Callable[[dict[str, torch.Tensor]], torch.Tensor | float]", a: "Params", b: "Params", points: int = 25
) -> "torch.Tensor":
    """The loss at (1 − t)a + tb for t evenly from 0 to 1, (points,).

    loss_at: parameters by name → 0-d or a number; a, b: parameters of equal names and shapes. Whole numbers among
    them are those of a. Raises DeclarationError where names or shapes differ, or points are below 3.
    """
    import torch

    if points < 3:
        raise DeclarationError(f"points is {points}; give at least 3, both ends and one between them.")
    if {k: p.shape for k, p in a.items()} != {k: p.shape for k, p in b.items()}:
        raise DeclarationError("The two models have parameters of different names or shapes; compare equal models.")
    between = [
        {k: torch.lerp(p, b[k], t) if p.is_floating_point() else p for k, p in a.items()}
        for t in torch.linspace(0.0, 1.0, points, dtype=torch.float64).tolist()
    ]
    return torch.stack([torch.as_tensor(loss_at(params)) for params in between])


def barrier(
    loss_at: "Callable[[dict[str, torch.Tensor]], torch.Tensor | float]", a: "Params", b: "Params", points: int = 25
) -> "torch.Tensor":
    """Largest excess of the loss along the line over the line between the losses of its ends, 0-d, in their units.

    At least 0 (Entezari et al. 2022, arXiv:2110.06296; that of Frankle et al. 2020, arXiv:1912.05671, with the mean
    of the ends); arguments and errors as ``line``.
    """
    import torch

    losses = line(loss_at, a, b, points)
    chord = torch.lerp(losses[0], losses[-1], torch.linspace(0.0, 1.0, points).to(losses))
    return (losses - chord).max()
