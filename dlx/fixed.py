"""Splits that hold the same samples for every seed: only there are samples a draw that seeds share."""

import typing
from collections.abc import Hashable
from functools import lru_cache
from typing import Any, cast

from dlx.context import Context
from dlx.data import Data
from dlx.errors import DeclarationError

if typing.TYPE_CHECKING:
    from dlx.data import Split


def check_fixed(data: Data, split: str, place: str) -> None:
    """Raise DeclarationError unless the data have the split, with the same samples in the same order for all seeds.

    place: what asks for it, the beginning of the sentence.
    """
    names, fixed = _look(cast(Hashable, data), split)
    if split not in names:
        raise DeclarationError(f"{place}; the data has the splits {', '.join(names)}.")
    if not fixed:
        raise DeclarationError(
            f"{place}; {type(data).__name__} draws the split {split!r} anew for every seed, so seeds already sample "
            "it; leave it out."
        )


@lru_cache(maxsize=64)
def _look(data: Any, split: str) -> tuple[tuple[str, ...], bool]:
    """Names of the splits, and whether two seeds have the same one of this name."""
    one, other = (data.load(Context(seed)) for seed in (0, 1))
    return tuple(one), split in one and split in other and _equal(one[split], other[split])


def _equal(one: "Split", other: "Split") -> bool:
    import torch

    if one.inputs is other.inputs and one.targets is other.targets:
        return torch.equal(one.rows, other.rows)
    return all(torch.equal(a, b) for a, b in zip(one.take(one.rows), other.take(other.rows), strict=True))
