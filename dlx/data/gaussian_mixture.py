"""A Gaussian mixture: classes as balls whose centres are equally far from each other."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from dlx.data.base import Dimensions, Split, Streams, check_at_least, check_validation, divided, kept
from dlx.errors import DeclarationError


@dataclass(frozen=True)
class GaussianMixture:
    """x = μ_c + ε with ε standard normal and the class c uniform; the seed draws the orthogonal centres μ.

    n: samples to train and validate on; inputs: numbers in x; classes: at most as many as inputs.
    separation: distance between any two centres, in standard deviations; of two classes the best possible error is
        Φ(−separation/2).
    validation: share of n held out to validate; 0: none, there is no ``val`` split; test_samples: how many test.
    """

    n: int = 1_000
    inputs: int = 20
    classes: int = 2
    separation: float = 2.0
    validation: float = 0.2
    test_samples: int = 1_000

    varies: ClassVar[tuple[str, ...]] = ("separation",)

    def check(self) -> None:
        """Raise DeclarationError where a value is out of its range."""
        check_at_least(1, n=self.n, classes=self.classes, test_samples=self.test_samples)
        check_at_least(0, separation=self.separation)
        check_validation(self.validation, self.n)
        if self.classes > self.inputs:
            raise DeclarationError(f"classes is {self.classes}; it must be at most inputs, which is {self.inputs}.")

    def dimensions(self) -> Dimensions:
        """``inputs`` numbers, ``classes`` classes."""
        return Dimensions(self.inputs, self.classes, (self.inputs,))

    def samples(self) -> int:
        """Number of training samples, n less those that validate."""
        return kept(self.n, self.validation)

    def load(self, streams: Streams) -> Mapping[str, Split]:
        """Splits ``train``, ``val`` (unless ``validation`` is 0) and ``test``; stream used: ``data``."""
        import numpy as np
        import torch

        rng = streams.rng("data")
        directions = np.linalg.qr(rng.standard_normal((self.inputs, self.classes)))[0].T
        labels = rng.integers(0, self.classes, self.test_samples + self.n)
        x = rng.standard_normal((len(labels), self.inputs)) + self.separation * 0.5**0.5 * directions[labels]
        inputs, targets = torch.from_numpy(x), torch.from_numpy(labels)
        test, pool = torch.arange(len(x)).tensor_split([self.test_samples])
        return divided(Split(inputs, targets, pool), self.validation, Split(inputs, targets, test))
