"""What ended and is not in the store yet: rows and what they are filed under, written together, then tracked."""

import time
from collections.abc import Iterable, Mapping

import pyarrow as pa

from dlx.agenda import Job
from dlx.partials import Curves, Partial
from dlx.protocol import Slot
from dlx.records import MEMBERSHIP, Records
from dlx.store import Store
from dlx.tracking import Tracking
from dlx.trial import values

COMMIT_EVERY = 1.0  # seconds; packs that finish within share one part

Filed = tuple[str, int, Slot]  # key, seed and one thing that it is wanted for


class Ledger:
    """The one writer of the store; what could not be written stays, and is written with the next commit."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.tracking: Tracking | None = None
        self._records: list[Records] = []
        self._membership: list[Filed] = []
        self._shown: dict[str, dict[str, int]] = {}  # trial that runs → metric → last step that was tracked
        self._landed: list[str] = []  # of these, what ran to its end since the last commit
        self._committed = time.monotonic()

    def partial(self, jobs: Iterable[Job], partial: Partial, started: float) -> None:
        """Let the tracking show what is new of trials that run since ``started`` (seconds since the epoch)."""
        if self.tracking is None:
            return
        for job in jobs:
            if points := self._unseen(job.key, partial.curves.get(job.key, {})):
                self.tracking.partial(job.key, job.seed, values(job.trial), job.slots[0], started, points)

    def _unseen(self, key: str, curves: Curves) -> list[tuple[str, int, float]]:
        """Points (metric, step, value) beyond those known; a trial that begins anew logs the first ones again."""
        last = self._shown.setdefault(key, {})
        points = [(metric, step, value) for metric, curve in curves.items() for step, value in zip(*curve, strict=True)
                  if step > last.get(metric, -1)]
        last.update({metric: max(steps[-1], last.get(metric, -1)) for metric, (steps, _) in curves.items()})
        return points

    def landed(self, jobs: Iterable[Job]) -> None:
        """These trials run no more."""
        self._landed += [job.key for job in jobs if self._shown.pop(job.key, None) is not None]

    def add(self, keys: Mapping[str, str], records: Records, filed: Iterable[Filed]) -> None:
        """Rows for the next commit: those of ``keys``, each under the key that this names."""
        if keys:
            self._records.append(_under(keys, records))
        self.file(filed)

    def file(self, filed: Iterable[Filed]) -> None:
        """What trials that are stored, or will be with these rows, are wanted for."""
        self._membership += filed

    def due(self, last: bool) -> bool:
        """Whether rows have waited for long enough, or are the last."""
        return bool(self._records) and (last or time.monotonic() - self._committed >= COMMIT_EVERY)

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
            landed, self._landed = self._landed, []
            self.tracking.landed(landed)


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
