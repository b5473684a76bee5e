"""The one door to MLflow: one study's experiment, its runs, and what MLflow allows in names and values.

Every call is made in the order create, log, terminate, so that a run with a final status is whole.
"""

import hashlib
import logging
import os
import posixpath
import re
import urllib.parse
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PAGE = 1000  # runs a listing fetches at once
LONGEST_NAME = 250  # characters of a run, metric or parameter name
LONGEST_VALUE = 6000  # characters of a parameter
LONGEST_TAG = 8000
COLOUR = "mlflow.runColor"
LARGEST = 1.7976931348623157e308  # what SQL keeps of an infinite metric
HTTP_SECONDS = 30  # of one call; a study does not wait for it

_SURROUNDINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": str(HTTP_SECONDS),
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
}


@dataclass(frozen=True)
class Point:
    """One value of a metric; ``time``: milliseconds since the epoch."""

    metric: str
    value: float
    step: int
    time: int


@dataclass(frozen=True)
class Run:
    """A run as it shall stand in MLflow; times in milliseconds since the epoch; ``tags`` without the ``dlx.``."""

    name: str
    tags: Mapping[str, str]
    status: str  # FINISHED | FAILED | KILLED
    started: int
    ended: int
    params: Mapping[str, Any] = field(default_factory=dict)
    points: Sequence[Point] = ()
    colour: str = ""  # of its curves, where MLflow does not choose one


@dataclass(frozen=True)
class Sent:
    """A run that MLflow holds; ``whole``: it was terminated after everything was logged."""

    id: str
    tags: Mapping[str, str]
    whole: bool
    started: int


@contextmanager
def surroundings() -> Iterator[None]:
    """MLflow quiet, without telemetry and impatient, where the user's environment says nothing else."""
    mine = {name: value for name, value in _SURROUNDINGS.items() if name not in os.environ}
    os.environ.update(mine)
    try:
        yield
    finally:
        for name, value in mine.items():
            if os.environ.get(name) == value:
                del os.environ[name]


def name_of(name: str) -> str:
    """A metric's or parameter's name as MLflow allows it; a changed one ends in four digits of its digest."""
    allowed = re.sub(r"[^/\w.\- :]", "_", name)
    if not allowed or posixpath.normpath(allowed) != allowed or allowed.startswith(("/", "..")) or allowed == ".":
        allowed = "_".join(part for part in re.split(r"/|\.\.", allowed) if part not in ("", "."))
    allowed = allowed or "_"
    if allowed == name and len(name) <= LONGEST_NAME:
        return name
    return f"{allowed[:LONGEST_NAME - 5]}.{hashlib.blake2b(name.encode(), digest_size=2).hexdigest()}"


def safe_address(uri: str) -> str:
    """A tracking address without the password it may contain."""
    parts = urllib.parse.urlsplit(uri)
    if "@" not in parts.netloc:
        return uri
    return urllib.parse.urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def experiments(uri: str) -> dict[str, tuple[str, Mapping[str, str]]]:
    """Name → id and tags of the studies' experiments at an address."""
    found = _client(uri).search_experiments(filter_string="tags.`dlx.study` != ''")
    return {e.name: (e.experiment_id, dict(e.tags)) for e in found}


def refused(error: BaseException) -> bool:
    """Whether the same call would fail again: MLflow does not allow what it holds, or it cannot be put together."""
    code = getattr(error, "error_code", None)
    return code in ("INVALID_PARAMETER_VALUE", "BAD_REQUEST") or isinstance(error, KeyError | TypeError | ValueError)


def load() -> None:
    """Import MLflow, which takes seconds."""
    import mlflow  # noqa: F401


def _client(uri: str) -> Any:
    from mlflow import MlflowClient

    for name in ("mlflow.store.db.utils", "alembic"):  # migrations, told line by line
        logging.getLogger(name).setLevel("ERROR")
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


class Experiment:
    """A study's experiment in MLflow, made when absent and restored when it was deleted.

    ``artifacts``: where files of its runs lie; None: the tracking server decides. Methods raise what MLflow raises.
    """

    def __init__(self, uri: str, name: str, artifacts: Path | None) -> None:
        self._client, self.name = _client(uri), name
        found = self._client.get_experiment_by_name(name)
        if found is None:
            place = None if artifacts is None else (artifacts / name).absolute().as_uri()
            self.id: str = self._client.create_experiment(name, artifact_location=place)
            found = self._client.get_experiment(self.id)
        elif found.lifecycle_stage == "deleted":
            self._client.restore_experiment(found.experiment_id)
        self.id, self.tags = found.experiment_id, dict(found.tags)

    def describe(self, tags: Mapping[str, str]) -> None:
        """Set tags of the experiment, one call for each that changes."""
        for name, value in tags.items():
            if self.tags.get(name) != value:
                self._client.set_experiment_tag(self.id, name, value)
                self.tags[name] = value

    def runs(self, kind: str, key: str | None = None) -> Iterator[Sent]:
        """The runs of a kind, or those of one key; deleted ones are no more."""
        query = f"tags.`dlx.kind` = '{kind}'" + ("" if key is None else f" and tags.`dlx.key` = '{key}'")
        token = None
        while True:
            page = self._client.search_runs([self.id], query, max_results=PAGE, page_token=token)
            for run in page:
                tags = {n.removeprefix("dlx."): v for n, v in run.data.tags.items() if n.startswith("dlx.")}
                yield Sent(run.info.run_id, tags, run.info.status != "RUNNING", run.info.start_time)
            token = page.token
            if not token:
                return

    def begin(self, run: Run) -> str:
        """Create a run with its parameters, which then runs, and return its id."""
        from mlflow.entities import Param

        tags = {f"dlx.{name}": value[-LONGEST_TAG:] for name, value in run.tags.items()}
        if run.colour:
            tags[COLOUR] = run.colour
        made = self._client.create_run(self.id, run.started, tags, run.name[:LONGEST_NAME])
        params = [Param(name_of(name), str(value)[:LONGEST_VALUE]) for name, value in run.params.items()]
        self.log(made.info.run_id, run.points, params)
        return str(made.info.run_id)

    def log(self, run_id: str, points: Sequence[Point], params: Sequence[Any] = ()) -> None:
        """Add points, and parameters of MLflow's own class, to a run."""
        from mlflow.entities import Metric

        metrics = [Metric(name_of(p.metric), p.value, p.time, p.step) for p in points]
        self._client.log_batch(run_id, metrics, params)

    def send(self, run: Run, attach: Callable[[str], None] | None = None) -> str:
        """Create a run with everything it holds, terminate it, and return its id; ``attach``: adds files by the id."""
        run_id = self.begin(run)
        if attach is not None:
            attach(run_id)
        self._client.set_terminated(run_id, run.status, run.ended)
        return run_id

    def tag(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Set tags of a run (full names) in one call."""
        from mlflow.entities import RunTag

        self._client.log_batch(run_id, tags=[RunTag(name, value[:LONGEST_TAG]) for name, value in tags.items()])

    def untag(self, run_id: str, name: str) -> None:
        """Remove a tag (full name) of a run."""
        self._client.delete_tag(run_id, name)

    def delete(self, run_id: str) -> None:
        """Move a run to MLflow's trash."""
        self._client.delete_run(run_id)

    def attach_file(self, run_id: str, file: Path, folder: str | None = None) -> None:
        """Put a file among the artifacts of a run."""
        self._client.log_artifact(run_id, str(file), folder)

    def attach_folder(self, run_id: str, folder: Path) -> None:
        """Put all that lies in a folder among the artifacts of a run."""
        self._client.log_artifacts(run_id, str(folder))

    def attach_text(self, run_id: str, name: str, text: str) -> None:
        """Put a text among the artifacts of a run."""
        self._client.log_text(run_id, text, name)
