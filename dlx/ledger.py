"""What ended and is not in the store yet: rows and what they are filed under, written together, then tracked."""

import time
from collections.abc import Iterable, Mapping

import pyarrow as pa

from dlx.protocol import Slot
from dlx.records import MEMBERSHIP, Records
from dlx.store import Store
from dlx.tracking import Tracking

COMMIT_EVERY = 1.0  # seconds; packs that finish within share one part

Filed = tuple[str, int, Slot]  # key, seed and one thing that it is wanted for


class Ledger:
    """The one writer of the store; what could not be written stays, and is written with the next commit."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.tracking: Tracking | None = None
        self._records: list[Records] = []
        self._membership: list[Filed] = []
        self._committed = time.monotonic()

    def add(self, keys: Mapping[str, str], records: Records, filed: Iterable[Filed]) -> None:
        """Rows for the next commit: those of ``keys``, each under the key that this names."""
        if keys:
            self._records.append(_under(keys, records))
        self.file(filed)

    def file(self, filed: Iterable[Filed]) -> None:
        """What trials that are stored, or will be with these rows, are wanted for."""
        self._membership += filed

    @property
    def due(self) -> bool:
        """Whether rows have waited for long enough."""
        return bool(self._records) and time.monotonic() - self._committed >= COMMIT_EVERY

    @property
    def unwritten(self) -> int:
        """Finished trials that are not in the store."""
        return sum(r.trials.num_rows for r in self._records)

    def commit(self) -> None:
        """Write everything to the store, then hand it to the tracking; raises StoreError."""
        self._committed = time.monotonic()
        if not self._records and not self._membership:
            return
        membership = pa.Table.from_pylist(
            [{"key": k, "seed": s, **slot._asdict()} for k, s, slot in self._membership], schema=MEMBERSHIP
        )
        self.store.commit(self._records, membership)
        records, self._records, self._membership = self._records, [], []
        if self.tracking is not None:
            self.tracking.add(records, membership)


def _under(keys: Mapping[str, str], records: Records) -> Records:
    if all(keys.get(k) == k for k in records.trials.column("key").to_pylist()):
        return records
    return Records(*(_renamed(batch, keys) for batch in (records.trials, records.history)))


def _renamed(batch: pa.RecordBatch, keys: Mapping[str, str]) -> pa.RecordBatch:
    old = batch.column("key").to_pylist()
    chosen = batch.take(pa.array([i for i, k in enumerate(old) if k in keys], pa.int64()))
    return chosen.set_column(
        batch.schema.get_field_index("key"), batch.schema.field("key"),
        pa.array([keys[k] for k in old if k in keys], pa.string()),
    )
