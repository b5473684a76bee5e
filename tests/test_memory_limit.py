"""Packs that ask for more memory than the kernel gives to a process: smaller ones run in their place."""

import errno
import gc
import json
import subprocess
import sys
import weakref
from dataclasses import dataclass
from typing import ClassVar

import pytest

import dlx
from dlx.device import out_of_memory
from dlx.pack import Member, Pack, Resources
from dlx.worker import run_pack

PROGRAM = """
import json, resource
import torch
from dlx import data, metrics, models, optim
from dlx.pack import Member, Pack, Resources
from dlx.training import Training
from dlx.worker import run_pack

torch.set_num_threads(1)
MIB = 1 << 20

def run(members, width):
    trial = Training(
        data=data.GaussianMixture(n=40, inputs=4), model=models.MLP(width=width, depth=2), steps=2, batch_size=8,
        optimizer=optim.Adam(lr=0.001), metrics=(metrics.loss(),))
    of = tuple(Member(f"{seed}", trial, seed) for seed in range(members))
    records = run_pack(Pack(of, Resources(), "file:///nowhere"))
    row = {name: records.trials.column(name).to_pylist() for name in ("status", "members", "error")}
    losses = records.history.column("value").to_pylist()
    return {**row, "losses": losses, "notes": records.notes}

def limit(more):
    pages = int(open("/proc/self/statm").read().split()[0])
    now = pages * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + more * MIB, resource.RLIM_INFINITY))

few = run(2, 500)
limit(300)
print(json.dumps([few, run(32, 500), run(2, 10_000), run(2, 500)]))
"""


def test_a_pack_without_enough_memory_is_halved_and_a_trial_without_enough_fails_alone():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    few, many, too_large, after = json.loads(done.stdout.splitlines()[-1])
    assert many["status"] == ["completed"] * 32 and max(many["members"]) < 32 and not many["notes"]
    assert many["losses"][: len(few["losses"])] == few["losses"] == after["losses"]
    assert too_large["status"] == ["failed"] * 2 and all("allocate memory" in error for error in too_large["error"])


# ---------------------------------------------------------------- what was held


class Ballast:
    """What a pack holds."""


class Incomparable(MemoryError):
    def __eq__(self, other):
        raise RuntimeError("no truth in that")

    __bool__ = __eq__
    __hash__ = None


def group(error):
    return ExceptionGroup("several", [ValueError("one"), error])


def caused(error):
    other = ValueError("another")
    other.__cause__ = error
    return other


def hidden(error):
    """What was handled when something was raised from something else."""
    other = ValueError("another")
    other.__context__, other.__cause__ = error, KeyError("cause")
    return other


@dataclass(frozen=True)
class Heavy(dlx.Trial):
    """Packs of it run out of memory and leave a circle behind: a frame that knows the error that knows the frame."""

    way: str
    ballast: ClassVar[list] = []

    def shape(self):
        return "heavy"

    @classmethod
    def run_pack(cls, trials, contexts):
        if len(trials) > 1:
            cls.fail(WAYS[trials[0].way])
        return [{"held": float(sum(ref() is not None for ref in cls.ballast))} for _ in trials]

    @classmethod
    def fail(cls, wrapped):
        ballast, error = Ballast(), Incomparable("full")
        cls.ballast.append(weakref.ref(ballast))
        try:
            raise error
        except MemoryError:
            raise wrapped(error)  # noqa: B904 - what is handled is part of it


WAYS = {"alone": lambda error: error, "group": group, "caused": caused, "hidden": hidden}


@pytest.mark.parametrize("way", WAYS)
def test_what_a_pack_held_is_gone_when_its_halves_begin(way):
    Heavy.ballast.clear()
    members = tuple(Member(f"{seed}", Heavy(way), seed) for seed in range(4))
    gc.disable()
    try:
        records = run_pack(Pack(members, Resources(), "file:///nowhere"))
    finally:
        gc.enable()
    assert len(Heavy.ballast) == 3 and records.trials.column("status").to_pylist() == ["completed"] * 4
    assert [dict(found) for found in records.trials.column("metrics").to_pylist()] == [{"held": 0.0}] * 4


@pytest.mark.parametrize(("error", "expected"), [
    (MemoryError(), True), (OSError(errno.ENOMEM, "Cannot allocate memory"), True), (OSError("gone"), False),
    (RuntimeError("std::bad_alloc"), True), (RuntimeError("CUDA error: out of memory"), True),
    (RuntimeError("cuFFT error: CUFFT_ALLOC_FAILED"), True), (RuntimeError("shapes differ"), False),
    (ValueError("out of memory"), False),
])
def test_which_errors_say_that_memory_ran_out(error, expected):
    assert out_of_memory(error) is expected
