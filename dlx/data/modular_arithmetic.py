"""Modular arithmetic: the whole table of an operation, on which networks grok (Power et al. 2022, arXiv:2201.02177)."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from dlx.data.base import Dimensions, Split, Streams, check_at_least, check_shares, kept, shuffled
from dlx.errors import DeclarationError

Operation = Literal["add", "subtract", "multiply", "divide"]


@dataclass(frozen=True)
class ModularArithmetic:
    """All pairs (a, b) with c = a ∘ b mod p as class; the trial's seed draws which pairs are trained on.

    p: the modulus, and the number of classes; operation: add, subtract, multiply or divide (p prime, b ≠ 0).
    share: of the pairs that is trained on; validation: share of the other pairs that validates, the rest tests; 0:
        none, there is no ``val`` split.
    one_hot: inputs are (2p,) numbers, one-hot vectors of a and b; else the (3,) tokens a, b and =, of p + 1 symbols.
    """

    p: int = 113
    operation: Operation = "add"
    share: float = 0.5
    validation: float = 0.5
    one_hot: bool = False

    def check(self) -> None:
        """Raise DeclarationError where a value is out of its range."""
        check_at_least(2, p=self.p)
        check_shares(share=self.share)
        if not 0.0 <= self.validation < 1.0:
            raise DeclarationError(
                f"validation is {self.validation}; it is a share of the pairs not trained on and must lie in [0, 1)."
            )
        if not 1 <= self.samples() < self.pairs():
            raise DeclarationError(f"share is {self.share}; at least one of {self.pairs()} pairs trains and one tests.")
        if kept(self.pairs() - self.samples(), self.validation) < 1:
            raise DeclarationError(f"validation is {self.validation}, which leaves no pair to test; lower it.")
        if self.operation == "divide" and any(self.p % q == 0 for q in range(2, self.p)):
            raise DeclarationError(f"p is {self.p}; to divide modulo p it must be prime.")

    def pairs(self) -> int:
        """Number of pairs in the whole table."""
        return self.p * (self.p - 1 if self.operation == "divide" else self.p)

    def dimensions(self) -> Dimensions:
        """2p numbers, or 3 tokens of p + 1 symbols; p classes."""
        if self.one_hot:
            return Dimensions(2 * self.p, self.p, (2 * self.p,))
        return Dimensions(self.p + 1, self.p, (3,), tokens=True)

    def samples(self) -> int:
        """Number of pairs to train on."""
        return round(self.share * self.pairs())

    def load(self, streams: Streams) -> Mapping[str, Split]:
        """Splits ``train``, ``val`` (unless ``validation`` is 0) and ``test`` of one table; stream used: ``data``."""
        pairs = shuffled(_table(self.p, self.operation, self.one_hot), streams.rng("data"))
        borders = [self.samples(), self.pairs() - kept(self.pairs() - self.samples(), self.validation)]
        splits = zip(("train", "val", "test"), pairs.rows.tensor_split(borders), strict=True)
        return {name: pairs._replace(rows=rows) for name, rows in splits if len(rows)}


@lru_cache(maxsize=4)
def _table(p: int, operation: Operation, one_hot: bool) -> Split:
    """All pairs, in the order of (a, b)."""
    import torch

    a, b = torch.cartesian_prod(torch.arange(p), torch.arange(1 if operation == "divide" else 0, p)).unbind(1)
    if operation == "divide":
        c = a * torch.tensor([0] + [pow(d, -1, p) for d in range(1, p)])[b]
    else:
        c = {"add": a + b, "subtract": a - b, "multiply": a * b}[operation]
    if one_hot:
        inputs = torch.cat([torch.nn.functional.one_hot(v, p) for v in (a, b)], dim=1).float()
    else:
        inputs = torch.stack([a, b, torch.full_like(a, p)], dim=1)
    return Split(inputs, c % p, torch.arange(len(c)))
