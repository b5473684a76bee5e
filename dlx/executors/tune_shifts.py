"""The driver's side of shifts: opens them as Ray Tune asks, hands them packs, takes back what became of those.

A pack is handed over when a worker is free, never earlier: nothing waits behind a long pack, a dead worker loses one
pack, and a worker goes on for as long as there is work for it, so that Ray Tune starts each process once.
"""

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.tune import Stopper
from ray.tune.progress_reporter import ProgressReporter, TrialProgressCallback
from ray.tune.search import Searcher

from dlx.errors import ExecutorError
from dlx.executors.tune_cluster import Cluster
from dlx.executors.tune_failures import parcel, reason
from dlx.executors.tune_partials import Box, deliver
from dlx.executors.tune_train import LAUNCHER
from dlx.pack import Feed, Pack, Resources

RENEWED = 2_000  # shifts after which Ray Tune begins afresh; it slows down as it remembers them
STILLBORN = 3  # workers in a row that may die before they are ready


@dataclass
class Shift:
    """One worker: what it occupies, once it is up its address and machine, and the pack that it runs."""

    resources: Resources
    worker: Any = None
    machine: str = ""
    pack: Pack | None = None


class Desk:
    """All shifts of a run; every call comes from the one thread in which Ray Tune's loop runs."""

    def __init__(self, feed: Feed, cluster: Cluster, slots: Callable[[int], None]) -> None:
        self.feed, self.cluster, self._tell_slots = feed, cluster, slots
        self.error: Exception | None = None
        self.shifts: dict[str, Shift] = {}
        self.box = Box()
        self.in_hand: deque[Pack] = deque()  # taken for workers that are starting
        self._seen: set[Resources] = set()
        self._up, self._starting = Counter[Resources](), Counter[Resources]()  # of the shifts, how many there are
        self._opened = self._stillborn = 0

    def __reduce__(self) -> tuple[Any, ...]:
        """Ray Tune pickles what it would restore a run from; of this there is nothing to restore."""
        return object, ()

    @property
    def ended(self) -> bool:
        """Nothing is to be begun any more."""
        return self.error is not None or self.feed.finished

    @property
    def closing(self) -> bool:
        """No shift is to go on beyond its present pack."""
        return self.ended or self._opened >= RENEWED

    @property
    def idle(self) -> bool:
        """No shift runs a pack."""
        return all(shift.pack is None for shift in self.shifts.values())

    def begin(self) -> None:
        """Forget the shifts of an earlier Tuner."""
        self.shifts, self._opened = {}, 0
        self._up.clear()
        self._starting.clear()

    def open(self, name: str) -> dict[str, Any] | None:
        """The configuration of one more worker, None when none is wanted now."""
        if (asked := self._wanted()) is None:
            return None
        self.shifts[name] = Shift(asked)
        self._up[asked] += 1
        self._starting[asked] += 1
        self._opened += 1
        own, workers = asked if asked.workers == 1 else LAUNCHER, max(len(self.shifts), self._slots())
        return {"cpus": own.cpus, "gpus": own.gpus, "memory": own.memory, "workers": workers,
                "box": self.box.name, "elsewhere": self.cluster.unfit}

    def tick(self) -> None:
        """Called ten times a second: the feed's own, and what packs have logged."""
        self.feed.tick()
        deliver(self.box, self.feed, (shift.pack for shift in self.shifts.values() if shift.pack is not None))
        for resources in self._seen if self.cluster.may_grow else ():
            settled = not (self._starting[resources] or self.closing)  # no worker waits for the place itself
            full = settled and self._up[resources] >= self.cluster.room(resources)
            self.cluster.wish(resources, self.feed.waiting_for(resources) if full else 0)

    def _wanted(self) -> Resources | None:
        if len(self.in_hand) <= self._starting.total() and len(self.shifts) < self._slots():
            self._take()
        for resources, packs in Counter(p.resources for p in self.in_hand).items():
            if packs > self._starting[resources] and self._up[resources] < max(1, self.cluster.room(resources)):
                return resources
        return None

    def _slots(self) -> int:
        slots = max(1, *map(self.cluster.room, self._seen or {Resources()}))
        if self._seen:
            self._tell_slots(slots)
        return slots

    def _take(self) -> None:
        if (pack := self.feed.take()) is None:
            return
        if pack.resources not in self._seen:
            try:
                self.cluster.check(pack.resources, self.feed.say)
            except ExecutorError as e:
                self.feed.refuse(pack, e)
                return
        self.in_hand.append(pack)
        self._seen.add(pack.resources)

    def result(self, name: str, result: dict[str, Any]) -> bool:
        """Take what a step brought and hand over the next pack; false when the shift is to end."""
        shift = self.shifts[name]
        if "worker" in result:
            shift.worker, shift.machine, self._stillborn = result.pop("worker"), result.pop("machine"), 0
            self._starting[shift.resources] -= 1
        if shift.pack is not None:
            if "idle" in result:
                return True  # it asked before the pack arrived
            pack, shift.pack = shift.pack, None
            if self.feed.waiting > len(self.shifts) and not self.closing:
                self._hand_over(shift)  # before the result is looked at, which takes a while
            if "records" in result:
                self.feed.done(pack, result.pop("records"))
            elif "astray" in result:
                self.cluster.doubt(shift.machine)
                self.feed.astray(pack, result.pop("astray"))
            else:
                self.feed.lost(pack, result.pop("lost"))
        if shift.pack is None and (self.closing or not self._goes_on(shift)):
            self._drop(name)
            return False
        return True

    def _goes_on(self, shift: Shift) -> bool:
        """Whether a worker without a pack gets one or waits for one; one on a machine that is not fit does neither."""
        fit = self.cluster.fit(shift.machine)
        return fit is None or (fit and (self._hand_over(shift) or self._stays(shift)))

    def _hand_over(self, shift: Shift) -> bool:
        while (pack := self._next(shift.resources)) is not None:
            if (sent := parcel(pack, self.feed)) is None:
                continue
            shift.pack = pack
            shift.worker.give.remote(sent, self.cluster.unfit if pack.resources.workers > 1 else ())
            return True
        return False

    def _next(self, resources: Resources) -> Pack | None:
        for pack in self.in_hand:
            if pack.resources == resources:
                self.in_hand.remove(pack)
                return pack
        return self.feed.take(resources)

    def _stays(self, shift: Shift) -> bool:
        """A worker without a pack waits for one, unless packs of other resources wait for its place.

        Those of several workers wait where it is not seen, when they have been handed over.
        """
        if not self.in_hand and self.feed.waiting:
            self._take()
        waiting = [*self.in_hand, *(s.pack for s in self.shifts.values() if s.pack and s.resources.workers > 1)]
        return all(pack.resources == shift.resources for pack in waiting)

    def _drop(self, name: str) -> Shift | None:
        """A shift is no more; None: it was none before."""
        if (shift := self.shifts.pop(name, None)) is not None:
            self._up[shift.resources] -= 1
            self._starting[shift.resources] -= shift.worker is None
        return shift

    def died(self, name: str, error: str) -> None:
        """A worker is gone, and with it the pack that it ran."""
        if (shift := self._drop(name)) is None:
            return
        if shift.pack is not None:
            self.feed.lost(shift.pack, reason(error))
        elif shift.worker is None:
            self._stillborn += 1
            if self._stillborn >= STILLBORN:
                raise ExecutorError(f"{STILLBORN} workers in a row did not start: {reason(error)}.")

    def leave(self) -> None:
        """Give back what was never begun and end the workers that are left."""
        self.box.clear()
        while self.in_hand:
            self.feed.give_back(self.in_hand.pop())
        for shift in self.shifts.values():
            if shift.worker is not None:
                ray.kill(shift.worker)


class Openings(Searcher):
    """Opens shifts (or scheduled trials: a ``Stage``) for as long as they are wanted."""

    def __init__(self, desk: Any) -> None:
        super().__init__()
        self.desk = desk

    def suggest(self, trial_id: str) -> Any:
        """The configuration of one more, None: not now, FINISHED: no more."""
        desk = self.desk
        if guarded(desk, lambda: desk.closing, True):
            return Searcher.FINISHED
        return guarded(desk, lambda: desk.open(trial_id))

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Nothing: ``Watch`` hears of it."""


class HandOver(Stopper):
    """Gets every result first: takes out what it brought, and ends the shifts for which there is no more work."""

    def __init__(self, desk: Any) -> None:
        self.desk = desk

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Whether the shift ends."""
        return not guarded(self.desk, lambda: self.desk.result(trial_id, result), False)

    def stop_all(self) -> bool:
        """Whether all ends; workers that are still starting are not waited for."""
        return bool(guarded(self.desk, lambda: self.desk.closing and self.desk.idle, True))


class Watch(TrialProgressCallback):
    """Keeps the feed ticking and hears of dead workers, in the place of Ray Tune's own, which prints."""

    def __init__(self, desk: Any) -> None:
        super().__init__()
        self.desk = desk

    def log_result(self, trial: Any, result: Any, error: bool = False) -> None:
        """Print nothing."""

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: Any, **info: Any) -> None:
        """Nothing: ``HandOver`` has seen it."""

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Nothing: ``HandOver`` ended it."""

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Every turn of Ray Tune's loop, at least ten times a second."""
        guarded(self.desk, self.desk.tick)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A worker died."""
        guarded(self.desk, lambda: self.desk.died(trial.trial_id, Path(trial.error_file).read_text()))


class Silent(ProgressReporter):
    """Reports nothing, in the place of Ray Tune's own, which in a notebook shows its trials."""

    def should_report(self, trials: list[Any], done: bool = False) -> bool:
        """Never."""
        return False


def guarded(desk: Any, call: Callable[[], Any], otherwise: Any = None) -> Any:
    """What a call returns; an exception is kept for the end of the run, since Ray Tune would swallow its kind."""
    try:
        return call()
    except Exception as e:
        desk.error = desk.error or e
        return otherwise
