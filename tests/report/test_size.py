"""A report over 10,000 trials stays small."""

import json

import numpy as np
import pyarrow as pa

import dlx
from dlx import figures, report
from dlx.canonical import key
from dlx.records import COMPLETED, FAILED, FINAL, MEMBERSHIP, TUNE, Outcome, to_records
from dlx.store import Store

TRIALS, MOST_BYTES = 10_000, 5_000_000
RNG = np.random.default_rng(0)


@dlx.trial()
def wide(ctx, width: int, depth: int, noise: float, lr: float = 0.1):
    return {"test/error": 0.0}


def fill(declared, home, slots):
    """Store trials (key, seed, cell, status, slot), each with eight metrics and two curves of 20 points."""
    steps = list(range(0, 200, 10))
    outcomes, membership = [], []
    for k, seed, cell, status, slot in slots:
        values = 0.5 + 0.1 * RNG.normal(size=10)
        metrics = {f"{split}/m{i}": float(v) for split, i, v in zip(["test", "train"] * 4, [0, 0, 1, 1, 2, 2, 3, 3],
                                                                   values, strict=False)}
        curves = {name: (steps, (v / (1 + np.arange(20.0))).tolist()) for name, v in
                  zip(("train/m0", "test/m0"), values, strict=False)}
        error = f"Traceback\nValueError: bad number {seed % 7}" if status == FAILED else None
        outcomes.append(Outcome(k, seed, {"trial": "wide", "seed": seed}, status, 0.5, 0.0,
                                metrics={} if error else metrics | {"val/error": values[9], "test/error": values[8]},
                                history=curves, error=error))
        membership.append({"key": k, "seed": seed, "cell": cell, "phase": FINAL, **slot})
    Store(declared.name, str(home)).commit([to_records(outcomes, {"torch": "2"})],
                                           pa.Table.from_pylist(membership, MEMBERSHIP))


def test_ten_thousand_final_trials(tmp_path):
    declared = dlx.Study(
        "large", "How large?", seeds=5,
        template=wide(width=dlx.grid(*range(1, 21)), depth=dlx.grid(*range(1, 11)),
                      noise=dlx.grid(*np.linspace(0, 1, 10).tolist())),
        figures=(figures.Curves(x="width", y="test/m0", name="curves"),),
    )
    fill(declared, tmp_path, (
        (key(c.digest, s), s, declared.cell_key(c), FAILED if i % 50 == 0 else COMPLETED, {})
        for i, c in enumerate(declared.space.cells) for s in declared.seed_list))
    results = declared.results(str(tmp_path))
    assert len(results.table) == TRIALS
    written = report.write(results)
    assert written.html.stat().st_size <= MOST_BYTES
    text = written.html.read_text()
    assert "The first 500 of 2,000 cells" in text and "dlx export large" in text


def test_ten_thousand_trials_of_searches(tmp_path):
    declared = dlx.Study(
        "searched", "How large?", wide(width=dlx.grid(*range(1, 41)), depth=1, noise=dlx.grid(0.0, 0.5),
                                       lr=dlx.loguniform(1e-4, 1.0)),
        objective=dlx.minimize("val/error"), search=dlx.TPE(trials=36, repeats=3, top=1, recheck=0), seeds=6,
    )
    slots = []
    for c in declared.space.cells:
        cell = declared.cell_key(c)
        for search in range(3):
            for ask in range(36):
                said = {"search": search, "ask": ask, "params": json.dumps({"lr": float(10 ** RNG.uniform(-4, 0))})}
                slots.append((f"{cell}{search}{ask}", 10**9 + search, cell, COMPLETED, {**said, "phase": TUNE}))
            slots += [(f"{cell}{search}f{s}", s + search * 10**6, cell, COMPLETED, said) for s in range(6)]
    fill(declared, tmp_path, slots)
    results = declared.results(str(tmp_path))
    assert len(results.table) == 80 * 3 * 42 >= TRIALS
    assert report.write(results).html.stat().st_size <= MOST_BYTES
