"""Faults: each breaks one thing of a site while a study runs there, and mends what a cluster's operator would."""

import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psutil
from chaos.cluster import raylet, runs
from chaos.servers import LOOK, Server, wait_until
from chaos.site import Run
from objects import ObjectStore

Fault = Callable[[Run, random.Random], None]
REFUSED, MISSING = 2, 3  # exit codes of `dlx run`: the home is full; stopped before the end
LIMIT = 180  # seconds for what is a matter of seconds on an idle machine


def _to_worker(run: Run, dice: random.Random, act: Callable[[psutil.Process], object]) -> None:
    """Do something to a worker that runs a pack; waits for one."""
    end = time.monotonic() + LIMIT
    while time.monotonic() < end:
        if found := [worker for node in run.site.nodes.up for worker in run.site.nodes.busy(node)]:
            with suppress(psutil.NoSuchProcess):  # it may have ended meanwhile
                act(dice.choice(found))
                return
        time.sleep(LOOK)
    raise AssertionError(f"waited {LIMIT} s in vain for a worker")


def _replace(run: Run, node: Any) -> None:
    """The head forgets a node, what is left of it is removed, another joins."""
    with run.slow():
        wait_until(lambda: not run.site.nodes.known(node), LIMIT, "the head to take the node for dead")
        run.site.nodes.tend()


def kill_worker(run: Run, dice: random.Random) -> None:
    """kill -9 of a worker process"""
    _to_worker(run, dice, lambda worker: worker.kill())


def terminate_worker(run: Run, dice: random.Random) -> None:
    """SIGTERM to a worker process"""
    _to_worker(run, dice, lambda worker: worker.terminate())


def freeze_worker(run: Run, dice: random.Random) -> None:
    """a worker process stands still for 5 s"""
    def freeze(worker: psutil.Process) -> None:
        with _still([worker]):
            time.sleep(5)

    _to_worker(run, dice, freeze)


def kill_node(run: Run, dice: random.Random) -> None:
    """kill -9 of a raylet (a node); another node joins"""
    node = dice.choice(run.site.nodes.up)
    node.all_processes["raylet"][0].process.kill()
    _replace(run, node)


def preempt_node(run: Run, dice: random.Random) -> None:
    """SIGTERM to a raylet, as a spot machine's end; another node joins"""
    node = dice.choice(run.site.nodes.up)
    node.all_processes["raylet"][0].process.terminate()
    _replace(run, node)


def delay_node(run: Run, dice: random.Random) -> None:
    """a node is not heard for 1.5 s"""
    with _still(_all_of(dice.choice(run.site.nodes.up))):
        time.sleep(1.5)


def cut_node(run: Run, dice: random.Random) -> None:
    """a node is not heard until it is taken for dead, and comes back; another joins"""
    node = dice.choice(run.site.nodes.up)
    _lose(run, node, _all_of(node))


def cut_raylet(run: Run, dice: random.Random) -> None:
    """a node is not heard until it is taken for dead, while its workers go on; another joins"""
    node = dice.choice(run.site.nodes.up)
    _lose(run, node, [psutil.Process(raylet(node))])


def _lose(run: Run, node: Any, silent: list[psutil.Process]) -> None:
    """Processes of a node stand still for longer than its head waits."""
    with run.slow():
        with _still(silent):
            wait_until(lambda: not run.site.nodes.known(node), LIMIT, "the head's patience to end")
        wait_until(lambda: not runs(node), LIMIT, "the node to hear of its death")
    _replace(run, node)


def _all_of(node: Any) -> list[psutil.Process]:
    root = psutil.Process(raylet(node))
    return [root, *root.children(recursive=True)]


@contextmanager
def _still(processes: list[psutil.Process]) -> Iterator[None]:
    """They stand still meanwhile."""
    try:
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.suspend()
        yield
    finally:
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.resume()


def kill_driver(run: Run, dice: random.Random) -> None:
    """kill -9 of the driver; the same command again"""
    run.driver.end(signal.SIGKILL)
    run.driver.start()


def preempt_driver(run: Run, dice: random.Random) -> None:
    """SIGTERM to the driver, which stores what runs and ends; the same command again"""
    assert run.driver.end(signal.SIGTERM, LIMIT) == MISSING, run.driver.said[-5000:]
    run.driver.start()


def kill_mlflow(run: Run, dice: random.Random) -> None:
    """kill -9 of the MLflow server; started again after 3 s"""
    run.site.mlflow.kill()
    time.sleep(3)
    with run.slow():
        run.site.mlflow.start()


def freeze_mlflow(run: Run, dice: random.Random) -> None:
    """the MLflow server stands still for 5 s"""
    _freeze(run.site.mlflow)


def _freeze(server: Server | ObjectStore) -> None:
    """It stands still for 5 s."""
    server.signal(signal.SIGSTOP)
    time.sleep(5)
    server.signal(signal.SIGCONT)


def kill_postgres(run: Run, dice: random.Random) -> None:
    """kill -9 of PostgreSQL under MLflow; started again after 3 s"""
    assert run.site.postgres is not None
    run.site.postgres.kill()
    time.sleep(3)
    with run.slow():
        run.site.postgres.start()


def fill_disk(run: Run, dice: random.Random) -> None:
    """the disk of the home is full; the driver says so and ends; freed, the same command again"""
    run.site.disk.fill()
    assert run.driver.end(seconds=LIMIT) == REFUSED and "is full" in run.driver.said, run.driver.said[-5000:]
    run.site.disk.free()
    run.driver.start()


def kill_store(run: Run, dice: random.Random) -> None:
    """kill -9 of the object store of the home; started again after 1 s"""
    assert run.site.store is not None
    run.site.store.kill()
    time.sleep(1)
    with run.slow():
        run.site.store.start()


def lose_store(run: Run, dice: random.Random) -> None:
    """kill -9 of the object store of the home; the driver says so and ends; once it is back, the same command again"""
    assert run.site.store is not None
    run.site.store.kill()
    assert run.driver.end(seconds=LIMIT) == REFUSED and "cannot be" in run.driver.said, run.driver.said[-5000:]
    run.site.store.start()
    run.driver.start()


def freeze_store(run: Run, dice: random.Random) -> None:
    """the object store of the home stands still for 5 s"""
    assert run.site.store is not None
    _freeze(run.site.store)


EVERYWHERE: tuple[Fault, ...] = (
    kill_worker, terminate_worker, freeze_worker, kill_node, preempt_node, delay_node, cut_node, cut_raylet,
    kill_driver, preempt_driver, kill_mlflow, freeze_mlflow,
)


def possible(run: Run) -> tuple[Fault, ...]:
    """The faults that this site can have."""
    site = run.site
    with_disk = (fill_disk,) if site.store is None and site.disk.own else ()
    with_store = (kill_store, lose_store, freeze_store) if site.store is not None else ()
    return EVERYWHERE + with_disk + with_store + ((kill_postgres,) if site.postgres is not None else ())


def drawn(run: Run, count: int, dice: random.Random) -> list[Fault]:
    """So many of them in random order, each kind as often as the others or once more."""
    kinds = possible(run)
    found = [*kinds * (count // len(kinds)), *dice.sample(kinds, count % len(kinds))]
    dice.shuffle(found)
    return found


def strike(run: Run, fault: Fault, dice: random.Random) -> None:
    """A fault at some moment; survived when the study goes on."""
    run.advance(4)
    time.sleep(dice.uniform(0, 2))
    began, stored = time.monotonic(), run.stored
    fault(run, dice)
    took = time.monotonic() - began
    run.advance(4)
    run.site.nodes.tend()
    print(f"{run.name}: {stored} of {run.trials} trials stored, {fault.__doc__}: {took:.0f} s, "
          f"{time.monotonic() - began - took:.0f} s until the next trials", flush=True)


def table(tried: Iterable[Fault]) -> str:
    """How often each was tried and survived, as Markdown."""
    counts = Counter(tried)
    rows = [f"| {fault.__doc__} | {n} | {n} |" for fault, n in sorted(counts.items(), key=lambda c: c[0].__name__)]
    return "\n".join(["| fault | tried | survived |", "|---|---|---|", *rows, f"| all | {counts.total()} | "
                      f"{counts.total()} |"])
