"""The training step alone, beside the loops that an engineer writes by hand; prints Markdown tables of medians.

Run as ``python tests/benchmarks/bench_training.py [repeats]``. The job: an MLP 40-w-w-10 on MNIST-1D, batches of 32,
SGD with momentum, 200 steps, float32, one thread. Both sides take turns in one process; measuring is not counted.
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

STEPS, BATCH, LR, MOMENTUM, CLASSES = 200, 32, 0.05, 0.9, 10
gate = torch.ops.aten.threshold_backward.grad_input  # of relu, in place
PACKS = {32: (16, 64, 256), 128: (16, 64, 256)}  # width → members


def training(width: int) -> Training:
    """The job."""
    return Training(data=data.MNIST1D(), model=models.MLP(width=width, depth=2), steps=10**9, batch_size=BATCH,
                    optimizer=optim.SGD(lr=LR, momentum=MOMENTUM))


def dlx_loop(width: int, members: int) -> Iterator[float]:
    """Seconds of 200 steps of a pack, again and again; the first time on record."""
    trial, contexts = training(width), [Context(seed) for seed in range(members)]
    loop = Loop(trial, [begin(trial, ctx) for ctx in contexts], contexts)
    while True:
        begun = time.perf_counter()
        loop.advance(loop.done + STEPS)
        yield time.perf_counter() - begun


class Fused:
    """All members in batched matrix products, the backward pass by hand, everything in place."""

    def __init__(self, width: int, members: int) -> None:
        trial = training(width)
        begun = [begin(trial, Context(seed)) for seed in range(members)]
        self.inputs, self.labels, _ = begun[0].splits["train"]
        self.inputs = self.inputs.float()
        self.orders = [member.order for member in begun]
        params = [list(member.module.parameters()) for member in begun]
        stacked = [torch.stack([own[i].detach() for own in params]) for i in range(6)]
        self.weights = [w.mT.contiguous() for w in stacked[::2]]
        self.biases = [b.unsqueeze(1) for b in stacked[1::2]]
        self.velocities = [torch.zeros_like(p) for p in self.weights + self.biases]
        self.rate = torch.full((members, 1, 1), -LR)  # one of each member, as when it is tuned
        self.minus = torch.full((members, BATCH, 1), -1.0)

    def train(self) -> None:
        """200 steps."""
        for rows in torch.stack([order.take(STEPS) for order in self.orders], dim=1):
            self.step(torch.nn.functional.embedding(rows, self.inputs), self.labels[rows].unsqueeze(2))

    def step(self, x: torch.Tensor, y: torch.Tensor) -> None:
        """One step on inputs (members, batch, 40) and labels (members, batch, 1)."""
        (w1, w2, w3), (b1, b2, b3) = self.weights, self.biases
        h1 = torch.baddbmm(b1, x, w1).relu_()
        h2 = torch.baddbmm(b2, h1, w2).relu_()
        logits = torch.baddbmm(b3, h2, w3)
        d3 = logits.sub_(logits.logsumexp(2, keepdim=True)).exp_()  # softmax over few classes is slower
        d3.scatter_add_(2, y, self.minus).div_(BATCH)
        d2 = torch.bmm(d3, w3.mT)
        gate(d2, h2, 0, grad_input=d2)
        d1 = torch.bmm(d2, w2.mT)
        gate(d1, h1, 0, grad_input=d1)
        for v, a, d in zip(self.velocities, (x, h1, h2), (d1, d2, d3), strict=False):
            v.baddbmm_(a.mT, d, beta=MOMENTUM)
        for v, d in zip(self.velocities[3:], (d1, d2, d3), strict=True):
            v.mul_(MOMENTUM).add_(d.sum(1, keepdim=True))
        for p, v in zip(self.weights + self.biases, self.velocities, strict=True):
            p.addcmul_(v, self.rate)


class Plain:
    """One model in the usual way."""

    def __init__(self, width: int) -> None:
        trial = training(width)
        member = begin(trial, Context(0))
        self.inputs, self.labels, _ = member.splits["train"]
        self.inputs, self.order = self.inputs.float(), member.order
        self.model = torch.nn.Sequential(
            torch.nn.Linear(40, width), torch.nn.ReLU(), torch.nn.Linear(width, width), torch.nn.ReLU(),
            torch.nn.Linear(width, CLASSES),
        )
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=LR, momentum=MOMENTUM)

    def train(self) -> None:
        """200 steps."""
        for rows in self.order.take(STEPS):
            loss = torch.nn.functional.cross_entropy(self.model(self.inputs[rows]), self.labels[rows])
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()


def timed(train: Callable[[], None]) -> Iterator[float]:
    """Seconds of a call, again and again."""
    while True:
        begun = time.perf_counter()
        train()
        yield time.perf_counter() - begun


def compare(ours: Iterator[float], theirs: Iterator[float], repeats: int) -> tuple[float, float, float, float]:
    """Seconds of the first call of ours beyond the usual; medians of both; the median of their ratios, turn by turn."""
    first, _ = next(ours), next(theirs)
    turns = [(next(ours), next(theirs)) for _ in range(repeats)]
    mine, other = (statistics.median(side) for side in zip(*turns, strict=True))
    return first - mine, mine, other, statistics.median(b / a for a, b in turns)


def main(repeats: int) -> None:
    """Measure and print."""
    torch.set_num_threads(1)
    recordings = []
    print("| width | trials in a pack | dlx, model-steps/s | `baddbmm` by hand | ratio |\n|---|---|---|---|---|")
    for width, packs in PACKS.items():
        for members in packs:
            fewer = max(3, min(repeats, repeats * 4096 // (members * width)))
            theirs = timed(Fused(width, members).train)
            first, mine, other, ratio = compare(dlx_loop(width, members), theirs, fewer)
            done = members * STEPS
            recordings.append(first)
            print(f"| {width} | {members} | {done / mine:,.0f} | {done / other:,.0f} | {ratio:.2f} |", flush=True)
    for width in PACKS:
        first, mine, other, ratio = compare(dlx_loop(width, 1), timed(Plain(width).train), repeats)
        recordings.append(first)
        rates = f"{STEPS / mine:,.0f} | {STEPS / other:,.0f}"
        print(f"| {width} | 1, against a plain PyTorch loop | {rates} | {ratio:.2f} |", flush=True)
    print(f"\nThe first pack of a shape is recorded once in each worker, here in {min(recordings):.1f} to "
          f"{max(recordings):.1f} s.")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 15)
