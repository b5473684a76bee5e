"""ETTh1: two years of an electricity transformer, hour by hour (Zhou et al. 2021, arXiv:2012.07436)."""

import typing
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from dlx.data.base import Dimensions, Split, Streams, check_at_least
from dlx.data.files import PublicFile
from dlx.errors import DeclarationError

if typing.TYPE_CHECKING:
    import numpy as np

MONTH = 30 * 24  # hours
BORDERS = (12 * MONTH, 16 * MONTH, 20 * MONTH)  # train, validate and test, as in Informer's code
SERIES = 7
FILE = PublicFile(
    "ett/ETTh1.csv",
    "https://raw.githubusercontent.com/zhouhaoyi/ETDataset/main/ETT-small/ETTh1.csv",
    2_589_657,
    "f18de3ad269cef59bb07b5438d79bb3042d3be49bdeecf01c1cd6d29695ee066",
)


@dataclass(frozen=True)
class ETTh1:
    """Windows of 7 series (six loads and the oil temperature), from which the next hours of all 7 are forecast.

    look_back: hours that are read; horizon: hours that are forecast. The published protocol: 12 months are trained on,
    4 validate, 4 test; z-scores of the training months; a window starts at each hour; a window that validates or tests
    reads back over the border, and forecasts behind it. The seed decides nothing. File: ``ett/ETTh1.csv`` in the data
    folder.
    """

    look_back: int = 336
    horizon: int = 96

    def check(self) -> None:
        """Raise DeclarationError where a value is out of its range."""
        check_at_least(1, look_back=self.look_back, horizon=self.horizon)
        if self.samples() < 1:
            raise DeclarationError(
                f"look_back is {self.look_back} and horizon {self.horizon}; together they must fit into the "
                f"{BORDERS[0]} training hours."
            )
        if self.horizon > 4 * MONTH:
            raise DeclarationError(f"horizon is {self.horizon}; it must fit into the {4 * MONTH} hours that test.")

    def dimensions(self) -> Dimensions:
        """(look_back, 7) numbers; 7 outputs for each hour of the horizon, hour by hour."""
        return Dimensions(self.look_back * SERIES, self.horizon * SERIES, (self.look_back, SERIES))

    def samples(self) -> int:
        """Number of windows in the train split."""
        return BORDERS[0] - self.look_back - self.horizon + 1

    def load(self, streams: Streams) -> Mapping[str, Split]:
        """Splits ``train``, ``val``, ``test``; inputs (table, look_back, 7), targets (table, 7 · horizon), float32."""
        return dict(zip(("train", "val", "test"), _table(self.look_back, self.horizon), strict=True))


@lru_cache(maxsize=4)
def _table(look_back: int, horizon: int) -> tuple[Split, ...]:
    """The splits; row r of the table reads from hour r on. The windows are views of the series and take no memory."""
    import torch

    windows = torch.from_numpy(_z_scores()).float().unfold(0, look_back + horizon, 1).transpose(1, 2)
    inputs, targets = windows[:, :look_back], windows[:, look_back:].flatten(1)
    first = 0
    splits = []
    for border in BORDERS:
        splits.append(Split(inputs, targets, torch.arange(first, border - look_back - horizon + 1)))
        first = border - look_back
    return tuple(splits)


def _z_scores() -> "np.ndarray":
    """The 20 months (14400, 7), less the mean of each series over the training months, over its deviation."""
    import numpy as np

    path = FILE.locate()
    hours = np.loadtxt(path, delimiter=",", skiprows=1, usecols=range(1, SERIES + 1), max_rows=BORDERS[-1])
    known = hours[: BORDERS[0]]
    return (hours - known.mean(0)) / known.std(0)
