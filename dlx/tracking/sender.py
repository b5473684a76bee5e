"""MLflow as a view of the store: told afterwards, from one background thread, and never waited for.

What MLflow misses, because it is slow, down or killed, stays in the store; the next run sends it.
"""

import os
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa

from dlx.provenance import Provenance
from dlx.records import HISTORY, TRIALS, Records
from dlx.store import Store
from dlx.tracking import journal
from dlx.tracking.address import SQLITE, database, is_server, migrating, own_database, reason
from dlx.tracking.client import Experiment, load, refused, safe_address, surroundings
from dlx.tracking.growing import MOST, Growing, Points
from dlx.tracking.mirror import CHUNK, Mirror
from dlx.tracking.rows import Labels, curves_of
from dlx.tracking.summary import Summary
from dlx.tracking.views import Layout
from dlx.tracking.weights import Weights

if TYPE_CHECKING:
    from dlx.protocol import Slot as Place

LONGEST_QUEUE = 2_000  # trials that wait in memory; of those beyond only the keys, they are read from the store again
FLOOD = 300  # waiting trials beyond which MLflow, while packs run, leaves the processor to them most of the time
REST = 9.0  # times what sending took
HEAD_START = 60.0  # seconds by which packs are ahead of such a flood, for to open MLflow takes the processor as well
STANDSTILL = 8.0  # seconds without an answer of a server, after which a run ends without it
TRIES = 4  # failures in a row, after which a run that wants to end does
LONGEST_PAUSE = 30.0  # seconds between two tries while the run goes on


class _Committed(NamedTuple):
    """What one commit put into the store; without ``records`` the rows of ``keys`` are read there."""

    keys: list[str]
    records: Sequence[Records]
    membership: pa.Table


class Tracking:
    """Sends a study's trials, cells and summary to MLflow.

    ``uri``: the argument, else ``$MLFLOW_TRACKING_URI``, else a database in the home. Raises TrackingError when the
    home is on no file system of this machine and there is no address. ``keep``: as the study has it; runs are told
    where the weights lie, and a server gets those of final trials. ``layout``: what the UI shows first.
    """

    def __init__(
        self, store: Store, question: str, labels: Labels, provenance: Provenance, uri: str | None = None,
        keep: str = "none", layout: Layout = Layout(),
    ) -> None:
        self.uri = uri or os.environ.get("MLFLOW_TRACKING_URI") or database(store)
        self._given = store
        self._store = Store(store.study, store.home)  # its own, for the thread alone
        self._weights = Weights(self._store, keep, upload=is_server(self.uri))
        self._mirror = Mirror(self._store, question, labels, provenance, self._open, self._beat, self._weights, layout)
        self._queue: deque[_Committed] = deque()
        self._queued = 0  # trials in the queue
        self._rows: deque[dict[str, Any]] = deque()  # next to be sent
        self._refile: deque[str] = deque()  # keys that were stored before and are filed under more now
        self._backlog: deque[str] = deque()  # keys to read from the store and send
        self._partial: dict[str, Growing] = {}  # what is new of trials that still run
        self._landed: deque[str] = deque()  # keys of trials that run no more
        self._behind = True  # what MLflow lacks is not known
        self._refused: dict[str, str] = {}  # key → why MLflow will never take it
        self._reason = ""
        self._failures = 0
        self._summary: Summary | None = None
        self._loaded = self._done = self._abandoned = False
        self._lock = threading.Lock()
        self._wake, self._closed = threading.Event(), threading.Event()
        self._answered = time.monotonic()
        self._thread: threading.Thread | None = None

    @property
    def absent(self) -> bool:
        """Whether MLflow's database would be in the home and is not there."""
        return self.uri.startswith(SQLITE) and not Path(self.uri.removeprefix(SQLITE)).exists()

    def start(self, coming: int = 0) -> None:
        """Start the thread, once; it first sends what MLflow lacks of the store. coming: how many trials are."""
        if self._thread is not None:
            return
        wait = HEAD_START if coming > FLOOD else 0.0
        self._thread = threading.Thread(target=self._work, args=(wait,), name="dlx-tracking", daemon=True)
        self._thread.start()

    def add(self, records: Sequence[Records], membership: pa.Table) -> None:
        """Hand over what was committed to the store; returns at once."""
        keys = [key for r in records for key in r.trials.column("key").to_pylist()]
        with self._lock:
            self._queued += len(keys)
            self._queue.append(_Committed(keys, records if self._queued <= LONGEST_QUEUE else (), membership))
        self._wake.set()

    def partial(
        self, key: str, seed: int, values: Mapping[str, Any], slot: "Place", started: float, points: Points
    ) -> None:
        """Show what is new of a trial that still runs, of a few such, when nothing else waits; returns at once.

        ``started``: seconds since the epoch; ``points``: metric, step, value.
        """
        shown = self._mirror.growing
        with self._lock:
            if key in self._partial:
                self._partial[key] = self._partial[key].with_more(points)
            elif key in shown or len(shown) + len(self._partial) < MOST:
                self._partial[key] = Growing(key, seed, values, slot, started, points)
        self._wake.set()

    def landed(self, keys: Sequence[str]) -> None:
        """Trials run no more, whatever became of them; returns at once."""
        with self._lock:
            for key in keys:
                self._partial.pop(key, None)
                if key in self._mirror.growing:
                    self._landed.append(key)

    def close(self, summary: Summary | None = None, patience: float = 60.0) -> str | None:
        """Wait for what is on its way while MLflow answers, at most ``patience`` seconds; what it missed, or None."""
        if self._thread is None:
            return None
        self._answered = time.monotonic()
        self._summary = summary
        self._closed.set()
        self._wake.set()
        end = time.monotonic() + patience
        while self._thread.is_alive() and time.monotonic() < min(end, self._answered + self._still(patience)):
            self._thread.join(0.1)
        if self._thread.is_alive() and not self._failures:
            self._reason = "the time to wait was over" if time.monotonic() >= end else "it does not answer"
        self._abandoned = True
        return self._missed()

    def _still(self, patience: float) -> float:
        """Seconds without an answer after which nothing is to be expected."""
        return STANDSTILL if is_server(self.uri) and self._loaded else patience

    # ------------------------------------------------------------ the thread

    def _work(self, wait: float) -> None:
        with surroundings():
            self._closed.wait(wait)
            while not (self._done or self._abandoned):
                try:
                    self._step()
                    self._beat()
                    self._failures = 0
                except Exception as e:
                    self._failed(e)
                    if self._closed.is_set() and self._failures >= TRIES:
                        return

    def _step(self) -> None:
        """The next thing to do, small enough to be tried again as a whole."""
        if self._behind:
            self._catch_up()
        elif self._rows:
            began = time.monotonic()
            self._mirror.send(self._rows[0])
            self._rows.popleft()
            if self._waiting > FLOOD:
                self._closed.wait(REST * (time.monotonic() - began))
        elif self._refile:
            self._mirror.refile(self._refile[0])
            self._refile.popleft()
        elif self._backlog:
            keys = [self._backlog[i] for i in range(min(CHUNK, len(self._backlog)))]
            self._rows.extend(self._mirror.load(keys))
            for _ in keys:
                self._backlog.popleft()
        elif self._queue:
            self._take()
        elif self._partial or self._landed:
            self._show()
        elif self._closed.is_set():
            self._finish()
        else:
            self._wake.wait()
            self._wake.clear()

    @property
    def _waiting(self) -> int:
        """How many trials wait for MLflow."""
        return len(self._rows) + len(self._backlog) + self._queued

    def _catch_up(self) -> None:
        self._behind = False
        try:
            self._backlog = deque(self._mirror.missing())
        except Exception:
            self._behind = True
            raise

    def _take(self) -> None:
        with self._lock:
            keys, records, membership = self._queue.popleft()
            self._queued -= len(keys)
        self._mirror.file(membership)
        self._refile.extend(set(membership.column("key").to_pylist()).difference(keys))
        if not records:
            self._backlog.extend(keys)
            return
        trials = pa.Table.from_batches([r.trials for r in records], TRIALS)
        curves = curves_of(pa.Table.from_batches([r.history for r in records], HISTORY))
        self._rows.extend({**row, "curves": curves.get(row["key"], {})} for row in trials.to_pylist())

    def _show(self) -> None:
        """One change to the runs of trials that still run; what fails is not tried again."""
        with self._lock:
            ended = self._landed.popleft() if self._landed else None
            new = self._partial.pop(next(iter(self._partial))) if ended is None else None
        if ended is not None:
            self._mirror.end(ended)
        if new is not None:
            self._mirror.grow(new)

    def _finish(self) -> None:
        for key in self._mirror.growing.keys:
            self._mirror.end(key)
        for _ in self._mirror.cells():
            self._beat()
            if self._abandoned:
                return
        if self._summary is not None:
            self._mirror.summarise(self._summary)
        if not self._refused and not self._mirror.growing.doubtful:
            self._mirror.seal()
        if (file := own_database(self._store, self.uri)) is not None:
            journal.settle(file)
        self._done = True

    def _failed(self, error: Exception) -> None:
        """Set aside a row that MLflow refuses twice; try anything else again after a pause."""
        self._reason = reason(error)
        self._failures += 1
        if refused(error) and self._failures > 1 and self._rows:
            row = self._rows.popleft()
            self._refused[row["key"]] = self._reason
            self._failures = 0
            return
        self._mirror.disconnect()
        pause = min(0.1 * 2**min(self._failures, 10), LONGEST_PAUSE)
        if self._closed.is_set():
            time.sleep(min(pause, 2.0))
        else:
            self._closed.wait(pause)

    def _open(self) -> Experiment:
        home = self._store.local_home
        artifacts = None if home is None or is_server(self.uri) else home / "mlartifacts"
        load()
        self._beat()
        self._loaded = True
        with migrating(self.uri):
            if (file := own_database(self._store, self.uri)) is not None:
                journal.prepare(file)
            return Experiment(self.uri, self._store.study, artifacts)

    def _beat(self) -> None:
        self._answered = time.monotonic()

    def _missed(self) -> str | None:
        where = f"MLflow at {safe_address(self.uri)}"
        if self._done and not self._refused:
            problem = self._weights.problem
            return f"{where} takes no weights ({reason(problem)}); they are in the home." if problem else None
        if self._done:
            key, why = next(iter(self._refused.items()))
            return f"{where} refuses {len(self._refused)} of the trials, {key} first ({why}); the store has them."
        lacking = self._waiting + len(self._refused)
        what = f"{lacking} trial{'s' * (lacking > 1)}" if lacking else "the latest cells and the summary"
        if self._behind:
            what = "trials"
        return f"{where} lacks {what} of this study ({self._reason}); the store has them and the next run sends them."
