"""What scheduling costs: packs that do nothing, and trials that cannot be packed and sleep for one second each.

Run as ``python tests/benchmarks/bench_packs.py [no-ops] [sleeps]``; prints a Markdown table. Ray's own start is not
counted, that of its workers is in the cold figure; every trial is recorded, MLflow is off.
"""

import contextlib
import sys
import tempfile
import time

import dlx
from dlx.executors.tune import Tune
from dlx.executors.tune_cluster import Cluster
from dlx.live import Quiet
from dlx.store import Store

SLOTS = 16  # logical CPUs that sleepers are spread over


@dlx.trial(version=1)
def nothing(ctx: dlx.Context, number: int) -> dict[str, float]:
    """Return at once."""
    return {"loss": float(number)}


@dlx.trial(version=1)
def sleeper(ctx: dlx.Context, number: int) -> dict[str, float]:
    """Sleep for one second."""
    time.sleep(1.0)
    return {"loss": float(number)}


def timed(study: dlx.Study, cpus: int | None) -> tuple[float, float, list[float]]:
    """Seconds of a run, when its last trial was stored, and when its trials began (seconds since the epoch)."""
    with tempfile.TemporaryDirectory() as home, contextlib.redirect_stdout(sys.stderr):  # what Ray says is no table
        cluster = Cluster(cpus=cpus)
        cluster.start()
        begun = time.time()
        results = study.run(home=home, executor=Tune(cpus=cpus), tracking_uri="off", view=Quiet())
        ended = time.time()
        cluster.stop()
        rows = Store(study.name, home).trials()
    assert results.table["status"].to_pylist() == ["completed"] * len(study.space.cells)
    return ended - begun, ended, sorted(at.timestamp() for at in rows["started"].to_pylist())


def all_up(starts: list[float]) -> float:
    """When for the first time a trial of one second runs on every slot."""
    return next(t for first, t in zip(starts, starts[SLOTS - 1 :], strict=False) if t - first < 1.0)


def main(nothings: int, sleepers: int) -> None:
    """Measure and print."""
    print("| packs through Ray Tune | workers up | with their start |\n|---|---|---|")
    idle = dlx.Study("nothings", "How fast are packs handed out?", nothing(number=dlx.grid(*range(nothings))))
    seconds, ended, starts = timed(idle, None)
    warm = nothings / (ended - starts[0])
    print(f"| {nothings:,} packs that do nothing, a second | {warm:.0f} | {nothings / seconds:.0f} |")
    sleep = dlx.Study("sleepers", "How busy are the slots?", sleeper(number=dlx.grid(*range(sleepers))))
    seconds, ended, starts = timed(sleep, SLOTS)
    up = all_up(starts)
    busy = sum(max(0.0, t + 1.0 - max(t, up)) for t in starts)
    print(f"| {sleepers:,} sleeps of 1 s on {SLOTS} logical CPUs, share of the ideal | "
          f"{busy / SLOTS / (ended - up):.3f} | {sleepers / SLOTS / seconds:.3f} |")


if __name__ == "__main__":
    given = [int(a) for a in sys.argv[1:3]]
    main(*given, *(5_000, 2_000)[len(given) :])
