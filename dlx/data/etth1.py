"""ETTh1: two years of an electricity transformer, hour by hour (Zhou et al. 2021, arXiv:2012.07436)."""

import typing
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from dlx.data.base import Dimensions, Split, Streams
from dlx.data.files import PublicFile
from dlx.data.windows import BORDERS, check_windows, count, dimensions, windows
from dlx.trial import field

if typing.TYPE_CHECKING:
    import numpy as np

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

    look_back: hours that are read; horizon: hours that are forecast; stride: hours from the start of one window to that
    of the next. The published protocol, with a stride of 1: 12 months are trained on, 4 validate, 4 test; z-scores of
    the training months; a window that validates or tests reads back over the border, and forecasts behind it. The seed
    decides nothing. File: ``ett/ETTh1.csv`` in the data folder.
    """

    look_back: int = 336
    horizon: int = 96
    stride: int = field(1, absent=1)

    def check(self) -> None:
        """Raise DeclarationError where a value is out of its range."""
        check_windows(self.look_back, self.horizon, self.stride)

    def dimensions(self) -> Dimensions:
        """(look_back, 7) numbers; 7 outputs for each hour of the horizon, hour by hour."""
        return dimensions(self.look_back, self.horizon, SERIES)

    def samples(self) -> int:
        """Number of windows in the train split."""
        return count(self.look_back, self.horizon, self.stride)

    def load(self, streams: Streams) -> Mapping[str, Split]:
        """Splits ``train``, ``val``, ``test``; inputs (table, look_back, 7), targets (table, 7 · horizon), float32."""
        return _splits(self.look_back, self.horizon, self.stride)


@lru_cache(maxsize=2)
def _splits(look_back: int, horizon: int, stride: int) -> dict[str, Split]:
    return windows(_hours(), look_back, horizon, stride)


def _hours() -> "np.ndarray":
    """The first 20 months (14400, 7)."""
    import numpy as np

    path = FILE.locate()
    return np.loadtxt(path, delimiter=",", skiprows=1, usecols=range(1, SERIES + 1), max_rows=BORDERS[-1])
