"""Teacher and student: the outputs of a random network, to be learnt by another (Saad and Solla 1995)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from dlx.data.base import Dimensions, Split, Streams, check_at_least, check_validation, kept, with_noise


@dataclass(frozen=True)
class TeacherStudent:
    """y = (2/m)^½ Σⱼ aⱼ relu(wⱼ·x d^−½) + noise · ε with x, a, w and ε standard normal; the seed draws all of them.

    n: samples to train and validate on; inputs: d; width: m, units of the teacher; outputs: numbers in y, each with its
        own a. Without noise the mean square of y is 1 over teachers.
    noise: standard deviation of what is added to y where it trains and validates, never where it tests.
    validation: share of n held out to validate; 0: none, there is no ``val`` split; test_samples: how many test.
    """

    n: int = 1_000
    inputs: int = 20
    width: int = 10
    outputs: int = 1
    noise: float = 0.0
    validation: float = 0.2
    test_samples: int = 1_000

    varies: ClassVar[tuple[str, ...]] = ("noise",)

    def check(self) -> None:
        """Raise DeclarationError where a value is out of its range."""
        check_at_least(1, n=self.n, inputs=self.inputs, width=self.width, outputs=self.outputs)
        check_at_least(1, test_samples=self.test_samples)
        check_at_least(0, noise=self.noise)
        check_validation(self.validation, self.n)

    def dimensions(self) -> Dimensions:
        """``inputs`` numbers in, ``outputs`` numbers out."""
        return Dimensions(self.inputs, self.outputs, (self.inputs,))

    def samples(self) -> int:
        """Number of training samples, n less those that validate."""
        return kept(self.n, self.validation)

    def load(self, streams: Streams) -> Mapping[str, Split]:
        """Splits ``train``, ``val`` (unless ``validation`` is 0) and ``test``; targets (table, outputs) in float64.

        Streams used: ``data`` (the teacher and its inputs) and ``noise``.
        """
        rng = streams.rng("data")
        first = rng.standard_normal((self.inputs, self.width)) / self.inputs**0.5
        second = rng.standard_normal((self.width, self.outputs)) * (2 / self.width) ** 0.5
        x = rng.standard_normal((self.test_samples + self.n, self.inputs))
        y = (x @ first).clip(min=0.0) @ second
        noise = self.noise * streams.rng("noise").standard_normal(y.shape)
        return with_noise(x, y, noise, self.test_samples, self.validation)
