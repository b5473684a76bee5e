"""Run a study until nothing is missing, a budget is spent or someone stops it; then its verdicts, report and MLflow."""

import contextlib
import signal
import threading
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from dlx import lease, provenance
from dlx.agenda import Agenda
from dlx.budget import Budget
from dlx.conclusion import conclude
from dlx.declaration import Declaration, claim_digest
from dlx.driver import Driver
from dlx.errors import DeclarationError
from dlx.kept import lineage, weightless
from dlx.live import Shield, View, choose
from dlx.memory import Memory
from dlx.nodes import Tuned
from dlx.pack import Executor
from dlx.plan import Plan, make_plan
from dlx.provenance import Provenance
from dlx.records import FINAL
from dlx.register import Register
from dlx.results import Results
from dlx.space import MOST_CHECKED
from dlx.store import Store
from dlx.study import Study
from dlx.tracking import Layout, Tracking


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
    view = Shield(view or choose())
    store = Store(study.name, home)
    tracking, made_with, said = None, provenance.collect(), Declaration.of(study)
    if tracking_uri != "off":
        layout = Layout(said.grid["cell"].to_pylist(), tuple(said.axes), tuple(said.nuisance), said.metrics or (),
                        said.objective)
        tracking = Tracking(store, study.question, _Labels(study), made_with, tracking_uri, study.keep, layout)
    store.create()
    with lease.hold(store.folder, wait) as held:
        memory = Memory(study, store, retry_failed)
        plan = make_plan(study, store, memory)
        _declare(said, store, plan, made_with)
        driver = Driver(study, store, Agenda(study, memory), budget, view, held)
        driver.progress.wanted, driver.progress.stored = plan.wanted, plan.stored
        for sentence in (*store.damaged, *_stale(study, store), *weightless(study, store, memory.statuses)):
            view.say(sentence)
        try:
            if driver.finished:
                driver.commit()
            else:
                _carry_out(driver, tracking, executor, address)
            if driver.stopped:
                view.say(f"Stopped before the end: {driver.stopped}.")
            results = conclude(study, store, tracking, view, ran=driver.begun > 0)
            results.stopped = driver.stopped or ""
            return results
        except BaseException:
            _say(view, tracking.close(patience=0.0) if tracking else None)
            raise


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


def _declare(declaration: Declaration, store: Store, plan: Plan, made_with: Provenance) -> None:
    """Leave in the home what a report elsewhere needs, and enter claims before anything of them is known."""
    declaration.keep(store, made_with if plan.missing else None)
    if declaration.claims:
        register = Register(store, declaration.grid["cell"].to_pylist())
        register.state({claim_digest(c): str(c) for c in declaration.claims}, stored=plan.phases[FINAL].stored > 0)


def _stale(study: Study, store: Store) -> list[str]:
    """A sentence when stored trials were run by source code that has changed since."""
    if any(isinstance(node, Tuned) and node.options for node in study.space.root.walk()):
        return []  # which components a choice brings in differs from trial to trial
    cells = study.space.cells[:MOST_CHECKED]
    today = {provenance.source_digest(t) for c in cells for t in lineage(study.space.resolve(c.options, None))}
    sources = store.trials(columns=["source"]).column("source").to_pylist()
    if not (stale := sum(source is not None and source not in today for source in sources)):
        return []
    return [
        f"The source of this study's trials has changed since {stale:,} of the stored ones ran, which still count; "
        "raise `version` on the changed class to have them run again."
    ]


def _carry_out(
    driver: Driver, tracking: Tracking | None, executor: Literal["ray", "local"] | Executor, address: str | None
) -> None:
    """Run until the driver is finished; whatever happens, what ran is stored. Raises what stopped it."""
    driver.executor = _executor(driver.study, executor, address, driver.store.folder)
    driver.ledger.tracking = tracking
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
        if driver.ledger.unwritten:
            driver.view.say(f"{driver.ledger.unwritten:,} finished trials could not be stored; they will run again.")
        raise driver.error


def _say(view: View, sentence: str | None) -> None:
    if sentence:
        view.say(sentence)


def _executor(
    study: Study, executor: Literal["ray", "local"] | Executor, address: str | None, folder: str
) -> Executor:
    if executor == "local":
        from dlx.executors.local import Local

        return Local()
    if executor == "ray":
        from dlx.executors.tune import Tune

        objective = study.objective
        return Tune(
            address, scheduler=study.scheduler, metric=objective.metric if objective else None,
            mode="max" if objective and objective.sign < 0 else "min", folder=folder,
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
