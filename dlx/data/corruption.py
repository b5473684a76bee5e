"""Corruption: data that are wrong, few, shifted or scrambled, made of any other data."""

import typing
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, ClassVar

from dlx.data.base import Data, Dimensions, Split, Streams, check_at_least, check_shares
from dlx.errors import DeclarationError

if typing.TYPE_CHECKING:
    import numpy as np
    import torch

SEED = 0  # of what is the same in all trials: the permutation, the test noise
MOST_MADE = 4  # of one table, kept


@dataclass(frozen=True)
class LabelNoise:
    """Data of which a share of the labels is redrawn uniformly from all classes, so that (C − 1)/C of it are wrong.

    data: any with classes as targets; share: in [0, 1]. Labels that train and validate are redrawn, those that test
    never; what a smaller share redraws a larger one redraws alike (Zhang et al. 2017, arXiv:1611.03530).
    """

    data: Data
    share: float

    varies: ClassVar[tuple[str, ...]] = ("share",)

    def check(self) -> None:
        """Raise DeclarationError where a value is out of its range."""
        check_shares(share=self.share)

    def dimensions(self) -> Dimensions:
        """Those of the data."""
        return self.data.dimensions()

    def samples(self) -> int:
        """Number of training samples, that of the data."""
        return self.data.samples()

    def load(self, streams: Streams) -> Mapping[str, Split]:
        """The data's splits; streams used: the data's, and ``noise``. Raises DeclarationError for targets in floats."""
        splits, rng = dict(self.data.load(streams)), streams.rng("noise")
        noisy: dict[int, torch.Tensor] = {}
        for name in sorted(splits.keys() - {"test"}):
            labels = splits[name].targets
            if labels.is_floating_point():
                raise DeclarationError(
                    f"data is {type(self.data).__name__}, whose targets are no classes; LabelNoise needs classes."
                )
            if id(labels) not in noisy:
                noisy[id(labels)] = redrawn(labels, self.dimensions().outputs, self.share, rng)
            splits[name] = splits[name]._replace(targets=noisy[id(labels)])
        return splits


def redrawn(labels: "torch.Tensor", classes: int, share: float, rng: "np.random.Generator") -> "torch.Tensor":
    """Labels (any shape) int64 of which a share is redrawn from all classes, alike for all shares above 0."""
    import torch

    if share == 0.0:
        return labels
    chosen = torch.from_numpy(rng.random(tuple(labels.shape)) < share)
    return torch.where(chosen, torch.from_numpy(rng.integers(0, classes, tuple(labels.shape))), labels)


@dataclass(frozen=True)
class Subset:
    """Data of which n training samples are used, drawn by the trial's seed; what validates and tests stays.

    data: any; n: training samples, at most as many as the data have. Of one seed, smaller subsets lie in larger ones.
    Subsets of different n train as one pack, unless their batches are all of them.
    """

    data: Data
    n: int

    varies: ClassVar[tuple[str, ...]] = ("n",)

    def check(self) -> None:
        """Raise DeclarationError where a value is out of its range."""
        check_at_least(1, n=self.n)
        if self.n > (all_of_them := self.data.samples()):
            raise DeclarationError(f"n is {self.n}; it must be at most the {all_of_them} training samples of the data.")

    def dimensions(self) -> Dimensions:
        """Those of the data."""
        return self.data.dimensions()

    def samples(self) -> int:
        """n."""
        return self.n

    def load(self, streams: Streams) -> Mapping[str, Split]:
        """The data's splits, with fewer rows to train on; streams used: the data's, and ``subset``."""
        import torch

        splits = dict(self.data.load(streams))
        train = splits["train"]
        chosen = torch.from_numpy(streams.rng("subset").permutation(len(train.rows))[: self.n])
        return splits | {"train": train._replace(rows=train.rows[chosen])}


@dataclass(frozen=True)
class Shift:
    """Data whose test inputs are shifted: x + offset + noise · ε, with ε standard normal and the same in all trials.

    data: any but tokens; offset, noise: in the units of the inputs. What is trained on and what validates stay
    (Hendrycks and Dietterich 2019, arXiv:1903.12261, whose brightness and Gaussian noise these are).
    """

    data: Data
    offset: float = 0.0
    noise: float = 0.0

    varies: ClassVar[tuple[str, ...]] = ("noise", "offset")

    def check(self) -> None:
        """Raise DeclarationError where a value is out of its range."""
        check_at_least(0, noise=self.noise)
        if abs(self.offset) == float("inf"):
            raise DeclarationError(f"offset is {self.offset}; it must be finite.")
        if self.data.dimensions().tokens:
            raise DeclarationError(f"data is {type(self.data).__name__}, whose inputs are tokens; Shift needs numbers.")

    def dimensions(self) -> Dimensions:
        """Those of the data."""
        return self.data.dimensions()

    def samples(self) -> int:
        """Number of training samples, that of the data."""
        return self.data.samples()

    def load(self, streams: Streams) -> Mapping[str, Split]:
        """The data's splits; the test split has tables of its own. Streams used: the data's."""
        splits = dict(self.data.load(streams))
        test = splits["test"]

        def shifted() -> Split:
            import torch

            inputs, targets = test.take(test.rows)
            noise = torch.randn(inputs.shape, generator=torch.Generator().manual_seed(SEED), dtype=inputs.dtype)
            return Split(inputs + self.offset + self.noise * noise, targets, torch.arange(len(test.rows)))

        how = test.rows.numpy().tobytes(), self.offset, self.noise
        return splits | {"test": made_of(test.inputs, how, shifted)}


@dataclass(frozen=True)
class Permuted:
    """Data whose inputs have their positions in one fixed random order, which takes their neighbourhood away.

    data: any. Positions: of (numbers,) and (length,) tokens all, of (length, channels) the length, of (channels,
    height, width) height and width together. The order is the same in all trials and splits.
    """

    data: Data

    def dimensions(self) -> Dimensions:
        """Those of the data."""
        return self.data.dimensions()

    def samples(self) -> int:
        """Number of training samples, that of the data."""
        return self.data.samples()

    def load(self, streams: Streams) -> Mapping[str, Split]:
        """The data's splits; streams used: the data's."""
        return {
            name: split._replace(inputs=made_of(split.inputs, "permuted", partial(permuted, split.inputs)))
            for name, split in self.data.load(streams).items()
        }


def permuted(table: "torch.Tensor") -> "torch.Tensor":
    """Inputs (table, *shape) with their positions in the fixed order."""
    import torch

    flat = table.flatten(2) if table.ndim == 4 else table
    axis = 2 if table.ndim == 4 else 1
    order = torch.randperm(flat.shape[axis], generator=torch.Generator().manual_seed(SEED))
    return flat.index_select(axis, order).view(table.shape)


def made_of(table: "torch.Tensor", how: Hashable, make: Callable[[], Any]) -> Any:
    """What is made of a table, the very same object each time while the table lives, so that packs store it once."""
    made = _made().setdefault(table, {})
    if how not in made:
        if len(made) == MOST_MADE:
            del made[next(iter(made))]
        made[how] = make()
    return made[how]


@lru_cache(maxsize=1)
def _made() -> Any:
    """Table → how → what was made of it; entries go with their table."""
    from torch.utils.weak import WeakIdKeyDictionary

    return WeakIdKeyDictionary()
