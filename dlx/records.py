"""What a worker hands back: finished trials as Arrow record batches with a fixed physical schema."""

import json
import math
import platform
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import pyarrow as pa

COMPLETED, DIVERGED, PRUNED, FAILED = "completed", "diverged", "pruned", "failed"
TUNE, RECHECK, FINAL, PARENT = "tune", "recheck", "final", "parent"

ITEMS = "@items"  # ends the name of a curve whose steps are items, its values the metric of each: test/error@items

TRIALS = pa.schema([
    pa.field("key", pa.string(), nullable=False),
    pa.field("seed", pa.int64(), nullable=False),
    pa.field("values", pa.string(), nullable=False),  # JSON: flat path → scalar
    pa.field("metrics", pa.map_(pa.string(), pa.float64())),
    pa.field("status", pa.string(), nullable=False),  # completed | diverged | pruned | failed
    pa.field("error", pa.string()),  # traceback, or what diverged
    pa.field("seconds", pa.float64(), nullable=False),  # share of the pack's wall time
    pa.field("started", pa.timestamp("ms", tz="UTC"), nullable=False),
    pa.field("members", pa.int32(), nullable=False),  # trials that trained together in its pack
    pa.field("host", pa.string()),
    pa.field("device", pa.string()),
    pa.field("versions", pa.string()),  # JSON: package → version, on the worker
    pa.field("source", pa.string()),  # digest of the source files of the trial's classes
])

HISTORY = pa.schema([
    pa.field("key", pa.string(), nullable=False),
    pa.field("metric", pa.string(), nullable=False),
    pa.field("step", pa.list_(pa.int64()), nullable=False),
    pa.field("value", pa.list_(pa.float64()), nullable=False),
])

MEMBERSHIP = pa.schema([
    pa.field("key", pa.string(), nullable=False),
    pa.field("seed", pa.int64(), nullable=False),
    pa.field("cell", pa.string(), nullable=False),  # Study.cell_key: 32 hexadecimal digits
    pa.field("phase", pa.string(), nullable=False),  # tune | recheck | final | parent
    pa.field("search", pa.int32()),  # which of the cell's independent searches; null without one
    pa.field("ask", pa.int32()),  # which ask of that search gave the values; null without one
    pa.field("params", pa.string()),  # JSON: nuisance axis → value; null without one
])

@dataclass(frozen=True)
class Pace:
    """How a pack ran: steps of members in a second, once under way; peak memory as a share of the worker's."""

    rate: float
    memory: float = 0.0


@dataclass(frozen=True, repr=False)  # which Ray Tune would have of each, for a log of its own
class Records:
    """Finished trials: a batch of ``TRIALS`` rows and a batch of ``HISTORY`` rows.

    notes: for whoever runs the study; pace: of a pack that trained together.
    """

    trials: pa.RecordBatch
    history: pa.RecordBatch
    notes: tuple[str, ...] = ()
    pace: Pace | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """Sent without the schemas, which both sides have, and which take longer than the rows of a small pack."""
        return _received, (_sent(self.trials), _sent(self.history), self.notes, self.pace)


def _sent(batch: pa.RecordBatch) -> bytes:
    return bytes(batch.serialize().to_pybytes())


def _received(trials: bytes, history: bytes, notes: tuple[str, ...], pace: Pace | None) -> Records:
    read = pa.ipc.read_record_batch
    return Records(read(pa.py_buffer(trials), TRIALS), read(pa.py_buffer(history), HISTORY), notes, pace)


@dataclass
class Outcome:
    """How one trial ended, before it becomes a row."""

    key: str
    seed: int
    values: Mapping[str, Any]
    status: str
    seconds: float
    started: float  # seconds since the epoch
    metrics: Mapping[str, float] = field(default_factory=dict)
    history: Mapping[str, tuple[list[int], list[float]]] = field(default_factory=dict)
    error: str | None = None
    members: int = 1
    device: str = "cpu"
    source: str | None = None
    notes: list[str] = field(default_factory=list)


def to_records(outcomes: list[Outcome], versions: Mapping[str, str]) -> Records:
    """Outcomes of one pack as Arrow batches."""
    host, packages = socket.gethostname(), json.dumps(dict(versions), sort_keys=True)
    trials = pa.RecordBatch.from_pylist(
        [
            {
                "key": o.key, "seed": o.seed, "values": json.dumps(dict(o.values)),
                "metrics": [(storable(name), value) for name, value in o.metrics.items()], "status": o.status,
                "error": o.error and storable(o.error), "seconds": o.seconds, "started": int(o.started * 1000),
                "members": o.members, "host": host, "device": o.device, "versions": packages, "source": o.source,
            }
            for o in outcomes
        ],
        schema=TRIALS,
    )
    rows = [(o.key, storable(metric), *columns) for o in outcomes for metric, columns in o.history.items()]
    columns = [list(c) for c in zip(*rows, strict=True)] or [[], [], [], []]
    arrays = [pa.array(c, type=f.type) for c, f in zip(columns, HISTORY, strict=True)]
    notes = dict.fromkeys(note for o in outcomes for note in o.notes)
    return Records(trials, pa.RecordBatch.from_arrays(arrays, schema=HISTORY), tuple(notes))


def storable(text: str) -> str:
    """Text as UTF-8 can hold it: half of a surrogate pair is spelled out."""
    return text.encode("utf-8", "backslashreplace").decode()


def not_finite(metrics: Mapping[str, float]) -> list[str]:
    """Names of the metrics that are NaN or infinite: the mark of a diverged trial."""
    return [name for name, value in metrics.items() if not math.isfinite(value)]


@cache
def versions() -> dict[str, str]:
    """Versions of Python, dlx and of the packages that numbers may depend on, without importing them."""
    from importlib.metadata import PackageNotFoundError, version

    found = {"python": platform.python_version()}
    for package in ("dlx", "torch", "numpy"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def now() -> float:
    """Seconds since the epoch."""
    return time.time()
