"""Values of a metric by item of a test set that trials share, of the trials that claims are judged by."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dlx.errors import DlxError
from dlx.finals import finals
from dlx.records import ITEMS
from dlx.stats import Floats, Integers

if TYPE_CHECKING:
    from dlx.store import Store


class Items(NamedTuple):
    """Final trials that recorded a metric by item, sorted by cell, unit and seed.

    ``cell``, ``unit``, ``seed`` (trials,): as in ``Finals``; ``item`` (items,): their numbers, in the order in which
    they were recorded; ``value`` (trials, items).
    """

    cell: Integers
    unit: Integers
    seed: Integers
    item: Integers
    value: Floats


def items(table: pa.Table, grid: pa.Table, store: "Store", metric: str) -> Items:
    """The values by item behind the final values of a metric, of a table of results; reads no other curves.

    Raises DlxError where there are none, or trials have other items than each other.
    """
    trials = finals(table.append_column(ITEMS, pa.array(np.arange(len(table)))), grid, ITEMS)
    keys = table["key"].take(pa.array(trials.value.astype(np.int64))).combine_chunks()
    curves = store.items(set(keys.to_pylist()), metric).combine_chunks()
    at = pc.index_in(keys, value_set=curves["key"].combine_chunks())
    there = np.asarray(pc.is_valid(at))
    if not there.any():
        raise DlxError(
            f"The final trials recorded no items of {metric}; give their Training items=({metric!r},), or call "
            "ctx.items in a trial of your own, before they run."
        )
    found = curves.take(pc.drop_null(at))
    cell, unit, seed = (column[there] for column in (trials.cell, trials.unit, trials.seed))
    _check_same(metric, pc.list_value_length(found["step"]).to_numpy()[:, None], cell)
    step, value = (pc.list_flatten(found[name]).to_numpy().reshape(len(cell), -1) for name in ("step", "value"))
    _check_same(metric, step, cell)
    return Items(cell, unit, seed, step[0], value)


def _check_same(metric: str, identity: Integers, cell: Integers) -> None:
    """Raise DlxError unless all rows (trials, …) are equal; cell: that of each trial, sorted."""
    if (identity == identity[0]).all():
        return
    first = identity[np.searchsorted(cell, cell)]
    if (identity == first).all():
        raise DlxError(f"Cells have other items of {metric} than each other; narrow it to one test set by where=.")
    raise DlxError(
        f"Trials of a cell have other items of {metric} than each other: the test set is drawn anew for every seed, so "
        "seeds already sample it; leave test= out."
    )
