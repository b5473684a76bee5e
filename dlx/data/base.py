"""What any data offers: named splits of a table, for one model."""

import typing
from collections.abc import Mapping
from typing import NamedTuple, Protocol, runtime_checkable

from dlx.shelf import Shelf

if typing.TYPE_CHECKING:
    import numpy as np
    import torch


class Split(NamedTuple):
    """Some rows of a table; a table that is the same object for several members of a pack is stored once.

    ``inputs``: (table, ...) float; ``targets``: (table,) int64 classes or (table, outputs) float; ``rows``: (n,) int64.
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

    def dimensions(self) -> tuple[int, int]:
        """Numbers a model reads and gives for one sample: (inputs, outputs)."""

    def samples(self) -> int:
        """Number of samples in the train split, known without loading."""

    def load(self, streams: Streams) -> Mapping[str, Split]:
        """The splits by name: ``train``, and ``val`` and ``test`` where there are such."""


Data.exemplify("data.MNIST1D()")
