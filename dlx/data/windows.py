"""Windows of a series: what is read, and the values behind it that are to be forecast."""

import typing

from dlx.data.base import Dimensions, Split, check_at_least
from dlx.errors import DeclarationError

if typing.TYPE_CHECKING:
    import numpy as np

MONTH = 30 * 24  # hours
BORDERS = (12 * MONTH, 16 * MONTH, 20 * MONTH)  # train, validate and test, as in Informer's code


def check_windows(look_back: int, horizon: int, stride: int) -> None:
    """Raise DeclarationError where windows do not fit between the borders."""
    check_at_least(1, look_back=look_back, horizon=horizon, stride=stride)
    if look_back + horizon > BORDERS[0]:
        raise DeclarationError(
            f"look_back is {look_back} and horizon {horizon}; together they must fit into the {BORDERS[0]} training "
            "hours."
        )
    if horizon > 4 * MONTH:
        raise DeclarationError(f"horizon is {horizon}; it must fit into the {4 * MONTH} hours that test.")


def dimensions(look_back: int, horizon: int, channels: int) -> Dimensions:
    """Of windows of so many channels: (look_back, channels) numbers, and the outputs hour by hour."""
    return Dimensions(look_back * channels, horizon * channels, (look_back, channels))


def count(look_back: int, horizon: int, stride: int) -> int:
    """How many windows begin in the training hours, one in ``stride`` hours."""
    return (BORDERS[0] - look_back - horizon) // stride + 1


def windows(hours: "np.ndarray", look_back: int, horizon: int, stride: int) -> dict[str, Split]:
    """Splits ``train``, ``val``, ``test`` of 20 months (14400, channels), as z-scores of the first twelve.

    A window that validates or tests reads back over the border, and forecasts behind it. Windows are copies: taking
    batches from views of the series would copy all of them each time.
    """
    import torch

    known = hours[: BORDERS[0]]
    series = torch.from_numpy((hours - known.mean(0)) / known.std(0)).float()
    first, starts = 0, []
    for border in BORDERS:
        starts.append(torch.arange(first, border - look_back - horizon + 1, stride))
        first = border - look_back
    whole = series.unfold(0, look_back + horizon, 1).transpose(1, 2)[torch.cat(starts)]
    inputs, targets = whole[:, :look_back].contiguous(), whole[:, look_back:].flatten(1).contiguous()
    rows = torch.arange(len(inputs)).split([len(s) for s in starts])
    return {name: Split(inputs, targets, r) for name, r in zip(("train", "val", "test"), rows, strict=True)}
