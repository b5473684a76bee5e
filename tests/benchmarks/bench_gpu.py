"""Packs of MLPs with some 10,000 parameters on one GPU, beside a plain loop on it; prints a Markdown table of medians.

Run as ``python tests/benchmarks/bench_gpu.py [device]``; where there is no GPU it says so and measures nothing.
The job: an MLP 40-80-80-10 on MNIST-1D, batches of 32, Adam, float32; measuring is not counted. The roofline is the
memory's: Adam reads or writes 40 bytes a parameter a step, and the memory moves as many a second as in a large copy.
"""

import statistics
import sys
import time
from collections.abc import Callable, Iterator

import torch

from dlx import data, models, optim
from dlx.context import Context
from dlx.loop import Loop
from dlx.member import begin
from dlx.training import Training

BATCH, LR, WIDTH, CLASSES, REPEATS = 32, 1e-3, 80, 10, 5
BYTES = 40  # a parameter a step: 28 of the update, the value and both averages read and written, the gradient read;
# before it the gradient is written, and the value read forwards and backwards
PACKS = {"cuda": (1_024, 4_096), "cpu": (16, 64)}
COPIED = {"cuda": 1 << 30, "cpu": 1 << 28}  # bytes
STEPS = {"cuda": 300, "cpu": 20}


def training() -> Training:
    """The job."""
    return Training(data=data.MNIST1D(), model=models.MLP(width=WIDTH, depth=2), steps=10**9, batch_size=BATCH,
                    optimizer=optim.Adam(lr=LR))


def pack(members: int, device: str) -> Iterator[float]:
    """Model-steps a second of a pack, again and again; the first on record."""
    trial, contexts = training(), [Context(seed, device) for seed in range(members)]
    loop = Loop(trial, [begin(trial, ctx) for ctx in contexts], contexts)
    yield from paces(lambda: loop.advance(loop.done + STEPS[device]), members * STEPS[device], device)


def eager(device: str) -> Iterator[float]:
    """Steps a second of one model in the usual way, its data on the device."""
    trial = training()
    member = begin(trial, Context(0))
    inputs, labels, _ = member.splits["train"]
    inputs, labels = inputs.float().to(device), labels.to(device)
    layers = [torch.nn.Linear(40, WIDTH), torch.nn.ReLU(), torch.nn.Linear(WIDTH, WIDTH), torch.nn.ReLU()]
    model = torch.nn.Sequential(*layers, torch.nn.Linear(WIDTH, CLASSES)).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=LR)

    def train() -> None:
        for rows in member.order.take(STEPS[device]).to(device):
            loss = torch.nn.functional.cross_entropy(model(inputs[rows]), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    yield from paces(train, STEPS[device], device)


def paces(work: Callable[[], None], done: int, device: str) -> Iterator[float]:
    """What is done a second, again and again."""
    while True:
        finish(device)
        begun = time.perf_counter()
        work()
        finish(device)
        yield done / (time.perf_counter() - begun)


def finish(device: str) -> None:
    """Wait for the device."""
    if device == "cuda":
        torch.cuda.synchronize()


def usual(measured: Iterator[float]) -> float:
    """The median after the first."""
    next(measured)
    return statistics.median(next(measured) for _ in range(REPEATS))


def bandwidth(device: str) -> float:
    """Bytes a second that the memory moves, reading and writing, in a copy."""
    source = torch.zeros(COPIED[device], dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return usual(paces(lambda: target.copy_(source), 2 * COPIED[device], device))


def main(device: str) -> None:
    """Measure and print."""
    if device == "cuda" and not torch.cuda.is_available():
        print("No GPU here: nothing is measured on one.")
        return
    name = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    parameters = sum(p.numel() for p in begin(training(), Context(0)).module.parameters())
    plain, moved = usual(eager(device)), bandwidth(device)
    print(f"{name}, {parameters:,} parameters; memory {moved / 1e9:,.0f} GB/s; a plain loop {plain:,.0f} steps/s\n")
    print("| members | model-steps/s | against a plain loop | share of the memory roofline |\n|---|---|---|---|")
    for members in PACKS[device]:
        pace = usual(pack(members, device))
        print(f"| {members:,} | {pace:,.0f} | {pace / plain:,.0f} × | {pace * parameters * BYTES / moved:.2f} |")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "cuda")
