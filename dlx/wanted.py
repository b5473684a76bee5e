"""What a declaration wants of the store: its grid of cells, the slots of its rows, and the columns they fill."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dlx.canonical import key
from dlx.records import DIVERGED, FAILED, FINAL, PRUNED
from dlx.study import Study
from dlx.tuning import FINALS_OF_A_SEARCH

if TYPE_CHECKING:
    from dlx.declaration import Declaration

SLOTS = pa.schema([
    ("at", pa.int64()), ("phase", pa.string()), ("search", pa.int32()), ("ask", pa.int32()), ("seed", pa.int64()),
    ("key", pa.string()), ("params", pa.string()),
])
NOT_AXES = ("cell", "tuned", "finals")
OWN = ("cell", "phase", "search", "ask", "seed", "key", "status", "seconds", "error")
COUNTED = ("n", DIVERGED, FAILED, PRUNED, "missing", "note")  # columns of ``Results.cells()`` beside axes and metrics
TAKEN = (*OWN, *COUNTED)


def array(values: Sequence[Any]) -> pa.Array:
    """Values as an Arrow array; as text where they are of several kinds or of none that Arrow has."""
    kinds = {type(v) for v in values if v is not None}
    if kinds <= {int, float} or (len(kinds) == 1 and kinds <= {bool, str}):
        try:
            return pa.array(values, pa.string() if not kinds else None, from_pandas=False)
        except (pa.ArrowInvalid, OverflowError):
            pass
    return pa.array([None if v is None else str(v) for v in values], pa.string())


def grid(study: Study) -> pa.Table:
    """One row a cell: ``cell`` (its key), ``tuned``, ``finals`` (final trials wanted), and a column for each axis.

    An axis whose name is that of another column of results is called ``template.<name>``.
    """
    cells = list(study.space.cells)
    tuned = np.array([bool(study.space.tuned) and study.space.is_tuned(c) for c in cells])
    repeats = study.search.repeats if study.search else 1
    columns: dict[str, Any] = {
        "cell": pa.array([study.cell_key(c) for c in cells], pa.string()),
        "tuned": pa.array(tuned),
        "finals": pa.array(np.where(tuned, repeats, 1) * len(study.seed_list)),
    }
    for i, axis in enumerate(study.space.axes):
        name = f"template.{axis.name}" if axis.name in (*TAKEN, *NOT_AXES) else axis.name
        chosen = pa.array([c.options.get(i) for c in cells], pa.int64())
        columns[name] = array(axis.labels).take(chosen)
    return pa.table(columns)


def axis_names(cells: pa.Table) -> list[str]:
    """Names of the columns of a grid that are axes."""
    return [name for name in cells.column_names if name not in NOT_AXES]


def slots(wanted: "Declaration", membership: pa.Table) -> pa.Table:
    """The slots that a declaration wants and that may be stored, in the order of cells; ``at``: which cell.

    Final trials of cells without nuisance axes follow from the declaration; all others, and what a scheduler may
    have stopped (which has another key), are in the membership.
    """
    followed = ~wanted.grid["tuned"].to_numpy() & (not wanted.scheduled)
    members = _members(wanted, membership, pa.array(followed))
    finals = _untuned(wanted, np.flatnonzero(followed))
    order = [(name, "ascending") for name in ("at", "phase", "search", "ask", "seed")]
    return pa.concat_tables([finals, members]).sort_by(order).combine_chunks()


def _untuned(wanted: "Declaration", places: Any) -> pa.Table:
    seeds = np.array(wanted.seeds, dtype=np.int64)
    size = len(places) * len(seeds)
    digests = map(bytes.fromhex, wanted.grid["cell"].take(pa.array(places)).to_pylist())
    return pa.table({
        "at": np.repeat(places, len(seeds)),
        "phase": pa.repeat(pa.scalar(FINAL), size),
        "search": pa.nulls(size, pa.int32()),
        "ask": pa.nulls(size, pa.int32()),
        "seed": np.tile(seeds, len(places)),
        "key": pa.array([key(setting, s) for setting in digests for s in wanted.seeds], pa.string()),
        "params": pa.nulls(size, pa.string()),
    }, schema=SLOTS)


def _members(wanted: "Declaration", membership: pa.Table, followed: pa.Array) -> pa.Table:
    at = pc.index_in(membership["cell"], value_set=wanted.grid["cell"].combine_chunks())
    final, seeds = pc.equal(membership["phase"], FINAL), pa.array(wanted.seeds, pa.int64())
    apart = pc.multiply(pc.cast(pc.fill_null(membership["search"], 0), pa.int64()), FINALS_OF_A_SEARCH)
    listed = pc.is_in(pc.subtract(membership["seed"], apart), value_set=seeds)
    keep = pc.and_(pc.is_valid(at), pc.or_(pc.invert(final), listed))
    keep = pc.and_(keep, pc.or_(pc.invert(final), pc.invert(pc.fill_null(followed.take(at), True))))
    if wanted.search is not None:
        for name, least in (("search", wanted.search.repeats), ("ask", wanted.search.trials)):
            keep = pc.and_(keep, pc.fill_null(pc.less(membership[name], least), True))
    kept = membership.append_column("at", pc.cast(at, pa.int64())).filter(keep)
    return kept.select(SLOTS.names).cast(SLOTS)


# ---------------------------------------------------------------- columns of what is stored


def metric_columns(maps: pa.ChunkedArray) -> dict[str, pa.Array]:
    """A column for each metric of a column of maps: null where a trial did not return it, NaN where it is NaN."""
    array = maps.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], maps.type)
    offsets = array.offsets.to_numpy()
    rows = np.repeat(np.arange(len(array)), np.diff(offsets))
    names = array.keys[offsets[0] : offsets[-1]].dictionary_encode()
    values = array.items[offsets[0] : offsets[-1]].to_numpy(zero_copy_only=False)
    codes = names.indices.to_numpy()
    columns = {}
    for code, name in sorted(enumerate(names.dictionary.to_pylist()), key=lambda pair: pair[1]):
        here = codes == code
        column, absent = np.full(len(array), np.nan), np.ones(len(array), dtype=bool)
        column[rows[here]], absent[rows[here]] = values[here], False
        columns[name] = pa.array(column, mask=absent, from_pandas=False)
    return columns


def param_columns(params: pa.ChunkedArray) -> dict[str, pa.Array]:
    """``param.<name>`` → values of a column of JSON objects; each distinct text is read once."""
    texts = pc.unique(params)
    read = [json.loads(text) if text else {} for text in texts.to_pylist()]
    place = pc.index_in(params, value_set=texts)
    names = dict.fromkeys(name for found in read for name in found)
    return {f"param.{n}": array([found.get(n) for found in read]).take(place) for n in names}
