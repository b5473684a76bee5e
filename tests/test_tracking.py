"""MLflow as a view of the store: real databases, real servers, really killed."""

import base64
import dataclasses
import json
import math
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"

from mlflow import MlflowClient
from mlflow.entities import Run, ViewType
from mlflow.utils.validation import _validate_experiment_tag, _validate_metric_name, _validate_param_name

import dlx
from dlx.claims import Verdict
from dlx.errors import TrackingError
from dlx.provenance import Provenance
from dlx.records import COMPLETED, DIVERGED, FAILED, FINAL, MEMBERSHIP, PRUNED, TUNE, Outcome, Records, to_records
from dlx.report import Report
from dlx.stats import means
from dlx.store import Store
from dlx.text import markdown
from dlx.tracking import Summary, Tracking, sender
from dlx.tracking.client import LARGEST, Experiment, name_of, safe_address
from dlx.tracking.rows import pipes, thin
from dlx.tracking.ui import ui
from dlx.tracking.views import CELLS, PREFIX, Layout, cells_filter, views

MADE_WITH = Provenance(command="dlx run x", host="here", dlx="0", commit="abc", dirty=True, diff="-a\n+b\n")
VERDICT = Verdict(
    name="a", claim="A is lower than B.", outcome="supported", label="confirmatory", effect=-0.5, low=-0.6, high=-0.4,
    what="test/error of A − B", margin=0.0, test="t", p=0.01, p_corrected=0.02, smallest_p=None, seeds=5, searches=3,
    level=0.95,
)
CELL, OTHER = "c" * 32, "d" * 32
LABELS = {CELL: {"model.width": 32, "data.name": "<b>bold</b>"}, OTHER: {"model.width": 64}}


# ---------------------------------------------------------------- what is tracked


def key_of(number: int) -> str:
    return f"{number:032x}"


def outcome(number: int, **changes: Any) -> Outcome:
    fields: dict[str, Any] = {
        "key": key_of(number), "seed": number, "values": {"trial": "Toy", "model.width": 32, "x": 0.1 * number},
        "status": COMPLETED, "seconds": 1.5, "started": 1.7e9 + number + 0.123,
        "metrics": {"test/error": 0.1 * number, "time": 2.0},
        "history": {"test/error": ([0, 5, 9], [1.0, 0.5, 0.1 * number]), "train/loss": ([0, 9], [3.0, number])},
    }
    return Outcome(**(fields | changes))


def slots(numbers: Sequence[int], cell: str = CELL, phase: str = FINAL, search: int | None = None) -> pa.Table:
    return pa.Table.from_pylist(
        [{"key": key_of(n), "seed": n, "cell": cell, "phase": phase, "search": search, "ask": None, "params": None}
         for n in numbers], schema=MEMBERSHIP,
    )


class Trials:
    """A store with what is committed to it, and its tracking at some address."""

    def __init__(self, home: Path, uri: str | None = None, name: str = "toy") -> None:
        self.store = Store(name, str(home))
        self.uri = uri or f"sqlite:///{home / 'mlflow.db'}"

    def commit(self, outcomes: list[Outcome], membership: pa.Table | None = None) -> tuple[list[Records], pa.Table]:
        records = [to_records(outcomes, {})] if outcomes else []
        membership = slots([o.seed for o in outcomes]) if membership is None else membership
        self.store.commit(records, membership)
        return records, membership

    def tracking(self, labels: Callable[[str], Any] = LABELS.__getitem__) -> Tracking:
        return Tracking(self.store, "Why <i>so</i>?", labels, MADE_WITH, self.uri)

    def send(self, summary: Summary | None = None) -> str | None:
        """What a run with nothing left to do does."""
        t = self.tracking()
        t.start()
        return t.close(summary)

    def client(self) -> MlflowClient:
        return MlflowClient(self.uri)

    def runs(self, kind: str = "trial") -> list[Run]:
        client = self.client()
        experiment = client.get_experiment_by_name(self.store.study)
        return list(client.search_runs([experiment.experiment_id], f"tags.`dlx.kind` = '{kind}'", max_results=50_000))

    def by_key(self) -> dict[str, Run]:
        """Runs by key; every key once."""
        runs = self.runs()
        found = {r.data.tags["dlx.key"]: r for r in runs}
        assert len(found) == len(runs)
        return found

    def agree(self) -> None:
        """Every stored trial is one whole run with the same numbers, and there are no others."""
        runs, client = self.by_key(), self.client()
        rows = {r["key"]: r for r in self.store.trials().to_pylist()}
        assert runs.keys() == rows.keys()
        curves: dict[str, dict[str, Any]] = {}
        for row in self.store.history().to_pylist():
            curves.setdefault(row["key"], {})[row["metric"]] = list(zip(row["step"], row["value"], strict=True))
        for key, row in rows.items():
            self._agree(client, runs[key], row, curves.get(key, {}))

    def _agree(self, client: MlflowClient, run: Run, row: dict[str, Any], curves: dict[str, Any]) -> None:
        status = {FAILED: "FAILED", PRUNED: "KILLED"}.get(row["status"], "FINISHED")
        assert (run.info.status, run.data.tags["dlx.status"]) == (status, row["status"])
        assert run.info.start_time == round(row["started"].timestamp() * 1000)
        assert run.info.end_time - run.info.start_time == round(row["seconds"] * 1000)
        assert run.data.tags["dlx.seed"] == str(row["seed"])
        assert run.data.params == {name_of(n): str(v)[:6000] for n, v in json.loads(row["values"]).items()}
        assert run.data.tags.get("dlx.error", "") == (row["error"] or "")[-8000:]
        for name, value in dict(row["metrics"]).items():
            assert same(run.data.metrics[name_of(name)], value)
        for name, curve in curves.items():
            sent = [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, name_of(name))
                    if m.timestamp == run.info.start_time]
            expected = list(thin(*zip(*curve, strict=True)))
            assert [s for s, _ in sorted(sent)] == [s for s, _ in expected]
            assert all(same(a, b) for (_, a), (_, b) in zip(sorted(sent, key=lambda p: p[0]), expected, strict=True))


def same(sent: float, value: float) -> bool:
    """Equal, NaN to NaN; SQL keeps an infinity as the largest number."""
    if math.isnan(value):
        return math.isnan(sent)
    return sent == (math.copysign(LARGEST, value) if math.isinf(value) else value)


# ---------------------------------------------------------------- servers


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


class MlflowServer:
    """A real tracking server on loopback, which can be killed, stopped and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", f"sqlite:///{self.folder}/mlflow.db",
                   "--artifacts-destination", f"{self.folder}/artifacts", "--port", str(self.port), "--workers", "1"]
        self.process = subprocess.Popen(
            command, cwd=self.folder, env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )
        wait_until(self.healthy)

    def healthy(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.uri}/health", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def signal(self, sign: signal.Signals) -> None:
        assert self.process is not None
        os.killpg(self.process.pid, sign)

    def kill(self) -> None:
        if self.process is not None:
            self.signal(signal.SIGKILL)
            self.process.wait()
            self.process = None


def wait_until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database that is migrated already, to be copied."""
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def home(tmp_path: Path, empty_database: Path) -> Path:
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    return tmp_path


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> Iterator[MlflowServer]:
    folder = tmp_path_factory.mktemp("server")
    shutil.copy(empty_database, folder / "mlflow.db")
    s = MlflowServer(folder)
    s.start()
    yield s
    s.kill()


# ---------------------------------------------------------------- agreement

ODD = [
    outcome(1),
    outcome(2, status=DIVERGED, metrics={"test/error": math.nan, "up": math.inf, "down": -math.inf},
            history={"test/error": ([0, 1, 2], [1.0, math.inf, math.nan])}, error="test/error is not finite"),
    outcome(3, status=FAILED, metrics={}, history={}, error="Traceback <script>\n" + "x" * 9000),
    outcome(4, status=PRUNED, metrics={"test/error": 0.5}),
    outcome(5, history={"long": (list(range(1000)), [i / 7 for i in range(1000)])}),
    outcome(6, metrics={"top@5 <b>%</b>": 1.0, "/slash//twice": 2.0, "größe": 3.0},
            values={"<b>": "<i>&", "long": "y" * 7000, "none": None, "list": [1, 2]}),
    outcome(7, values={f"p{i}": i for i in range(250)}, metrics={f"m{i}": 0.5 * i for i in range(30)},
            history={f"h{i}": (list(range(300)), [1.0] * 300) for i in range(8)}),
    outcome(8, metrics={"test/error": 7.0}),  # differs from the end of its curve
]


@pytest.mark.parametrize("where", ["database", "server"])
def test_runs_and_table_agree(home: Path, server: MlflowServer, where: str) -> None:
    trials = Trials(home, server.uri if where == "server" else None)
    t = trials.tracking()
    t.start()
    for o in ODD:
        t.add(*trials.commit([o]))
    assert t.close() is None
    trials.agree()
    tags = trials.by_key()[key_of(1)].data.tags
    assert (tags["dlx.cell_key"], tags["dlx.phase"]) == (CELL, FINAL)
    assert tags["dlx.cell"] == "width=32 name=<b>bold</b>"
    assert tags["mlflow.runName"] == "width=32 name=<b>bold</b> seed=1"


def test_nothing_is_sent_twice(home: Path) -> None:
    trials = Trials(home)
    trials.commit([outcome(i) for i in range(5)])
    for _ in range(3):
        assert trials.send(Summary("Why?")) is None
    assert len(trials.runs()) == 5
    assert len(trials.runs("cell")) == len(trials.runs("summary")) == 1
    trashed = trials.client().search_runs(["1"], run_view_type=ViewType.DELETED_ONLY)
    assert not list(trashed)


def test_a_trial_run_again_replaces_its_run(home: Path) -> None:
    trials = Trials(home)
    failed = outcome(1, status=FAILED, metrics={}, history={}, error="first")
    trials.commit([failed, outcome(2)])
    assert trials.send() is None
    again = outcome(1, status=FAILED, metrics={}, history={}, error="second", started=1.8e9)
    trials.commit([again])  # by a run without MLflow
    assert trials.send() is None
    assert trials.by_key()[key_of(1)].data.tags["dlx.error"] == "second"
    t = trials.tracking()
    t.start()
    t.add(*trials.commit([outcome(1, started=1.9e9)]))
    assert t.close() is None
    trials.agree()


def test_a_stored_trial_that_serves_another_phase_is_tagged_so(home: Path) -> None:
    trials = Trials(home)
    trials.commit([outcome(1)], slots([1], phase=TUNE, search=0))
    assert trials.send() is None
    t = trials.tracking()
    t.start()
    t.add(*trials.commit([], pa.concat_tables([slots([1], search=0), slots([1], search=1)])))
    assert t.close() is None
    tags = trials.by_key()[key_of(1)].data.tags
    assert (tags["dlx.phase"], tags["dlx.search"]) == (FINAL, "0,1")


def test_one_trial_that_mlflow_refuses_does_not_keep_the_others(home: Path) -> None:
    trials = Trials(home)
    trials.commit([outcome(1, started=-100.0)], slots([1], phase=TUNE))
    trials.commit([outcome(2)])
    sentence = trials.send()
    assert sentence is not None and key_of(1) in sentence
    assert trials.by_key().keys() == {key_of(2)}


# ---------------------------------------------------------------- interruptions


def test_a_server_killed_in_the_middle_gets_the_rest_at_the_next_run(tmp_path: Path, home: Path) -> None:
    own = MlflowServer(home)
    own.start()
    try:
        trials = Trials(tmp_path / "study", own.uri)
        t = trials.tracking()
        t.start()
        t.add(*trials.commit([outcome(i) for i in range(40)]))
        wait_until(lambda: 0 < len(t._rows) < 35)
        own.kill()
        t.add(*trials.commit([outcome(i) for i in range(80, 90)]))
        sentence = t.close(Summary("Why?"))
        assert sentence is not None and own.uri in sentence and sentence.count(". ") == 0
        own.start()
        assert trials.send(Summary("Why?")) is None
        trials.agree()
    finally:
        own.kill()


def test_a_server_that_stands_still_ends_the_wait_and_is_told_later(
    home: Path, server: MlflowServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender, "STANDSTILL", 1.0)
    trials = Trials(home, server.uri, "still")
    t = trials.tracking()
    t.start()
    t.add(*trials.commit([outcome(i) for i in range(80)]))
    wait_until(lambda: 0 < len(t._rows) < 75)
    server.signal(signal.SIGSTOP)
    try:
        sentence = t.close()
    finally:
        server.signal(signal.SIGCONT)
    assert sentence is not None and "does not answer" in sentence
    assert t._thread is not None
    t._thread.join(60)
    monkeypatch.undo()
    assert trials.send() is None
    trials.agree()


def test_an_address_without_a_server_is_said_in_one_sentence(home: Path) -> None:
    trials = Trials(home, f"http://name:secret@127.0.0.1:{free_port()}")
    t = trials.tracking()
    t.start()
    t.add(*trials.commit([outcome(1)]))
    sentence = t.close(Summary("Why?"))
    assert sentence is not None and "refused" in sentence and "next run" in sentence
    assert "secret" not in sentence and "\n" not in sentence
    trials.uri = f"sqlite:///{home / 'mlflow.db'}"
    assert trials.send() is None
    trials.agree()


DRIVER = """
import sys
from tests.test_tracking import *
trials = Trials(Path(sys.argv[1]), name=sys.argv[2])
t = trials.tracking()
t.start()
t.add(*trials.commit([outcome(i) for i in range(int(sys.argv[3]))]))
print("committed", flush=True)
sys.exit(t.close())
"""


def driver(home: Path, name: str, number: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", DRIVER, str(home), name, str(number)]
    return subprocess.Popen(command, cwd=Path(__file__).parent.parent, stdout=subprocess.PIPE)


def test_a_driver_killed_in_the_middle_leaves_nothing_doubled(home: Path) -> None:
    trials = Trials(home)
    trials.store.create()
    process = driver(home, "toy", 150)
    try:
        wait_until(lambda: trials.client().get_experiment_by_name("toy") is not None and len(trials.runs()) > 5)
    finally:
        process.kill()
        process.communicate()
    assert len(trials.runs()) < 150
    assert trials.send() is None
    trials.agree()


def test_halves_and_doubles_are_cleared(home: Path) -> None:
    trials = Trials(home)
    trials.commit([outcome(i) for i in range(3)])
    e = Experiment(trials.uri, "toy", home / "mlartifacts")
    tags = {"dlx.kind": "trial", "dlx.key": key_of(1), "dlx.status": COMPLETED}
    half = trials.client().create_run(e.id, tags=tags)
    foreign = trials.client().create_run(e.id, tags=tags | {"dlx.key": "another home's"})
    for _ in range(2):
        double = trials.client().create_run(e.id, tags=tags | {"dlx.key": key_of(2)})
        trials.client().set_terminated(double.info.run_id)
    assert trials.send() is None
    runs = trials.by_key()
    assert runs.pop("another home's").info.run_id == foreign.info.run_id
    assert runs.keys() == {key_of(i) for i in range(3)}
    assert runs[key_of(1)].info.run_id != half.info.run_id


def test_drivers_of_two_studies_share_a_new_home(tmp_path: Path) -> None:
    Trials(tmp_path).store.create()
    drivers = [driver(tmp_path, name, 40) for name in ("first", "second")]
    assert [d.wait(120) for d in drivers] == [0, 0]
    for d, name in zip(drivers, ("first", "second"), strict=True):
        d.communicate()
        Trials(tmp_path, name=name).agree()


@pytest.mark.parametrize("when", ["before", "during"])
def test_an_experiment_that_the_user_deleted_comes_back(home: Path, when: str) -> None:
    trials = Trials(home)
    trials.commit([outcome(1)])
    assert trials.send() is None
    experiment = trials.client().get_experiment_by_name("toy").experiment_id
    t = trials.tracking()
    if when == "before":
        trials.client().delete_experiment(experiment)
    t.start()
    if when == "during":
        wait_until(lambda: not t._behind and not t._rows)
        trials.client().delete_experiment(experiment)
    t.add(*trials.commit([outcome(2)]))
    assert t.close() is None
    trials.agree()


def test_a_queue_beyond_memory_is_read_from_the_store(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "LONGEST_QUEUE", 10)
    trials = Trials(home)
    t = trials.tracking()
    t.start()
    for i in range(30):
        t.add(*trials.commit([outcome(i)]))
    assert t.close() is None
    trials.agree()


# ---------------------------------------------------------------- cells and summary


def test_a_cell_has_mean_curves_with_intervals_and_is_replaced(home: Path) -> None:
    trials = Trials(home)
    trials.commit([outcome(i) for i in range(3)])
    trials.commit([outcome(9, status=FAILED, metrics={}, history={}, error="no")])
    trials.commit([outcome(7)], slots([7], cell=OTHER, phase=TUNE))
    assert trials.send() is None
    trials.commit([outcome(3)])
    assert trials.send() is None
    (cell,) = trials.client().search_runs(["1"], cells_filter())  # the one with final trials
    expected = means(np.array([0.0, 0.1, 0.2, 0.1 * 3]), np.zeros(4, dtype=np.int64), 1)
    low = expected.mean[0] - expected.half_width[0]
    assert cell.data.metrics["test/error"] == pytest.approx(expected.mean[0])
    assert cell.data.metrics["test/error_low"] == pytest.approx(low)
    assert (cell.data.tags["dlx.n_completed"], cell.data.tags["dlx.n_failed"]) == ("4", "1")
    assert cell.data.params == {"model.width": "32", "data.name": "<b>bold</b>"}
    curve = trials.client().get_metric_history(cell.info.run_id, "train/loss")
    assert {(p.step, p.value) for p in curve} == {(0, 3.0), (9, 1.5)}


def test_searches_of_a_cell_are_the_sample_of_its_interval(home: Path) -> None:
    trials = Trials(home)
    for number, search in ((0, 0), (1, 0), (10, 1), (11, 1)):
        trials.commit([outcome(number)], slots([number], search=search))
    assert trials.send() is None
    (cell,) = trials.runs("cell")
    expected = means(np.array([0.05, 1.05]), np.zeros(2, dtype=np.int64), 1)
    assert cell.data.metrics["test/error_high"] == pytest.approx(expected.mean[0] + expected.half_width[0])


def test_a_summary_shows_names_with_html_as_text(home: Path, server: MlflowServer) -> None:
    trials = Trials(home, server.uri, "summary")
    folder, results = home / "report", home / "results.parquet"
    figure = folder / "figures" / "curve.png"
    report = Report(folder / "report.html", folder / "report.md", figures=(figure,), problems=())
    figure.parent.mkdir(parents=True)
    for file in (report.html, report.markdown, figure, results):
        file.write_bytes(b"content")
    verdicts = [VERDICT, dataclasses.replace(VERDICT, name="b:<i>", outcome="undecided", reasons=("Too | few.",))]
    cells = pa.table({"data | <b>": ["<script>alert(1)</script>"], "test/error": [0.123456]})
    for _ in range(2):
        assert trials.send(Summary("Why <i>so</i>?", cells, results, verdicts, report)) is None
    assert trials.send(Summary("Why <i>so</i>?", cells, results, verdicts[1:], report)) is None
    (run,) = trials.runs("summary")
    said = {n: v for n, v in run.data.tags.items() if n.startswith("dlx.verdict.")}
    assert list(said) == [name_of("dlx.verdict.b:<i>")] and list(said.values()) == ["undecided, confirmatory"]
    note = run.data.tags["mlflow.note.content"]
    assert "<" not in note and "&lt;script&gt;" in note and "0.1235" in note
    assert run.data.tags["mlflow.source.git.commit"] == "abc"
    names = [f.path for f in trials.client().list_artifacts(run.info.run_id)]
    assert {"figures", "provenance", "report.html", "report.md", "results.parquet", "summary.md"} == set(names)
    told = trials.client().get_experiment_by_name("summary").tags["mlflow.note.content"]
    assert "&lt;i&gt;" in told and "**undecided** A is lower" in told and "Too \\| few." in told
    assert "supported" not in told
    assert f"runs/{run.info.run_id}/artifacts/report.html" in told


def test_before_a_flood_packs_have_a_head_start(tmp_path: Path) -> None:
    trials = Trials(tmp_path)
    t = trials.tracking()
    t.start(coming=sender.FLOOD + 1)
    t.add(*trials.commit([outcome(n) for n in range(3)]))
    time.sleep(1.0)
    assert t.absent
    assert t.close() is None
    trials.agree()


def test_a_home_elsewhere_needs_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    store = Store("toy", "mock:///bucket")
    with pytest.raises(TrackingError, match="MLFLOW_TRACKING_URI"):
        Tracking(store, "Why?", LABELS.__getitem__, MADE_WITH)


# ---------------------------------------------------------------- names and texts


@given(st.text(max_size=300))
def test_mlflow_allows_every_name(name: str) -> None:
    _validate_metric_name(name_of(name))
    _validate_param_name(name_of(name))
    assert name_of(name_of(name)) == name_of(name)


@given(st.integers(1, 2000))
def test_thinned_curves_keep_their_ends(n: int) -> None:
    kept = list(thin(range(n), [float(i) for i in range(n)]))
    steps = [s for s, _ in kept]
    assert len(kept) == min(n, 200) and (steps[0], steps[-1]) == (0, n - 1) and steps == sorted(set(steps))


@given(st.text())
def test_plain_text_holds_no_markup(text: str) -> None:
    assert "<" not in markdown(text) and pipes(pa.table({"a": [text]})).count("\n") == 2


def test_an_address_is_shown_without_its_password() -> None:
    assert safe_address("http://me:secret@host:5000/x") == "http://host:5000/x"
    assert safe_address("sqlite:////home/me/mlflow.db") == "sqlite:////home/me/mlflow.db"


# ---------------------------------------------------------------- the UI


NAMES = st.lists(st.text(max_size=40), max_size=30, unique=True)


@given(NAMES, NAMES, st.booleans())
def test_views_are_tags_that_mlflow_takes_with_the_objective_first(
    metrics: list[str], axes: list[str], maximize: bool
) -> None:
    objective = dlx.maximize("val/error") if maximize else dlx.minimize("val/error")
    tags = views(Layout(axes=axes, nuisance=["a[B].lr"], metrics=[*metrics, "test/error"], objective=objective), axes)
    assert len(tags) == 5
    for name, value in tags.items():
        _validate_experiment_tag(name, value)
    packed = json.loads(tags[f"{PREFIX}{CELLS}"])["state"].removeprefix("deflate;")
    state = json.loads(zlib.decompress(base64.b64decode(packed)))
    assert (state["orderByKey"], state["orderByAsc"]) == ("metrics.`test/error`", not maximize)
    assert state["selectedColumns"][len(axes):][:3] == [f"metrics.`test/error{end}`" for end in ("", "_low", "_high")]


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_the_ui_says_links_to_cells_and_ends_with_its_caller(home: Path, sign: signal.Signals) -> None:
    trials = Trials(home)
    trials.commit([outcome(1)])
    assert trials.send() is None
    port = free_port()
    script = f"from dlx.tracking.ui import ui; ui({str(home)!r}, port={port}, say=lambda line: print(line, flush=True))"
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        link = process.stdout.readline()
        assert link.startswith(f"toy: http://127.0.0.1:{port}/#/experiments/1/runs?viewStateShareKey=dlx-cells&")
        with pytest.raises(TrackingError, match="--port"):
            ui(str(home), port=port)
        process.send_signal(sign)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.communicate()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", port))


def test_the_ui_needs_a_database(tmp_path: Path) -> None:
    with pytest.raises(TrackingError, match="run a study"):
        ui(str(tmp_path))
