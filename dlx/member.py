"""One trial before its first step: everything that is drawn from its seed."""

import math
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dlx import shelf
from dlx.data import Split
from dlx.errors import DeclarationError
from dlx.precision import stored_as

if typing.TYPE_CHECKING:
    import torch

    from dlx.context import Context
    from dlx.training import Training


@dataclass(frozen=True)
class Member:
    """A trial's module, its splits, the order of its batches, its hyperparameters and the state before step 0."""

    module: "torch.nn.Module"
    splits: dict[str, Split]
    order: "Order"
    hyper: dict[str, Any]
    state: dict[str, Any]  # params, buffers, optimizer, step, key


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


def begin(trial: "Training", ctx: "Context") -> Member:
    """Streams of the seed: ``data``, ``noise``, ``init``, ``order``, and ``step`` for what is random in steps."""
    import torch

    splits = dict(trial.data.load(ctx))
    if unknown := set(trial.watch or ()) - set(splits):
        raise DeclarationError(f"watch has {sorted(unknown)[0]!r}; the data has the splits {', '.join(splits)}.")
    module = initial(trial, ctx)
    params = {name: p.detach() for name, p in module.named_parameters() if p.requires_grad}
    frozen = {name: p.detach() for name, p in module.named_parameters() if not p.requires_grad}
    state = {
        "params": params, "buffers": {**frozen, **dict(module.named_buffers())},
        "optimizer": trial.optimizer.init(params),
        "step": torch.tensor(0), "key": torch.tensor(ctx.generator("step").initial_seed()),
    }
    return Member(module, splits, Order(splits["train"].rows, trial.batch_size, ctx.generator("order")),
                  hyperparameters(trial), state)


def hyperparameters(trial: "Training") -> dict[str, Any]:
    """What may differ between members inside a step, by part and name."""
    return {
        "optimizer": shelf.hyperparameters(trial.optimizer), "schedule": shelf.hyperparameters(trial.schedule),
        "augment": [shelf.hyperparameters(a) for a in trial.augment],
    }


def with_weights(trial: "Training", ctx: "Context", state: "Mapping[str, torch.Tensor]") -> "torch.nn.Module":
    """The module of a trial in eval mode with these parameters and buffers; what is not kept is as it was drawn.

    Raises RuntimeError where they do not fit the model.
    """
    module = initial(trial, ctx).to(dtype=stored_as(trial.dtype)).eval()
    own = {name for name, _ in (*module.named_parameters(), *module.named_buffers())}
    missing, unexpected = module.load_state_dict(state, strict=False)
    if wrong := [*(own & set(missing)), *unexpected]:
        raise RuntimeError(f"{', '.join(sorted(wrong))} only on one side")
    return module


def initial(trial: "Training", ctx: "Context") -> "torch.nn.Module":
    """The model as it is before the first step: drawn from the stream ``init``, or with the parent's parameters."""
    import torch

    from dlx.models.stateless import stateless

    with torch.random.fork_rng(devices=[]):
        torch.set_rng_state(ctx.generator("init").get_state())
        module = stateless(trial.model.build(trial.data.dimensions()))
    parent = ctx.parent() if trial.parent is not None else None
    if parent is not None:
        module.load_state_dict(parent, assign=True)
    return module
