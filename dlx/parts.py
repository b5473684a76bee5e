"""Parquet parts: how they are written, how a damaged one is told from an absent one, and which of their rows count."""

import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dlx.files import reason
from dlx.home import Home
from dlx.records import FINAL, HISTORY, PARENT, TRIALS, Records

REPLACES = b"dlx.replaces"  # schema metadata: JSON list of the commits that a merged part stands for
ROWS = {"trials": 16_384, "membership": 65_536, "history": 4_096}  # most rows of a row group


class Damaged(Exception):
    """A part can be read as a file, and is not what was written."""


# ---------------------------------------------------------------- names


def is_part(name: str) -> bool:
    """Whether a file of this name is a part."""
    return name.startswith("part-") and name.endswith(".parquet")


def ordinal(name: str) -> int:
    """The nanosecond that a part's name begins with."""
    digits = name.removeprefix("part-").partition("-")[0]
    return int(digits) if digits.isdigit() else 0


def lost(table: str) -> str:
    """What a damaged part of a table means, and the fix."""
    if table == "trials":
        return ": its trials count as missing, the same command runs them again, and then it may be deleted."
    return f": what it says of {table} is missing; delete the part of the same name in trials to have them run again."


# ---------------------------------------------------------------- files


def conform(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The table with exactly the columns of a schema: unknown ones dropped, absent ones null."""
    columns = []
    for f in schema:
        found = table.schema.get_all_field_indices(f.name)
        if len(found) != 1:
            columns.append(pa.chunked_array([pa.nulls(len(table), f.type)]))
        else:
            column = table.column(found[0])
            columns.append(column if column.type == f.type else column.cast(f.type))
    return pa.Table.from_arrays(columns, schema=schema)


def write(home: Home, path: str, tables: Iterable[pa.Table], schema: pa.Schema, rows: int,
          replaces: Sequence[str] = ()) -> None:
    """Write tables as one part; ``replaces``: the commits that it stands for."""
    marked = schema.with_metadata({REPLACES: json.dumps(list(replaces))}) if replaces else schema
    with (
        home.writing(path) as sink,
        pq.ParquetWriter(sink, marked, compression="zstd", write_page_checksum=True) as writer,
    ):
        for table in _gathered(tables, rows):
            writer.write_table(table.cast(marked), row_group_size=rows)


def _gathered(tables: Iterable[pa.Table], rows: int) -> Iterator[pa.Table]:
    """The tables joined so that no row group is much smaller than it must be."""
    waiting: list[pa.Table] = []
    for table in tables:
        waiting.append(table)
        if sum(map(len, waiting)) >= rows:
            yield pa.concat_tables(waiting)
            waiting = []
    if waiting:
        yield pa.concat_tables(waiting)


@contextmanager
def _opened(home: Home, path: str) -> Iterator[pq.ParquetFile]:
    try:
        with (
            home.fs.open_input_file(path) as source,
            pq.ParquetFile(source, page_checksum_verification=True) as file,
        ):
            yield file
    except FileNotFoundError:
        raise
    except Exception as e:  # what a garbled file raises is of many kinds, MemoryError among them
        home.read(path)  # a file that cannot be read at all is no damaged one: OSError
        raise Damaged(reason(e)) from e


def read_index(home: Home, path: str) -> tuple[pa.Table, frozenset[str]]:
    """Columns ``key`` and ``status`` of a trials part, and the commits it replaces; raises Damaged.

    All columns are read, so that a trial whose values or metrics are damaged is not taken for a stored one.
    """
    with _opened(home, path) as file:
        known = [f.name for f in TRIALS if f.name in file.schema_arrow.names]
        groups = (file.read_row_group(i, columns=known) for i in range(file.num_row_groups))
        pieces = [conform(group, TRIALS).select(["key", "status"]) for group in groups]
        table = pa.concat_tables([TRIALS.empty_table().select(["key", "status"]), *pieces])
        if table["key"].null_count or table["status"].null_count:
            raise ValueError("a key or a status is missing")
        return table, frozenset(json.loads((file.schema_arrow.metadata or {}).get(REPLACES, b"[]")))


def read(home: Home, path: str) -> pa.Table:
    """A whole table, whatever its columns; raises Damaged."""
    with _opened(home, path) as file:
        return file.read()


def read_rows(home: Home, path: str, schema: pa.Schema, keys: Collection[str] | None = None) -> Iterator[pa.Table]:
    """Rows of a part by row groups, those of ``keys`` only when given; raises Damaged."""
    wanted = None if keys is None else pa.array(keys, pa.string())
    with _opened(home, path) as file:
        known = [f.name for f in schema if f.name in file.schema_arrow.names]
        for i in range(file.num_row_groups):
            if wanted is None:
                yield conform(file.read_row_group(i, columns=known), schema)
                continue
            mask = pc.is_in(file.read_row_group(i, columns=["key"])["key"].cast(pa.string()), value_set=wanted)
            if pc.any(mask).as_py():
                yield conform(file.read_row_group(i, columns=known), schema).filter(mask)


# ---------------------------------------------------------------- what counts


def first_worth_merging(sizes: Sequence[int]) -> int:
    """Where the tail begins that is merged: the first part at most twice as large as all after it.

    Every row then moves into a part at least 1.5 times as large as its own, so a row is rewritten O(log n) times.
    """
    after = sum(sizes)
    for i, size in enumerate(sizes):
        after -= size
        if size <= 2 * after:
            return i
    return len(sizes)


def last_records(records: Sequence[Records]) -> tuple[pa.Table, pa.Table]:
    """History and trials of a commit; of a key given twice, what the last of its rows says."""
    keys = [r.trials["key"].to_pylist() for r in records]
    last = {k: (i, row) for i, found in enumerate(keys) for row, k in enumerate(found)}
    twice = len(last) < sum(map(len, keys))
    histories, trials = [HISTORY.empty_table()], [TRIALS.empty_table()]
    for i, r in enumerate(records):
        rows, curves = pa.Table.from_batches([r.trials]), pa.Table.from_batches([r.history])
        if twice:
            rows = rows.filter(pa.array([last[k] == (i, row) for row, k in enumerate(keys[i])], pa.bool_()))
            curves = curves.filter(pc.is_in(curves["key"], value_set=rows["key"].combine_chunks()))
        trials.append(conform(rows, TRIALS))
        histories.append(conform(curves, HISTORY))
    return pa.concat_tables(histories), pa.concat_tables(trials)


def last_slots(table: pa.Table) -> pa.Table:
    """The last row of each slot: (cell, phase, search, ask, seed).

    A final trial's ask does not count; a cell may have several parents at a seed, so that a parent's key does.
    """
    ask = pc.if_else(pc.equal(table["phase"], FINAL), pa.scalar(None, pa.int32()), table["ask"])
    parent = pc.if_else(pc.equal(table["phase"], PARENT), table["key"], pa.scalar(None, pa.string()))
    numbered = table.append_column("slot", ask).append_column("parent", parent)
    numbered = numbered.append_column("row", pa.array(range(len(table)), pa.int64()))
    slots = numbered.group_by(["cell", "phase", "search", "slot", "seed", "parent"], use_threads=False)
    last = slots.aggregate([("row", "max")])["row_max"]
    return table.take(last.take(pc.sort_indices(last)))
