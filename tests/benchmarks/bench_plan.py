"""What planning takes: a grid of a million trials, and finding that nothing is missing among 10⁵ stored ones.

Run as ``python tests/benchmarks/bench_plan.py``; prints a Markdown table, each line from a process of its own.
"""

import json
import os
import subprocess
import sys
import tempfile

import numpy as np
import pyarrow as pa

import dlx
from dlx import data, models, optim
from dlx.records import COMPLETED, FINAL, MEMBERSHIP, Outcome, to_records
from dlx.store import Store
from dlx.trial import key

READ = """
import json, resource, sys, time
sys.path.insert(0, sys.argv[1])
from bench_plan import hundred_thousand, million
import dlx.run, dlx.store, dlx.agenda, dlx.memory, dlx.plan, dlx.live
begun = time.perf_counter()
{code}
print(json.dumps([time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))
"""
LINES = {
    "a grid of 10⁶ trials, planned: cells, keys, packs": "assert million().plan().missing == 1_000_000",
    "nothing is missing among 10⁵ stored trials: decided": """
study = hundred_thousand()
store = dlx.store.Store(study.name)
memory = dlx.memory.Memory(study, store)
assert dlx.plan.make_plan(study, store, memory).missing == 0 and dlx.agenda.Agenda(study, memory).exhausted""",
    "the same as a whole `run()`, results and all; Ray is not started": """
assert len(hundred_thousand().run(tracking_uri="off", view=dlx.live.Quiet()).table) == 100_000""",
}


def million() -> dlx.Study:
    """2 optimizers × 100 rates × 50 widths × 10 noises × 10 lengths: 10⁶ cells."""
    return grid("million", rates=100, lengths=10)


def hundred_thousand() -> dlx.Study:
    """20 rates × 50 widths × 10 noises × 10 lengths: 10⁵ cells."""
    return grid("hundred-thousand", rates=20, lengths=10)


def grid(name: str, rates: int, lengths: int) -> dlx.Study:
    """A study of fixed and scientific axes."""
    lr = dlx.grid(*(0.001 * 1.05**i for i in range(rates)))
    template = dlx.Training(
        data=data.MNIST1D(label_noise=dlx.grid(*(i / 20 for i in range(10)))),
        model=models.MLP(width=dlx.grid(*range(8, 58)), depth=2),
        optimizer=dlx.grid(optim.SGD(lr=lr), optim.AdamW(lr=lr)) if rates > 20 else optim.SGD(lr=lr),
        steps=dlx.grid(*range(1_000, 1_000 * (lengths + 1), 1_000)),
        batch_size=100,
    )
    return dlx.Study(name=name, question="How long does planning take?", template=template)


def store_all(study: dlx.Study) -> None:
    """Store a made-up result of every cell, 10,000 a commit."""
    store, rng = Store(study.name), np.random.default_rng(0)
    cells = list(study.space.cells)
    for start in range(0, len(cells), 10_000):
        outcomes, rows = [], []
        for cell in cells[start : start + 10_000]:
            identity = key(cell.digest, 0)
            outcomes.append(Outcome(identity, 0, {"model.width": 8}, COMPLETED, 1.0, 0.0, {"test/error": rng.random()}))
            rows.append({"key": identity, "seed": 0, "cell": cell.key, "phase": FINAL})
        store.commit([to_records(outcomes, {})], pa.Table.from_pylist(rows, schema=MEMBERSHIP))


def main() -> None:
    """Measure and print."""
    here = os.path.dirname(os.path.abspath(__file__))
    with tempfile.TemporaryDirectory() as home:
        os.environ["DLX_HOME"] = home
        store_all(hundred_thousand())
        print("| what | s | MB at most |\n|---|---|---|")
        for what, code in LINES.items():
            read = subprocess.run([sys.executable, "-c", READ.format(code=code), here], check=True, capture_output=True)
            seconds, megabytes = json.loads(read.stdout)
            print(f"| {what} | {seconds:.1f} | {megabytes:.0f} |")


if __name__ == "__main__":
    main()
