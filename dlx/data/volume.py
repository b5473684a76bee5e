"""A volume that is known everywhere, as data for coordinate networks in 3D (Marschner and Lobb 1994)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from dlx.data.base import Dimensions, Split, Streams, check_at_least, check_validation, divided, kept


@dataclass(frozen=True)
class Volume:
    """Points of Marschner and Lobb's test signal (An evaluation of reconstruction filters for volume rendering, 1994).

    ρ(x, y, z) = (1 − sin(πz/2) + α(1 + cos(2πf cos(πr/2)))) / (2(1 + α)) with r² = x² + y², in [0, 1]: a slow rise
    along z, and rings around it of up to πf/2 cycles per unit. The seed draws points of [−1, 1]³ uniformly.

    n: points to train and validate on; frequency: f, 6 in the paper, which samples 40³ points; ripple: α, 0.25 there;
    validation: share of n held out to validate; 0: none, there is no ``val`` split; test_samples: how many test.
    """

    n: int = 64_000
    frequency: float = 6.0
    ripple: float = 0.25
    validation: float = 0.2
    test_samples: int = 10_000

    varies: ClassVar[tuple[str, ...]] = ("frequency", "ripple")

    def check(self) -> None:
        """Raise DeclarationError where a value is out of its range."""
        check_at_least(1, n=self.n, test_samples=self.test_samples)
        check_at_least(0, frequency=self.frequency, ripple=self.ripple)
        check_validation(self.validation, self.n)

    def dimensions(self) -> Dimensions:
        """3 coordinates x, y, z; 1 value."""
        return Dimensions(3, 1, (3,))

    def samples(self) -> int:
        """Number of training points, n less those that validate."""
        return kept(self.n, self.validation)

    def load(self, streams: Streams) -> Mapping[str, Split]:
        """Splits ``train``, ``val`` (unless ``validation`` is 0) and ``test`` in float64; stream used: ``data``."""
        import numpy as np
        import torch

        points = streams.rng("data").uniform(-1, 1, (self.test_samples + self.n, 3))
        x, y, z = points.T
        rings = np.cos(2 * np.pi * self.frequency * np.cos(np.pi / 2 * np.hypot(x, y)))
        values = (1 - np.sin(np.pi / 2 * z) + self.ripple * (1 + rings)) / (2 * (1 + self.ripple))
        test, pool = torch.arange(len(points)).tensor_split([self.test_samples])
        whole = Split(torch.from_numpy(points), torch.from_numpy(values).unsqueeze(1), pool)
        return divided(whole, self.validation, whole._replace(rows=test))
