"""The Ray cluster that packs run on: started on this machine, joined by its address, or found in this process."""

import contextlib
import logging
import math
import os
import re
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self

from dlx.allowance import usable_cpus
from dlx.errors import ExecutorError
from dlx.executors import tune_ahead
from dlx.executors.tune_preflight import Preflight
from dlx.executors.tune_scratch import Scratch
from dlx.executors.tune_wishes import Wishes
from dlx.pack import Resources

ADDRESS = re.compile(r".+:\d+")
KNOCK = 10.0  # seconds in which the head of a cluster is to take a connection
REFRESH = 2.0  # seconds for which a list of machines holds; others may join
LEAST, MOST = 16, 64  # places that are wished for at a time: as many as there are, which doubles them, within these
OBJECT_STORE = 512 * 2**20  # bytes; what travels is small
LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}  # where a Ray stays that is started here; read as Ray is loaded
WAITING = "RAY_idle_worker_killing_time_threshold_ms"
IDLE = "60000"  # for workers of such a Ray wait at least so long; Ray Tune takes a while to ask for them


class Cluster:
    """Ray, while it is needed; ``cpus``: how many a Ray started here offers, None: all that this process may use."""

    def __init__(self, address: str | None = None, cpus: int | None = None) -> None:
        if address is not None and address.startswith("ray://"):
            raise ExecutorError(
                f"address is {address!r}, a Ray client's; run dlx on a machine of the cluster with address='auto', "
                "for instance by `ray job submit`."
            )
        if address not in (None, "auto", "local") and not ADDRESS.fullmatch(address):
            raise ExecutorError(f"address is {address!r}; it must be 'auto' or HOST:PORT of the head of a Ray cluster.")
        self.address, self.cpus = address, cpus or usable_cpus()
        self._mine = False  # started or joined here, so it is left at the end
        self._scratch: Scratch | None = None
        self._preflight: Preflight | None = None
        self._machines: list[Mapping[str, float]] = []
        self._asked: list[Mapping[str, float]] = []  # of which it is not known yet whether they are fit
        self.unfit: list[str] = []  # ids of those on which nothing is to be placed
        self._looked = -math.inf
        self._wishes = Wishes()
        self._rooms: dict[Resources, int] = {}  # on these machines

    def load(self) -> None:
        """Load Ray."""
        with environment(LOOPBACK if self.address is None else {}):
            import ray  # noqa: F401

    def start(self, ahead: bool = False) -> None:
        """Start or join Ray, unless this process has one; raises ExecutorError when that fails.

        ahead: the workers of a Ray started here load at once what trainings of one CPU need, see ``tune_ahead``.
        """
        try:
            self.load()
            import ray

            if ray.is_initialized():
                return
            self.knock()
            self._mine = True
            with _sigterm_kept(), self._surroundings(ahead):
                ray.init(log_to_driver=False, logging_level=logging.ERROR, **self._options())
        except (OSError, RuntimeError, ValueError) as e:
            self.stop()
            raise ExecutorError(self._failure(e)) from e

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def knock(self) -> None:
        """Raise ExecutorError where nobody listens at HOST:PORT; Ray itself would try for more than a minute."""
        given = (os.environ.get("RAY_ADDRESS") or "auto") if self.address == "auto" else self.address
        ray = sys.modules.get("ray")
        if given in (None, "auto", "local") or (ray is not None and ray.is_initialized()):
            return
        host, _, port = given.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), KNOCK).close()
        except (OSError, OverflowError, ValueError) as e:
            raise ExecutorError(self._failure(e)) from e

    @contextlib.contextmanager
    def _surroundings(self, ahead: bool) -> Iterator[None]:
        """The folder of a Ray that is started here, and meanwhile its environment."""
        if self.address is not None:
            yield
            return
        self._scratch = Scratch()
        more = tune_ahead.surroundings(self._scratch.folder / "ahead") if ahead else {}
        waiting = os.environ.get(WAITING, IDLE)
        with environment({**LOOPBACK, "RAY_USAGE_STATS_ENABLED": "0", WAITING: waiting, **more}):
            yield

    def _options(self) -> dict[str, Any]:
        if self._scratch is None:
            return {"address": self.address}
        return {
            "address": "local", "include_dashboard": False, "num_cpus": self.cpus,
            "object_store_memory": OBJECT_STORE, "_temp_dir": str(self._scratch.folder),
        }

    def _failure(self, error: Exception) -> str:
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        if self.address is None:
            return f"Ray does not start on this machine ({said}); try executor='local'."
        return f"No Ray cluster answers at {self.address!r} ({said}); start one with `ray start --head`."

    def stop(self) -> None:
        """Leave the cluster; what was started here ends and its files are removed."""
        import ray

        if self._mine:
            ray.shutdown()
        else:
            self._wishes.forget()
        if self._scratch is not None:
            self._scratch.remove()
        if self._preflight is not None:
            with contextlib.suppress(OSError):
                self._preflight.close()
        self._mine, self._scratch, self._preflight, self._looked = False, None, None, -math.inf
        self._wishes, self._asked, self.unfit = Wishes(), [], []

    def inspect(self, folder: str, say: Callable[[str], None]) -> None:
        """Ask all machines whether they can run packs of a study in this folder (URL), and later those that join.

        Raises ExecutorError where one cannot; of one that joins later it is said, and it is not used.
        """
        preflight = Preflight(folder)
        preflight.check()
        self._preflight, self._say = preflight, say

    def fit(self, machine: str) -> bool | None:
        """Whether a machine (its id) can run packs, None: that is not known yet."""
        self._up()
        return self._preflight.fit(machine) if self._preflight is not None else True

    def doubt(self, machine: str) -> None:
        """Ask a machine on which a pack could not read or write the home before more is placed there."""
        if self._preflight is not None:
            self._preflight.doubt(machine)
            self._looked = -math.inf

    def room(self, asked: Resources) -> int:
        """How many packs with these resources fit the machines that are up; several workers may lie on several."""
        machines = self._up()
        if asked not in self._rooms:
            self._rooms[asked] = sum(_fit(machine, asked) for machine in machines) // asked.workers
        return self._rooms[asked]

    def _up(self) -> list[Mapping[str, float]]:
        import ray

        if time.monotonic() - self._looked > REFRESH:
            self._look()
            there = {n["NodeID"]: n["Resources"] for n in ray.nodes() if n["Alive"]}
            fit = {name: self._preflight.fit(name) if self._preflight is not None else True for name in there}
            self._machines = [machine for name, machine in there.items() if fit[name]]
            self._asked = [machine for name, machine in there.items() if fit[name] is None]
            self.unfit = [name for name in there if fit[name] is False]
            self._rooms, self._looked = {}, time.monotonic()
        return self._machines

    def _look(self) -> None:
        """See whether machines have joined, and what those say; where the home cannot be written, the next time."""
        if self._preflight is not None:
            with contextlib.suppress(OSError):
                for said in self._preflight.look():
                    self._say(f"A machine has joined and is not used: {said}")

    def wish(self, asked: Resources, packs: int) -> None:
        """Let an autoscaler know that so many packs have no place; those of several workers say so themselves."""
        if asked.workers == 1:
            coming = sum(_fit(machine, asked) for machine in self._asked) if packs else 0
            self._wishes.wish(asked, min(max(0, packs - coming), max(LEAST, min(MOST, self.room(asked)))), self.unfit)

    @property
    def started_here(self) -> bool:
        """Whether this Ray was started by this object, with the environment that this process then had."""
        return self._scratch is not None

    @property
    def may_grow(self) -> bool:
        """Whether machines may join, such as an autoscaler's."""
        return self.address is not None

    def check(self, asked: Resources, say: Callable[[str], None]) -> None:
        """Raise ExecutorError when no machine has what one pack asks for; where machines may join, say so instead."""
        if self.room(asked):
            return
        if not self.may_grow:
            raise ExecutorError(f"{self._lack(asked)}; ask for less, or give the address of a cluster that has it.")
        say(f"{self._lack(asked)}; waiting for a machine to join, such as one of an autoscaler's. If none will, stop "
            "this and ask for less.")

    def _lack(self, asked: Resources) -> str:
        if asked.workers > 1:
            return (f"resources asks for {asked.workers} workers with {_words(asked)} each, but the cluster has places "
                    f"for {sum(_fit(machine, asked) for machine in self._up())}")
        largest = max(self._up(), key=lambda m: (m.get("GPU", 0), m.get("CPU", 0)), default={})
        has = Resources(largest.get("CPU", 0), largest.get("GPU", 0), int(largest.get("memory", 0)))
        return (f"resources asks for {_words(asked)} in one pack, but the largest machine of the cluster has "
                f"{_words(has)}")


@contextlib.contextmanager
def environment(own: Mapping[str, str]) -> Iterator[None]:
    """With these environment variables, which afterwards are what they were."""
    before = {name: os.environ.get(name) for name in own}
    os.environ.update(own)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})


@contextlib.contextmanager
def _sigterm_kept() -> Iterator[None]:
    """Ray replaces the handler of SIGTERM by one that ends the process at once; a driver stores what runs first."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if callable(before) and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


def _fit(machine: Mapping[str, float], asked: Resources) -> int:
    """How many packs fit one machine; packs with a fraction of a GPU share single devices."""
    counts = [machine.get("CPU", 0.0) / asked.cpus if asked.cpus else math.inf]
    if 0 < asked.gpus < 1:
        counts.append(machine.get("GPU", 0.0) * math.floor(1 / asked.gpus + 1e-9))
    elif asked.gpus:
        counts.append(machine.get("GPU", 0.0) / asked.gpus)
    if asked.memory:
        counts.append(machine.get("memory", 0.0) / asked.memory)
    least = min(counts)
    return math.floor(least + 1e-9) if math.isfinite(least) else math.ceil(machine.get("CPU", 0.0))


def _words(resources: Resources) -> str:
    said = [f"{resources.cpus:g} CPUs", f"{resources.gpus:g} GPUs"]
    return ", ".join(said + ([f"{resources.memory / 2**30:.3g} GiB of memory"] if resources.memory else []))
