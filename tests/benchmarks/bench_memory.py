"""How the driver's memory grows with a sweep: 3,072 and 30,720 trials through Ray Tune, TPE and Parquet.

The trials learn nothing and log as much as small trainings do. MLflow's address answers nobody, which is the worst
case: all that it is to be told waits in memory, as far as the tracking lets it. Run as
``python tests/benchmarks/bench_memory.py``; prints a Markdown table, each line from a process of its own.
"""

import json
import math
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import dlx
from dlx.live import Quiet

POINTS = 18  # of each of six curves
CURVES = [f"{split}/{metric}" for split in ("train", "val", "test") for metric in ("loss", "error")]
NOWHERE = "http://127.0.0.1:9"  # the port of the discard service, which nobody runs


@dataclass(frozen=True)
class Parabola(dlx.Trial):
    """The squared distance of log(lr) from an optimum, logged like the curves of a training."""

    optimum: float
    lr: float

    def shape(self) -> str:
        """All of them run together."""
        return "parabola"

    def run(self, ctx: dlx.Context) -> dict[str, float]:
        """Log every curve and return its end."""
        value = math.log(self.lr / self.optimum) ** 2
        for step in range(POINTS):
            ctx.log(step, dict.fromkeys(CURVES, value / (step + 1)))
        return dict.fromkeys(CURVES, value / POINTS)

    @classmethod
    def run_pack(cls, trials: Sequence[Self], contexts: Sequence[dlx.Context]) -> list[dict[str, float]]:
        """One after the other."""
        return [trial.run(ctx) for trial, ctx in zip(trials, contexts, strict=True)]


class Peak(threading.Thread):
    """The most memory of this process so far, in MB, without what it shares with Ray's object store."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.own = 0.0
        self.start()

    def run(self) -> None:
        """Look on until the process ends."""
        while True:
            self.look()
            time.sleep(0.1)

    def look(self) -> None:
        """Take note of the memory now."""
        with open("/proc/self/status") as status:
            said = dict(line.split(":", 1) for line in status)
        self.own = max(self.own, sum(int(said[name].split()[0]) / 1024 for name in ("RssAnon", "RssFile")))


class Gauge(Quiet):
    """A view that notes the memory when everything is in Parquet."""

    def __init__(self, peak: Peak) -> None:
        super().__init__()
        self.peak = peak

    def say(self, line: str) -> None:
        """Nothing: MLflow is meant to be absent."""

    def stop(self) -> None:
        """The last part is written."""
        self.peak.look()
        self.stored = self.peak.own


def run(cells: int) -> None:
    """Run a sweep of so many cells, 16 asks and 8 seeds each, and print what it took."""
    study = dlx.Study(
        name="parabolas",
        question="Where is the optimum?",
        template=Parabola(optimum=dlx.grid(*(1.01**i for i in range(cells))), lr=dlx.loguniform(1e-3, 1e3)),
        objective=dlx.minimize("val/loss"),
        search=dlx.TPE(trials=16, recheck=0),
        seeds=8,
    )
    peak = Peak()
    gauge = Gauge(peak)
    with tempfile.TemporaryDirectory() as home:
        results = study.run(home=home, view=gauge, tracking_uri=NOWHERE)
    peak.look()
    print(json.dumps({"trials": len(results.table), "stored": gauge.stored, "end": peak.own}))


def main() -> None:
    """Measure and print."""
    print("| memory of the driver, MLflow unreachable | until all is in Parquet | with the results as a table |\n"
          "|---|---|---|")
    for cells in (128, 1_280):
        command = [sys.executable, __file__, str(cells)]
        said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1]
        line = json.loads(said)
        print(f"| {line['trials']:,} trials | {line['stored']:.0f} MB | {line['end']:.0f} MB |", flush=True)


if __name__ == "__main__":
    run(int(sys.argv[1])) if len(sys.argv) > 1 else main()
