"""Digests over products of scientific axes: what makes a million cells cost one hash each."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from dlx.canonical import digest


@dataclasses.dataclass
class Axis:
    """A scientific axis: its name (the first place it stands at, less ``template.``) and the labels of its options."""

    name: str
    labels: list[Any]
    structural: bool = False  # an option holds axes of its own


@dataclasses.dataclass(frozen=True)
class Scope:
    """What digesting needs to know beside the tree: all axes, and the derived values over the product of ``free`` ones.

    ``derived``: place → value for every combination, the last axis fastest; empty without derived values.
    """

    axes: Sequence[Axis]
    free: tuple[int, ...] = ()
    derived: Sequence[Mapping[str, Any]] = ()

    def derived_at(self, options: Mapping[int, int]) -> Mapping[str, Any]:
        """The derived values of one combination."""
        index = 0
        for axis in self.free:
            index = index * len(self.axes[axis].labels) + options.get(axis, 0)
        return self.derived[index] if self.derived else {}


@dataclasses.dataclass(frozen=True)
class Table:
    """Digests of a node over the product of the axes it depends on, the last axis fastest."""

    axes: tuple[int, ...]
    digests: list[bytes]


def combine(
    header: bytes,
    parts: Sequence[tuple[bytes, Table]],
    scope: Scope,
    join: Callable[[Sequence[bytes]], bytes] | None = None,
) -> Table:
    """One table out of those of the parts, over the union of their axes."""
    axes = tuple(dict.fromkeys(a for _, t in parts for a in t.axes))
    sizes = {a: len(scope.axes[a].labels) for a in axes}
    columns = [[prefix + d for d in reorder(t, list(axes), sizes)] for prefix, t in parts]
    if join is None:
        rows = zip(*columns, strict=True) if columns else [()]
        return Table(axes, [digest(header + b"".join(row)) for row in rows])
    return Table(axes, [join(row) for row in (zip(*columns, strict=True) if columns else [()])])


def reorder(table: Table, axes: list[int], sizes: Mapping[int, int]) -> list[bytes]:
    """The digests of a table laid out over a longer list of axes, the last one fastest."""
    if list(table.axes) == axes:
        return table.digests
    own = [sizes[a] for a in table.axes]
    index = np.arange(len(table.digests)).reshape(own)
    index = index.transpose([table.axes.index(a) for a in axes if a in table.axes])
    index = index.reshape([sizes[a] if a in table.axes else 1 for a in axes])
    full = np.broadcast_to(index, [sizes[a] for a in axes]).ravel().tolist()
    return [table.digests[i] for i in full]
