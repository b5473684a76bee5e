"""Sparse linear regression: few or all of the inputs count (as in Woodworth et al. 2020, arXiv:2002.09277)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from dlx.data.base import Dimensions, Split, Streams, check_at_least, check_validation, kept, with_noise
from dlx.errors import DeclarationError


@dataclass(frozen=True)
class SparseLinear:
    """y = ⟨β, x⟩ + noise · ε with x and ε standard normal; ``nonzero`` entries of β are ±nonzero^−½, the others 0.

    Hence ‖β‖₂ = 1, and the mean squared error of an estimate b over all x is ‖b − β‖². The seed draws places, signs and
    samples; places for few entries are among those for more.
    n: samples to train and validate on; inputs: entries of x.
    noise: standard deviation of what is added to y where it trains and validates, never where it tests.
    validation: share of n held out to validate; 0: none, there is no ``val`` split; test_samples: how many test.
    """

    n: int = 40
    inputs: int = 100
    nonzero: int = 5
    noise: float = 0.0
    validation: float = 0.2
    test_samples: int = 1_000

    varies: ClassVar[tuple[str, ...]] = ("noise", "nonzero")

    def check(self) -> None:
        """Raise DeclarationError where a value is out of its range."""
        check_at_least(1, n=self.n, inputs=self.inputs, nonzero=self.nonzero, test_samples=self.test_samples)
        check_at_least(0, noise=self.noise)
        check_validation(self.validation, self.n)
        if self.nonzero > self.inputs:
            raise DeclarationError(f"nonzero is {self.nonzero}; at most all {self.inputs} inputs can count.")

    def dimensions(self) -> Dimensions:
        """``inputs`` numbers in, one number out."""
        return Dimensions(self.inputs, 1, (self.inputs,))

    def samples(self) -> int:
        """Number of training samples, n less those that validate."""
        return kept(self.n, self.validation)

    def load(self, streams: Streams) -> Mapping[str, Split]:
        """Splits ``train``, ``val`` (unless ``validation`` is 0) and ``test``; targets (table, 1) in float64.

        Streams used: ``data`` (β and inputs) and ``noise``.
        """
        import numpy as np

        rng = streams.rng("data")
        x = rng.standard_normal((self.test_samples + self.n, self.inputs))
        places, signs = rng.permutation(self.inputs)[: self.nonzero], rng.choice([-1.0, 1.0], self.inputs)
        beta = np.zeros(self.inputs)
        beta[places] = signs[places] / self.nonzero**0.5
        y = x @ beta[:, None]
        noise = self.noise * streams.rng("noise").standard_normal(y.shape)
        return with_noise(x, y, noise, self.test_samples, self.validation)
