"""Single trials under a scheduler of Ray Tune's, which may stop them early: one trial of Ray Tune's for each."""

import copy
import math
import sys
import time
from dataclasses import dataclass, field
from typing import Any, cast

import cloudpickle
import pyarrow as pa
import ray
from ray import tune
from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, MedianStoppingRule

from dlx.errors import ExecutorError, HomeError
from dlx.executors.tune_cluster import Cluster
from dlx.executors.tune_failures import parcel, reason
from dlx.executors.tune_partials import Box, deliver, post
from dlx.executors.tune_shifts import Watch, guarded
from dlx.executors.tune_worker import placement, prepare
from dlx.pack import Feed, Pack, Resources
from dlx.records import PRUNED, Outcome, Records, now, to_records, versions
from dlx.trial import values
from dlx.worker import Stopped, run_pack


def run_trial(config: dict[str, Any]) -> None:
    """What a worker runs: every log of the trial is a report, its records are the last one."""
    device = prepare(config)
    pack = cloudpickle.loads(ray.get(config["parcel"]))

    last: dict[str, float] = {"step": 0}  # schedulers miss a step or a metric in any report

    def on_log(step: int, metrics: dict[str, float]) -> None:
        last.update(metrics, step=step)
        try:
            tune.report({**last, "logged": (step, metrics)})
        except SystemExit as e:  # as Ray Tune ends the thread of a trial that it stops
            raise Stopped from e

    try:
        records = run_pack(pack, device, None if pack.whole else on_log, post(config["box"], pack))
    except Stopped:
        sys.exit(0)
    except HomeError as e:
        tune.report({**last, "astray": str(e)})
    else:
        tune.report({**last, "records": records})


@dataclass
class Flight:
    """A trial that waits for its worker or runs, and what it logged."""

    pack: Pack
    began: float | None = None  # seconds since the epoch
    host: str | None = None
    history: dict[str, tuple[list[int], list[float]]] = field(default_factory=dict)

    def log(self, step: int, metrics: dict[str, float]) -> None:
        """Remember one report."""
        for name, value in metrics.items():
            steps, logged = self.history.setdefault(name, ([], []))
            steps.append(step)
            logged.append(value)

    def pruned(self) -> Records:
        """The row of a trial that was stopped: what it logged, and of that the last values."""
        (member,), began = self.pack.members, self.began or now()
        outcome = Outcome(
            key=member.key, seed=member.seed, values=values(member.trial), status=PRUNED, seconds=time.time() - began,
            started=began, metrics={name: logged[-1] for name, (_, logged) in self.history.items()},
            history=self.history, device="cuda" if self.pack.resources.gpus else "cpu", source=self.pack.source,
        )
        records = to_records([outcome], versions())
        place = records.trials.schema.get_field_index("host")
        host = pa.array([self.host], pa.string())
        return Records(records.trials.set_column(place, records.trials.schema.field(place), host), records.history)


class Stage:
    """All scheduled trials of a run; every call comes from the one thread in which Ray Tune's loop runs."""

    def __init__(self, feed: Feed, cluster: Cluster, tell_slots: Any) -> None:
        self.feed, self.cluster, self._tell_slots = feed, cluster, tell_slots
        self.error: Exception | None = None
        self.flights: dict[str, Flight] = {}
        self.box = Box()
        self._smallest: Resources | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """Ray Tune pickles what it would restore a run from; of this there is nothing to restore."""
        return object, ()

    @property
    def ended(self) -> bool:
        """Nothing is to be begun any more."""
        return self.error is not None or self.feed.finished

    closing = ended

    @property
    def idle(self) -> bool:
        """No trial runs."""
        return all(flight.began is None for flight in self.flights.values())

    def begin(self) -> None:
        """Nothing to forget: under a scheduler there is one Tuner, which knows all trials."""

    def open(self, name: str) -> dict[str, Any] | None:
        """The configuration of one more trial, None when there is no room or nothing to run now."""
        slots = max(1, self.cluster.room(self._smallest or Resources()))
        while True:
            if len(self.flights) >= slots or (pack := self.feed.take()) is None:
                return None
            if (sent := parcel(pack, self.feed)) is not None:
                break
        self.flights[name] = Flight(pack)
        if pack.resources != self._smallest:
            self.cluster.check(pack.resources, self.feed.say)
        self._smallest = min(pack.resources, self._smallest or pack.resources)
        self._tell_slots(slots)
        asked = pack.resources
        return {"cpus": asked.cpus, "gpus": asked.gpus, "memory": asked.memory,
                "parcel": ray.put(sent),  # by reference: configurations come back with every report
                "box": self.box.name, "elsewhere": self.cluster.unfit}

    def tick(self) -> None:
        """Called ten times a second: the feed's own, and what trials have logged."""
        self.feed.tick()
        deliver(self.box, self.feed, (flight.pack for flight in self.flights.values()))
        if self._smallest is not None and self.cluster.may_grow:
            settled = not self.closing and all(flight.began is not None for flight in self.flights.values())
            full = settled and len(self.flights) >= self.cluster.room(self._smallest)
            self.cluster.wish(self._smallest, self.feed.waiting_for(self._smallest) if full else 0)

    def started(self, name: str) -> None:
        """A worker took the trial."""
        self.flights[name].began = now()

    def result(self, name: str, result: dict[str, Any]) -> bool:
        """Take what a report brought; whether the trial goes on is the scheduler's to say."""
        flight = self.flights.get(name)
        if flight is not None and "logged" in result:
            flight.host = result["hostname"]
            flight.log(*result.pop("logged"))
        if flight is not None and "records" in result:
            del self.flights[name]
            self.feed.done(flight.pack, result.pop("records"))
        if flight is not None and "astray" in result:
            del self.flights[name]
            self.feed.astray(flight.pack, result.pop("astray"))
        return True

    def complete(self, name: str) -> None:
        """A trial is over; without records it was stopped."""
        if (flight := self.flights.pop(name, None)) is not None:
            self.feed.done(flight.pack, flight.pruned())

    def died(self, name: str, error: str) -> None:
        """The worker of a trial is gone."""
        if (flight := self.flights.pop(name, None)) is not None:
            self.feed.lost(flight.pack, reason(error))

    def leave(self) -> None:
        """Give back what was never begun."""
        self.box.clear()
        for flight in self.flights.values():
            if flight.began is None:
                self.feed.give_back(flight.pack)


class WatchTrials(Watch):
    """Hears of trials that start, end and die."""

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A worker took a trial."""
        guarded(self.desk, lambda: self.desk.started(trial.trial_id))

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial ended, or its scheduler stopped it."""
        guarded(self.desk, lambda: self.desk.complete(trial.trial_id))


def trainable() -> Any:
    """What Ray Tune is to run, with the resources of each trial."""
    return tune.with_resources(run_trial, placement)


def usable(scheduler: Any) -> Any:
    """A fresh copy of a scheduler; raises ExecutorError for those that pause trials, which need checkpoints."""
    stops = type(scheduler) is FIFOScheduler or isinstance(scheduler, AsyncHyperBandScheduler | MedianStoppingRule)
    if not stops or not getattr(scheduler, "_hard_stop", True):
        raise ExecutorError(
            f"scheduler is a {type(scheduler).__name__} that pauses trials, and dlx's do not resume in the middle; "
            "use ASHAScheduler, or MedianStoppingRule with hard_stop=True."
        )
    scheduler = copy.deepcopy(scheduler)
    if isinstance(scheduler, MedianStoppingRule):
        # else it pauses trials while others wait: the last pause was at -inf
        cast(Any, scheduler)._min_time_slice = math.inf
    return scheduler
