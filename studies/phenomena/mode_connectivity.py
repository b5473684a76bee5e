"""Linear mode connectivity: when do two trainings end in one basin, and is that of the data or of the model?

A network is trained for k steps; two copies go on with other orders of batches. Their barrier is the largest excess of
the test error along the line between their weights over the line between their errors (Frankle et al. 2020,
arXiv:1912.05671; Entezari et al. 2022, arXiv:2110.06296). Both copies take equally many steps after the branch
(``after``), since fewer of them would leave the copies closer by themselves, or, as Frankle counts, equally many in all
(``total``); k = 1 stands for a branch at initialisation. Two networks without a common step (no parent) are compared
before and after weight matching, over widths (Git Re-Basin, Ainsworth et al. 2023, arXiv:2209.04836).

Stated beforehand: the barrier falls with k, by either count; MNIST-1D has a larger one than Fashion-MNIST, the easier
data; weight matching lowers the barrier of independent networks, and what is left falls with width. The shares of
variance by data and model are a figure; nobody has measured them, so nothing is claimed of them. Nothing is tuned: a
learning rate is part of the phenomenon.

200 branches and their 80 parents, in packs of up to 20. Estimated, not measured: 1 GPU-hour. `quick` has a smaller CNN,
two k, 1,000 steps after the branch, and independent MLPs on MNIST-1D. Its rate and steps were chosen on seeds from 1000
on, after a first design (rate 0.05, 400 steps, seeds 0 to 4) had left all claims but that on matching undecided, for
there was hardly a barrier at k = 1; so its seeds are 10 to 14. It leaves two undecided: Fashion-MNIST has, if anything,
the larger barrier at k = 1, by 5 ± 6 points (easier by its error, it has five times the inputs, hence other nets); and
what matching leaves hardly changes from 16 to 64 units (−1 ± 2).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal

import dlx
from dlx import claims, data, figures, losses, metrics, models, optim

SMALLEST_GAIN, EASIER = 0.0, 0.0  # in test error: of weight matching; by how much Fashion-MNIST's barrier is lower
K, BRANCHED_WIDTH = "parent[Training].steps", 64
BRANCHED, APART = {"parent": "Training"}, {"parent": None}


@dataclass(frozen=True)
class Fashion(data.Subset):
    """Fashion-MNIST at 14 × 14 points, means of 2 × 2, with as many pictures as MNIST-1D has samples."""

    def dimensions(self) -> data.Dimensions:
        return data.Dimensions(196, 10, (1, 14, 14))

    def load(self, streams: data.Streams) -> Mapping[str, data.Split]:
        return {name: split._replace(inputs=halved(split.inputs)) for name, split in super().load(streams).items()}


@lru_cache(maxsize=2)
def halved(pictures: Any) -> Any:
    """Means of 2 × 2 points of pictures (table, 1, 28, 28); one table for all trials, so that packs hold it once."""
    import torch

    return torch.nn.functional.avg_pool2d(pictures, 2)


@dataclass(frozen=True)
class CNN:
    """Convolutions along a series or over a picture, whichever the data are; ``channels`` as of ``models.CNN2d``."""

    channels: tuple[int, ...]

    def build(self, of: data.Dimensions) -> Any:
        """A module from (batch, *of.shape) to (batch, of.outputs)."""
        kind = models.CNN1d if len(of.shape) == 1 else models.CNN2d
        return kind(channels=self.channels).build(of)


class Copy(dlx.Context):
    """The surroundings of one of two copies: data and parent are the branch's, order and initial weights its own."""

    def __init__(self, branch: dlx.Context, number: int) -> None:
        super().__init__(int(branch.rng(f"copy/{number}").integers(2**62)), branch.device)
        self.rng, self.parent, self.state = branch.rng, branch.parent, dict[str, Any]()

    def save(self, state: Mapping[str, Any], step: int | None = None) -> None:
        self.state = dict(state)


@dataclass(frozen=True)
class Branch(dlx.Trial):
    """Two trainings that differ in the order of batches, and the barriers between them.

    training: what both do, from the final weights of ``training.parent``, or from initial weights of their own;
    count: whether ``training.steps`` are those ``after`` the branch, or the ``total`` with those of the parent;
    points: of the line, both ends among them; samples: the first so many test samples.
    """

    training: dlx.Training
    count: Literal["after", "total"] = "after"
    points: int = 11
    samples: int = 1_000

    @property
    def parent(self) -> dlx.Trial | None:
        """The trial that both begin with."""
        return self.training.parent

    @property
    def each(self) -> dlx.Training:
        """The training of one copy."""
        before = self.parent.steps if self.count == "total" and self.parent is not None else 0
        return replace(self.training, steps=self.training.steps - before)

    def shape(self) -> Any:
        return type(self), self.each.shape(), self.points, self.samples

    @classmethod
    def run_pack(cls, trials: Sequence["Branch"], contexts: Sequence[dlx.Context]) -> list[Any]:
        """Train all copies as one pack, then measure each pair."""
        copies = [Copy(ctx, number) for ctx in contexts for number in (0, 1)]
        ends = dlx.Training.run_pack([trial.each for trial in trials for _ in (0, 1)], copies)
        return [trial.measure(copies[2 * i : 2 * i + 2], ends[2 * i : 2 * i + 2]) for i, trial in enumerate(trials)]

    def measure(self, copies: Sequence[Copy], ends: Sequence[Mapping[str, float] | Exception]) -> Any:
        """Barriers in test error and in loss, before and after weight matching, and the mean test error of the ends."""
        if failed := next((end for end in ends if isinstance(end, Exception)), None):
            return failed
        a, b = (copy.state for copy in copies)
        matched = metrics.match(a, b)
        found = {"test/error": sum(end["test/error"] for end in ends) / 2}
        for metric in (metrics.error(), metrics.loss()):
            at = self.on_test(metric, copies[0])
            before, after = (float(metrics.barrier(at, a, end, self.points)) for end in (b, matched))
            found |= {f"barrier/{metric.name}": before, f"matched/{metric.name}": after,
                      f"gain/{metric.name}": before - after}
        return found

    def on_test(self, metric: metrics.OutputMetric, ctx: dlx.Context) -> Any:
        """A metric on the test split as a function of the parameters."""
        import torch

        split = self.training.data.load(ctx)["test"]
        inputs, targets = split.take(split.rows[: self.samples])
        inputs = inputs.to(getattr(torch, self.training.dtype))
        module = self.training.model.build(self.training.data.dimensions()).eval()
        @torch.no_grad()
        def at(params: Mapping[str, Any]) -> Any:
            return metric.measure(torch.func.functional_call(module, params, (inputs,)), targets, losses.CrossEntropy())
        return at


DATA = dlx.grid(data.MNIST1D(n=4_000, validation=0.0), Fashion(data.FashionMNIST(validation=0.0), n=4_000))
MODEL = dlx.grid(models.MLP(width=dlx.grid(16, 64, 256), depth=2), CNN(channels=(16, 32)))
RULE, BATCH, MEASURED = optim.SGD(lr=0.1, momentum=0.9), 32, (metrics.error(), metrics.loss())


def is_idle(branch: Branch) -> bool:
    """Widths are compared between independent networks alone, and these have no step before a branch to count."""
    other_width = isinstance(branch.training.model, models.MLP) and branch.training.model.width != BRANCHED_WIDTH
    return branch.count == "total" if branch.parent is None else other_width


STATED = (
    claims.Trend("barrier/error", over=K, direction="falling", where={**BRANCHED, "count": "after"},
                 name="the barrier falls with k at equal steps after the branch"),
    claims.Lower("barrier/error", {"data": "Fashion"}, than={"data": "MNIST1D"}, by=EASIER,
                 where={K: 1, "count": "after"}, name="easier data have a lower barrier at k = 1"),
    claims.Above("gain/error", SMALLEST_GAIN, where=APART, name="matching lowers the barrier of independent ones"),
    claims.Trend("matched/error", over="width", direction="falling", where=APART,
                 name="what matching leaves falls with width"),
)
IN_ALL = "Two copies of a network, branched at step k of equally many in all"
BARRIER = {"scale": 100, "log_x": True, "y_label": "barrier (points of test error)"}
BY_K = figures.Curves(x=K, y="barrier/error", name="barrier_by_k", where={"count": "after"}, **BARRIER,
                      x_label="common steps k before the branch",
                      title="Two copies of a network, branched at step k, then trained equally long")
OTHERS = (
    figures.Curves(x="width", y=("barrier/error", "matched/error"), name="matching_by_width", where=APART, **BARRIER,
                   x_label="width (units)", title="Independent networks, before and after weight matching"),
    figures.Importance("barrier/error", where=BRANCHED, title="Of the data or of the model?"),
)
STUDY = dlx.Study(
    name="mode-connectivity",
    question="Is it the data or the model that decides whether two trainings end in one linearly connected basin?",
    template=Branch(
        training=dlx.Training(
            data=DATA, model=MODEL, optimizer=RULE, batch_size=BATCH, schedule=optim.Cosine(), steps=2_000,
            parent=dlx.grid(dlx.Training(data=DATA, model=MODEL, optimizer=RULE, batch_size=BATCH, metrics=MEASURED,
                                         measure=1, steps=dlx.grid(1, 20, 200, 1_000)), None),
            metrics=MEASURED, measure=1,
        ),
        count=dlx.grid("after", "total"),
    ),
    skip=is_idle, seeds=5,
    claims=(
        *STATED,
        claims.Trend("barrier/error", over=K, direction="falling", where={**BRANCHED, "count": "total"},
                     name="also at equal steps in all"),
    ),
    figures=(BY_K, replace(BY_K, name="barrier_by_k_in_all", where={"count": "total"}, title=IN_ALL), *OTHERS),
    presets={
        "quick": {
            "template.training.model": dlx.grid(models.MLP(width=dlx.grid(16, 64, 256), depth=2), CNN(channels=(4, 8))),
            "template.training.parent[Training].steps": dlx.grid(1, 1_000),
            "template.training.steps": 1_000, "template.count": dlx.grid("after"), "seeds": tuple(range(10, 15)),
            "skip": lambda t: is_idle(t) or (t.parent is None and (
                isinstance(t.training.data, Fashion) or isinstance(t.training.model, CNN))),
            "claims": STATED, "figures": (BY_K, *OTHERS),
        },
    },
)
