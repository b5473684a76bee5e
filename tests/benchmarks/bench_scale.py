"""What the driver does with 10⁵ trials and a thousand workers: everything of a run but the training.

``Simulated`` takes the place of Ray: it holds a pack for each of 1,000 workers and brings records that a formula makes,
so that planner, packs, Optuna, store, results and MLflow are the real ones. Making the records is the workers' part;
it is counted in the first rate and left out of the second. Run as ``python tests/benchmarks/bench_scale.py [trials]``
(default 100,000; a tenth of them by TPE, a hundredth with MLflow); prints Markdown tables, each line from a process of
its own.
"""

import json
import math
import subprocess
import sys
import tempfile
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from bench_memory import Peak

import dlx
from dlx.live import Quiet
from dlx.pack import Feed, Member, Pack
from dlx.records import COMPLETED, Outcome, Records, to_records, versions
from dlx.store import Store
from dlx.tracking.client import Run, surroundings
from dlx.tracking.rows import Slots, curves_of, run_of
from dlx.trial import values

NAME = "formulas"
NAMES = {"plain": "no search", "random": "random search", "tpe": "TPE"}
WORKERS = 1_000
ASKS, SEEDS = 16, 4  # of a tuned cell
POINTS = 20  # of each of two curves
METRICS = [f"{split}/{metric}" for split in ("train", "val", "test") for metric in ("loss", "error")]
CURVES = METRICS[2:4]


@dataclass(frozen=True)
class Formula(dlx.Trial):
    """The squared distance of log(lr) from an optimum; nothing is trained."""

    optimum: float
    lr: float = 0.1
    width: int = 64
    depth: int = 2
    batch_size: int = 100
    steps: int = 4_000

    def shape(self) -> str:
        """All of them run together."""
        return "formula"

    def outcome(self, member: Member, source: str | None, members: int) -> Outcome:
        """How it would have ended, with what a small training logs."""
        loss = math.log(self.lr / self.optimum) ** 2 + (member.seed % 1_000) * 1e-3
        steps, draw = [200 * i for i in range(1, POINTS + 1)], Random(member.key).random
        return Outcome(
            key=member.key, seed=member.seed, values=values(self), status=COMPLETED, seconds=0.5,
            started=time.time(), metrics={name: loss + draw() for name in METRICS},
            history={name: (steps, [loss + draw() for _ in steps]) for name in CURVES}, members=members, source=source,
        )


class Simulated:
    """Workers that need no time: a pack for each of them is out before the first one comes back."""

    def __init__(self, slots: int = WORKERS) -> None:
        self.slots, self.packs, self.making = slots, 0, 0.0

    def run(self, feed: Feed) -> None:
        """Return when the feed is finished."""
        out: deque[Pack] = deque()
        while not feed.finished:
            while len(out) < self.slots and (pack := feed.take()) is not None:
                out.append(pack)
            pack = out.popleft()
            feed.done(pack, self._records(pack))
            feed.tick()

    def _records(self, pack: Pack) -> Records:
        begun = time.perf_counter()
        members = len(pack.members)
        outcomes = [m.trial.outcome(m, pack.source, members) for m in pack.members]
        records = to_records(outcomes, versions())
        self.packs += 1
        self.making += time.perf_counter() - begun
        return records


class Stopwatch(Quiet):
    """A view that notes when everything is in Parquet."""

    def stop(self) -> None:
        """The last part is written."""
        self.stored = time.perf_counter()


# ---------------------------------------------------------------- studies


def plain(trials: int) -> dlx.Study:
    """A grid: cells of five seeds."""
    return study(trials // 5, Formula(optimum(trials // 5)), seeds=5)


def random(trials: int) -> dlx.Study:
    """A random search of 16 asks in each cell, then four seeds."""
    return tuned(trials, dlx.Random(trials=ASKS, recheck=0))


def tpe(trials: int) -> dlx.Study:
    """The same by TPE."""
    return tuned(trials, dlx.TPE(trials=ASKS, recheck=0))


def tuned(trials: int, search: dlx.Random | dlx.TPE) -> dlx.Study:
    """A search in each cell."""
    cells = trials // (ASKS + SEEDS)
    template = Formula(optimum(cells), lr=dlx.loguniform(1e-4, 1.0))
    return study(cells, template, seeds=SEEDS, search=search, objective=dlx.minimize("val/loss"))


def optimum(cells: int) -> float:
    """An axis of so many values."""
    return dlx.grid(*(1e-3 + i * 1e-6 for i in range(cells)))


def study(cells: int, template: Formula, **more: Any) -> dlx.Study:
    """A study of formulas."""
    return dlx.Study(NAME, "How fast is the driver?", template, **more)


# ---------------------------------------------------------------- what is measured, each in a process of its own


def drive(kind: str, trials: int, home: str, uri: str | None = "off") -> dict[str, float]:
    """A whole run; ``stored``, ``ended``, ``making``: seconds."""
    peak, workers, watch, what = Peak(), Simulated(), Stopwatch(), globals()[kind](trials)
    begun = time.perf_counter()
    results = what.run(home=home, executor=workers, tracking_uri=uri, view=watch)
    ended = time.perf_counter()
    peak.look()
    assert len(results.table) == trials
    return {"stored": watch.stored - begun, "ended": ended - begun, "making": workers.making, "packs": workers.packs,
            "MB": peak.own, "bytes": size(Path(home, "studies")) / trials}


def track(kind: str, trials: int, home: str) -> dict[str, float]:
    """A whole run with the MLflow database of its home, and then the same runs by MLflow's own client."""
    found = drive(kind, trials, home, uri=None)
    store, slots = Store(NAME, home), Slots()
    slots.add(store.membership())
    curves = curves_of(store.history())
    runs = [run_of(row, curves[row["key"]], slots, lambda cell: {}) for row in store.trials().to_pylist()]
    with surroundings():
        begun = time.perf_counter()
        bare(f"sqlite:///{home}/bare.db", runs)
    return {**found, "bare": time.perf_counter() - begun, "mlflow": Path(home, "mlflow.db").stat().st_size / trials}


def bare(uri: str, runs: list[Run]) -> None:
    """Create, log and terminate runs as MLflow's client comes."""
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param

    client = MlflowClient(uri)
    experiment = client.create_experiment("bare")
    for run in runs:
        made = client.create_run(experiment, run.started, dict(run.tags), run.name).info.run_id
        metrics = [Metric(p.metric, p.value, p.time, p.step) for p in run.points]
        client.log_batch(made, metrics, [Param(name, str(value)) for name, value in run.params.items()])
        client.set_terminated(made, run.status, run.ended)


def again(kind: str, trials: int, home: str) -> dict[str, float]:
    """The same study when everything is stored: ``planned``, ``opened``: seconds."""
    peak, what = Peak(), globals()[kind](trials)
    begun = time.perf_counter()
    assert what.plan(home=home).missing == 0
    planned = time.perf_counter()
    assert len(what.results(home).table) == trials
    opened = time.perf_counter()
    peak.look()
    return {"planned": planned - begun, "opened": opened - planned, "MB": peak.own}


def size(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())


def measured(what: str, kind: str, trials: int, home: str) -> dict[str, float]:
    """What one of these functions gives, in a process of its own."""
    command = [sys.executable, __file__, what, kind, str(trials), home]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1])


def main(trials: int) -> None:
    """Measure and print."""
    print(f"{WORKERS:,} simulated workers\n\n| a run without training | trials | trials/s | less making the records | "
          "packs | MB of the driver | bytes a trial in Parquet |\n|---|---|---|---|---|---|---|")
    stored = []
    with tempfile.TemporaryDirectory() as folder:
        for kind, count in (("plain", trials), ("random", trials), ("tpe", trials // 10)):
            f = measured("drive", kind, count, f"{folder}/{kind}")
            print(f"| {NAMES[kind]} | {count:,} | {count / f['stored']:,.0f} | "
                  f"{count / (f['stored'] - f['making']):,.0f} | {f['packs']:,} | {f['MB']:.0f} | {f['bytes']:.0f} |",
                  flush=True)
            stored.append((kind, count, measured("again", kind, count, f"{folder}/{kind}")))
        print("\n| all is stored | trials | s to plan | s to open the results | MB |\n|---|---|---|---|---|")
        for kind, count, f in stored:
            print(f"| {NAMES[kind]} | {count:,} | {f['planned']:.1f} | {f['opened']:.1f} | {f['MB']:.0f} |")
        count = trials // 100
        f = measured("track", "random", count, f"{folder}/track")
    print(f"\n| {count:,} trials with MLflow | trials/s | bytes a trial |\n|---|---|---|\n"
          f"| until all is in Parquet | {count / f['stored']:.0f} | {f['bytes']:.0f} |\n"
          f"| until all is in MLflow, cells and summary too | {count / f['ended']:.0f} | {f['mlflow']:.0f} |\n"
          f"| the same trials by MLflow's own client: create, log, terminate | {count / f['bare']:.0f} | |")


if __name__ == "__main__":
    if len(sys.argv) > 2:
        name, kind, trials, home = sys.argv[1:]
        print(json.dumps(globals()[name](kind, int(trials), home)))
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
