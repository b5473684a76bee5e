"""The study that is disturbed: a cell a width and a label noise, each tuned, in packs of four with snapshots.

``chaos.site.Run`` copies this file with other values in the line that begins with NAME.
"""

import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import dlx
from dlx import models, optim
from dlx.data import Dimensions, Split

NAME, CELLS, EVERY, PACE = "chaos", 20, 0.25, "/nowhere"
STEPS, PACK = 60, 4


@dataclass(frozen=True)
class Halves:
    """Two classes of points on either side of a plane, some of them on the wrong one."""

    noise: float
    varies = ("noise",)

    def dimensions(self) -> Dimensions:
        return Dimensions(3, 2, (3,))

    def samples(self) -> int:
        return 24

    def load(self, streams: Any) -> dict[str, Split]:
        Path(os.environ["MARKS"], f"{os.getppid()}-{time.time_ns()}").touch()
        rng = streams.rng("data")
        inputs = torch.from_numpy(rng.normal(size=(48, 3)))
        targets = (inputs.sum(1) + self.noise * torch.from_numpy(rng.normal(size=48)) > 0).long()
        rows = torch.arange(48)
        return {name: Split(inputs, targets, rows[a:b]) for name, a, b in
                (("train", 0, 24), ("val", 24, 36), ("test", 36, 48))}


@dataclass(frozen=True)
class Rest:
    """Inputs as they are, later: each step lasts as long as the file ``PACE`` says, in seconds."""

    def augment(self, inputs: torch.Tensor, key: torch.Tensor, hyper: Mapping[str, Any]) -> torch.Tensor:
        return rest()(inputs)


def rest() -> Any:
    """An operation of PyTorch's, so that the recording of a step has it too; defined once in a process."""
    import torch  # not the global one, of which cloudpickle would send ``torch.ops`` along

    if not hasattr(torch.ops.chaos, "rest"):
        @torch.library.custom_op("chaos::rest", mutates_args=())
        def wait(inputs: torch.Tensor) -> torch.Tensor:
            with suppress(FileNotFoundError, ValueError):
                time.sleep(float(Path(PACE).read_text()))
            return inputs.clone()

        wait.register_fake(torch.empty_like)
        wait.register_vmap(lambda info, dims, inputs: (wait(inputs), dims[0]))
    return torch.ops.chaos.rest


STUDY = dlx.Study(
    name=NAME, question="Does it survive?",
    template=dlx.Training(
        data=Halves(dlx.grid(*(0.1 * i for i in range(CELLS // 2)))), model=models.MLP(dlx.grid(3, 5), 1),
        optimizer=optim.SGD(dlx.loguniform(0.01, 1.0), momentum=0.9), augment=(Rest(),),
        batch_size=8, steps=STEPS, dtype="float64", measure=4,
    ),
    objective=dlx.minimize("val/loss"), search=dlx.TPE(trials=16, repeats=2, parallel=PACK, top=2, recheck=1),
    seeds=20, pack=PACK, checkpoint_every=EVERY,
)
