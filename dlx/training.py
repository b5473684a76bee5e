"""Training: one model, on one data set, by one optimizer; written for one member, no pack axis in sight."""

import math
import typing
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple, Self

from dlx import losses, metrics, shelf
from dlx.data import Data, Split
from dlx.errors import DeclarationError
from dlx.losses import Loss
from dlx.metrics import Metric
from dlx.models import Model
from dlx.optim import Optimizer
from dlx.trial import Trial, field

if typing.TYPE_CHECKING:
    import torch

    from dlx.context import Context
    from dlx.vectorise import Stacked

PROGRAMS_KEPT = 16  # of as many shapes of packs
ROWS_AT_ONCE = 250  # of a split, through the model, when measuring


@dataclass(frozen=True)
class Training(Trial):
    """Minimise the mean loss of a model on the train split, and measure it on every split.

    steps: updates; batch_size: samples in each, from one permutation of the split after another, None: all of them;
    metrics: what is measured; measure: at how many steps, spaced evenly in log(step), the last among them;
    dtype: of parameters and inputs, whatever it is the initial parameters are the same numbers;
    parent: a trial whose final parameters are the initial ones.
    """

    data: Data
    model: Model
    optimizer: Optimizer
    steps: int
    batch_size: int | None = None
    loss: Loss = losses.CrossEntropy()
    dtype: Literal["float32", "float64", "bfloat16"] = "float32"
    parent: Trial | None = field(None, absent=None)
    metrics: tuple[Metric, ...] = field((metrics.loss(), metrics.error()), keyed=False)
    measure: int = field(20, keyed=False)

    def check(self) -> None:
        """Raise DeclarationError where values are out of range or do not fit together."""
        samples = self.data.samples()
        if self.steps < 1:
            raise DeclarationError(f"steps is {self.steps}; it must be at least 1.")
        if self.batch_size is not None and not 1 <= self.batch_size <= samples:
            raise DeclarationError(
                f"batch_size is {self.batch_size}; it must lie between 1 and the {samples} training samples, "
                f"or be None for all of them."
            )
        if self.measure < 1:
            raise DeclarationError(f"measure is {self.measure}; give at least 1 step to measure at.")
        if not self.metrics:
            raise DeclarationError("metrics is empty; name at least one, such as metrics.error().")

    def shape(self) -> Hashable:
        """All values but the parent's, and those that data and optimizer declare as varying."""
        whole = (self.model, self.steps, self.batch_size, self.loss, self.dtype, tuple(self.metrics), self.measure)
        return type(self), shelf.shape(self.data), shelf.shape(self.optimizer), whole, self.parent is None

    def run(self, ctx: "Context") -> Mapping[str, float]:
        """Train alone; returns the final metrics by name, such as ``val/error``."""
        (result,) = self.run_pack([self], [ctx])
        if isinstance(result, Exception):
            raise result
        return result

    @classmethod
    def run_pack(
        cls, trials: Sequence[Self], contexts: Sequence["Context"]
    ) -> Sequence[Mapping[str, float] | Exception]:
        """Train trials of equal ``shape()`` together; a member that cannot be set up yields its exception."""
        results: list[Any] = [_attempt(begin, trial, ctx) for trial, ctx in zip(trials, contexts, strict=True)]
        alive = [i for i, result in enumerate(results) if isinstance(result, Member)]
        if alive:
            final = train(trials[alive[0]], [results[i] for i in alive], [contexts[i] for i in alive])
            for i, params in zip(alive, final, strict=True):
                results[i] = _attempt(_finish, contexts[i], params)
        return results


class Member(NamedTuple):
    """One trial before its first step."""

    module: "torch.nn.Module"
    params: "dict[str, torch.Tensor]"
    hyper: dict[str, Any]
    splits: dict[str, Split]
    order: "Order"


class Order:
    """Batches cut from one permutation of the rows after another, so that every step has as many."""

    def __init__(self, rows: "torch.Tensor", batch_size: int | None, generator: "torch.Generator") -> None:
        self.batch = batch_size or len(rows)
        self.always = rows if batch_size is None else None
        self._rows, self._generator, self._left = rows, generator, rows[:0]

    def take(self, steps: int) -> "torch.Tensor":
        """The rows of the next steps, (steps, batch) int64."""
        import torch

        wanted = steps * self.batch
        epochs = math.ceil((wanted - len(self._left)) / len(self._rows))
        drawn = [self._rows[torch.randperm(len(self._rows), generator=self._generator)] for _ in range(epochs)]
        taken, self._left = torch.cat([self._left, *drawn]).tensor_split([wanted])
        return taken.view(steps, self.batch)


def begin(trial: Training, ctx: "Context") -> Member:
    """Everything of one member that is drawn from its seed; streams ``data``, ``noise``, ``init`` and ``order``."""
    splits = dict(trial.data.load(ctx))
    module = initial(trial, ctx)
    order = Order(splits["train"].rows, trial.batch_size, ctx.generator("order"))
    params = {name: p.detach() for name, p in module.named_parameters()}
    return Member(module, params, shelf.hyperparameters(trial.optimizer), splits, order)


def initial(trial: Training, ctx: "Context") -> "torch.nn.Module":
    """The model as it is before the first step: drawn from the stream ``init``, or with the parent's parameters."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.set_rng_state(ctx.generator("init").get_state())
        module = trial.model.build(*trial.data.dimensions())
    parent = ctx.parent() if trial.parent is not None else None
    if parent is not None:
        module.load_state_dict(parent, assign=True)
    return module


def make_step(trial: Training, module: "torch.nn.Module") -> Callable[..., Any]:
    """One update: ((params, state), rows, train split, hyper) → (params, state)."""
    import torch

    def objective(params: Any, inputs: "torch.Tensor", targets: "torch.Tensor") -> "torch.Tensor":
        return trial.loss(torch.func.functional_call(module, params, (inputs,)), targets).mean()

    def step(now: tuple[Any, Any], rows: "torch.Tensor", train: Split, hyper: Mapping[str, Any]) -> tuple[Any, Any]:
        params, state = now
        grads = torch.func.grad(objective)(params, *train.take(rows))
        return trial.optimizer.update(grads, state, params, hyper)

    return step


def make_forward(module: "torch.nn.Module") -> "Callable[..., torch.Tensor]":
    """The model's outputs: ((params, state), split, rows) → (rows, outputs)."""
    import torch

    def forward(now: tuple[Any, Any], split: Split, rows: "torch.Tensor") -> "torch.Tensor":
        return torch.func.functional_call(module, now[0], (split.take(rows)[0],))

    return forward


def make_score(trial: Training) -> "Callable[..., dict[str, torch.Tensor]]":
    """All metrics on one split: (outputs, split) → name → 0-d tensor."""

    def score(outputs: "torch.Tensor", split: Split) -> "dict[str, torch.Tensor]":
        targets = split.take(split.rows)[1]
        return {metric.name: metric.measure(outputs, targets, trial.loss) for metric in trial.metrics}

    return score


class Programs(NamedTuple):
    """What one pack computes, vectorised."""

    step: Callable[..., Any]
    forward: Callable[..., Any]
    score: Callable[..., Any]


_programs: dict[Hashable, Programs] = {}


def programs(trial: Training, module: "torch.nn.Module", device: str) -> Programs:
    """The vectorised computations of a trial's shape on a device, kept for later packs."""
    import torch

    from dlx.vectorise import vectorise, vectorise_by_rows

    key = trial.shape(), device
    if key not in _programs:
        if len(_programs) == PROGRAMS_KEPT:
            del _programs[next(iter(_programs))]
        module = module.to(device=device, dtype=getattr(torch, trial.dtype))
        one = replace(trial, optimizer=shelf.without_hyperparameters(trial.optimizer))
        _programs[key] = Programs(
            vectorise(make_step(one, module)),
            vectorise_by_rows(make_forward(module), ROWS_AT_ONCE),
            vectorise(make_score(one)),
        )
    return _programs[key]


def train(trial: Training, members: Sequence[Member], contexts: Sequence["Context"]) -> list[Any]:
    """Final parameters of each member; what is measured on the way is logged, at once where someone listens."""
    import torch

    from dlx.vectorise import batches, stack, unstack

    device, dtype = contexts[0].device, getattr(torch, trial.dtype)
    step, forward, score = programs(trial, members[0].module, device)
    now = stack([(m.params, trial.optimizer.init(m.params)) for m in members], device, dtype, share=False)
    hyper = stack([m.hyper for m in members], device, dtype, share=False)
    splits = {name: stack([m.splits[name] for m in members], device, dtype) for name in members[0].splits}
    rows_of = {name: stack([m.splits[name].rows for m in members], device, dtype) for name in splits}
    done, scores = 0, []
    for until in measured_steps(trial.steps, trial.measure):
        for rows in batches([m.order for m in members], until - done, device):
            now = step(now, rows, splits["train"], hyper)
        done = until
        scores.append((done, {k: score(forward(now, split, rows_of[k]), split) for k, split in splits.items()}))
        if any(ctx.on_log for ctx in contexts):
            _log(contexts, scores)
    _log(contexts, scores)
    return [params for params, _ in unstack(now, len(members))]


def _log(contexts: Sequence["Context"], scores: "list[tuple[int, dict[str, Stacked]]]") -> None:
    """Log what was measured, which waits for the device, and clear it."""
    from dlx.vectorise import unstack

    for at, by_split in scores:
        measured: list[dict[str, float]] = [{} for _ in contexts]
        for name, together in by_split.items():
            for values, found in zip(measured, unstack(together, len(contexts)), strict=True):
                values |= {f"{name}/{metric}": float(value) for metric, value in found.items()}
        for ctx, values in zip(contexts, measured, strict=True):
            ctx.log(at, values)
    scores.clear()


def measured_steps(steps: int, points: int) -> list[int]:
    """At most so many integers from 1 to steps, spaced evenly in their logarithm, the last among them."""
    spaced = {round(steps ** (i / (points - 1))) for i in range(points)} if points > 1 else set()
    return sorted(spaced | {steps})


def _finish(ctx: "Context", params: "Mapping[str, torch.Tensor]") -> Mapping[str, float]:
    """Save the final parameters and return the last metrics of one member."""
    ctx.save(params)
    return {name: values[-1] for name, (_, values) in ctx.history.items()}


def _attempt(function: Callable[..., Any], *arguments: Any) -> Any:
    """The result, or the exception, of something that concerns one member alone."""
    try:
        return function(*arguments)
    except Exception as e:
        return e
