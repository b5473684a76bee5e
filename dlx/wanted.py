"""What a declaration wants of the store: its grid of cells, the slots of its rows, and the columns they fill."""

import json
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dlx.canonical import key
from dlx.records import FINAL
from dlx.space import Cell
from dlx.study import Study

SLOTS = pa.schema([
    ("at", pa.int64()), ("phase", pa.string()), ("search", pa.int32()), ("ask", pa.int32()), ("seed", pa.int64()),
    ("key", pa.string()), ("params", pa.string()),
])
NOT_AXES = ("cell", "tuned", "finals")


def array(values: Sequence[Any]) -> pa.Array:
    """Values as an Arrow array; as text where they are of several kinds or of none that Arrow has."""
    kinds = {type(v) for v in values if v is not None}
    if kinds <= {int, float} or (len(kinds) == 1 and kinds <= {bool, str}):
        try:
            return pa.array(values, pa.string() if not kinds else None, from_pandas=False)
        except (pa.ArrowInvalid, OverflowError):
            pass
    return pa.array([None if v is None else str(v) for v in values], pa.string())


def grid(study: Study, cells: Sequence[Cell], taken: Collection[str]) -> pa.Table:
    """One row a cell: ``cell`` (its key), ``tuned``, ``finals`` (final trials wanted), and a column for each axis.

    An axis with a name in ``taken`` is called ``template.<name>``.
    """
    tuned = np.array([bool(study.space.tuned) and study.space.is_tuned(c) for c in cells])
    repeats = study.search.repeats if study.search else 1
    columns: dict[str, Any] = {
        "cell": pa.array([study.cell_key(c) for c in cells], pa.string()),
        "tuned": pa.array(tuned),
        "finals": pa.array(np.where(tuned, repeats, 1) * len(study.seed_list)),
    }
    for i, axis in enumerate(study.space.axes):
        name = f"template.{axis.name}" if axis.name in (*taken, *NOT_AXES) else axis.name
        chosen = pa.array([c.options.get(i) for c in cells], pa.int64())
        columns[name] = array(axis.labels).take(chosen)
    return pa.table(columns)


def axis_names(cells: pa.Table) -> list[str]:
    """Names of the columns of a grid that are axes."""
    return [name for name in cells.column_names if name not in NOT_AXES]


def slots(study: Study, cells: Sequence[Cell], table: pa.Table, membership: pa.Table) -> pa.Table:
    """The slots that today's declaration wants and that may be stored, in the order of cells; ``at``: which cell.

    Final trials of cells without nuisance axes follow from the declaration; all others, and what a scheduler may
    have stopped (which has another key), are in the membership.
    """
    followed = ~table["tuned"].to_numpy() & (study.scheduler is None)
    members = _members(study, table, membership, pa.array(followed))
    finals = _untuned(study, cells, np.flatnonzero(followed))
    order = [(name, "ascending") for name in ("at", "phase", "search", "ask", "seed")]
    return pa.concat_tables([finals, members]).sort_by(order).combine_chunks()


def _untuned(study: Study, cells: Sequence[Cell], places: Any) -> pa.Table:
    seeds = np.array(study.seed_list, dtype=np.int64)
    size = len(places) * len(seeds)
    return pa.table({
        "at": np.repeat(places, len(seeds)),
        "phase": pa.repeat(pa.scalar(FINAL), size),
        "search": pa.nulls(size, pa.int32()),
        "ask": pa.nulls(size, pa.int32()),
        "seed": np.tile(seeds, len(places)),
        "key": pa.array([key(cells[i].digest, s) for i in places.tolist() for s in study.seed_list], pa.string()),
        "params": pa.nulls(size, pa.string()),
    }, schema=SLOTS)


def _members(study: Study, table: pa.Table, membership: pa.Table, followed: pa.Array) -> pa.Table:
    at = pc.index_in(membership["cell"], value_set=table["cell"].combine_chunks())
    final, seeds = pc.equal(membership["phase"], FINAL), pa.array(study.seed_list, pa.int64())
    keep = pc.and_(pc.is_valid(at), pc.or_(pc.invert(final), pc.is_in(membership["seed"], value_set=seeds)))
    keep = pc.and_(keep, pc.or_(pc.invert(final), pc.invert(pc.fill_null(followed.take(at), True))))
    if study.search is not None:
        for name, least in (("search", study.search.repeats), ("ask", study.search.trials)):
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
