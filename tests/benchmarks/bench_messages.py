"""How many workers one driver feeds: what a message costs it, by how many workers there are.

A message is a result of Ray Tune's: a pack that ended, or a worker that asks for one. Its cost has two parts. dlx's
own is measured on the real desk and driver with workers that are stand-ins: packs of one trial are handed out and come
back. Ray Tune's is waiting for the first of so many futures, measured with an actor that answers at once. Seconds are
of the driver's CPU, so that other work on the machine does not count.
Run as ``python tests/benchmarks/bench_messages.py``; prints a Markdown table, each figure from a process of its own.
"""

import asyncio
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import ray

import dlx
from dlx.executors.tune_cluster import Cluster
from dlx.executors.tune_shifts import Desk, HandOver, Openings, Watch
from dlx.live import Quiet
from dlx.pack import Feed
from dlx.worker import run_pack

MESSAGES = 1_000
WORKERS = (2, 100, 1_000)


@dlx.trial(version=1)
def nothing(ctx: dlx.Context, number: int) -> dict[str, float]:
    """Return at once."""
    return {"loss": float(number)}


class Machines(Cluster):
    """A cluster of so many machines with one CPU each, none of which is there."""

    def __init__(self, machines: int) -> None:
        super().__init__()
        self._there = [{"CPU": 1.0}] * machines

    def _up(self) -> list[Any]:
        return self._there


class StandIns:
    """Workers that are stand-ins: what Ray Tune's loop would call is called in its order, and timed."""

    def __init__(self, workers: int) -> None:
        self.slots, self.packs, self.polls = workers, 0.0, 0.0

    def run(self, feed: Feed) -> None:
        """Open all workers; time messages; then let the feed be."""
        desk = Desk(feed, Machines(self.slots), lambda slots: None)
        openings, watch, stop = Openings(desk), Watch(desk), HandOver(desk)
        workers = [str(i) for i in range(self.slots)]
        for name in workers:
            assert openings.suggest(name) is not None
        there = SimpleNamespace(give=SimpleNamespace(remote=lambda parcel, elsewhere: None))
        for name in workers:
            stop(name, {"worker": there, "machine": "here"})
        turns = self._turns(workers)
        self.packs = self._timed(desk, openings, watch, stop, turns, idle=False)
        self.polls = self._timed(desk, openings, watch, stop, turns, idle=True)
        while not feed.finished:
            for name, shift in list(desk.shifts.items()):
                if shift.pack is not None:
                    stop(name, {"records": run_pack(shift.pack)})
        assert desk.error is None, desk.error

    def _turns(self, workers: list[str]) -> Iterator[str]:
        while True:
            yield from workers

    def _timed(self, desk: Desk, openings: Openings, watch: Watch, stop: HandOver, turns: Iterator[str],
               idle: bool) -> float:
        """Seconds of the driver for a message."""
        spent = 0.0
        for _ in range(MESSAGES):
            name = next(turns)
            result = {"idle": True} if idle else {"records": run_pack(desk.shifts[name].pack)}
            begun = time.process_time()
            watch.on_step_begin(0, [])
            openings.suggest("none")
            stop(name, result)
            stop.stop_all()
            spent += time.process_time() - begun
        return spent / MESSAGES


def desk(workers: int) -> dict[str, float]:
    """dlx's part."""
    study = dlx.Study("nothings", "How fast are packs handed out?", nothing(number=dlx.grid(*range(2 * MESSAGES))))
    executor = StandIns(workers)
    with tempfile.TemporaryDirectory() as home:
        study.run(home=home, executor=executor, tracking_uri="off", view=Quiet())
    return {"pack": executor.packs, "poll": executor.polls}


@ray.remote(num_cpus=0, max_concurrency=1_001)
class Answers:
    """Answers one call at a time, when it is told to."""

    def __init__(self) -> None:
        self._waiting: list[asyncio.Future[None]] = []

    async def train(self) -> dict[str, bool]:
        """Wait for one's turn."""
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        await turn
        return {"idle": True}

    async def next(self) -> None:
        """The first in the queue may answer."""
        while not self._waiting:
            await asyncio.sleep(0)
        self._waiting.pop(0).set_result(None)


def wait(workers: int) -> dict[str, float]:
    """Ray's part, as ``RayActorManager.next`` has it: shuffle all futures, wait for the first, fetch it, call again."""
    with Cluster(cpus=1):
        actor = Answers.remote()
        futures = [actor.train.remote() for _ in range(workers)]
        begun = 0.0
        for i in range(MESSAGES + 100):
            begun = time.process_time() if i == 100 else begun
            actor.next.remote()
            shuffled = list(futures)
            random.shuffle(shuffled)
            (first,), _ = ray.wait(shuffled, num_returns=1)
            ray.get(first)
            futures[futures.index(first)] = actor.train.remote()
        return {"wait": (time.process_time() - begun) / MESSAGES}


def measured(what: str, workers: int) -> dict[str, float]:
    """What one of these functions gives, in a process of its own."""
    command = [sys.executable, __file__, what, str(workers)]
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=600).stdout
    return json.loads(said.splitlines()[-1])


def main() -> None:
    """Measure and print."""
    print("| workers | dlx, ms a pack | dlx, ms a question | Ray's wait, ms | packs/s at most | questions/s at most |\n"
          "|---|---|---|---|---|---|")
    for workers in WORKERS:
        f = {name: 1_000 * ms for what in ("desk", "wait") for name, ms in measured(what, workers).items()}
        print(f"| {workers:,} | {f['pack']:.2f} | {f['poll']:.2f} | {f['wait']:.2f} | "
              f"{1_000 / (f['pack'] + f['wait']):.0f} | {1_000 / (f['poll'] + f['wait']):.0f} |", flush=True)


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]](int(sys.argv[2])))) if len(sys.argv) > 1 else main()
