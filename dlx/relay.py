"""Several studies on one executor: a later one begins as soon as the earlier leave a worker without work."""

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dlx.errors import DlxError
from dlx.pack import Executor, Pack, Resources
from dlx.partials import Partial
from dlx.records import Records
from dlx.run import Run

if TYPE_CHECKING:
    from dlx.results import Results


@dataclass(eq=False)
class Leg:
    """A study's part: ``prepare`` makes its run ready, ``tell`` hears what came out and after how many seconds.

    ``tell`` is called once, in a thread that concludes one study after another.
    """

    prepare: Callable[[], AbstractContextManager[Run]]
    tell: "Callable[[Results | DlxError, float], None]"
    run: Run = field(init=False)
    held: ExitStack = field(init=False, default_factory=ExitStack)
    began: float = field(init=False)


class Relay:
    """A feed that is many: an executor empties the earlier ones first, and its workers stay for the later ones.

    What has ended is concluded (verdicts, report, MLflow) in a thread beside, while others run.
    """

    def __init__(self, legs: Iterable[Leg], executor: Executor) -> None:
        self._left, self._executor = deque(legs), executor
        self._open: list[Leg] = []
        self._owners: dict[int, Leg] = {}  # by the identity of packs that are out; their keys may be in two studies
        self._taken: Leg  # whose pack was taken last
        self._concluding = _Beside()
        self.stopped = False  # by the user

    def run(self) -> None:
        """Run and conclude all; raises what the executor raises, once what ran is stored."""
        self._concluding.start()
        try:
            if not self.finished:
                self._executor.run(self)
        except BaseException as e:
            self._left.clear()
            for leg in [*self._open]:
                self._leave(leg, e)
            if isinstance(e, DlxError):
                self._concluding.finish()
            raise
        self._concluding.finish()

    def interrupt(self, *_: object) -> None:
        """Ctrl-C or SIGTERM: once, finish what runs and begin no other study; twice, or when nothing runs, stop now."""
        self.stopped = True
        self._left.clear()
        if not self._open:
            raise KeyboardInterrupt
        for leg in self._open:
            leg.run.driver.interrupt()

    # ------------------------------------------------------------ what an executor calls

    def take(self, resources: Resources | None = None) -> Pack | None:
        """The next pack of the earliest study that has one now."""
        for leg in self._open:
            if (pack := self._take(leg, resources)) is not None:
                return pack
        while (opened := self._begin_next()) is not None:
            if (pack := self._take(opened, resources)) is not None:
                return pack
        return None

    def _take(self, leg: Leg, resources: Resources | None) -> Pack | None:
        pack = leg.run.driver.take(resources)
        if pack is not None:
            self._owners[id(pack)] = self._taken = leg
        return pack

    def done(self, pack: Pack, records: Records) -> None:
        """Its study's."""
        self._owners.pop(id(pack)).run.driver.done(pack, records)

    def partial(self, pack: Pack, partial: Partial) -> None:
        """Its study's."""
        self._owners[id(pack)].run.driver.partial(pack, partial)

    def lost(self, pack: Pack, reason: str) -> None:
        """Its study's."""
        self._owners.pop(id(pack)).run.driver.lost(pack, reason)

    def astray(self, pack: Pack, reason: str) -> None:
        """Its study's."""
        self._owners.pop(id(pack)).run.driver.astray(pack, reason)

    def give_back(self, pack: Pack) -> None:
        """Its study's."""
        self._owners.pop(id(pack)).run.driver.give_back(pack)

    def refuse(self, pack: Pack, error: DlxError) -> None:
        """Its study ends by this; others go on."""
        self._owners.pop(id(pack)).run.driver.refuse(pack, error)

    def say(self, line: str) -> None:
        """What concerns the pack that was taken last is its study's to show."""
        self._taken.run.driver.say(line)

    @property
    def finished(self) -> bool:
        """No study has anything left."""
        while True:
            out = {id(leg) for leg in self._owners.values()}  # a study that was stopped gets back what runs
            for leg in [leg for leg in self._open if leg.run.driver.finished and id(leg) not in out]:
                self._end(leg)
            if self._open or self._begin_next() is None:
                return not self._open

    @property
    def waiting(self) -> int:
        """How many packs could be taken now, of the studies that have begun."""
        return sum(leg.run.driver.waiting for leg in self._open)

    def waiting_for(self, resources: Resources) -> int:
        """How many of these are of such resources."""
        return sum(leg.run.driver.waiting_for(resources) for leg in self._open)

    def tick(self) -> None:
        """Each study's."""
        for leg in self._open:
            leg.run.driver.tick()

    # ------------------------------------------------------------ the way of a leg

    def _begin_next(self) -> Leg | None:
        """The next study that can be run, begun."""
        while self._left:
            leg = self._left.popleft()
            leg.began = time.monotonic()
            try:
                leg.run = leg.held.enter_context(leg.prepare())
                if not leg.run.driver.finished:
                    leg.run.begin(self._executor)
            except DlxError as e:
                self._conclude(leg, e)
                continue
            self._open.append(leg)
            return leg
        return None

    def _end(self, leg: Leg) -> None:
        self._open.remove(leg)
        try:
            leg.run.end()
        except DlxError as e:
            self._conclude(leg, e)
        else:
            self._conclude(leg)

    def _conclude(self, leg: Leg, error: DlxError | None = None) -> None:
        def conclude() -> None:
            outcome: Results | DlxError
            try:
                with leg.held:
                    if error is not None:
                        raise error
                    outcome = leg.run.conclude()
            except DlxError as e:
                outcome = e
            leg.tell(outcome, time.monotonic() - leg.began)

        self._concluding.submit(conclude)

    def _leave(self, leg: Leg, error: BaseException) -> None:
        """Store what ran and give the study up."""
        self._open.remove(leg)
        with suppress(type(error), DlxError), leg.held:
            leg.run.end()
            raise error


class _Beside(threading.Thread):
    """Does one thing after another; ends with the process, unless that waits for it."""

    def __init__(self) -> None:
        super().__init__(name="dlx-conclude", daemon=True)
        self._work: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._error: BaseException | None = None

    def submit(self, call: Callable[[], None]) -> None:
        """Do this once all before it is done."""
        self._work.put(call)

    def finish(self) -> None:
        """Wait until all is done; raises the first error."""
        self._work.put(None)
        self.join()
        if self._error is not None:
            raise self._error

    def run(self) -> None:
        """The thread's own loop."""
        while (call := self._work.get()) is not None:
            try:
                call()
            except BaseException as e:
                self._error = self._error or e
