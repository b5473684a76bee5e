"""Run a study until nothing is missing, a budget is spent or someone stops it; then its verdicts, report and MLflow."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from dlx import lease, provenance
from dlx.agenda import Agenda
from dlx.budget import Budget
from dlx.declaration import Declaration, claim_digest
from dlx.driver import Driver
from dlx.errors import DeclarationError
from dlx.kept import lineage, weightless
from dlx.live import Shield, View, choose
from dlx.memory import Memory
from dlx.nodes import Tuned
from dlx.pack import Executor, Resources
from dlx.plan import Plan, make_plan
from dlx.provenance import Provenance
from dlx.records import FINAL
from dlx.register import Register
from dlx.space import MOST_CHECKED
from dlx.store import Store
from dlx.study import Study
from dlx.tracking import Layout, Tracking
from dlx.training import Training

if TYPE_CHECKING:
    from dlx.results import Results


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
) -> "Results":
    """Run the missing trials of a study and return the results of all that are wanted.

    home: where the store is (a path or a URL; default ``$DLX_HOME``, else ``./dlx-home``). executor: ``"ray"``,
    ``"local"`` (in this process) or an executor. address: of a running Ray cluster, None: Ray starts on this machine.
    max_…: nothing is begun beyond this budget. retry_failed: run stored failures again. wait: for another driver of
    this study to end. tracking_uri: of MLflow (default ``$MLFLOW_TRACKING_URI``, else a database in the home), or
    ``"off"``. Raises DeclarationError, StoreError, HeldError, TrackingError or ExecutorError before anything
    is started where that can be known.
    """
    budget = Budget(max_seconds, max_trials, max_gpu_hours)
    check_executor(executor, address)
    with prepared(study, home, budget, retry_failed, wait, view or choose(), tracking_uri) as one:
        if not one.driver.finished:
            engine = executor_for(executor, address, one.store.folder, study, one.missing)
            one.begin(engine)
            try:
                with interrupts(one.driver.interrupt):
                    engine.run(one.driver)
            finally:
                one.end()
        return one.conclude()


@dataclass(frozen=True)
class Run:
    """A study that this process alone may run: its driver, to be fed to an executor between ``begin`` and ``end``.

    missing: how many trials are, as far as the plan knows.
    """

    study: Study
    store: Store
    driver: Driver
    tracking: Tracking | None
    view: View
    missing: int

    def begin(self, executor: Executor) -> None:
        """Show progress and send to MLflow from now on what the executor brings."""
        self.driver.executor, self.driver.ledger.tracking = executor, self.tracking
        if self.tracking is not None:
            self.tracking.start(self.missing)
        self.driver.view.start(self.study.name, self.driver.monitor.progress)

    def end(self) -> None:
        """Store what ran, whatever happened; raises what stopped it."""
        self.driver.commit()
        self.driver.view.stop()
        if self.driver.error is None:
            return
        if self.driver.ledger.unwritten:
            self.view.say(f"{self.driver.ledger.unwritten:,} finished trials could not be stored; they will run again.")
        raise self.driver.error

    def conclude(self) -> "Results":
        """The results, with verdicts and report written and MLflow brought up to date."""
        from dlx.conclusion import conclude  # with scipy, for which no trial has to wait

        self.driver.commit()
        if self.driver.stopped:
            self.view.say(f"Stopped before the end: {self.driver.stopped}.")
        results = conclude(self.study, self.store, self.tracking, self.view, ran=self.driver.begun > 0)
        results.stopped = self.driver.stopped or ""
        return results


@contextlib.contextmanager
def prepared(
    study: Study, home: str | None, budget: Budget, retry_failed: bool, wait: bool, view: View,
    tracking_uri: str | None,
) -> Iterator[Run]:
    """A run of a study, held against other drivers meanwhile, with all that can be known to be wrong refused; see
    ``run``."""
    budget.check()
    _check(study)
    view = Shield(view)
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
        progress = driver.monitor.progress
        progress.wanted, progress.stored = plan.wanted, plan.stored
        for sentence in (*store.damaged, *_stale(study, store), *weightless(study, store, memory.statuses)):
            view.say(sentence)
        try:
            yield Run(study, store, driver, tracking, view, plan.missing)
        except BaseException:
            missed = tracking.close(patience=0.0) if tracking is not None else None
            if missed and progress.stored + progress.done:
                view.say(missed)
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


def check_executor(executor: str | Executor, address: str | None) -> None:
    """Raise DeclarationError where there is none of this name, ExecutorError where the address can be none."""
    if isinstance(executor, str) and executor not in ("ray", "local"):
        raise DeclarationError(f"executor is {executor!r}; it must be 'ray' or 'local'.")
    if executor == "ray":
        from dlx.executors.tune_cluster import Cluster

        Cluster(address)


def executor_for(
    executor: str | Executor, address: str | None, folder: str, study: Study | None = None, missing: int = 0
) -> Executor:
    """The executor of this name, or itself; folder: in the home (a URL); study: the one that it is for, if for one,
    and how many of its trials are missing.

    Raises ExecutorError where nobody listens at the address.
    """
    if executor == "local":
        from dlx.executors.local import Local

        return Local()
    if executor == "ray":
        from dlx.executors.tune import Tune

        objective = study.objective if study else None
        tune = Tune(
            address, scheduler=study.scheduler if study else None, metric=objective.metric if objective else None,
            mode="max" if objective and objective.sign < 0 else "min", folder=folder,
            trainings=missing if study and _small(study) else 0,
        )
        tune.cluster.knock()
        return tune
    assert not isinstance(executor, str)
    return executor


def _small(study: Study) -> bool:
    """Whether all trials are trainings that take one CPU and nothing else."""
    return isinstance(study.template, Training) and study.resources == Resources()


@contextlib.contextmanager
def interrupts(handler: Callable[..., None]) -> Iterator[None]:
    """Ctrl-C and SIGTERM are the handler's meanwhile, in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, was in before.items():
            signal.signal(number, was)
