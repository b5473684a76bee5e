"""What a pack computes: a step, outputs and metrics, written for one member and vectorised once."""

import math
import typing
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from dlx import noise, shelf
from dlx.data import Split
from dlx.metrics import ItemMetric, LossMetric, NetworkMetric, OutputMetric, WeightMetric, bare
from dlx.metrics.finite import where_finite
from dlx.optim import evaluated
from dlx.optim.schedules import Constant, scaled
from dlx.precision import stored_as

if typing.TYPE_CHECKING:
    import torch

    from dlx.stacking import Stacked
    from dlx.training import Training

    State = dict[str, Any]  # params, buffers, optimizer, step, key

KEPT = 16  # programs, of as many shapes of packs
ROWS_AT_ONCE = 250  # of a split, through the model, when measuring


def make_step(trial: "Training", module: "torch.nn.Module", random: bool) -> "Callable[..., State]":
    """One update: (state, rows, train split, hyper) → state; random: the module draws from PyTorch's global stream."""
    import torch

    def step(now: "State", rows: "torch.Tensor", train: Split, hyper: Mapping[str, Any]) -> "State":
        module.train()
        inputs, targets = train.take(rows)
        key = noise.fold(now["key"], now["step"])
        for i, augmentation in enumerate(trial.augment):
            inputs = augmentation.augment(inputs, noise.fold(key, i), hyper["augment"][i])
        buffers: list[dict[str, torch.Tensor]] = []

        def objective(params: Any) -> Any:
            if random:
                torch.manual_seed(int(key))
            after = {**params, **now["buffers"]}
            outputs = torch.func.functional_call(module, after, (inputs,))
            return trial.loss(outputs, targets).mean(), {name: after[name] for name in now["buffers"]}

        def gradient(params: Any) -> Any:
            grads, after = torch.func.grad(objective, has_aux=True)(params)
            buffers.append(after)
            return grads

        rates = hyper["optimizer"]
        if not isinstance(trial.schedule, Constant):
            rates = scaled(rates, trial.schedule.factor(now["step"].to(torch.float64), trial.steps, hyper["schedule"]))
        params, optimizer = trial.optimizer.update(gradient, now["optimizer"], now["params"], rates)
        return {
            "params": params, "buffers": buffers[0] if buffers else now["buffers"], "optimizer": optimizer,
            "step": now["step"] + 1, "key": now["key"],
        }

    return step


def make_forward(trial: "Training", module: "torch.nn.Module") -> "Callable[..., torch.Tensor]":
    """The model's outputs as it is measured: (state, split, rows) → (rows, outputs)."""

    def forward(now: "State", split: Split, rows: "torch.Tensor") -> "torch.Tensor":
        return _outputs(trial, module, now, split.take(rows)[0])

    return forward


def _outputs(
    trial: "Training", module: "torch.nn.Module", now: "State", inputs: "torch.Tensor", params: Any = None
) -> "torch.Tensor":
    import torch

    module.eval()
    params = evaluated(trial.optimizer, now["optimizer"], now["params"]) if params is None else params
    return torch.func.functional_call(module, {**params, **now["buffers"]}, (inputs,))


def make_score(trial: "Training", which: Iterable[int]) -> "Callable[..., dict[str, torch.Tensor]]":
    """Some metrics of outputs on one split: (outputs, split) → name → 0-d tensor."""
    chosen = [m for m in (bare(trial.metrics[i]) for i in which) if isinstance(m, OutputMetric)]

    def score(outputs: "torch.Tensor", split: Split) -> "dict[str, torch.Tensor]":
        targets = split.take(split.rows)[1]
        return {m.name: one_number(m.name, m.measure(outputs, targets, trial.loss)) for m in chosen}

    return score


def cut(measure: "Callable[..., dict[str, torch.Tensor]]") -> "Callable[..., dict[str, torch.Tensor]]":
    """The same of (…, split, n) with the first n rows of the split alone, and of its outputs where it takes these."""

    def of_some(first: Any, split: Split, n: "torch.Tensor") -> "dict[str, torch.Tensor]":
        some = first if isinstance(first, Mapping) else first[:n]
        return measure(some, split._replace(rows=split.rows[:n]))

    return of_some


def make_itemise(trial: "Training", names: Iterable[str]) -> "Callable[..., dict[str, torch.Tensor]]":
    """Metrics of each sample of a split, by name: (outputs, split) → name → (n,), NaN where an output is not finite."""
    chosen = [m for m in map(bare, trial.metrics) if m.name in names and isinstance(m, ItemMetric)]

    def itemise(outputs: "torch.Tensor", split: Split) -> "dict[str, torch.Tensor]":
        targets = split.take(split.rows)[1]
        return {m.name: where_finite(m.measure_items(outputs, targets, trial.loss), outputs) for m in chosen}

    return itemise


def make_inspect(
    trial: "Training", module: "torch.nn.Module", which: Iterable[int]
) -> "Callable[..., dict[str, torch.Tensor]]":
    """Some metrics of weights, of the loss and of the network: (measured state, train split) → name → 0-d tensor."""
    chosen = [(i, bare(trial.metrics[i])) for i in which]

    def inspect(now: "State", train: Split) -> "dict[str, torch.Tensor]":
        params, found = now["params"], {}
        for i, m in chosen:
            if isinstance(m, WeightMetric):
                found[f"weights/{m.name}"] = one_number(m.name, m.measure_weights(params))
            elif isinstance(m, LossMetric):
                objective, key = make_objective(trial, module, m, now, train), noise.fold(now["key"], -1 - i)
                found[f"train/{m.name}"] = one_number(m.name, m.measure_loss(objective, params, key))
            elif isinstance(m, NetworkMetric):
                network, inputs = make_network(trial, module, now), train.take(train.rows[: m.samples])[0]
                found[f"train/{m.name}"] = one_number(m.name, m.measure_network(network, params, inputs))
        return found

    return inspect


def make_measured(trial: "Training") -> "Callable[[State], State]":
    """What is measured of a state, in the same form for all optimizers: state → params, buffers, key."""

    def measured(now: "State") -> "State":
        params = evaluated(trial.optimizer, now["optimizer"], now["params"])
        return {"params": params, "buffers": now["buffers"], "key": now["key"]}

    return measured


def make_objective(
    trial: "Training", module: "torch.nn.Module", metric: LossMetric, now: "State", train: Split
) -> "Callable[[Any], torch.Tensor]":
    """The mean loss of the samples that a metric asks for, or of each of its batches: params → 0-d or (batches,)."""
    inputs, targets = train.take(train.rows[: metric.samples])
    batches: int | None = getattr(metric, "batches", None)

    def objective(params: Any) -> "torch.Tensor":
        losses = trial.loss(_outputs(trial, module, now, inputs, params), targets)
        return losses.mean() if batches is None else losses.unflatten(0, (batches, -1)).mean(dim=1)

    return objective


def make_network(
    trial: "Training", module: "torch.nn.Module", now: "State"
) -> "Callable[[Any, torch.Tensor], torch.Tensor]":
    """The model's outputs as it is measured: (params, inputs) → outputs."""
    return lambda params, inputs: _outputs(trial, module, now, inputs, params)


def make_first(trial: "Training", module: "torch.nn.Module") -> "Callable[[State], State]":
    """What is kept of a state, before its objective was measured: state → score, step, parameters and buffers."""
    import torch

    names = module.state_dict()

    def first(now: "State") -> "State":
        after = {**evaluated(trial.optimizer, now["optimizer"], now["params"]), **now["buffers"]}
        kept = {name: after[name].clone() for name in names if name in after}
        return {"score": now["step"].new_full((), math.inf, dtype=torch.float64), "step": now["step"].clone(),
                "state": kept}

    return first


def make_better(trial: "Training", module: "torch.nn.Module", sign: int) -> "Callable[..., State]":
    """The better of two: (what is kept so far, state, its objective) → what is kept; only what is finite is better.

    sign: 1 when smaller is better, −1 when larger is.
    """
    import torch

    first = make_first(trial, module)

    def better(kept: "State", now: "State", objective: "torch.Tensor") -> "State":
        new = {**first(now), "score": sign * objective.to(torch.float64)}
        improved = (new["score"] < kept["score"]) & new["score"].isfinite()
        return torch.utils._pytree.tree_map(lambda a, b: torch.where(improved, a, b), new, kept)

    return better


def one_number(name: str, measured: "torch.Tensor") -> "torch.Tensor":
    """What a metric measured; raises TypeError when it is not one number."""
    if measured.ndim != 0:
        raise TypeError(
            f"The metric {name!r} gives a tensor of shape {tuple(measured.shape)}; it must be one number, say its mean."
        )
    return measured


class Programs:
    """The computations of one shape of trial on one device; alone: one member after the other, not vectorised."""

    def __init__(self, trial: "Training", module: "torch.nn.Module", device: str, alone: bool) -> None:
        from dlx.vectorise import one_by_one, vectorise, vectorise_by_rows, vectorise_step

        self.module = module.to(device=device, dtype=stored_as(trial.dtype))
        self.trial = replace(
            trial, optimizer=shelf.without_hyperparameters(trial.optimizer),
            schedule=shelf.without_hyperparameters(trial.schedule),
            augment=tuple(shelf.without_hyperparameters(a) for a in trial.augment),
        )
        self._together = one_by_one if alone else vectorise
        self.step = (one_by_one if alone else vectorise_step)(make_step(self.trial, self.module, random=alone))
        self.forward = vectorise_by_rows(make_forward(self.trial, self.module), ROWS_AT_ONCE, self._together)
        self._scores: dict[tuple[tuple[int, ...], bool], Callable[..., Stacked]] = {}
        self._itemised: dict[tuple[str, ...], Callable[..., Stacked]] = {}
        self._measured, self._where = self._together(make_measured(self.trial)), (device, alone)
        self.first = self._together(make_first(self.trial, self.module))
        self._better: dict[int, Callable[..., Stacked]] = {}

    def score(self, which: tuple[int, ...], uneven: bool = False) -> "Callable[..., Stacked] | None":
        """Metrics of outputs among these places, None: there are none; uneven: a third argument is each one's rows."""
        which = tuple(i for i in which if isinstance(bare(self.trial.metrics[i]), OutputMetric))
        if not which:
            return None
        if (which, uneven) not in self._scores:
            self._scores[which, uneven] = self._measuring(make_score(self.trial, which), uneven)
        return self._scores[which, uneven]

    def _measuring(self, measure: "Callable[..., dict[str, torch.Tensor]]", uneven: bool) -> "Callable[..., Stacked]":
        """Of all members; where they have different numbers of rows, which no tensor holds, one after the other."""
        from dlx.vectorise import one_by_one

        return one_by_one(cut(measure)) if uneven else self._together(measure)

    def itemise(self, names: tuple[str, ...]) -> "Callable[..., Stacked]":
        """The metrics of these names, of each sample of a split."""
        if names not in self._itemised:
            self._itemised[names] = self._together(make_itemise(self.trial, names))
        return self._itemised[names]

    def better(self, sign: int) -> "Callable[..., Stacked]":
        """What is kept after one more measurement of an objective with this sign."""
        if sign not in self._better:
            self._better[sign] = self._together(make_better(self.trial, self.module, sign))
        return self._better[sign]

    def inspect(self, which: tuple[int, ...], uneven: bool = False) -> "Callable[..., Stacked] | None":
        """As ``score``, the metrics of weights, loss and network among these; recorded once for all optimizers."""
        kinds, trial = WeightMetric | LossMetric | NetworkMetric, self.trial
        chosen = tuple((i, m) for i, m in ((i, bare(trial.metrics[i])) for i in which) if isinstance(m, kinds))
        if not chosen:
            return None
        key = shelf.shape((trial.data, trial.model)), trial.loss, trial.dtype, chosen, uneven, self._where
        if key not in _inspections:
            if len(_inspections) == KEPT:
                del _inspections[next(iter(_inspections))]
            _inspections[key] = self._measuring(make_inspect(trial, self.module, [i for i, _ in chosen]), uneven)
        inspection = _inspections[key]
        return lambda now, train, *counts: inspection(self._measured(now), train, *counts)


_programs: dict[Hashable, Programs] = {}
_inspections: dict[Hashable, "Callable[..., Stacked]"] = {}
_alone: set[Hashable] = set()  # what cannot be vectorised


def programs(trial: "Training", module: "torch.nn.Module", device: str) -> Programs:
    """The computations of a trial's shape on a device, kept for later packs."""
    key = _key(trial, device)
    if key not in _programs:
        if len(_programs) == KEPT:
            del _programs[next(iter(_programs))]
        _programs[key] = Programs(trial, module, device, key in _alone)
    return _programs[key]


def fall_back(trial: "Training", device: str) -> None:
    """From now on compute trials of this shape one after the other."""
    _alone.add(_key(trial, device))
    _programs.pop(_key(trial, device), None)


def _key(trial: "Training", device: str) -> Hashable:
    """What trials must agree in to be computed alike: how long they train matters to a schedule alone."""
    steps = 1 if isinstance(trial.schedule, Constant) else trial.steps
    return replace(trial, steps=steps, measure=1, watch=None).shape(), device
