"""Sparse parity: the product of k hidden signs among many (Barak et al. 2022, arXiv:2207.08799)."""

from collections.abc import Mapping
from dataclasses import dataclass

from dlx.data.base import Dimensions, Split, Streams, check_at_least, check_validation, divided, kept
from dlx.errors import DeclarationError


@dataclass(frozen=True)
class Parity:
    """Vectors of fair random signs ±1; the class is 1 where the product of k of them is −1; the seed draws which k.

    n: samples to train and validate on; bits: length of a vector; k: how many of them count.
    validation: share of n held out to validate; 0: none, there is no ``val`` split; test_samples: how many test.
    """

    n: int = 1_000
    bits: int = 40
    k: int = 3
    validation: float = 0.2
    test_samples: int = 1_000

    def check(self) -> None:
        """Raise DeclarationError where a value is out of its range."""
        check_at_least(1, n=self.n, k=self.k, test_samples=self.test_samples)
        check_validation(self.validation, self.n)
        if self.k > self.bits:
            raise DeclarationError(f"k is {self.k}; it must be at most bits, which is {self.bits}.")

    def dimensions(self) -> Dimensions:
        """``bits`` numbers, 2 classes."""
        return Dimensions(self.bits, 2, (self.bits,))

    def samples(self) -> int:
        """Number of training samples, n less those that validate."""
        return kept(self.n, self.validation)

    def load(self, streams: Streams) -> Mapping[str, Split]:
        """Splits ``train``, ``val`` (unless ``validation`` is 0) and ``test``; stream used: ``data``."""
        import torch

        rng = streams.rng("data")
        counting = rng.permutation(self.bits)[: self.k]
        signs = 1 - 2 * rng.integers(0, 2, (self.test_samples + self.n, self.bits))
        classes = (1 - signs[:, counting].prod(axis=1)) // 2
        inputs, targets = torch.from_numpy(signs).double(), torch.from_numpy(classes)
        test, pool = torch.arange(len(inputs)).tensor_split([self.test_samples])
        return divided(Split(inputs, targets, pool), self.validation, Split(inputs, targets, test))
