"""Ray Tune: shifts of packs on this machine or a cluster, and single trials under a scheduler of Ray Tune's."""

import contextlib
import gc
import logging
import os
import threading
from collections.abc import Iterator
from typing import Any, Literal

from dlx.executors.tune_ahead import uncollected
from dlx.executors.tune_cluster import Cluster, environment
from dlx.executors.tune_failures import kills_are_deaths
from dlx.executors.tune_scratch import Scratch
from dlx.pack import Feed

CROWD = 8  # trainings a CPU, from which on nearly all workers that Ray starts in advance are used
SWITCHES = {  # of Ray Tune, for the time of a run
    "PL_DISABLE_FORK": "1",  # which Ray Tune sets for its workers
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": str(10**9),
    "TUNE_MAX_PENDING_TRIALS_PG": str(10**6),  # as many as are suggested
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
}


class Tune:
    """Runs packs through Ray Tune.

    address: of a running cluster (``"auto"``, ``"host:port"``), None: the Ray of this process, else one is started on
    this machine. cpus: how many CPUs it then offers. scheduler, metric, mode: a scheduler of Ray Tune's that may stop
    trials early, by the metric they log and its better direction. folder: of the study in the home (URL); with an
    address, every node is asked before it is used whether it can run packs and reach it. trainings: how many are
    missing that take one CPU each.
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        cpus: int | None = None,
        scheduler: Any = None,
        metric: str | None = None,
        mode: Literal["min", "max"] | None = None,
        folder: str | None = None,
        trainings: int = 0,
    ) -> None:
        self.cluster, self.folder = Cluster(address, cpus), folder
        self._ahead = trainings >= CROWD * self.cluster.cpus
        self.scheduler, self.metric, self.mode = scheduler, metric, mode
        self.slots = self.cluster.cpus

    def run(self, feed: Feed) -> None:
        """Return when the feed is finished and nothing runs; raises ExecutorError for what cannot be had."""
        with environment(SWITCHES), _quiet():  # also as Ray ends, when it prints what it held back
            try:
                with uncollected():
                    self.cluster.load()  # before the thread does, for the start needs it as well
                    with _loading_tune():
                        self.cluster.start(self._ahead)
                    gc.freeze()
                with kills_are_deaths(), _workers_alike() if self.cluster.started_here else contextlib.nullcontext():
                    if self.cluster.address is not None and self.folder is not None:
                        self.cluster.inspect(self.folder, feed.say)
                    with Scratch() as folder:
                        self._run(feed, str(folder))
            finally:
                gc.unfreeze()
                self.cluster.stop()

    def _run(self, feed: Feed, folder: str) -> None:
        desk = self._desk(feed)
        try:
            while not desk.ended:
                desk.begin()
                self._tuner(desk, folder).fit()
        finally:
            desk.leave()
        if desk.error is not None:
            raise desk.error

    def _desk(self, feed: Feed) -> Any:
        if self.scheduler is not None:
            from dlx.executors.tune_scheduled import Stage

            return Stage(feed, self.cluster, self._set_slots)
        from dlx.executors.tune_shifts import Desk

        return Desk(feed, self.cluster, self._set_slots)

    def _set_slots(self, slots: int) -> None:
        self.slots = slots

    def _tuner(self, desk: Any, folder: str) -> Any:
        from ray import tune

        from dlx.executors.tune_shifts import HandOver, Openings, Silent

        trainable, watch, scheduling = self._parts(desk)
        return tune.Tuner(
            trainable,
            tune_config=tune.TuneConfig(num_samples=-1, search_alg=Openings(desk), **scheduling),
            run_config=tune.RunConfig(
                storage_path=folder, stop=HandOver(desk), callbacks=[watch], verbose=0,
                progress_reporter=Silent(),
                failure_config=tune.FailureConfig(max_failures=0),
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        )

    def _parts(self, desk: Any) -> tuple[Any, Any, dict[str, Any]]:
        """What Ray Tune runs, who watches it, and under which scheduler."""
        if self.scheduler is None:
            from dlx.executors.tune_shifts import Watch
            from dlx.executors.tune_worker import Shift

            return Shift, Watch(desk), {}
        from dlx.executors.tune_scheduled import WatchTrials, trainable, usable

        scheduler = usable(self.scheduler)
        own = {"metric": self.metric, "mode": self.mode}
        missing = {name: value for name, value in own.items() if getattr(scheduler, f"_{name}", None) is None}
        return trainable(), WatchTrials(desk), {"scheduler": scheduler, "reuse_actors": True, **missing}


@contextlib.contextmanager
def _loading_tune() -> Iterator[None]:
    """Meanwhile load Ray Tune and what it loads as it begins, which takes about as long as Ray's own start.

    What fails there fails again where it is needed.
    """
    def load() -> None:
        with contextlib.suppress(Exception):
            import ray.air.integrations.mlflow  # noqa: F401

            import dlx.executors.tune_shifts  # noqa: F401

    thread = threading.Thread(target=load, name="dlx-load", daemon=True)
    thread.start()
    try:
        yield
    finally:
        thread.join()  # parts of Ray Tune need each other, and must not be loaded by two threads


@contextlib.contextmanager
def _workers_alike() -> Iterator[None]:
    """Ray Tune 2.60 asks for workers with variables of its own, so that those which Ray has started in advance do not
    fit; here they have these variables from their start."""
    import ray
    from ray.tune.execution.class_cache import _ActorClassCache

    kind: Any = _ActorClassCache
    before = kind.get

    def get(cache: Any, trainable: Any) -> Any:
        if trainable not in cache._cache:
            cache._cache[trainable] = ray.remote(trainable)
        return cache._cache[trainable]

    kind.get = get
    try:
        yield
    finally:
        kind.get = before


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Ray's loggers say nothing, nor does it print of each dead worker; what matters reaches the feed."""
    loggers = [logging.getLogger(name) for name in ("ray", "ray.tune", "ray.air", "ray.train")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
