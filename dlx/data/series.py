"""Generated series of three kinds, in windows like those of ETTh1: what there is to forecast is known."""

import math
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, Literal

from dlx.data.base import Dimensions, Split, Streams, check_at_least
from dlx.data.windows import BORDERS, check_windows, count, dimensions, windows
from dlx.errors import DeclarationError

if typing.TYPE_CHECKING:
    import numpy as np

HOURS = BORDERS[-1]
WARM_UP = 2_000  # hours that are simulated and dropped
RISE = 2.0  # of the trend of ``seasonal`` over all hours, in units of the amplitude of the day
DELAY, STEPS = 30, 10  # of Mackey and Glass, in hours; Euler steps in an hour
STAY = 1 - 1 / 240  # chance that ``switching`` keeps its regime for another hour: ten days on average
RADIUS, PERIODS = 0.99, (12.0, 36.0)  # of the poles of its two regimes, and hours


@dataclass(frozen=True)
class Series:
    """Windows of one generated series of 20 months of hours, from which the next hours are forecast.

    kind: ``seasonal``: a linear trend, a day and a week with a harmonic each; ``chaotic``: Mackey and Glass (1977),
    dx/dt = 0.2 x(t−30)/(1 + x(t−30)¹⁰) − 0.1 x, an hour a unit of time; ``switching``: autoregressions of second order
    with periods of 12 and of 36 hours, of which a hidden Markov chain chooses one for ten days on average (Hamilton
    1989).
    noise: standard deviation of white noise that is added, over that of the series; draw: which realisation. look_back,
    horizon, stride, splits and z-scores are those of ``ETTh1``. The seed decides nothing, so that windows can be
    resampled.
    """

    kind: Literal["seasonal", "chaotic", "switching"]
    look_back: int = 336
    horizon: int = 96
    stride: int = 1
    noise: float = 0.1
    draw: int = 0

    varies: ClassVar[tuple[str, ...]] = ("noise", "kind", "draw")

    def check(self) -> None:
        """Raise DeclarationError where a value is out of its range."""
        if self.kind not in KINDS:
            raise DeclarationError(f"kind is {self.kind!r}; it must be one of {', '.join(KINDS)}.")
        check_windows(self.look_back, self.horizon, self.stride)
        check_at_least(0, noise=self.noise, draw=self.draw)

    def dimensions(self) -> Dimensions:
        """(look_back, 1) numbers; an output for each hour of the horizon."""
        return dimensions(self.look_back, self.horizon, 1)

    def samples(self) -> int:
        """Number of windows in the train split."""
        return count(self.look_back, self.horizon, self.stride)

    def load(self, streams: Streams) -> Mapping[str, Split]:
        """Splits ``train``, ``val``, ``test``; inputs (table, look_back, 1), targets (table, horizon), float32."""
        return _splits(self)


@lru_cache(maxsize=8)
def _splits(of: Series) -> dict[str, Split]:
    import numpy as np

    rng = np.random.default_rng((list(KINDS).index(of.kind), of.draw))
    hours = KINDS[of.kind](rng)
    hours = hours + of.noise * hours.std() * rng.normal(size=HOURS)
    return windows(hours[:, None], of.look_back, of.horizon, of.stride)


def seasonal(rng: "np.random.Generator") -> "np.ndarray":
    """Trend, day and week (14400,), their phases drawn."""
    import numpy as np

    t = np.arange(HOURS)
    total = RISE * t / HOURS
    for period, amplitude in ((24, 1.0), (12, 0.5), (168, 0.5), (84, 0.25)):
        total = total + amplitude * np.sin(2 * math.pi * (t / period + rng.random()))
    return total


def chaotic(rng: "np.random.Generator") -> "np.ndarray":
    """Mackey and Glass's equation (14400,) from a random past, by Euler's method."""
    import numpy as np

    lag = DELAY * STEPS
    past = (0.9 + 0.2 * rng.random(lag)).tolist()
    for _ in range((WARM_UP + HOURS) * STEPS):
        delayed = past[-lag]
        past.append(past[-1] + (0.2 * delayed / (1 + delayed**10) - 0.1 * past[-1]) / STEPS)
    return np.array(past[-HOURS * STEPS :: STEPS])


def switching(rng: "np.random.Generator") -> "np.ndarray":
    """Two autoregressions in turn (14400,), driven by unit noise."""
    import numpy as np

    first = [2 * RADIUS * math.cos(2 * math.pi / period) for period in PERIODS]
    shocks, moves = rng.normal(size=WARM_UP + HOURS), rng.random(WARM_UP + HOURS) > STAY
    regimes = moves.cumsum() % 2
    x = [0.0, 0.0]
    for regime, shock in zip(regimes.tolist(), shocks.tolist(), strict=True):
        x.append(first[regime] * x[-1] - RADIUS**2 * x[-2] + shock)
    return np.array(x[-HOURS:])


KINDS: "dict[str, Callable[[np.random.Generator], np.ndarray]]" = {
    "seasonal": seasonal, "chaotic": chaotic, "switching": switching,
}
