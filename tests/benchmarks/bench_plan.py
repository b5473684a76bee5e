"""Seconds and peak memory of declaring a grid of a million trials and keying all of them.

Run: python tests/benchmarks/bench_plan.py
"""

import resource
import time

import dlx.markers as markers
from dlx.data import MNIST1D
from dlx.models import MLP
from dlx.optim import SGD, AdamW
from dlx.study import Study
from dlx.training import Training
from dlx.trial import key


def million() -> Study:
    """2 optimizers × 100 rates × 50 widths × 10 noises × 10 lengths: 10⁶ cells."""
    rates = markers.grid(*(0.001 * 1.05**i for i in range(100)))
    template = Training(
        data=MNIST1D(label_noise=markers.grid(*(i / 20 for i in range(10)))),
        model=MLP(width=markers.grid(*range(8, 58)), depth=2),
        optimizer=markers.grid(SGD(lr=rates), AdamW(lr=rates)),
        steps=markers.grid(*range(1_000, 11_000, 1_000)),
        batch_size=100,
    )
    return Study(name="million", question="How long does planning take?", template=template)


def main() -> None:
    begun = time.perf_counter()
    study = million()
    keys = [key(digest, seed) for digest in study.space.cells.digests for seed in study.seed_list]
    seconds = time.perf_counter() - begun
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{len(keys):,} keys of {len(study.space.cells):,} cells: {seconds:.1f} s, {megabytes:.0f} MB at most")
    assert len(set(keys)) == 1_000_000


if __name__ == "__main__":
    main()
