"""Faults: each breaks one thing of a site while a study runs there, and mends what a cluster's operator would."""

import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import psutil
from chaos.cluster import raylet
from chaos.servers import wait_until
from chaos.site import Run

Fault = Callable[[Run, random.Random], None]
REFUSED, MISSING = 2, 3  # exit codes of `dlx run`: the home is full; stopped before the end


def _worker(run: Run, dice: random.Random) -> Any:
    """A worker of the run; waits for one."""
    found: list[Any] = []

    def look() -> bool:
        found[:] = [worker for node in run.site.nodes.up for worker in run.site.nodes.busy(node)]
        return bool(found)

    wait_until(look, 60, "a worker")
    return dice.choice(found)


def _replace(run: Run, node: Any) -> None:
    """The head forgets a node, what is left of it is removed, another joins."""
    wait_until(lambda: not run.site.nodes.known(node), 60, "the head to take the node for dead")
    run.site.nodes.remove(node)
    run.site.nodes.add()


def kill_worker(run: Run, dice: random.Random) -> None:
    """kill -9 of a worker process"""
    _worker(run, dice).kill()


def terminate_worker(run: Run, dice: random.Random) -> None:
    """SIGTERM to a worker process"""
    _worker(run, dice).terminate()


def freeze_worker(run: Run, dice: random.Random) -> None:
    """a worker process stands still for 5 s"""
    worker = _worker(run, dice)
    worker.suspend()
    time.sleep(5)
    worker.resume()


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
    """a node is not heard for 1.5 s, less than its head's patience"""
    node = dice.choice(run.site.nodes.up)
    _freeze(run, node, lambda: time.sleep(1.5))
    assert run.site.nodes.known(node)


def cut_node(run: Run, dice: random.Random) -> None:
    """a node is not heard until it is taken for dead, and comes back; another joins"""
    node = dice.choice(run.site.nodes.up)
    _freeze(run, node, lambda: wait_until(lambda: not run.site.nodes.known(node), 60, "the head's patience to end"))
    wait_until(lambda: node.all_processes["raylet"][0].process.poll() is not None, 60, "the node to hear of its death")
    _replace(run, node)


def _freeze(run: Run, node: Any, meanwhile: Callable[[], None]) -> None:
    """All processes of a node stand still meanwhile."""
    root = psutil.Process(raylet(node))
    still = [root, *root.children(recursive=True)]
    for process in still:
        process.suspend()
    meanwhile()
    for process in still:
        process.resume()


def kill_driver(run: Run, dice: random.Random) -> None:
    """kill -9 of the driver; the same command again"""
    run.driver.end(signal.SIGKILL)
    run.driver.start()


def preempt_driver(run: Run, dice: random.Random) -> None:
    """SIGTERM to the driver, which stores what runs and ends; the same command again"""
    assert run.driver.end(signal.SIGTERM, 120) == MISSING, run.driver.said[-5000:]
    run.driver.start()


def kill_mlflow(run: Run, dice: random.Random) -> None:
    """kill -9 of the MLflow server; started again after 3 s"""
    run.site.mlflow.kill()
    time.sleep(3)
    run.site.mlflow.start()


def freeze_mlflow(run: Run, dice: random.Random) -> None:
    """the MLflow server stands still for 5 s"""
    run.site.mlflow.signal(signal.SIGSTOP)
    time.sleep(5)
    run.site.mlflow.signal(signal.SIGCONT)


def kill_postgres(run: Run, dice: random.Random) -> None:
    """kill -9 of PostgreSQL under MLflow; started again after 3 s"""
    assert run.site.postgres is not None
    run.site.postgres.kill()
    time.sleep(3)
    run.site.postgres.start()


def fill_disk(run: Run, dice: random.Random) -> None:
    """the disk of the home is full; the driver says so and ends; freed, the same command again"""
    run.site.disk.fill()
    assert run.driver.end(seconds=60) == REFUSED and "is full" in run.driver.said, run.driver.said[-5000:]
    run.site.disk.free()
    run.driver.start()


EVERYWHERE: tuple[Fault, ...] = (
    kill_worker, terminate_worker, freeze_worker, kill_node, preempt_node, delay_node, cut_node, kill_driver,
    preempt_driver, kill_mlflow, freeze_mlflow,
)
PAUSES: tuple[Fault, ...] = (freeze_worker, delay_node, freeze_mlflow)  # after which everything is as before


def possible(run: Run) -> tuple[Fault, ...]:
    """The faults that this site can have."""
    with_disk = (fill_disk,) if run.site.disk.own else ()
    return EVERYWHERE + with_disk + ((kill_postgres,) if run.site.postgres is not None else ())


def table(tried: Iterable[Fault]) -> str:
    """How often each was tried and survived, as Markdown."""
    counts = Counter(tried)
    rows = [f"| {fault.__doc__} | {n} | {n} |" for fault, n in sorted(counts.items(), key=lambda c: c[0].__name__)]
    return "\n".join(["| fault | tried | survived |", "|---|---|---|", *rows, f"| all | {counts.total()} | "
                      f"{counts.total()} |"])
