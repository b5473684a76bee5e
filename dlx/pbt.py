"""Population-based training: a pack whose worse members go on from copies of its better ones.

What is drawn is drawn from the trial's streams ``population`` and ``population/<step>``, so that a population is a
function of its seed, wherever it was interrupted.
"""

import itertools
import math
import typing
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from dlx.context import Context, stream
from dlx.errors import DeclarationError
from dlx.loop import Loop, due
from dlx.member import begin, hyperparameters
from dlx.metrics import LossMetric, Metric, NetworkMetric, OutputMetric, WeightMetric, crossings
from dlx.overrides import apply, places
from dlx.precision import multiplying
from dlx.space import check_components
from dlx.text import nearest
from dlx.training import Training
from dlx.trial import Trial
from dlx.tuning import Objective, check_whole

if typing.TYPE_CHECKING:
    import numpy as np
    import torch

    from dlx.stacking import Stacked

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Range:
    """Where a hyperparameter of a population lies, bounds included, in its own units.

    log: its first values are drawn uniformly in their logarithm, for which low must be positive; else in themselves.
    """

    low: float
    high: float
    log: bool = True

    example: ClassVar[str] = "dlx.Range(1e-4, 1.0)"

    def check(self) -> None:
        """Raise DeclarationError where the bounds enclose nothing, or log asks for a logarithm of 0."""
        if not -math.inf < self.low < self.high < math.inf:
            raise DeclarationError(f"low is {self.low} and high is {self.high}; give finite ones, low below high.")
        if self.log and self.low <= 0:
            raise DeclarationError(f"low is {self.low}, which has no logarithm; give low > 0, or log=False.")

    def draw(self, rng: "np.random.Generator", members: int) -> "np.ndarray":
        """First values, (members,)."""
        import numpy as np

        if self.log:
            return np.exp(rng.uniform(math.log(self.low), math.log(self.high), members)).clip(self.low, self.high)
        return rng.uniform(self.low, self.high, members)


@dataclass(frozen=True)
class PBT(Trial):
    """Population-based training with truncation selection (Jaderberg et al. 2017, arXiv:1711.09846): one pack.

    After each ``every`` updates a member among the worst ⌊quantile · members⌋ by the last value of the objective goes
    on from a copy of one drawn among as many best: parameters, buffers, the optimizer's state and hyperparameters, of
    which each in ``ranges`` is then multiplied or divided by ``factor``, with equal chances, and clipped to its range.

    training: what all members do, the values of what is in ``ranges`` apart; ranges: by path, as ``"optimizer.lr"``,
    ``"optimizer.inner.rho"``, ``"schedule.warmup"`` or ``"augment[0].std"``; objective: the metric that judges, such as
    ``"val/loss"``, a value that is not finite being the worst; every: in updates; quantile: in (0, 1/2]; factor: > 1.

    Members share the trial's data, so that they are judged alike, and its parent; initial weights, order of batches and
    noise are each member's own. The metrics are those of the member that is best at that step, with its
    hyperparameters as ``population/<path>``.
    """

    training: Training
    ranges: Mapping[str, Range]
    objective: str
    direction: Literal["minimize", "maximize"] = "minimize"
    members: int = 16
    every: int = 100
    quantile: float = 0.25
    factor: float = 1.2

    @property
    def parent(self) -> Trial | None:
        """The trial whose final parameters all members begin with."""
        return getattr(self.training, "parent", None)

    def check(self) -> None:
        """Raise DeclarationError where values are out of range, or a path leads to nothing that may change."""
        check_whole("members", self.members, 2)
        check_whole("every", self.every, 1)
        if self.training.items:
            raise DeclarationError("training.items is given, but a population records no items; leave it out.")
        if self.every >= self.training.steps:
            raise DeclarationError(
                f"every is {self.every} and training.steps is {self.training.steps}, so that nobody would ever be "
                "replaced; lower every."
            )
        if not 0.0 < self.quantile <= 0.5 or self.replaced < 1:
            raise DeclarationError(
                f"quantile is {self.quantile} of {self.members} members; give at most 0.5, and one of them at least."
            )
        if not 1.0 < self.factor < math.inf:
            raise DeclarationError(f"factor is {self.factor}; it multiplies or divides, and must be more than 1.")
        check_objective(self.objective, self.training.metrics, SPLITS)
        check_ranges(self.training, self.ranges)

    @property
    def replaced(self) -> int:
        """How many members are replaced at a time."""
        return int(self.members * self.quantile)

    def run(self, ctx: Context) -> Mapping[str, float]:
        """Train the population; returns the final metrics of its best member, and keeps that one's final state."""
        from dlx.models.stateless import why_not
        from dlx.programs import fall_back
        from dlx.vectorise import NotVectorisable

        with multiplying(self.training.dtype, ctx.device):
            try:
                return Population(self, ctx).train()
            except NotVectorisable as e:
                why = why_not(e)
            fall_back(self.training, ctx.device)
            ctx.history.clear()
            model = type(self.training.model).__name__
            ctx.note(f"{model} trains one member after the other, for it cannot be vectorised: {why}")
            return Population(self, ctx).train()


def check_ranges(training: Training, ranges: Mapping[str, Range]) -> None:
    """Raise DeclarationError unless each path leads to a number that may change inside a step, all over its range."""
    if not ranges:
        raise DeclarationError('ranges is empty; name what evolves, as in {"optimizer.lr": dlx.Range(1e-4, 1.0)}.')
    varying = {path: value for path, value in places(hyperparameters(training)) if isinstance(value, int | float)}
    fixed = dict(places(training))
    for path in ranges:
        if path not in varying:
            what = "is fixed while a step is computed" if path in fixed else "is no part of training"
            raise DeclarationError(f"ranges has {path!r}, which {what}; {nearest(path, varying)}")
        if isinstance(varying[path], int):
            raise DeclarationError(
                f"ranges has {path!r}, which is the whole number {varying[path]}; a factor moves numbers such as 0.1."
            )
    for corner in itertools.product(*((r.low, r.high) for r in ranges.values())):
        try:
            check_components(apply(training, dict(zip(ranges, corner, strict=True))), "training")
        except DeclarationError as e:
            raise DeclarationError(f"ranges reaches values that cannot be: {e}") from e


def check_objective(objective: str, metrics: tuple[Metric, ...], splits: tuple[str, ...]) -> None:
    """Raise DeclarationError unless such a metric is measured wherever members are judged."""
    known: list[str] = []
    for m in metrics:
        if isinstance(m, WeightMetric):
            known.append(f"weights/{m.name}")
        elif isinstance(m, LossMetric | NetworkMetric):
            known.append(f"train/{m.name}")
        elif isinstance(m, OutputMetric):
            known += [f"{split}/{m.name}" for split in splits]
    if objective not in known:
        raise DeclarationError(f"objective is {objective!r}, which is not measured; {nearest(objective, known)}")


class MemberContext(Context):
    """The surroundings of a member: data and parent are the population's, all other streams its own."""

    def __init__(self, population: Context, number: int) -> None:
        super().__init__(stream(population.seed, f"member/{number}"), population.device)
        self._population = population

    def rng(self, purpose: str) -> "np.random.Generator":
        """A NumPy generator, which data draw from."""
        return self._population.rng(purpose)

    def parent(self) -> "dict[str, torch.Tensor] | None":
        """The final state of the population's parent."""
        return self._population.parent()


class Population:
    """A population on its way: a loop, the hyperparameters of its members, and their last scores, smaller is better."""

    def __init__(self, trial: PBT, ctx: Context) -> None:
        self.trial, self.ctx = trial, ctx
        rng = ctx.rng("population")
        self.hyper = {path: range_.draw(rng, trial.members) for path, range_ in trial.ranges.items()}
        self.scores = [math.inf] * trial.members
        self.contexts = [MemberContext(ctx, i) for i in range(trial.members)]
        trainings = [apply(trial.training, {path: float(values[i]) for path, values in self.hyper.items()})
                     for i in range(trial.members)]
        members = [begin(t, c) for t, c in zip(trainings, self.contexts, strict=True)]
        splits = members[0].splits  # the same in all of them, so that they are stored once
        check_objective(trial.objective, trial.training.metrics, tuple(splits))
        self.loop = Loop(trainings[0], [replace(m, splits=splits) for m in members], self.contexts)
        self._resume()

    @property
    def best(self) -> int:
        """The member with the best last score; of equals the first."""
        return min(range(len(self.scores)), key=self.scores.__getitem__)

    def train(self) -> Mapping[str, float]:
        """Train to the end; returns the last metrics of the best member."""
        training, every = self.trial.training, self.trial.every
        judged = range(every, training.steps, every)
        for step, which in due(training, [*judged, training.steps]):
            if step <= self.loop.done:
                continue
            self.loop.advance(step)
            self.loop.measure(which)
            self.loop.log()
            self._log(step)
            if step in judged:
                self.evolve(step)
            self.ctx.checkpoint(step, self._state)
        if (final := self.loop.finals()[self.best]) is not None:
            self.ctx.save(final)
        last = {name: values[-1] for name, (_, values) in self.ctx.history.items()}
        return last | crossings(training.metrics, self.ctx.history)

    def evolve(self, step: int) -> None:
        """Let the worst go on from copies of the best (exploit), with other hyperparameters (explore)."""
        import numpy as np

        from dlx.stacking import select

        trial, rng = self.trial, self.ctx.rng(f"population/{step}")
        ranked = sorted(range(trial.members), key=self.scores.__getitem__)
        best, worst = ranked[: trial.replaced], ranked[-trial.replaced :]
        source = np.arange(trial.members)
        source[worst] = rng.choice(best, trial.replaced)
        for path, range_ in trial.ranges.items():
            values = self.hyper[path][source]
            values[worst] *= trial.factor ** rng.choice([-1.0, 1.0], trial.replaced)
            self.hyper[path] = values.clip(range_.low, range_.high)
        self.loop.now = select(self.loop.now, source.tolist())
        self.loop.hyper = written(self.loop.hyper, self.hyper)

    def _log(self, step: int) -> None:
        """Take the scores, and log what was measured of the best member."""
        measured = [{name: values[-1] for name, (steps, values) in ctx.history.items() if steps[-1] == step}
                    for ctx in self.contexts]
        objective = Objective(self.trial.objective, self.trial.direction)
        if objective.metric in measured[0]:
            values = [objective.sign * of_one[objective.metric] for of_one in measured]
            self.scores = [v if math.isfinite(v) else math.inf for v in values]
        now = {f"population/{path}": values[self.best] for path, values in self.hyper.items()}
        self.ctx.log(step, {**measured[self.best], **now})

    # ------------------------------------------------------------ half-way states

    def _state(self) -> "dict[str, torch.Tensor]":
        import torch

        return {
            **{f"now/{i}": leaf for i, leaf in enumerate(self.loop.now.leaves)},
            **{f"hyper/{path}": torch.from_numpy(values) for path, values in self.hyper.items()},
            "scores": torch.tensor(self.scores, dtype=torch.float64),
        }

    def _resume(self) -> None:
        """Go on from the last checkpoint, where there is one; the order of batches is drawn again."""
        from dlx.stacking import restored
        from dlx.vectorise import skip

        if (found := self.ctx.resume()) is None:
            return
        step, state = found
        leaves = [state[f"now/{i}"] for i in range(sum(name.startswith("now/") for name in state))]
        if (now := restored(self.loop.now, leaves)) is None:
            self.ctx.history.clear()
            self.ctx.note("A checkpoint does not fit the code of today; its population starts anew.")
            return
        self.hyper = {path: state[f"hyper/{path}"].numpy() for path in self.hyper}
        self.scores = state["scores"].tolist()
        self.loop.now, self.loop.hyper, self.loop.done = now, written(self.loop.hyper, self.hyper), step
        skip(self.loop.orders, step)


def written(hyper: "Stacked", values: "Mapping[str, np.ndarray]") -> "Stacked":
    """The hyperparameters of a pack with those at these paths replaced, each by (members,) values."""
    from torch.utils._pytree import tree_unflatten

    from dlx.stacking import stacked

    leaves, form = list(hyper.leaves), hyper.form
    place_of = dict(places(tree_unflatten(range(len(leaves)), form.spec)))
    for path, of_members in values.items():
        leaves[place_of[path]] = leaves[place_of[path]].new_tensor(of_members)
    return stacked(leaves, form.axes, form.spec)
