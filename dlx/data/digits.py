"""Digits: handwritten figures of 8×8 points, the test set of Alpaydin and Kaynak (1998) that scikit-learn ships."""

import typing
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from dlx.data.base import Dimensions, Split, Streams, check_validation, divided, kept, shuffled

if typing.TYPE_CHECKING:
    import torch

SHAPE, CLASSES = (1, 8, 8), 10
SAMPLES, TEST = 1_797, 360  # a fifth of all tests
WHITEST = 16  # inputs are counts from 0 to this
SEED = 0  # of the order in which the last are the test set


@dataclass(frozen=True)
class Digits:
    """1,797 figures in 10 classes, of which 360 test, always the same ones; the seed draws which others validate.

    validation: share of the 1,437 others held out to validate; 0: none, there is no ``val`` split.
    """

    validation: float = 0.2

    def check(self) -> None:
        """Raise DeclarationError where a value is out of its range."""
        check_validation(self.validation, SAMPLES - TEST)

    def dimensions(self) -> Dimensions:
        """64 numbers as (1, 8, 8), 10 classes."""
        return Dimensions(64, CLASSES, SHAPE)

    def samples(self) -> int:
        """Number of training samples."""
        return kept(SAMPLES - TEST, self.validation)

    def load(self, streams: Streams) -> Mapping[str, Split]:
        """Splits ``train``, ``val`` (unless ``validation`` is 0) and ``test``; inputs (table, 1, 8, 8) in [0, 1].

        Stream used: ``data``.
        """
        inputs, labels, order = _table()
        pool, test = (Split(inputs, labels, rows) for rows in order.tensor_split([SAMPLES - TEST]))
        return divided(shuffled(pool, streams.rng("data")), self.validation, test)


@lru_cache(maxsize=1)
def _table() -> "tuple[torch.Tensor, torch.Tensor, torch.Tensor]":
    """Inputs (1797, 1, 8, 8), labels (1797,) and all rows, those that test last."""
    import numpy as np
    import torch
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(SEED).permutation(SAMPLES)
    inputs = torch.from_numpy(images / WHITEST).view(SAMPLES, *SHAPE)
    return inputs, torch.from_numpy(labels.astype(np.int64)), torch.from_numpy(order)
