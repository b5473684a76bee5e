"""The only place, beside ``stacking``, where a pack axis exists: what is written for one model
becomes one computation for all members.

A function of one member's trees is vectorised by ``torch.func.vmap`` and recorded once as a flat list of tensor
operations, because replaying that costs a fraction of what ``vmap`` and ``grad`` cost anew at every step.
"""

import contextlib
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.fx import GraphModule
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

from dlx.device import out_of_memory
from dlx.replay import CONSTANT, INPUT, STATE, Plan, Replay
from dlx.rewrite import first_pure, simplify, without_zeros
from dlx.stacking import LEAF, Form, Stacked, stack, stacked

AHEAD = 1 << 20  # indices that are drawn ahead, over all members


class Order(Protocol):
    """Which rows one member trains on at each step: ``batch`` of them, ``always`` the same ones or drawn in order."""

    batch: int
    always: Tensor | None

    def take(self, steps: int) -> Tensor:
        """The rows of the next steps, (steps, batch) int64."""


class NotVectorisable(Exception):
    """A function does what cannot be done for all members at once; says what."""


def vectorise(function: Callable[..., Any]) -> Callable[..., Stacked]:
    """A function of one member's trees as a function of all members'; pure, and without randomness.

    The result raises NotVectorisable where the function does what ``torch.func.vmap`` refuses.
    """
    recordings: dict[tuple[Form, ...], tuple[GraphModule, Form]] = {}

    @torch.no_grad()
    def together(*arguments: Stacked) -> Stacked:
        forms = tuple(argument.form for argument in arguments)
        leaves = [leaf for argument in arguments for leaf in argument.leaves]
        if forms not in recordings:
            recordings[forms] = _record(function, forms, leaves)
        recording, result = recordings[forms]
        return Stacked(recording(*leaves), result)

    return together


@dataclass(frozen=True)
class Running(Stacked):
    """A state that its next step overwrites."""

    replay: Replay
    constants: tuple[Stacked, ...]


def vectorise_step(function: Callable[..., Any]) -> Callable[..., Stacked]:
    """As ``vectorise``, for (state, input, constants…) → next state, called again and again with what it gave.

    A state that it gave is overwritten when it is called with it; the first one is left alone. Constants are trees that
    are the same objects from call to call, and whose numbers stay.
    """
    recordings: dict[tuple[Form, ...], tuple[GraphModule, Form]] = {}
    plans: dict[tuple[tuple[Form, ...], tuple[bool, ...]], Plan] = {}

    @torch.no_grad()
    def begin(state: Stacked, inputs: Stacked, *constants: Stacked) -> Stacked:
        arguments = (state, inputs, *constants)
        forms = tuple(argument.form for argument in arguments)
        leaves = [leaf for argument in arguments for leaf in argument.leaves]
        if forms not in recordings:
            recordings[forms] = _record(function, forms, leaves)
        recording, result = recordings[forms]
        if result != state.form:
            return Stacked(tuple(recording(*leaves)), result)
        kinds = [STATE] * len(state.leaves) + [INPUT] * len(inputs.leaves)
        kinds += [CONSTANT] * (len(leaves) - len(kinds))
        zero = tuple(kind == CONSTANT and _is_zero(leaf) for kind, leaf in zip(kinds, leaves, strict=True))
        if (forms, zero) not in plans:
            plans[forms, zero] = Plan(without_zeros(recording, zero), kinds)
        fixed = leaves[len(state.leaves) + len(inputs.leaves) :]
        replay = Replay(plans[forms, zero], state.leaves, inputs.leaves, fixed)
        return Running(tuple(replay.state), result, replay, constants)

    @torch.no_grad()
    def step(state: Stacked, inputs: Stacked, *constants: Stacked) -> Stacked:
        if isinstance(state, Running) and all(a is b for a, b in zip(state.constants, constants, strict=True)):
            state.replay.step(inputs.leaves)
            return state
        return begin(state, inputs, *constants)

    return step


def _is_zero(leaf: Tensor) -> bool:
    """Whether one number of each member is zero for all of them."""
    return leaf.ndim == 1 and leaf.is_floating_point() and not leaf.any()


def one_by_one(function: Callable[..., Any]) -> Callable[..., Stacked]:
    """As ``vectorise``, for a function that cannot be vectorised: one member after the other."""

    @torch.no_grad()
    def each(*arguments: Stacked) -> Stacked:
        leaves = [leaf for argument in arguments for leaf in argument.leaves]
        axes = [axis for argument in arguments for axis in argument.form.axes]
        members = next(len(leaf) for leaf, axis in zip(leaves, axes, strict=True) if axis is not None)
        results = []
        for i in range(members):
            rest = iter(leaf if axis is None else leaf[i] for leaf, axis in zip(leaves, axes, strict=True))
            trees = [tree_unflatten([next(rest) for _ in a.form.axes], a.form.spec) for a in arguments]
            results.append(tree_flatten(function(*trees)))
        columns = [torch.stack(column) if members > 1 else column[0].unsqueeze(0)
                   for column in zip(*(flat for flat, _ in results), strict=True)]
        return stacked(columns, [0] * len(columns), results[0][1])

    return each


def vectorise_by_rows(
    function: Callable[..., Tensor], at_once: int, vectorise: Callable[..., Callable[..., Stacked]]
) -> Callable[..., Stacked]:
    """A vectorised function whose last argument is rows (n,) and whose result is (n, ...).

    at_once: so many rows are computed at a time, and the results are joined, which saves memory and caches.
    """
    together = vectorise(function)

    @torch.no_grad()
    def joined(*arguments: Stacked) -> Stacked:
        *others, rows = arguments
        (leaf,), (axis,) = rows.leaves, rows.form.axes
        along = 0 if axis is None else 1
        pieces = leaf.tensor_split(math.ceil(leaf.shape[along] / at_once), dim=along)
        parts = [together(*others, stacked([piece], [axis], LEAF)) for piece in pieces]
        return stacked([torch.cat([part.leaves[0] for part in parts], dim=1)], [0], LEAF)

    return joined


def _record(function: Callable[..., Any], forms: Sequence[Form], leaves: list[Tensor]) -> tuple[GraphModule, Form]:
    """The operations that a function of trees performs on stacked leaves, and the form of its result."""
    structure: list[TreeSpec] = []

    def flat(*one: Tensor) -> tuple[Tensor, ...]:
        rest = iter(one)
        trees = [tree_unflatten([next(rest) for _ in form.axes], form.spec) for form in forms]
        result, spec = tree_flatten(function(*trees))
        structure.append(spec)
        return tuple(result)

    axes = tuple(axis for form in forms for axis in form.axes)
    vmap, functional = partial(torch.func.vmap, in_dims=axes), torch.func.functionalize
    try:
        with _no_slow_loop():
            recording = first_pure([vmap(flat), vmap(functional(flat)), functional(vmap(flat))], leaves)
    except Exception as e:
        if out_of_memory(e):
            raise
        raise NotVectorisable(str(e)) from e
    simplify(recording)
    results = recording(*leaves)
    return recording, stacked(results, [0] * len(results), structure[0]).form


@contextlib.contextmanager
def _no_slow_loop() -> Iterator[None]:
    """An error where ``vmap`` would otherwise go through the members in a loop, operation by operation."""
    functorch: Any = torch._C._functorch
    before = functorch._is_vmap_fallback_enabled()
    functorch._set_vmap_fallback_enabled(False)
    try:
        yield
    finally:
        functorch._set_vmap_fallback_enabled(before)


def skip(orders: Sequence[Order], steps: int) -> None:
    """Draw the rows of so many steps for nothing."""
    for order in orders:
        if order.always is None:
            chunk = max(1, AHEAD // order.batch)
            for start in range(0, steps, chunk):
                order.take(min(chunk, steps - start))


def batches(orders: Sequence[Order], steps: int, device: str) -> Iterator[Stacked]:
    """For each step the rows of all members; drawn ahead, so that a step waits for no generator."""
    always = [order.always for order in orders]
    if always[0] is not None:
        yield from itertools.repeat(stack(always, device, torch.get_default_dtype()), steps)
        return
    chunk = max(1, AHEAD // (len(orders) * orders[0].batch))
    for start in range(0, steps, chunk):
        ahead = torch.stack([order.take(min(chunk, steps - start)) for order in orders], dim=1).to(device)
        first = stacked(ahead[:1].unbind(0), (0,), LEAF).form
        for rows in ahead.unbind(0):
            yield Stacked((rows,), first)
