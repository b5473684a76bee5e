"""Packs run by several processes of this machine, as the workers of Ray Train run them, but without Ray."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import cloudpickle
import torch
import torch.distributed as dist
from torch import multiprocessing, nn

from dlx.executors.tune_train import Raised, work
from dlx.losses import CrossEntropy
from dlx.parallel import Severed
from dlx.records import FAILED

WORKERS, PATIENCE = 3, 240.0  # processes; seconds for all packs


def run_all(packs, folder):
    """For each pack what its processes came to, in order: records, or what they raised."""
    context = multiprocessing.get_context("spawn")
    parcels = [cloudpickle.dumps(pack) for pack in packs]
    processes = [context.Process(target=_run, args=(rank, parcels, str(folder))) for rank in range(WORKERS)]
    for process in processes:
        process.start()
    deadline = time.monotonic() + PATIENCE
    for process in processes:
        process.join(max(0.0, deadline - time.monotonic()))
        process.kill()
        process.join()
    came_to = [cloudpickle.loads(Path(folder, f"came-to-{rank}").read_bytes()) for rank in range(WORKERS)]
    return [list(of_pack) for of_pack in zip(*came_to, strict=True)]


def _run(rank, parcels, folder):
    came_to = []
    for i, parcel in enumerate(parcels):
        dist.init_process_group("gloo", init_method=f"file://{folder}/store-{i}", rank=rank, world_size=WORKERS)
        try:
            came_to.append(work({"parcel": parcel, "box": "none", "every": 60.0}))
        except (Raised, Severed) as e:
            came_to.append(e)
        dist.destroy_process_group()
    Path(folder, f"came-to-{rank}").write_bytes(cloudpickle.dumps(came_to))


def rank():
    """Of this process; None where it is alone."""
    return dist.get_rank() if dist.is_initialized() else None


@dataclass(frozen=True)
class Strange:
    """A model that treats no sample by itself: it ``mixes`` them, or ``draws`` random numbers of its own."""

    way: str

    def build(self, of):
        module = nn.Linear(of.inputs, of.outputs)
        way = self.way

        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.inner = module

            def forward(self, x):
                outputs = self.inner(x)
                return outputs - outputs.mean(0) if way == "mixes" else outputs * torch.rand(len(x), 1)

        return Net()


@dataclass(frozen=True)
class Trouble(CrossEntropy):
    """After so many batches a loss that raises, in one process alone; with marks it kills that process, once.

    marks: a folder, where then ``killed`` appears, and ``after`` with the number of batches since.
    """

    at: int
    rank: int
    marks: str = ""

    def __call__(self, outputs, targets):
        if rank() == self.rank:
            count = _counts[self] = _counts.get(self, 0) + 1
            killed = Path(self.marks, "killed")
            if self.marks and killed.exists():
                Path(self.marks, "after").write_text(str(count))
            elif count == self.at and self.marks:
                killed.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            elif count == self.at:
                raise ArithmeticError(f"only in process {self.rank}")
        return CrossEntropy.__call__(self, outputs, targets)


@dataclass(frozen=True)
class Slow(CrossEntropy):
    """Takes its time whenever it is recorded."""

    seconds: float

    def __call__(self, outputs, targets):
        time.sleep(self.seconds)
        return CrossEntropy.__call__(self, outputs, targets)


_counts = {}  # loss → batches that it has seen


def failed(records):
    return records.trials.column("status").to_pylist() == [FAILED]
