"""Training: one model, on one data set, by one optimizer; written for one member, no pack axis in sight."""

import typing
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

from dlx import losses, metrics, shelf
from dlx.data import Augmentation, Data
from dlx.device import out_of_memory
from dlx.errors import DeclarationError, HomeError
from dlx.losses import Loss
from dlx.markers import Grid
from dlx.member import Member, begin
from dlx.metrics import Metric, When, bare, crossings, full_names, item_names
from dlx.models import Model
from dlx.optim import Constant, Optimizer, Schedule
from dlx.precision import multiplying, stored_as
from dlx.pruning import Pruned
from dlx.text import nearest
from dlx.trial import Trial, field

if typing.TYPE_CHECKING:
    import torch

    from dlx.best import Kept
    from dlx.context import Context


@dataclass(frozen=True)
class Training(Trial):
    """Minimise the mean loss of a model on the train split, and measure it on every split.

    steps: updates; batch_size: samples in each, from one permutation of the split after another, None: all of them;
    metrics: what is measured; measure: when, or at how many steps, spaced evenly in log(step), the last among them;
    watch: the splits that are measured on the way, None: all; at the end all are;
    items: metrics, such as ``test/error``, that are recorded at the end for each sample of their split, which must be
    the same for all seeds; claims with ``test="items"`` or ``"blocks"`` take them;
    dtype: of parameters and inputs, whatever it is the initial parameters are the same numbers; ``tf32``: float32 that
    GPUs multiply in TF32;
    parent: a trial whose final parameters are the initial ones; schedule: of the learning rate; augment: random changes
    of training inputs, one after the other.
    """

    data: Data
    model: Model
    optimizer: Optimizer
    steps: int
    batch_size: int | None = None
    loss: Loss = losses.CrossEntropy()
    dtype: Literal["float32", "float64", "bfloat16", "tf32"] = "float32"
    parent: Trial | None = field(None, absent=None)
    metrics: tuple[Metric, ...] = field((metrics.loss(), metrics.error()), keyed=False)
    measure: int | When = field(20, keyed=False)
    watch: tuple[str, ...] | None = field(None, keyed=False)
    schedule: Schedule = field(Constant(), absent=Constant())
    augment: tuple[Augmentation, ...] = field((), absent=())
    items: tuple[str, ...] = field((), keyed=False)

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
        if isinstance(self.measure, int) and self.measure < 1:
            raise DeclarationError(f"measure is {self.measure}; give at least 1 step to measure at.")
        if self.watch is not None and not self.watch:
            raise DeclarationError("watch is empty; name splits to measure on the way, say ('val',), or leave it out.")
        if not self.metrics:
            raise DeclarationError("metrics is empty; name at least one, such as metrics.error().")
        if self.items:
            self._check_items()
        if any(isinstance(m, metrics.crossing) for m in self.metrics):
            self._check_crossings()
        for i, metric in enumerate(self.metrics):
            asked = getattr(bare(metric), "samples", None)
            if asked is not None and asked > samples:
                raise DeclarationError(
                    f"metrics[{i}].samples is {asked}; there are {samples} training samples, give at most these."
                )

    def _check_items(self) -> None:
        known = [name for metric in self.metrics for name in item_names(metric)]
        measured = [full.rpartition("/")[2] for full in known]
        for name in self.items:
            split, _, metric = name.partition("/")
            if not split or metric not in measured:
                raise DeclarationError(
                    f"items has {name!r}, which is no mean over samples that metrics measures; "
                    + (nearest(name, known) if known else "add such a one to metrics, as metrics.error().")
                )

    def _check_crossings(self) -> None:
        curves = [name for m in self.metrics if not isinstance(m, metrics.crossing) for name in full_names(m)]
        for crossing in (m for m in self.metrics if isinstance(m, metrics.crossing)):
            for name in crossing.reads:
                if name not in curves:
                    raise DeclarationError(
                        f"The crossing {crossing.called!r} reads {name!r}, which metrics does not measure; "
                        f"{nearest(name, curves)}"
                    )

    def metric_names(self) -> tuple[str, ...] | None:
        """Names of what its trials return; None where metrics or splits are not known before a run."""
        sources = self.data.options if isinstance(self.data, Grid) else (self.data,)
        own = any(not type(source).__module__.startswith("dlx.") for source in sources)
        if own or not isinstance(self.metrics, list | tuple):
            return None
        names = [full_names(m) for m in self.metrics]
        return tuple(dict.fromkeys(name for found in names for name in found)) if all(names) else None

    def shape(self) -> Hashable:
        """All values but the parent's, and those that parts declare as varying."""
        parts = (self.data, self.model, self.optimizer, self.schedule, self.augment)
        batch = self.data.samples() if self.batch_size is None else self.batch_size, self.batch_size is None
        whole = (self.steps, batch, self.loss, self.dtype, tuple(self.metrics), self.measure, self.watch,
                 tuple(self.items))
        return type(self), shelf.shape(parts), whole, self.parent is None

    def trained(self, ctx: "Context") -> "torch.nn.Module":
        """Its module in eval mode with its final weights, for the context of a trial whose ``parent`` it is.

        Outside a study, where nothing was trained, the weights are the initial ones of the context's seed.
        """
        from dlx.member import initial, with_weights

        if (state := ctx.parent()) is not None:
            return with_weights(self, ctx, state)
        return initial(self, ctx).to(dtype=stored_as(self.dtype)).eval()

    @classmethod
    def run_pack(
        cls, trials: Sequence[Self], contexts: Sequence["Context"]
    ) -> Sequence[Mapping[str, float] | Exception]:
        """Train trials of equal ``shape()`` together; a member that cannot be set up yields its exception.

        Where something in them cannot be vectorised they train one after the other, and their contexts note why.
        """
        from dlx.models.stateless import why_not
        from dlx.programs import fall_back
        from dlx.vectorise import NotVectorisable

        try:
            return _run_pack(trials, contexts)
        except NotVectorisable as e:
            why = why_not(e)
        fall_back(trials[0], contexts[0].device)
        for ctx in contexts:
            ctx.history.clear()
        results = _run_pack(trials, contexts)
        model = type(trials[0].model).__name__
        contexts[0].note(f"{model} trains one trial after the other, for it cannot be vectorised: {why}")
        return results


def _run_pack(trials: Sequence[Training], contexts: Sequence["Context"]) -> list[Any]:
    from dlx.loop import train

    results: list[Any] = [_attempt(_begin, trial, ctx) for trial, ctx in zip(trials, contexts, strict=True)]
    alive = [i for i, result in enumerate(results) if isinstance(result, Member)]
    if alive:
        with multiplying(trials[0].dtype, contexts[0].device):
            loop = train(trials[alive[0]], [results[i] for i in alive], [contexts[i] for i in alive])
        for i, state, best in zip(alive, loop.finals(), loop.bests(), strict=True):
            results[i] = _attempt(_finish, contexts[i], state, best, trials[i])
        loop.close()
    return results


def _begin(trial: Training, ctx: "Context") -> Member:
    """A member before its first step; raises DeclarationError where its items are not the same for all seeds."""
    from dlx.fixed import check_fixed

    member = begin(trial, ctx)
    for name in trial.items:
        check_fixed(trial.data, name.partition("/")[0], f"items has {name!r}")
    return member


def _finish(
    ctx: "Context", state: "Mapping[str, torch.Tensor] | None", best: "Kept | None", trial: Training
) -> Mapping[str, float] | Pruned:
    """Save the final and the best state, return the last metrics of one member; without a state it left early."""
    from dlx.records import ITEMS

    last = {name: values[-1] for name, (_, values) in ctx.history.items() if not name.endswith(ITEMS)}
    if state is None:
        return Pruned(last)
    ctx.save(state, trial.steps)
    ctx.save_best(*(best or (state, trial.steps)))
    return last | crossings(trial.metrics, ctx.history)


def _attempt(function: Callable[..., Any], *arguments: Any) -> Any:
    """The result, or the exception, of what concerns one member alone; a lost home and a full memory concern all."""
    try:
        return function(*arguments)
    except HomeError:
        raise
    except Exception as e:
        if out_of_memory(e):
            raise
        return e
