"""Run a study until nothing is missing, a budget is spent or someone stops it; then its figures and MLflow."""

import contextlib
import json
import signal
import tempfile
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from dlx import figures, lease, provenance
from dlx.agenda import Agenda
from dlx.canonical import digest
from dlx.driver import Budget, Driver
from dlx.errors import DeclarationError, DlxError
from dlx.live import Plain, View
from dlx.pack import Executor
from dlx.plan import make_plan
from dlx.results import Results
from dlx.store import Store
from dlx.study import Study
from dlx.tracking import Summary, Tracking

PATIENCE = 60.0  # seconds that MLflow may stand still before the run ends without it


def run(
    study: Study,
    *,
    home: str | None = None,
    executor: Literal["ray", "local"] | Executor = "ray",
    address: str | None = None,
    max_seconds: float | None = None,
    max_trials: int | None = None,
    max_gpu_hours: float | None = None,
    retry_failed: bool = False,
    wait: bool = False,
    view: View | None = None,
    tracking_uri: str | None = None,
) -> Results:
    """Run the missing trials of a study and return the results of all that are wanted.

    home: where the store is (a path or a URL; default ``$DLX_HOME``, else ``./dlx-home``). executor: ``"ray"``,
    ``"local"`` (in this process) or an executor. address: of a running Ray cluster, None: Ray starts on this machine.
    max_…: nothing is begun beyond this budget. retry_failed: run stored failures again. wait: for another driver of
    this study to end. tracking_uri: of MLflow (default ``$MLFLOW_TRACKING_URI``, else a database in the home), or
    ``"off"``. Raises DeclarationError, StoreError, HeldError, TrackingError or ExecutorError before anything
    is started where that can be known.
    """
    budget = Budget(max_seconds, max_trials, max_gpu_hours)
    budget.check()
    _check(study)
    view = view or Plain()
    store = Store(study.name, home)
    tracking = None
    if tracking_uri != "off":
        tracking = Tracking(store, study.question, _Labels(study), provenance.collect(), tracking_uri)
    store.create()
    with lease.hold(store.folder, wait):
        _declare(study, store)
        plan = make_plan(study, store)
        driver = Driver(study, store, Agenda(study, store, retry_failed), budget, view, plan.wanted)
        driver.progress.stored = plan.stored
        for sentence in store.damaged:
            view.say(sentence)
        try:
            if driver.finished:
                driver.commit()
            else:
                _carry_out(driver, tracking, executor, address)
        except (KeyboardInterrupt, DlxError):
            _say(view, tracking.close(patience=0.0) if tracking else None)
            raise
        if driver.stopped:
            view.say(f"Stopped before the end: {driver.stopped}.")
        return _conclude(study, store, tracking, view)


def _check(study: Study) -> None:
    """Refuse what cannot be run before anything is started."""
    if study.space.tuned:
        from dlx import search

        assert study.search is not None
        search.check(study.search)
    study.space.check()


class _Labels:
    """Axis name → value of a cell by its key, built at the first call."""

    def __init__(self, study: Study) -> None:
        self._study = study
        self._found: dict[str, Mapping[str, Any]] = {}
        self._lock = threading.Lock()

    def __call__(self, cell: str) -> Mapping[str, Any]:
        with self._lock:
            if not self._found:
                space = self._study.space
                self._found = {self._study.cell_key(c): space.labels(c) for c in space.cells}
        return self._found.get(cell, {})


def _declare(study: Study, store: Store) -> None:
    """Leave in the home what a report or a listing on another machine needs to know of the declaration."""
    space = study.space
    keys = [study.cell_key(c) for c in space.cells]
    labels = [json.dumps(space.labels(c), default=str) for c in space.cells]
    objective = study.objective and {"metric": study.objective.metric, "direction": study.objective.direction}
    store.declare(
        {
            "name": study.name, "question": study.question, "axes": {a.name: a.labels for a in space.axes},
            "tuned": space.tuned, "objective": objective, "seeds": list(study.seed_list),
            "search": study.search and {"identity": study.search.identity(), "trials": study.search.trials,
                                        "repeats": study.search.repeats},
        },
        pa.table({"cell": pa.array(keys, pa.string()), "labels": pa.array(labels, pa.string())}),
    )


def _carry_out(
    driver: Driver, tracking: Tracking | None, executor: Literal["ray", "local"] | Executor, address: str | None
) -> None:
    """Run until the driver is finished; whatever happens, what ran is stored. Raises what stopped it."""
    driver.executor = _executor(driver.study, executor, address)
    driver.tracking = tracking
    if tracking is not None:
        tracking.start()
    driver.view.start(driver.study.name, driver.progress)
    try:
        with _interrupts(driver):
            driver.executor.run(driver)
    finally:
        driver.commit()
        driver.view.stop()
    if driver.error is not None:
        raise driver.error


def _conclude(study: Study, store: Store, tracking: Tracking | None, view: View) -> Results:
    """Draw the figures and bring MLflow up to date; neither can lose a trial."""
    results = Results.of(study, store.home)
    with contextlib.ExitStack() as stack:
        folder = store.local_folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        drawn, problems = figures.draw(study.figures, results, folder / "figures") if len(results.table) else ([], [])
        for sentence in problems:
            view.say(sentence)
        if tracking is None:
            return results
        mark = digest(tracking.uri.encode()).hex()
        if store.mirrored == mark:
            return results
        table = folder / "results.parquet"
        results.write(table)
        tracking.start()
        missed = tracking.close(Summary(study.question, results.cells(), {f.name: f for f in drawn}, table), PATIENCE)
        _say(view, missed)
        if missed is None:
            store.mirror(mark)
    return results


def _say(view: View, sentence: str | None) -> None:
    if sentence:
        view.say(sentence)


def _executor(study: Study, executor: Literal["ray", "local"] | Executor, address: str | None) -> Executor:
    if executor == "local":
        from dlx.executors.local import Local

        return Local()
    if executor == "ray":
        from dlx.executors.tune import Tune

        objective = study.objective
        return Tune(
            address, scheduler=study.scheduler, metric=objective.metric if objective else None,
            mode="max" if objective and objective.sign < 0 else "min",
        )
    if isinstance(executor, str):
        raise DeclarationError(f"executor is {executor!r}; it must be 'ray' or 'local'.")
    return executor


@contextlib.contextmanager
def _interrupts(driver: Driver) -> Iterator[None]:
    """Ctrl-C and SIGTERM are the driver's, in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, driver.interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
