"""How fast the store commits, and how fast it decides that nothing is missing; prints a Markdown table.

Run as ``python tests/benchmarks/bench_store.py [trials] [folder]``; each reading is timed in a process of its own.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time

import numpy as np
import pyarrow as pa

from dlx.records import COMPLETED, FINAL, HISTORY, MEMBERSHIP, Outcome, to_records
from dlx.store import Store

COMMIT = 100  # trials a commit
POINTS = 50  # of each of two curves a trial
READS = {
    "reading keys and statuses": "len(store.statuses())",
    "reading all trials": "len(store.trials())",
    "reading what they are filed under": "len(store.membership())",
    "reading all curves": "len(store.history())",
    "reading 64 trials": "len(store.trials([f'{i:032x}' for i in range(64)]))",
}
READ = """
import json, sys, time
from dlx.store import Store
def peak(): return int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0]) / 1024
store, before, begun = Store("bench", sys.argv[1]), peak(), time.perf_counter()
count = {call}
print(json.dumps([time.perf_counter() - begun, peak() - before, count]))
"""


def rows(start: int, stop: int) -> tuple[list[Outcome], pa.Table]:
    """Outcomes with values and curves such as an optimizer study has, and their slots."""
    rng = np.random.default_rng(start)
    steps = list(range(0, 10 * POINTS, 10))
    outcomes = [
        Outcome(
            key=f"{i:032x}", seed=i % 5, status=COMPLETED, seconds=0.5, started=time.time(),
            values={"data.label_noise": 0.15, "model.width": 128, "model.depth": 2, "optimizer": "SGD",
                    "optimizer.lr": float(rng.random()), "batch_size": 100, "steps": 4000},
            metrics={f"{s}/{m}": float(rng.random()) for s in ("train", "val", "test") for m in ("loss", "error")},
            history={m: (steps, rng.random(POINTS).tolist()) for m in ("train/loss", "test/error")},
        )
        for i in range(start, stop)
    ]
    slots = [{"key": o.key, "seed": o.seed, "cell": f"{i // 5:032x}", "phase": FINAL, "search": 0, "ask": None,
              "params": '{"template.optimizer.lr": 0.1}'} for i, o in enumerate(outcomes, start)]
    return outcomes, pa.Table.from_pylist(slots, schema=MEMBERSHIP)


def fill(home: str, trials: int) -> tuple[float, float]:
    """Seconds that the commits took in all, and the longest one."""
    store, took = Store("bench", home), []
    for start in range(0, trials, COMMIT):
        outcomes, membership = rows(start, min(trials, start + COMMIT))
        records = to_records(outcomes, {"torch": "2.13.0"})
        assert records.history.schema == HISTORY
        begun = time.perf_counter()
        store.commit([records], membership)
        took.append(time.perf_counter() - begun)
    return sum(took), max(took)


def main(trials: int, folder: str | None) -> None:
    """Fill a home, read it, print the table."""
    with tempfile.TemporaryDirectory(dir=folder) as home:
        total, longest = fill(home, trials)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"| {trials:,} trials in commits of {COMMIT}, two curves of {POINTS} points each | s | MiB |")
        print("|---|---|---|")
        print(f"| all commits, merges included | {total:.1f} | {peak:.0f} |\n| the longest commit | {longest:.1f} | |")
        for name, call in READS.items():
            command = [sys.executable, "-c", READ.replace("{call}", call), home]
            seconds, memory, _ = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
            print(f"| {name} | {seconds:.1f} | {memory:.0f} |")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000, sys.argv[2] if len(sys.argv) > 2 else None)
