"""MNIST-1D: ten digits as noisy signals of forty numbers (Greydanus and Kobak 2020, arXiv:2011.14439)."""

import typing
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

from dlx.data.base import (
    Dimensions,
    Split,
    Streams,
    check_at_least,
    check_shares,
    check_validation,
    divided,
    kept,
)
from dlx.data.corruption import redrawn

if typing.TYPE_CHECKING:
    import numpy as np
    import torch

FEATURES, CLASSES = 40, 10
PUBLISHED = 4_000  # training samples of the published set
SEED = 42  # of the published set


@dataclass(frozen=True)
class MNIST1D:
    """Signals of 40 numbers in 10 classes; the trial's seed draws which samples train, which validate, which are wrong.

    n: samples to train and validate on, drawn by the seed from the 4,000 published ones (from n where n is more).
    label_noise: share of these labels redrawn uniformly from all ten classes, so that 9/10 of it are wrong, as in the
        literature on double descent; validation labels carry the noise as well, test labels never.
    validation: share of n held out to validate; 0: none, there is no ``val`` split.
    test_samples: test set, regenerated beside the others; 1,000 with n ≤ 4,000 is the published set.
    shuffled: the forty positions in one fixed random order, which takes their neighbourhood away.
    """

    n: int = PUBLISHED
    label_noise: float = 0.0
    validation: float = 0.2
    test_samples: int = 1_000
    shuffled: bool = False

    varies: ClassVar[tuple[str, ...]] = ("label_noise",)

    def check(self) -> None:
        """Raise DeclarationError where a value is out of its range."""
        check_at_least(1, n=self.n, test_samples=self.test_samples)
        check_shares(label_noise=self.label_noise)
        check_validation(self.validation, self.n)

    def dimensions(self) -> Dimensions:
        """40 numbers, 10 classes."""
        return Dimensions(FEATURES, CLASSES, (FEATURES,))

    def samples(self) -> int:
        """Number of training samples, n less those that validate."""
        return kept(self.n, self.validation)

    def load(self, streams: Streams) -> Mapping[str, Split]:
        """Splits ``train``, ``val`` (unless ``validation`` is 0) and ``test``; inputs (table, 40) in float64.

        Streams used: ``data`` (which samples train and validate) and ``noise`` (which labels are redrawn).
        """
        import torch

        pool = max(PUBLISHED, self.n)
        inputs, labels, test_rows = _table(pool, self.test_samples, self.shuffled)
        rows = torch.from_numpy(streams.rng("data").permutation(pool)[: self.n])
        noisy = redrawn(labels, CLASSES, self.label_noise, streams.rng("noise"))
        return divided(Split(inputs, noisy, rows), self.validation, Split(inputs, labels, test_rows))


@lru_cache(maxsize=8)
def _table(pool: int, test: int, shuffled: bool) -> "tuple[torch.Tensor, torch.Tensor, torch.Tensor]":
    """Inputs (pool + test, 40), labels (pool + test,) and the rows of the test set."""
    import torch

    from dlx.data.cache import cached

    samples = -(-(pool + test) // CLASSES) * CLASSES  # the generator makes equally many of each class
    arrays = cached(f"mnist1d-{samples}{'-shuffled' if shuffled else ''}", lambda: generate(samples, shuffled))
    inputs, labels = torch.from_numpy(arrays["inputs"]), torch.from_numpy(arrays["labels"])
    return inputs[: pool + test], labels[: pool + test], torch.arange(pool, pool + test)


def generate(samples: int, shuffled: bool) -> "dict[str, np.ndarray]":
    """Samples of the published generator at its published seed: ``inputs`` (samples, 40) and ``labels`` (samples,)."""
    import random

    import numpy as np
    from mnist1d.data import get_dataset_args, make_dataset

    args = get_dataset_args()
    args.num_samples, args.train_split, args.shuffle_seq, args.seed = samples, 1.0, shuffled, SEED
    before = random.getstate(), np.random.get_state()  # the generator seeds the global streams
    try:
        made = make_dataset(args)
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
    return {"inputs": made["x"].astype(np.float64), "labels": made["y"].astype(np.int64)}
