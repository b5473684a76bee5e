"""Trees of members stacked along a first axis, leaf by leaf, and taken apart again.

A leaf that is the same object in all of them is kept once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten
from torch.utils.weak import WeakIdKeyDictionary

LEAF = tree_flatten(torch.empty(0))[1]  # the structure of a single tensor
_copies: Any = WeakIdKeyDictionary()  # shared tensor → (device, dtype) → its copy there


@dataclass(frozen=True, eq=False)
class Form:
    """What a recording holds for: where the members lie in each leaf, the sizes of the leaves, the trees' structure."""

    axes: tuple[int | None, ...]
    sizes: tuple[tuple[torch.Size, torch.dtype, torch.device], ...]
    spec: TreeSpec


form = lru_cache(maxsize=None)(Form)  # one object for equal forms, so that comparing them costs nothing


@dataclass(frozen=True)
class Stacked:
    """The trees of all members in one: leaves with the members along axis 0, or shared where the axis is None."""

    leaves: tuple[Tensor, ...]
    form: Form


def stacked(leaves: Sequence[Tensor], axes: Sequence[int | None], spec: TreeSpec) -> Stacked:
    """Leaves with their form."""
    sizes = tuple((leaf.shape, leaf.dtype, leaf.device) for leaf in leaves)
    return Stacked(tuple(leaves), form(tuple(axes), sizes, spec))


def stack(trees: Sequence[Any], device: str, dtype: torch.dtype, share: bool = True) -> Stacked:
    """Trees of equal structure as one, on a device; floating-point leaves, and numbers, in this dtype.

    share: keep once what is the same tensor in all trees.
    """
    flat = [tree_flatten(tree) for tree in trees]
    leaves: list[Tensor] = []
    axes: list[int | None] = []
    for column in zip(*(leaves for leaves, _ in flat), strict=True):
        shared = share and isinstance(column[0], Tensor) and all(leaf is column[0] for leaf in column)
        wanted = _wanted(column[0], dtype)
        leaves.append(_placed(column[0], device, wanted) if shared else
                      torch.stack([torch.as_tensor(v, dtype=wanted) for v in column]).to(device))
        axes.append(None if shared else 0)
    return stacked(leaves, axes, flat[0][1])


def _placed(leaf: Tensor, device: str, dtype: torch.dtype) -> Tensor:
    """A shared tensor on a device and in a dtype: moved there once, for all splits and packs, while it lives."""
    copies = _copies.setdefault(leaf, {})
    if (device, dtype) not in copies and (moved := leaf.to(device=device, dtype=dtype)) is not leaf:
        copies[device, dtype] = moved
    return copies.get((device, dtype), leaf)


def _wanted(leaf: Any, dtype: torch.dtype) -> torch.dtype:
    return leaf.dtype if isinstance(leaf, Tensor) and not leaf.is_floating_point() else dtype


def unstack(together: Stacked, members: int) -> list[Any]:
    """The tree of each member, on the CPU; waits for the device."""
    columns = []
    for leaf, axis in zip(together.leaves, together.form.axes, strict=True):
        leaf = leaf.cpu()
        columns.append([leaf] * members if axis is None else leaf.unbind(0))
    return [tree_unflatten([column[i] for column in columns], together.form.spec) for i in range(members)]


def listed(together: Stacked, members: int) -> Any:
    """The tree with a list, of one number for each member, where each has a number; waits for the device."""
    columns = [[leaf.item()] * members if axis is None else leaf.reshape(members).tolist()
               for leaf, axis in zip(together.leaves, together.form.axes, strict=True)]
    return tree_unflatten(columns, together.form.spec)


def entry(together: Stacked, name: str) -> Stacked | None:
    """What the dict of each member holds under a name, a single tensor; None where it holds no such thing."""
    tree = tree_unflatten(list(together.leaves), together.form.spec)
    axes = tree_unflatten(list(together.form.axes), together.form.spec)
    return stacked([tree[name]], [axes[name]], LEAF) if name in tree else None


def select(together: Stacked, members: Sequence[int]) -> Stacked:
    """Only these members, in this order."""
    kept = torch.as_tensor(members, device=together.leaves[0].device)
    axes = together.form.axes
    leaves = [leaf if axis is None else leaf[kept] for leaf, axis in zip(together.leaves, axes, strict=True)]
    return stacked(leaves, axes, together.form.spec)


def restored(together: Stacked, leaves: Sequence[Tensor]) -> Stacked | None:
    """Other leaves in the place of those, on their device; None where sizes do not fit."""
    if [leaf.shape for leaf in leaves] != [leaf.shape for leaf in together.leaves]:
        return None
    moved = [new.to(device=old.device, dtype=old.dtype) for new, old in zip(leaves, together.leaves, strict=True)]
    return stacked(moved, together.form.axes, together.form.spec)
