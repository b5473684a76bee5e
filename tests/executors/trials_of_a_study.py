"""Trials of a study file: loaded by path under a name that no worker can import."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from dlx.data import Dimensions, Split
from dlx.errors import HomeError
from dlx.executors.tune_ahead import COPY
from dlx.trial import Trial


@dataclass(frozen=True)
class Double(Trial):
    x: float

    def run(self, ctx):
        if self.x < 0:
            raise ValueError("x is negative")
        ctx.log(1, x=self.x)
        return {"y": 2 * self.x, "noise": ctx.rng("noise").random(), "threads": torch.get_num_threads()}


@dataclass(frozen=True)
class Locked(Trial):
    """Holds what cannot be pickled."""

    def __post_init__(self):
        object.__setattr__(self, "lock", threading.Lock())

    def run(self, ctx):
        return {"y": 1.0}


@dataclass(frozen=True)
class Nap(Trial):
    number: int
    seconds: float

    def run(self, ctx):
        begun = time.time()
        time.sleep(self.seconds)
        return {"begun": begun, "ended": time.time(), "process": os.getpid(), "machine": os.getppid(),
                "ahead": COPY in sys.modules}


@dataclass(frozen=True)
class Deadly(Trial):
    """Kills its worker at the first try; at each one when ``always``."""

    folder: str
    always: bool = False

    def run(self, ctx):
        mark = Path(self.folder) / f"tried-{self.always}"
        if self.always or not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return {"y": 1.0}


@dataclass(frozen=True)
class Away(Trial):
    """Misses the home at the first try."""

    folder: str

    def run(self, ctx):
        mark = Path(self.folder) / "tried"
        if not mark.exists():
            mark.touch()
            raise HomeError("The home cannot be read.")
        return {"y": 1.0}


@dataclass(frozen=True)
class Descent(Trial):
    """Logs a loss that ends near ``floor``, in 20 steps."""

    floor: float
    pause: float = 0.0

    def run(self, ctx):
        loss = 1.0
        for step in range(1, 21):
            time.sleep(self.pause)
            loss = self.floor + (1 - self.floor) / step
            ctx.log(step, {"val/loss": loss})
        return {"val/loss": loss}


@dataclass(frozen=True)
class Blobs:
    spread: float = 1.0
    varies = ("spread",)

    def dimensions(self):
        return Dimensions(4, 3, (4,))

    def samples(self):
        return 30

    def load(self, streams):
        targets = torch.arange(30) % 3
        inputs = torch.from_numpy(streams.rng("data").normal(size=(30, 4))) * self.spread
        inputs[:, :3] += torch.nn.functional.one_hot(targets, 3)
        return {"train": Split(inputs, targets, torch.arange(30))}
