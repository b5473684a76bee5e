"""Arms: the cells that a condition of a claim means, weighted so that arms agree in all other axes."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from dlx.errors import DeclarationError
from dlx.stats import Floats, Integers
from dlx.text import by_end, nearest

Conditions = Mapping[str, Any]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Arm:
    """Cells of a grid by their rows, in increasing order, with weights that sum to one; all tuned, or none."""

    said: str
    rows: Integers
    weights: Floats
    tuned: bool


@dataclass(frozen=True)
class Grid:
    """The cells of a study as claims look at them: ``table`` as in ``results.grid``, ``axes`` among its columns.

    ``nuisance``: names of axes that are tuned, which no claim may fix.
    """

    table: pa.Table
    axes: Sequence[str]
    nuisance: Collection[str] = ()

    def axis(self, name: str) -> str:
        """The axis of this name, or of this end of a name; raises DeclarationError with the nearest match."""
        if found := by_end(name, self.axes):
            return found
        if len(ends := [axis for axis in self.axes if axis.endswith(f".{name}")]) > 1:
            raise DeclarationError(f"the axis {name!r} may be any of {', '.join(ends)}; write the whole name.")
        if name in self.nuisance:
            raise DeclarationError(f"the axis {name!r} is tuned, so no cell has a value of it; name a scientific axis.")
        raise DeclarationError(f"the study has no axis {name!r}; {nearest(name, self.axes)}")

    def numbers(self, name: str, where: Conditions | None, least: int, positive: bool = False) -> list[float]:
        """The values of an axis in some cells, rising; raises DeclarationError unless they are numbers, and enough."""
        found = [v for v in pc.unique(self.table[self.axis(name)].filter(pa.array(self.mask(where)))).to_pylist()
                 if v is not None]
        texts = [v for v in found if isinstance(v, str | bool)]
        if texts or len(found) < least or (positive and min(found) <= 0):
            problem = f"the values {', '.join(map(str, found))}"
            kind = "positive numbers" if positive else "numbers"
            raise DeclarationError(f"the axis {name!r} has {problem} here; it takes {least} or more {kind}.")
        return sorted(found)

    def each(self, arm: Arm) -> list[Arm]:
        """An arm for every cell of an arm, called by the axes in which they differ."""
        cells = self.table.take(pa.array(arm.rows)).select(list(self.axes)).to_pylist()
        differ = [axis for axis in self.axes if len({cell[axis] for cell in cells}) > 1] or self.axes
        return [Arm(said({axis: cell[axis] for axis in differ if cell[axis] is not None}), arm.rows[i : i + 1],
                    np.ones(1), arm.tuned) for i, cell in enumerate(cells)]

    def mask(self, conditions: Conditions | None) -> Bools:
        """Which cells meet all conditions; raises DeclarationError for an axis or a value that no cell has."""
        mask = np.ones(len(self.table), dtype=bool)
        for name, value in (conditions or {}).items():
            column = self.table[self.axis(name)]
            labels = pc.unique(column)
            for v in options(value):
                if not pc.any(pc.is_in(labels, value_set=_values(column, [v]))).as_py():
                    known = [str(label) for label in labels.to_pylist() if label is not None]
                    raise DeclarationError(f"no cell of the study has {name}={v}; {nearest(str(v), known)}")
            mask &= np.asarray(pc.is_in(column, value_set=_values(column, options(value))))
        return mask

    def arms(self, conditions: Sequence[Conditions], where: Conditions | None = None) -> list[Arm]:
        """An arm for each of the conditions, of the cells that agree with cells of all others in all other axes.

        An axis that a condition names is free, and so is one that an arm does not have. Raises DeclarationError for
        conditions that match no cell, or cells of which some are tuned and some not, or that no other arm has.
        """
        common = self.mask(where)
        masks = [self.mask(c) & common for c in conditions]
        for condition, mask in zip(conditions, masks, strict=True):
            if not mask.any():
                also = f" and {said(where)}" if where else ""
                raise DeclarationError(f"no cell has {said(condition)}{also}; correct the claim.")
        rows = [np.flatnonzero(mask) for mask in masks]
        groups = self._groups(rows, {self.axis(name) for condition in conditions for name in condition})
        size = max(int(group.max()) for group in groups) + 1
        shared = np.logical_and.reduce([np.bincount(group, minlength=size) > 0 for group in groups])
        if not shared.any():
            raise DeclarationError(
                f"no cells with {' and '.join(map(said, conditions))} agree in all other axes; compare cells that do."
            )
        return [self._arm(*three, shared) for three in zip(conditions, rows, groups, strict=True)]

    def _arm(self, condition: Conditions, rows: Integers, groups: Integers, shared: Bools) -> Arm:
        kept = shared[groups]
        rows, groups = rows[kept], groups[kept]
        tuned = self.table["tuned"].to_numpy()[rows]
        if tuned.any() and not tuned.all():
            raise DeclarationError(
                f"some cells with {said(condition)} are tuned and some not; narrow the claim to one kind by where=."
            )
        return Arm(said(condition), rows, 1.0 / (np.bincount(groups)[groups] * shared.sum()), bool(tuned.all()))

    def _groups(self, rows: Sequence[Integers], named: Collection[str]) -> list[Integers]:
        """A small number for each row of each arm, equal where all axes agree that every arm has and none names."""
        stacked, found, size = np.concatenate(rows), np.zeros(sum(map(len, rows)), dtype=np.int64), 1
        ends = np.cumsum([len(r) for r in rows])[:-1]
        for name in (axis for axis in self.axes if axis not in named):
            column = self.table[name].combine_chunks()
            known = pc.drop_null(pc.unique(column))
            codes = np.asarray(pc.fill_null(pc.index_in(column, value_set=known), len(known)))[stacked]
            if all((part < len(known)).any() for part in np.split(codes, ends)):
                found, size = found * (len(known) + 1) + codes, size * (len(known) + 1)
            if size > 2 * len(self.table):  # so that numbers can be counted
                found = np.unique(found, return_inverse=True)[1].astype(np.int64)
                size = int(found.max()) + 1
        return np.split(found, ends)


def overlap(arms: Sequence[Arm]) -> bool:
    """Whether a cell belongs to two arms."""
    rows = np.concatenate([arm.rows for arm in arms])
    return bool((np.bincount(rows) > 1).any())


def said(conditions: Conditions | None) -> str:
    """Conditions in words, such as ``optimizer=Muon, width in (32, 64)``."""
    parts = []
    for name, value in (conditions or {}).items():
        shown = [f"{v:g}" if isinstance(v, float) else str(v) for v in options(value)]
        parts.append(f"{name}={shown[0]}" if len(shown) == 1 else f"{name} in ({', '.join(shown)})")
    return ", ".join(parts) or "all cells"


def options(value: Any) -> list[Any]:
    """The values that a condition allows: those of a collection, else the one."""
    return list(value) if isinstance(value, Collection) and not isinstance(value, str) else [value]


def _values(column: Any, values: Sequence[Any]) -> pa.Array:
    texts = pa.types.is_string(column.type)
    try:
        return pa.array([str(v) if texts and v is not None else v for v in values], column.type)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.array([], column.type)
