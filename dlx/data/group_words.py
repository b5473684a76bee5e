"""Group words: the running product of elements of a finite group, which needs a state (Liu 2022, arXiv:2210.10749)."""

import re
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import factorial

from dlx.data.base import Dimensions, Split, Streams, check_at_least, check_validation, divided, kept
from dlx.errors import DeclarationError

if typing.TYPE_CHECKING:
    import numpy as np

MOST = 1_000  # elements; the product table holds their square


@dataclass(frozen=True)
class GroupWords:
    """Words g₁ … g_T of elements drawn uniformly by the seed; at each position t the class is the product g₁ ∘ … ∘ g_t.

    group: S and a degree (all permutations, as S5), A and a degree (the even ones) or Z and an order (the integers
        under addition; Z2 is the running parity); (g ∘ h)(i) = g(h(i)), elements are numbered in lexicographic order.
    length: T; n: words to train and validate on.
    validation: share of n held out to validate; 0: none, there is no ``val`` split; test_samples: words that test.
    """

    group: str = "S5"
    length: int = 16
    n: int = 10_000
    validation: float = 0.1
    test_samples: int = 1_000

    def check(self) -> None:
        """Raise DeclarationError where a value is out of its range."""
        check_at_least(1, length=self.length, n=self.n, test_samples=self.test_samples)
        check_validation(self.validation, self.n)
        if not re.fullmatch(r"[SAZ][1-9]\d{0,3}", self.group) or not 2 <= _order(self.group) <= MOST:
            raise DeclarationError(
                f"group is {self.group!r}; it must be S, A or Z with a number, of 2 to {MOST} elements, such as 'S5'."
            )

    def dimensions(self) -> Dimensions:
        """(length,) tokens, elements of the group; as many outputs at each position."""
        order = _order(self.group)
        return Dimensions(order, order, (self.length,), tokens=True)

    def samples(self) -> int:
        """Number of training words, n less those that validate."""
        return kept(self.n, self.validation)

    def load(self, streams: Streams) -> Mapping[str, Split]:
        """Splits ``train``, ``val`` (unless ``validation`` is 0) and ``test``; stream used: ``data``.

        Inputs and targets are (table, length) int64.
        """
        import numpy as np
        import torch

        table = products(self.group)
        words = streams.rng("data").integers(0, len(table), (self.test_samples + self.n, self.length))
        running = np.empty_like(words)
        running[:, 0] = words[:, 0]
        for t in range(1, self.length):
            running[:, t] = table[running[:, t - 1], words[:, t]]
        inputs, targets = torch.from_numpy(words), torch.from_numpy(running)
        test, pool = torch.arange(len(inputs)).tensor_split([self.test_samples])
        return divided(Split(inputs, targets, pool), self.validation, Split(inputs, targets, test))


def _order(group: str) -> int:
    """Number of elements."""
    number = int(group[1:])
    if group[0] == "Z":
        return number
    permutations = factorial(min(number, MOST))
    return permutations if group[0] == "S" else max(1, permutations // 2)


@lru_cache(maxsize=4)
def products(group: str) -> "np.ndarray":
    """The group's table (elements, elements) int64: the number of g ∘ h in row g, column h."""
    import itertools

    import numpy as np

    number = int(group[1:])
    if group[0] == "Z":
        return np.add.outer(np.arange(number), np.arange(number)) % number
    elements = np.array(list(itertools.permutations(range(number))))
    if group[0] == "A":
        i, j = np.triu_indices(number, 1)
        elements = elements[(elements[:, i] > elements[:, j]).sum(axis=1) % 2 == 0]
    places = number ** np.arange(number)[::-1]  # a permutation as a number to the base of the degree
    numbers = elements @ places
    return np.searchsorted(numbers, elements[:, elements] @ places)
