"""A noisy curve: regression whose noise grows away from the middle, with known quantiles."""

import math
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from dlx.data.base import Dimensions, Split, Streams, check_at_least, check_validation, divided, kept
from dlx.errors import DeclarationError

if typing.TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class NoisyCurve:
    """y = sin(πx) + σ(x) ε with σ(x) = low + (high − low) |x|, x uniform in [−1, 1], ε standard normal.

    So the q quantile of y is sin(πx) + σ(x) Φ⁻¹(q). n: samples to train and validate on, drawn by the seed, as is the
    test set. low, high: the noise at 0 and at ±1, in units of y. outputs: numbers that a model gives, which all have
    the target y: 1 for a mean, more for quantiles. validation: share of n held out to validate; 0: none, there is no
    ``val`` split; test_samples: test set.
    """

    n: int = 2_000
    low: float = 0.1
    high: float = 1.0
    outputs: int = 1
    validation: float = 0.2
    test_samples: int = 1_000

    varies: ClassVar[tuple[str, ...]] = ("low", "high")

    def check(self) -> None:
        """Raise DeclarationError where a value is out of its range."""
        check_at_least(1, n=self.n, outputs=self.outputs, test_samples=self.test_samples)
        check_validation(self.validation, self.n)
        if not 0.0 <= self.low <= self.high < math.inf:
            raise DeclarationError(f"low is {self.low} and high is {self.high}; give 0 ≤ low ≤ high, finite.")

    def dimensions(self) -> Dimensions:
        """1 number, ``outputs`` outputs."""
        return Dimensions(1, self.outputs, (1,))

    def samples(self) -> int:
        """Number of training samples, n less those that validate."""
        return kept(self.n, self.validation)

    def noise(self, x: "np.ndarray") -> "np.ndarray":
        """σ at x, in units of y."""
        import numpy as np

        return self.low + (self.high - self.low) * np.abs(x)

    def load(self, streams: Streams) -> Mapping[str, Split]:
        """Splits ``train``, ``val`` (unless ``validation`` is 0) and ``test`` in float64; stream used: ``data``."""
        import numpy as np
        import torch

        rng, size = streams.rng("data"), (self.n + self.test_samples, 1)
        x = rng.uniform(-1.0, 1.0, size)
        y = np.sin(np.pi * x) + self.noise(x) * rng.normal(size=size)
        inputs, targets = torch.from_numpy(x), torch.from_numpy(y).repeat(1, self.outputs)
        pool, test = torch.arange(sum(size) - 1).split((self.n, self.test_samples))
        return divided(Split(inputs, targets, pool), self.validation, Split(inputs, targets, test))
