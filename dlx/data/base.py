"""What any data offers: named splits of a table, for one model."""

import math
import typing
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

from dlx.errors import DeclarationError
from dlx.shelf import Shelf

if typing.TYPE_CHECKING:
    import numpy as np
    import torch


class Dimensions(NamedTuple):
    """What a model reads and gives for one sample.

    inputs: how many numbers it reads, or of how many symbols for tokens; outputs: how many numbers it gives, at each
    position where targets are sequences; shape: of one sample, (inputs,), (channels, height, width), (length,) of
    tokens, (length, channels); tokens: whether samples are int64 symbols.
    """

    inputs: int
    outputs: int
    shape: tuple[int, ...]
    tokens: bool = False


class Split(NamedTuple):
    """Some rows of a table; a table that is the same object for several members of a pack is stored once.

    ``inputs``: (table, *shape) float, or int64 tokens; ``targets``: (table,) int64 classes, (table, outputs) float, or
    with a length behind the table for sequences; ``rows``: (n,) int64.
    """

    inputs: "torch.Tensor"
    targets: "torch.Tensor"
    rows: "torch.Tensor"

    def take(self, rows: "torch.Tensor") -> "tuple[torch.Tensor, torch.Tensor]":
        """Inputs (batch, ...) and targets (batch, ...) at rows (batch,) of the table."""
        return _at(self.inputs, rows), _at(self.targets, rows)


def _at(table: "torch.Tensor", rows: "torch.Tensor") -> "torch.Tensor":
    """``table[rows]``, spelled so that ``vmap`` makes it one copy whether the table is shared by the members or not."""
    import torch

    if table.ndim == 1:
        return table.gather(0, rows)
    return torch.nn.functional.embedding(rows, table.flatten(1)).unflatten(1, table.shape[1:])


class Streams(Protocol):
    """Where data get their randomness: a generator for each purpose, as ``dlx.Context`` gives."""

    def rng(self, purpose: str) -> "np.random.Generator":
        """A NumPy generator; equal purposes give equal streams."""


@runtime_checkable
class Data(Protocol, metaclass=Shelf):
    """Data of one trial; ``varies`` on the class names the fields that may differ between members of a pack."""

    def dimensions(self) -> Dimensions:
        """What a model reads and gives for one sample, known without loading."""

    def samples(self) -> int:
        """Number of samples in the train split, known without loading."""

    def load(self, streams: Streams) -> Mapping[str, Split]:
        """The splits by name: ``train``, and ``val`` and ``test`` where there are such."""


Data.exemplify("data.MNIST1D()")


def levelled(splits: Sequence[Split]) -> list[Split]:
    """Splits with equally many rows: those with fewer than others begin theirs anew until they have as many."""
    longest = max(len(split.rows) for split in splits)
    return [split._replace(rows=split.rows.repeat(math.ceil(longest / len(split.rows)))[:longest]) for split in splits]


def kept(samples: int, validation: float) -> int:
    """How many of so many samples are trained on when a share of them validates."""
    return samples - round(samples * validation)


def shuffled(pool: Split, rng: "np.random.Generator") -> Split:
    """The split with its rows in a random order."""
    import torch

    return pool._replace(rows=pool.rows[torch.from_numpy(rng.permutation(len(pool.rows)))])


def divided(pool: Split, validation: float, test: Split) -> dict[str, Split]:
    """Splits ``train``, ``val`` (the last rows of the pool; unless the share is 0) and ``test``."""
    n = kept(len(pool.rows), validation)
    splits = {"train": pool._replace(rows=pool.rows[:n])}
    if n < len(pool.rows):
        splits["val"] = pool._replace(rows=pool.rows[n:])
    return splits | {"test": test}


def with_noise(
    x: "np.ndarray", y: "np.ndarray", noise: "np.ndarray", test_samples: int, validation: float
) -> dict[str, Split]:
    """Splits of a regression (samples, ...) whose first samples test; noise is added to targets elsewhere."""
    import torch

    inputs = torch.from_numpy(x)
    test, pool = torch.arange(len(x)).tensor_split([test_samples])
    exact = Split(inputs, torch.from_numpy(y), test)
    return divided(Split(inputs, torch.from_numpy(y + noise), pool), validation, exact)


def check_at_least(least: int, **fields: float) -> None:
    """Raise DeclarationError for a field below the least value that makes sense, or not finite."""
    for name, value in fields.items():
        if not least <= value < math.inf:
            raise DeclarationError(f"{name} is {value}; it must be at least {least}.")


def check_shares(**fields: float) -> None:
    """Raise DeclarationError for a field outside [0, 1]."""
    for name, value in fields.items():
        if not 0.0 <= value <= 1.0:
            raise DeclarationError(f"{name} is {value}; it is a share and must lie in [0, 1].")


def check_validation(validation: float, samples: int) -> None:
    """Raise DeclarationError unless the share lies in [0, 1) and leaves some of the samples to train on."""
    if not 0.0 <= validation < 1.0:
        raise DeclarationError(f"validation is {validation}; it is a share of the samples and must lie in [0, 1).")
    if kept(samples, validation) < 1:
        raise DeclarationError(f"validation is {validation}, which leaves none of {samples} samples; lower it.")
