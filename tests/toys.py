"""Small trials and studies that tests run, and the ways in which they go wrong."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import dlx
from dlx.live import Quiet
from dlx.run import run


@dataclass(frozen=True)
class Valley(dlx.Trial):
    """A noisy quadratic in log lr, whose floor depends on the width."""

    width: int
    lr: float
    optimizer: str = "sgd"

    def run(self, ctx):
        noise = 0.01 * ctx.rng("noise").normal()
        value = (np.log10(self.lr) + 2.0) ** 2 + 1.0 / self.width + noise
        for step in (1, 10):
            ctx.log(step, {"val/loss": value + 1.0 / step})
        return {"val/loss": value, "test/loss": value + 0.1}


@dataclass(frozen=True)
class Unruly(dlx.Trial):
    """Does what it is told: end well, raise, return NaN, or kill its process."""

    way: str
    marks: str = ""

    def run(self, ctx):
        if self.marks:
            Path(self.marks, f"{self.way}-{ctx.seed}-{os.getpid()}-{time.time_ns()}").touch()
        if self.way == "raise":
            raise RuntimeError("the dog ate it")
        if self.way == "once" and len(list(Path(self.marks).glob(f"once-{ctx.seed}-*"))) == 1:
            raise RuntimeError("only the first time")
        if self.way == "nan":
            return {"loss": float("nan")}
        if self.way == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.way == "text":
            return {"loss": "high"}
        return {"loss": 0.5}


@dataclass(frozen=True)
class Herd(Unruly):
    """The same, several together in one pack."""

    def shape(self):
        return "herd"

    def run(self, ctx):
        return self.run_pack([self], [ctx])[0]

    @classmethod
    def run_pack(cls, trials, contexts):
        return [Unruly.run(t, c) for t, c in zip(trials, contexts, strict=True)]


@dataclass(frozen=True)
class Slow(dlx.Trial):
    """Takes a while, and leaves a mark for each time it ran to its end."""

    number: int
    marks: str
    seconds: float = 0.05

    def run(self, ctx):
        time.sleep(self.seconds)
        Path(self.marks, f"{self.number}-{ctx.seed}-{time.time_ns()}").touch()
        return {"loss": float(self.number + ctx.seed)}


@dataclass(frozen=True)
class Stage(dlx.Trial):
    """Adds to what its parent left."""

    add: float
    parent: dlx.Trial | None = None
    saves: bool = True

    def run(self, ctx):
        start = ctx.parent()
        total = self.add + (float(start["total"]) if start else 0.0)
        if self.saves:
            ctx.save({"total": np.array(total)})
        return {"total": total}


def go(study, home, **options):
    return run(study, home=str(home), **{"executor": "local", "view": Quiet(), "tracking_uri": "off", **options})


def valley(**changes):
    declared = {
        "name": "valley", "question": "Where is the floor?",
        "template": Valley(width=dlx.grid(1, 2), lr=dlx.grid(0.1, 0.01)), "seeds": 2,
    }
    return dlx.Study(**{**declared, **changes})


def tuned(**changes):
    declared = {
        "template": Valley(width=dlx.grid(1, 2), lr=dlx.loguniform(1e-4, 1.0)),
        "objective": dlx.minimize("val/loss"), "search": dlx.TPE(trials=6, repeats=2, parallel=2, top=2, recheck=1),
    }
    return valley(**{**declared, **changes})
