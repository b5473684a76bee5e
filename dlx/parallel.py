"""Data-parallel training: several processes take the steps of one trial together, each on its part of a mini-batch.

All draw the mini-batch that one process would draw. Each gives its part to the model and computes the gradient of its
share of the mean loss; ``all_reduce`` adds these up to the gradient of the whole, before the optimizer sees it, so that
every process takes the very step of one process, also where an optimizer asks for several gradients in a step (SAM).
``DistributedDataParallel`` hangs on hooks of ``loss.backward()``, which ``torch.func.grad`` has not; since optimizers
are pure functions of a gradient, nothing more is needed. The first process measures and writes; the others follow.
"""

import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dlx.context import Context, Place
from dlx.device import out_of_memory
from dlx.errors import DeclarationError
from dlx.worker import Stopped

if typing.TYPE_CHECKING:
    import torch

    from dlx.loop import Loop
    from dlx.optim.base import Gradient, State, Tensors
    from dlx.pack import Pack
    from dlx.stacking import Stacked
    from dlx.trial import Trial

CLOSE = {"float64": 1e-6, "float32": 1e-2, "bfloat16": 5e-2, "tf32": 2e-2}  # share of a gradient's norm, by rounding


class Severed(Stopped):
    """Another process of the group is gone: the trial ends without a row, and can be resumed."""


def check_workers(trial: "Trial", workers: int, stopping: Sequence[str] = ()) -> None:
    """Raise DeclarationError where a trial cannot be trained by so many processes; markers in it are not looked at.

    stopping: names of what in the study would end trials early.
    """
    from dlx.training import Training

    asked = f"resources asks for {workers} workers"
    if not isinstance(trial, Training):
        raise DeclarationError(f"{asked}, but {type(trial).__name__} is no dlx.Training and runs in one process; leave "
                               "workers out, or give resources as a function of the trial.")
    if stopping:
        raise DeclarationError(f"{asked}, but {stopping[0]} stops trials early that one process trains; leave one of "
                               "them out.")
    if isinstance(trial.batch_size, int) and trial.batch_size < workers:
        raise DeclarationError(f"{asked}, but batch_size is {trial.batch_size}; give each worker one sample at least.")


def follow(pack: "Pack", device: str, group: "Group") -> None:
    """Take the steps of a pack's one trial in a process that is not the first; raises what hinders it."""
    from dlx.loop import Loop
    from dlx.member import begin

    (member,) = pack.members
    trial: Any = member.trial
    ctx = Context(member.seed, device, Place(pack.folder, member.key, member.parent))
    ctx.group = group
    Loop(trial, [begin(trial, ctx)], [ctx]).advance(trial.steps)


class Group:
    """The processes of PyTorch's default group, which train one trial: this one's ``rank`` among ``size``."""

    def __init__(self) -> None:
        import torch.distributed as dist

        self.rank, self.size = dist.get_rank(), dist.get_world_size()
        self.whole_rows = self.part_rows = 0  # of the mini-batch that the model is at, and of this process's part

    @property
    def leads(self) -> bool:
        """Whether this process measures and writes."""
        return self.rank == 0

    def part(self, whole: "torch.Tensor") -> "torch.Tensor":
        """What of a mini-batch, (batch, ...), is this process's: parts differ by one row at most."""
        return whole.tensor_split(self.size)[self.rank]

    # ------------------------------------------------------------ what goes between processes

    def add(self, tensor: "torch.Tensor") -> "torch.Tensor":
        """The sum over all processes, the same numbers in each."""
        return _added(tensor.clone().contiguous())

    def add_all(self, tensors: "Tensors") -> "Tensors":
        """The sums of tensors of one dtype, in one exchange."""
        import torch

        flat = _added(torch.cat([t.reshape(-1) for t in tensors.values()]))
        parts = flat.split([t.numel() for t in tensors.values()])
        return {name: part.view(t.shape) for (name, t), part in zip(tensors.items(), parts, strict=True)}

    def as_first(self, done: int, now: "Stacked") -> tuple[int, "Stacked"]:
        """Steps and state of the first process, which alone looks for a snapshot."""
        import torch
        import torch.distributed as dist

        from dlx.stacking import Stacked

        leaves = [torch.tensor(done, device=now.leaves[0].device), *(leaf.clone().contiguous() for leaf in now.leaves)]
        for leaf in leaves:
            _exchange(lambda leaf=leaf: dist.broadcast(leaf, 0))  # type: ignore[misc]
        return int(leaves[0]), Stacked(tuple(leaves[1:]), now.form)

    # ------------------------------------------------------------ the step

    def step(self, loop: "Loop") -> "Callable[..., Stacked]":
        """The step of a loop with one member, taken together; tried on a few rows first.

        Raises DeclarationError where the gradients of parts do not add up to that of a whole mini-batch.
        """
        from dlx.across import share_layers
        from dlx.programs import make_step
        from dlx.stacking import LEAF, stacked, unstack
        from dlx.vectorise import one_by_one

        trial, module = loop.programs.trial, loop.programs.module
        trying = replace(typing.cast(Any, trial), optimizer=_Gradient())
        rows = loop.rows["train"].leaves[0].view(1, -1)[:, : 2 * self.size + 1]
        few = loop.now, stacked([rows], [0], LEAF), loop.splits["train"], loop.hyper
        alone = one_by_one(make_step(trying, module, random=True))(*few)
        module.register_forward_pre_hook(self._take_part)
        share_layers(module, self)
        together = one_by_one(make_step(self._shared(trying), module, random=False))(*few)
        if not _agree(unstack(alone, 1)[0], unstack(together, 1)[0], CLOSE[trial.dtype]):
            raise DeclarationError(
                f"{type(trial.model).__name__} cannot be trained by {self.size} workers, for the gradients over parts "
                "of a mini-batch do not add up to that of the whole: something in it mixes samples, or draws random "
                "numbers of its own; leave workers out, or use layers of torch.nn for it."
            )
        return one_by_one(make_step(self._shared(trial), module, random=False))

    def _take_part(self, module: "torch.nn.Module", inputs: Any) -> Any:
        if not module.training:
            return None
        part = self.part(inputs[0])
        self.whole_rows, self.part_rows = len(inputs[0]), len(part)
        return (part, *inputs[1:])

    def _shared(self, trial: Any) -> Any:
        """The trial with this process's share of the loss, and the sum of all gradients."""
        return replace(trial, loss=_Share(self, trial.loss), optimizer=_Added(self, trial.optimizer))


@dataclass(frozen=True)
class _Share:
    """A loss of a part of a mini-batch, weighted so that the means of all parts add up to that of the whole."""

    group: Group
    inner: Any

    def __call__(self, outputs: "torch.Tensor", targets: "torch.Tensor") -> "torch.Tensor":
        return self.inner(outputs, self.group.part(targets)) * (len(outputs) / len(targets))


@dataclass(frozen=True)
class _Added:
    """An optimizer's rule on the gradient of the whole mini-batch."""

    group: Group
    inner: Any

    def update(
        self, gradient: "Gradient", state: "State", params: "Tensors", hyper: Mapping[str, Any]
    ) -> "tuple[Tensors, State]":
        return self.inner.update(lambda params: self.group.add_all(gradient(params)), state, params, hyper)


@dataclass(frozen=True)
class _Gradient:
    """A rule whose step gives the gradient in the place of the parameters."""

    def update(
        self, gradient: "Gradient", state: "State", params: "Tensors", hyper: Mapping[str, Any]
    ) -> "tuple[Tensors, State]":
        return gradient(params), state


def _agree(one: "State", other: "State", close: float) -> bool:
    """Whether two states have the same parameters and the same buffers, but for rounding."""
    return _same(one["params"], other["params"], close) and _same(one["buffers"], other["buffers"], close)


def _same(ones: "Tensors", others: "Tensors", close: float) -> bool:
    """Whether whole numbers are equal, and the others, taken together, up to a share; NaN is not judged."""
    error = scale = 0.0
    for name, one in ones.items():
        if not one.is_floating_point() and not one.equal(others[name]):
            return False
        if one.is_floating_point():
            error += float((one.double() - others[name].double()).square().sum())
            scale += float(one.double().square().sum())
    return not error > close**2 * scale


def _added(tensor: "torch.Tensor") -> "torch.Tensor":
    """The same tensor, with the sum over all processes in it."""
    import torch.distributed as dist

    _exchange(lambda: dist.all_reduce(tensor))
    return tensor


def _exchange(call: "Callable[[], Any]") -> None:
    """What all processes do together; raises Severed where one of them is gone."""
    try:
        call()
    except RuntimeError as e:
        if out_of_memory(e):
            raise
        raise Severed(next(iter(str(e).splitlines()), type(e).__name__)) from e
