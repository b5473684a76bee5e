"""Implicit bias: of all solutions that fit, which one does gradient descent take, and where does that help?

*Logistic*: twelve separable points in the plane, full-batch gradient descent from 0, in float64. Every direction that
separates them can bring the loss to 0. Soudry et al. (2018, arXiv:1710.10345, theorem 3): the weights tend to the
largest margin γ, with ‖w‖ = ln(t)/γ + O(1). Stated beforehand: γ d‖w‖/d ln t over the last two decades is 1 within a
tenth, nearer to 1 in the later one, and the margin of w/‖w‖ comes nearer to γ, all of it only logarithmically.

*Diagonal*: β = u² − v² with u = v = α at first, n = 40 samples of d = 100 inputs without noise, squared error
(Woodworth et al. 2020, arXiv:2002.09277). Every α fits; a small one is biased to the least ℓ₁ norm, a large one to the
least ℓ₂ norm. The target has ‖β*‖ = 1 and 5 or all 100 entries; the test error is ‖β − β*‖². Stated beforehand: with a
small α the solution is sparser, by its effective number of entries ‖β‖₁²/‖β‖₂²; it is better by HELPS where the target
is sparse and worse by HURTS where it is dense; all of it on condition that the training error is below FITTED. Noise
of small batches acts as a smaller α does (Pesme et al. 2021, arXiv:2106.09524), but far less than α: by under SLIGHT;
in full they therefore hurt with a dense target.

Nothing is tuned: a step size only has to be stable, and the diagonal nets' follows α, whose square is their curvature.
The full preset has 820 trials in 14 packs, 20 sets of points and 800 trainings; about 0.3 GPU-hours, estimated, not
measured. The quick preset has 10 sets in one pack and 90 trainings in packs of 60 and 30. Settings were chosen on seeds
from 1000 on.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

import dlx
from dlx import claims, data, figures, losses, metrics, models, optim

NEAR_ONE = 0.1  # how far γ d‖w‖/d ln t may be from 1 (theory: → 1; the tenth is ours)
FITTED = 1e-4  # mean squared error on the training samples, of targets of variance 1
HELPS, HURTS = 0.4, 0.1  # differences in ‖β − β*‖² that matter
SMALL, MIDDLE, LARGE = 0.01, 0.1, 1.0  # α
SPARSE, DENSE, BATCH, MEDIUM, ALL = 5, 100, 5, 10, 40  # entries of the target; samples
SLIGHT = 0.05  # a difference in ‖β − β*‖² that does not matter
LR = 0.01  # times 1/(1 + 4α²)


@dataclass(frozen=True)
class ImplicitBias(dlx.Trial):
    """One of the two problems, each a trial of its own."""

    problem: dlx.Trial

    def shape(self) -> Hashable:
        return self.problem.shape()

    @classmethod
    def run_pack(cls, trials: Sequence[Self], contexts: Sequence[dlx.Context]) -> Sequence[Any]:
        problems = [trial.problem for trial in trials]
        return type(problems[0]).run_pack(problems, contexts)


@dataclass(frozen=True)
class Diagonal(dlx.Training):
    """A diagonal linear net, trained as any model is."""


@dataclass(frozen=True)
class Logistic(dlx.Trial):
    """Full-batch descent of the mean logistic loss on points that a line through 0 separates by ``margin`` or more."""

    steps: int
    points: int = 12
    margin: float = 0.5
    lr: float = 1.0

    def shape(self) -> Hashable:
        return type(self), self.steps, self.points

    @classmethod
    def run_pack(cls, trials: Sequence[Self], contexts: Sequence[dlx.Context]) -> list[dict[str, float]]:
        sets = [t.signed_points(ctx.rng("data")) for t, ctx in zip(trials, contexts, strict=True)]
        at = sorted({round(trials[0].steps ** (i / 60)) for i in range(61)})  # ten a decade
        norms, margins = descend(np.stack(sets, axis=-1), np.array([t.lr for t in trials]), at)
        largest = np.array([largest_margin(points) for points in sets])
        lengths, gaps = norms * largest, 1.0 - margins / largest
        for ctx, length, gap in zip(contexts, lengths.T, gaps.T, strict=True):
            for step, one, other in zip(at, length, gap, strict=True):
                ctx.log(step, length=one, gap=other)
        return [summary(np.array(at), length, gap) for length, gap in zip(lengths.T, gaps.T, strict=True)]

    def signed_points(self, rng: np.random.Generator) -> np.ndarray:
        """yᵢxᵢ, (points, 2): ``margin`` + |normal| along a random direction, normal across it."""
        angle = rng.uniform(0.0, 2 * np.pi)
        along = np.array([np.cos(angle), np.sin(angle)])
        apart, across = self.margin + np.abs(rng.normal(size=self.points)), rng.normal(size=self.points)
        return np.outer(apart, along) + np.outer(across, [-along[1], along[0]])


def descend(points: np.ndarray, lr: np.ndarray, at: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """‖w‖ and the margin of w/‖w‖, (len(at), sets), after these numbers of steps; points (n, 2, sets), lr (sets,)."""
    x = np.ascontiguousarray(points.swapaxes(0, 1))
    scaled, product, odds = x * lr / x.shape[1], np.empty_like(x), np.empty(x.shape[1:])
    w, step, found, done = np.zeros((2, len(lr))), np.empty((2, len(lr))), list[Any](), 0
    for until in at:
        for _ in range(until - done):
            np.multiply(x, w[:, None], out=product)
            np.add(product[0], product[1], out=odds)
            np.exp(odds, out=odds)
            odds += 1.0
            np.divide(scaled, odds, out=product)
            np.add.reduce(product, axis=1, out=step)
            w += step
        done, norm = until, np.linalg.norm(w, axis=0)
        found.append((norm, (x * w[:, None]).sum(axis=0).min(axis=0) / norm))
    return tuple(map(np.array, zip(*found, strict=True)))


def largest_margin(points: np.ndarray) -> float:
    """γ = max over unit w of minᵢ ⟨w, yᵢxᵢ⟩, exactly: in the plane one or two points support it; points (n, 2)."""
    i, j = np.triu_indices(len(points), 1)
    normals = (points[i] - points[j]) @ [[0.0, 1.0], [-1.0, 0.0]]
    candidates = np.concatenate([normals, -normals, points])
    candidates /= np.linalg.norm(candidates, axis=1, keepdims=True)
    return float((candidates @ points.T).min(axis=1).max())


def summary(at: np.ndarray, length: np.ndarray, gap: np.ndarray) -> dict[str, float]:
    """γ d‖w‖/d ln t over the last two decades and how much it rises from one to the other; how far the gap falls."""
    early, middle, last = (int(np.argmin(np.abs(at - at[-1] / part))) for part in (100, 10, 1))

    def slope(first: int, end: int) -> float:
        return float(np.polyfit(np.log(at[first : end + 1]), length[first : end + 1], 1)[0])

    return {
        "slope": slope(early, last), "slope/rise": slope(middle, last) - slope(early, middle),
        "gap": float(gap[last]), "gap/fall": float(gap[early] - gap[last]),
    }


@dataclass(frozen=True)
class Entries:
    """‖β‖₁²/‖β‖₂² of β = u² − v²: from 1, for one entry, to d, for d entries of one size."""

    name: str = "entries"

    def measure_weights(self, params: Mapping[str, Any]) -> Any:
        u, v = params.values()
        beta = u.square() - v.square()
        return beta.abs().sum().square() / beta.square().sum()


FULL_BATCH = {"problem": "Diagonal", "batch_size": ALL}
ON_SPARSE, ON_DENSE = {**FULL_BATCH, "nonzero": SPARSE}, {**FULL_BATCH, "nonzero": DENSE}
BETWEEN, LINES = {"problem": "Diagonal", "scale": MIDDLE, "nonzero": SPARSE}, {"problem": "Logistic"}
STATED = (
    claims.Above("slope", 1 - NEAR_ONE, where=LINES, name="‖w‖ grows as ln(t)/γ: no slower"),
    claims.Below("slope", 1 + NEAR_ONE, where=LINES, name="‖w‖ grows as ln(t)/γ: no faster"),
    claims.Above("slope/rise", 0.0, where=LINES, name="the slope comes nearer to 1"),
    claims.Above("gap/fall", 0.0, where=LINES, name="the margin comes nearer to the largest"),
    claims.Below("train/loss", FITTED, where={"problem": "Diagonal"}, name="all diagonal nets fit"),
    claims.Trend("weights/entries", over="scale", direction="rising", where=FULL_BATCH, name="small α: sparser"),
    claims.Lower("test/loss", {"scale": SMALL}, than={"scale": LARGE}, by=HELPS, where=ON_SPARSE,
                 name="small α helps with a sparse target"),
    claims.Higher("test/loss", {"scale": SMALL}, than={"scale": LARGE}, by=HURTS, where=ON_DENSE,
                  name="small α hurts with a dense target"),
    claims.Lower("test/loss", {"batch_size": BATCH}, than={"batch_size": ALL}, where=BETWEEN,
                 name="small batches act as a smaller α"),
    claims.Equivalent("test/loss", {"batch_size": BATCH}, {"batch_size": ALL}, margin=SLIGHT, where=BETWEEN,
                      name="but slightly"),
)
STUDY = dlx.Study(
    name="implicit-bias",
    question="Which of all solutions that fit does gradient descent take, and where does its bias help, where hurt?",
    template=ImplicitBias(dlx.grid(
        Logistic(steps=1_000_000),
        Diagonal(
            data=data.SparseLinear(ALL, DENSE, nonzero=dlx.grid(SPARSE, DENSE), validation=0.0, test_samples=4_000),
            model=models.DiagonalLinear(scale=dlx.grid(0.001, 0.003, SMALL, 0.03, MIDDLE, 0.3, LARGE, 3.0)),
            optimizer=optim.SGD(lr=dlx.derived(lambda t: LR / (1 + 4 * t.problem.model.scale**2), name="stable")),
            batch_size=dlx.grid(BATCH, MEDIUM, ALL),
            steps=100_000, loss=losses.MSE(), metrics=(metrics.loss(), Entries()), watch=("train",),
        ),
    )),
    skip=lambda t: (isinstance(t.problem, Diagonal) and t.problem.batch_size == MEDIUM
                    and t.problem.data.nonzero > SPARSE),
    seeds=20,
    claims=(
        *STATED,
        claims.Higher("test/loss", {"batch_size": BATCH}, than={"batch_size": ALL},
                      where={**BETWEEN, "nonzero": DENSE}, name="and so hurt with a dense target"),
    ),
    figures=(
        figures.Curves(x="scale", y="test/loss", name="error_by_scale", log_x=True, where={"problem": "Diagonal"},
                       title="Diagonal linear nets, n = 40, d = 100: error by scale", x_label="initial scale α",
                       y_label="test error ‖β − β*‖² (of ‖β*‖² = 1)"),
        figures.LearningCurves("length", name="norm_by_step", log_x=True, where=LINES, y_label="γ‖w‖",
                               title="Separable points: the norm grows as the logarithm of the steps"),
        figures.LearningCurves("gap", name="gap_by_step", log_x=True, log_y=True, where=LINES,
                               title="Separable points: the margin nears the largest one", y_label="1 − margin / γ"),
    ),
    presets={"quick": {
        "template.problem[Diagonal].model.scale": dlx.grid(SMALL, MIDDLE, LARGE), "seeds": 10, "claims": STATED,
        "template.problem[Diagonal].batch_size": dlx.grid(BATCH, ALL), "template.problem[Diagonal].steps": 20_000,
        "skip": lambda t: (isinstance(t.problem, Diagonal) and t.problem.batch_size < ALL
                           and t.problem.data.nonzero > SPARSE),
    }},
)
