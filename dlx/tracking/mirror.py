"""What MLflow lacks of a store, and the sending of it: each key once, whatever was interrupted before."""

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import pyarrow as pa

from dlx.provenance import Provenance
from dlx.records import FAILED
from dlx.store import Store
from dlx.tracking import summary, views
from dlx.tracking.client import Experiment, Run, Sent, refused
from dlx.tracking.growing import Growing, Nursery
from dlx.tracking.rows import Labels, Slots, curves_of, describe_cell, milliseconds, run_of
from dlx.tracking.views import Layout
from dlx.tracking.weights import Weights

FORM = b"2"  # of what MLflow is told of a trial
KIND = "mlflow.experimentKind"
CHUNK = 200  # keys that are read from the store at once
SAMPLE = 20  # final trials that are asked which metrics there are


class Changed(NamedTuple):
    """A cell whose run must be written: (key, search) of its final trials, their digest, and its runs so far."""

    cell: str
    slots: list[tuple[str, int]]
    digest: str
    before: list[Sent]


class Mirror:
    """A study's store as its experiment shows it; ``beat`` is called whenever MLflow answered.

    Every method may raise what MLflow raises, and may then be called again.
    """

    def __init__(
        self, store: Store, question: str, labels: Labels, provenance: Provenance, connect: Callable[[], Experiment],
        beat: Callable[[], None], weights: Weights, layout: Layout,
    ) -> None:
        self._store, self._question, self._labels, self._provenance = store, question, labels, provenance
        self._connect, self._beat, self._weights, self._layout = connect, beat, weights, layout
        self._nursery = Nursery(store.home, labels)
        self._places = {cell: place for place, cell in enumerate(layout.cells)}
        self._experiment: Experiment | None = None
        self._slots = Slots()
        self._sent: dict[str, int] = {}  # key → start of the row that was sent
        self._doubtful: set[str] = set()  # keys that MLflow may hold a run of
        self._clean = False  # MLflow's experiment says that it holds everything

    @property
    def experiment(self) -> Experiment:
        """The experiment, connected to when it is not."""
        if self._experiment is None:
            self._experiment = self._connect()
            first = {summary.NOTE: summary.describe(self._experiment.id, self._question), **self._views()}
            known = self._experiment.tags  # what the last run said of its end is not taken back
            self._experiment.describe({
                "dlx.study": self._experiment.name, KIND: "custom_model_development",
                **{name: value for name, value in first.items() if name not in known},
            })
            self._beat()
        return self._experiment

    def _views(self, curves: Collection[str] | None = None) -> dict[str, str]:
        cells = [describe_cell(self._labels(cell)) or cell for cell in self._layout.cells[:views.MOST_FOLDED]]
        return views.views(self._layout, cells, curves)

    def disconnect(self) -> None:
        """Connect anew before the next call."""
        self._experiment = None

    # ------------------------------------------------------------ trials

    def missing(self) -> list[str]:
        """Keys of the store that MLflow does not hold; what it holds by halves, twice or otherwise is cleared."""
        statuses = self._read()
        if self.experiment.tags.get("dlx.sent") == fingerprint(self._store):
            self._clean = True
            self._doubtful |= statuses.keys()
            return []
        failed = _starts_of_failed(self._store, statuses)
        held: set[str] = set()
        for run in self._listed():
            key = run.tags.get("key", "")
            if run.tags.get("home") == self._nursery.home and key not in self._nursery:  # a killed driver's
                self._remove(run)
                continue
            if key not in statuses:
                continue
            self._doubtful.add(key)
            stale = run.tags.get("status") != statuses[key] or failed.get(key, run.started) != run.started
            if key in held or stale or not run.whole:
                self._remove(run)
            else:
                held.add(key)
                self._refile(key, run)
        return [key for key in statuses if key not in held]

    def load(self, keys: Sequence[str]) -> list[dict[str, Any]]:
        """Rows of keys, each with its ``curves``, from the store."""
        curves = curves_of(self._store.history(keys))
        return [{**row, "curves": curves.get(row["key"], {})} for row in self._rows(keys)]

    def file(self, membership: pa.Table) -> None:
        """Learn what more keys are filed under."""
        self._slots.add(membership)

    def send(self, row: Mapping[str, Any]) -> None:
        """Send one row with its ``curves``; a run of the key that MLflow already holds is replaced."""
        key = row["key"]
        run = run_of(row, row["curves"], self._slots, self._labels)
        if self._sent.get(key) == run.started:
            return
        run = replace(run, tags={**run.tags, **self._weights.tags(key)})
        self._touch()
        if key not in self._doubtful or not self._holds(key, run):
            self._doubtful.add(key)
            self._send(key, run)
        self._nursery.forget(key)
        self._sent[key] = run.started

    def grow(self, new: Growing) -> None:
        """Show what is new of a trial that still runs."""
        if new.key not in self._sent:
            self._touch()
            self._doubtful.add(new.key)
            self._nursery.grow(self.experiment, new)

    @property
    def growing(self) -> Nursery:
        """The runs of trials that still run."""
        return self._nursery

    def end(self, key: str) -> None:
        """A trial runs no more: what was shown of it goes, unless it was stored and sent."""
        self._nursery.end(self.experiment, key)

    def _send(self, key: str, run: Run) -> None:
        try:
            self.experiment.send(run, lambda run_id: self._weights.attach(self.experiment, run_id, run))
            self._weights.sent()
        except Exception as e:
            if refused(e):
                for half in list(self.experiment.runs("trial", key)):
                    self._remove(half)
            raise

    def refile(self, key: str) -> None:
        """Tag the run of a key, if there is one, with what it is filed under now."""
        for run in list(self.experiment.runs("trial", key)):
            self._refile(key, run)

    def _read(self) -> dict[str, str]:
        """Statuses and slots as the store has them, where a slot has one key: the last that was filed there."""
        statuses = self._store.statuses()
        self._slots = Slots()
        self._slots.add(self._store.membership())
        return statuses

    def _listed(self) -> list[Sent]:
        """All runs of trials, before any is deleted and the pages shift."""
        found = []
        for run in self.experiment.runs("trial"):
            found.append(run)
            self._beat()
        return found

    def _rows(self, keys: Sequence[str]) -> list[dict[str, Any]]:
        return self._store.trials(keys).to_pylist() if keys else []

    def _holds(self, key: str, run: Run) -> bool:
        """Whether MLflow holds this very run, whole; others of its key are removed."""
        found = False
        for other in list(self.experiment.runs("trial", key)):
            same = other.whole and other.started == run.started and other.tags.get("status") == run.tags["status"]
            if same and not found:
                found = True
                self._refile(key, other)
            else:
                self._remove(other)
        return found

    def _refile(self, key: str, run: Sent) -> None:
        now = self._slots.tags(key, self._labels)
        if now["cell"] == now["cell_key"]:  # a cell that today's declaration does not have
            del now["cell"]
        tags = {name: value for name, value in now.items() if run.tags.get(name, "") != value}
        if tags and key in self._slots:
            self._touch()
            self.experiment.tag(run.id, {f"dlx.{name}": value for name, value in tags.items()})

    def _remove(self, run: Sent) -> None:
        self._touch()
        self.experiment.delete(run.id)

    def _touch(self) -> None:
        """Before anything changes: the experiment no longer says that it holds everything."""
        self.experiment.describe({"dlx.sent": "incomplete"})
        self._clean = False

    # ------------------------------------------------------------ cells and summary

    def cells(self) -> Iterator[None]:
        """Replace the runs of cells whose final trials are others than before, one at each step."""
        from dlx.tracking.cells import Final, cell_run

        for batch in _batches(self._changed_cells()):
            rows = {row["key"]: row for row in self.load([key for c in batch for key, _ in c.slots])}
            for c in batch:
                trials = [Final(rows[key], rows[key]["curves"], search) for key, search in c.slots if key in rows]
                self._touch()
                if trials:
                    place = self._places.get(c.cell)
                    self.experiment.send(cell_run(c.cell, self._labels(c.cell), trials, c.digest, place))
                    for run in c.before:
                        self.experiment.delete(run.id)
                yield

    def _changed_cells(self) -> list[Changed]:
        statuses = self._read()
        old: dict[str, list[Sent]] = {}
        for run in self.experiment.runs("cell"):
            old.setdefault(run.tags.get("cell_key", run.tags.get("cell", "")), []).append(run)
        changed = []
        for cell, filed in self._slots.final().items():
            slots = [(key, search) for key, search in filed if key in statuses]
            shown = self._places.get(cell), describe_cell(self._labels(cell)), [(*s, statuses[s[0]]) for s in slots]
            digest = hashlib.blake2b(repr(shown).encode(), digest_size=16).hexdigest()
            before = old.get(cell, [])
            told = len(before) == 1 and before[0].whole and before[0].tags.get("digest") == digest
            if slots and not told:
                changed.append(Changed(cell, slots, digest, before))
        return changed

    def summarise(self, found: summary.Summary) -> None:
        """Write the summary run, and the experiment's description and views, which now know all metrics."""
        note = summary.write(self.experiment, found, self._provenance, self._beat)
        rows = self.load([key for filed in self._slots.final().values() for key, _ in filed[:1]][:SAMPLE])
        curves = {metric for row in rows for metric, (steps, _) in row["curves"].items() if len(steps) > 1}
        metrics = [m for row in rows for m in (*dict(row["metrics"] or []), *row["curves"])]
        self._layout = replace(self._layout, metrics=(*self._layout.metrics, *metrics))
        self.experiment.describe({summary.NOTE: note, **self._views(curves)})

    def seal(self) -> None:
        """Note in MLflow that it holds everything there is."""
        if not self._clean:
            self.experiment.describe({"dlx.sent": fingerprint(self._store)})
            self._clean = True


def _batches(cells: Sequence[Changed]) -> Iterator[list[Changed]]:
    """The cells in groups that are read from the store together."""
    batch: list[Changed] = []
    for cell in cells:
        batch.append(cell)
        if sum(len(c.slots) for c in batch) >= CHUNK:
            yield batch
            batch = []
    if batch:
        yield batch


def fingerprint(store: Store) -> str:
    """Digest of all that MLflow is told of a store's trials."""
    hashed = hashlib.blake2b(FORM, digest_size=16)
    statuses = store.statuses()
    failed = _starts_of_failed(store, statuses)
    for key in sorted(statuses):
        hashed.update(f"{key} {statuses[key]} {failed.get(key)}\n".encode())
    columns = ["key", "cell", "phase", "search"]
    filed = store.membership().select(columns).replace_schema_metadata().sort_by([(c, "ascending") for c in columns])
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, filed.schema) as stream:
        stream.write_table(filed.combine_chunks())
    hashed.update(sink.getvalue())
    return hashed.hexdigest()


def _starts_of_failed(store: Store, statuses: Mapping[str, str]) -> dict[str, int]:
    """Key → start of failed trials: run again, they may fail again."""
    failed = [key for key, status in statuses.items() if status == FAILED]
    return {row["key"]: milliseconds(row) for row in store.trials(failed).to_pylist()} if failed else {}
