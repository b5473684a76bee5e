"""Does a learning rate that was tuned on a narrow network hold on a wide one, by μP or by the norm of the update?

A trial trains one MLP at every rate of a grid, all from the same initial weights and batches, and returns
``best_rate``: the minimum of a parabola in log₂(rate), least squares over the five rates around the smallest final
training loss, losses above chance and of diverged trainings counting as chance. So the rate's law in the width h is a
slope in logarithms. Predicted, for wide networks: −1 for Adam in the standard parameterisation, 0 in μP (Yang and Hu
2021, arXiv:2011.14522; Yang et al. 2022, arXiv:2203.03466), and 0 for steepest descent under the operator norm from
root mean square to root mean square, without any parameterisation (Yang, Simon and Bernstein 2023, arXiv:2310.17813;
Bernstein and Newhouse 2024, arXiv:2409.20325).

On its own seeds quick, at widths 16 to 64, found slopes of 0.09 under the spectral norm, which holds; of −0.46 for Adam
and 0.23 for Adam in μP, both undecided: five seeds are few after correction, and 16 units are no wide network.

Full: 4 methods × 6 widths × 5 seeds, 120 trials of 13 trainings of 2,000 steps, about half a GPU-hour (estimated, not
measured); those of a method and width make one pack of 65. It adds sign descent, steepest where the norm of a
matrix is its largest entry: η in each of h weights moves a unit by up to ηh, so that −1 is predicted, as for Adam.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

import dlx
from dlx import claims, data, figures, models, optim

HOLDS = 0.25  # slopes of log best rate in log width of less than this, either way, count as none
CHANCE, FIT = math.log(10), 2  # nats, of ten classes; rates on either side of the best that the parabola is fitted to


@dataclass(frozen=True)
class Transfer(dlx.Trial):
    """A training at each learning rate centre · 2^i, i from −span to span, and the best one between them.

    method: what it is called.
    """

    method: str
    training: dlx.Training
    centre: float
    span: int

    def shape(self) -> object:
        """That of the trainings, and how many there are."""
        return type(self), self.training.shape(), self.span

    @property
    def trainings(self) -> list[dlx.Training]:
        """By rising learning rate."""
        rates = [self.centre * 2.0**i for i in range(-self.span, self.span + 1)]
        return [replace(self.training, optimizer=replace(self.training.optimizer, lr=rate)) for rate in rates]

    @classmethod
    def run_pack(
        cls, trials: "Sequence[Transfer]", contexts: Sequence[dlx.Context]
    ) -> Sequence[Mapping[str, float] | Exception]:
        """All trainings of all trials as one pack."""
        trainings = [training for trial in trials for training in trial.trainings]
        own = [dlx.Context(ctx.seed, ctx.device) for t, ctx in zip(trials, contexts, strict=True) for _ in t.trainings]
        results = dlx.Training.run_pack(trainings, own)
        size = len(results) // len(trials)
        return [t.summary(ctx, results[i * size : (i + 1) * size])
                for i, (t, ctx) in enumerate(zip(trials, contexts, strict=True))]

    def summary(
        self, ctx: dlx.Context, results: Sequence[Mapping[str, float] | Exception]
    ) -> Mapping[str, float] | Exception:
        """The best rate by training loss, and its log₂ over the centre; what each i gives is logged at step i."""
        if failed := [r for r in results if isinstance(r, Exception)]:
            return failed[0]
        losses = np.array([r["train/loss"] for r in results])
        for i, result in enumerate(results):
            ctx.log(i - self.span, {"loss": result["train/loss"], "test/error": result["test/error"]})
        kept = np.minimum(np.where(np.isfinite(losses), losses, CHANCE), CHANCE)
        lowest = int(np.clip(kept.argmin(), FIT, len(kept) - 1 - FIT))
        near = np.arange(lowest - FIT, lowest + FIT + 1)
        bend, slope, _ = np.polyfit(near - self.span, kept[near], 2)
        log2_best = float(np.clip(-slope / (2 * bend), *(near[[0, -1]] - self.span))) if bend > 0 else math.nan
        return {"best_rate": self.centre * 2.0**log2_best, "log2_best": log2_best, "loss": kept.min()}


@dataclass(frozen=True)
class Method:
    """An optimizer with a parameterisation, and the middle of its grid of rates."""

    optimizer: optim.Optimizer
    parameterisation: str
    centre: float


METHODS = {
    "Adam": Method(optim.Adam(lr=1.0), "standard", 2.0**-5),
    "Adam, μP": Method(optim.Adam(lr=1.0), "mup-adam", 2.0**-5),
    "spectral norm": Method(
        optim.SteepestDescent(lr=1.0, norm=optim.Spectral(rms=True), vectors=optim.Frobenius(rms=True), momentum=0.9),
        "standard", 2.0**-3),
    "sign": Method(optim.SteepestDescent(lr=1.0, norm=optim.MaxNorm(), vectors=optim.MaxNorm(), momentum=0.9),
                   "standard", 2.0**-8),
}
STATED = (
    *(claims.Trend("best_rate", over="width", slope=(-HOLDS, HOLDS), log=True, where={"method": method},
                   name=f"the rate holds: {method}") for method in ("Adam, μP", "spectral norm")),
    claims.Trend("best_rate", over="width", slope=(None, -HOLDS), log=True, where={"method": "Adam"},
                 name="the rate falls: Adam"),
)

STUDY = dlx.Study(
    name="lr-transfer",
    question="Does a learning rate that is best on a narrow network stay best on a wide one?",
    template=Transfer(
        method=dlx.grid(*METHODS),
        training=dlx.Training(
            data=data.MNIST1D(validation=0.0),
            model=models.MLP(
                width=dlx.grid(16, 32, 64, 128, 256, 512), depth=2,
                parameterisation=dlx.derived(lambda t: METHODS[t.method].parameterisation, name="parameterisation"),
            ),
            optimizer=dlx.derived(lambda t: METHODS[t.method].optimizer, name="optimizer"),
            batch_size=100, steps=2_000, schedule=optim.Cosine(), measure=1,
        ),
        centre=dlx.derived(lambda t: METHODS[t.method].centre, name="centre"),
        span=6,
    ),
    seeds=5,
    claims=(
        *STATED,
        claims.Trend("best_rate", over="width", slope=(None, -HOLDS), log=True, where={"method": "sign"},
                     name="the rate falls: sign"),
    ),
    figures=(
        figures.LearningCurves(
            "loss", colour="width", panel="method", name="loss_by_rate", log_y=True,
            title="MNIST-1D, MLP 40-h-h-10: training loss by rate and width h",
            x_label="log₂(rate over the grid's centre)", y_label="training loss (nats)",
        ),
        figures.Curves(
            x="width", y="log2_best", name="rate_by_width", log_x=True,
            title="MNIST-1D, MLP 40-h-h-10: the best learning rate by width",
            x_label="width h of both hidden layers (units)", y_label="log₂(best rate over the grid's centre)",
        ),
    ),
    presets={
        "quick": {
            "template.training.model.width": dlx.grid(16, 32, 64), "template.training.steps": 100, "template.span": 4,
            "template.method": dlx.grid("Adam", "Adam, μP", "spectral norm"), "claims": STATED,
        },
    },
)
