"""A recorded step replayed on the spot: each result goes to memory set aside once, the next state onto the state.

What depends on constants alone is computed once; what depends on the input alone, when the input changes. Views cost
nothing, because the memory that they look at stays where it is.
"""

import operator
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node
from torch.fx.node import map_arg
from torch.utils._pytree import tree_leaves

aten = torch.ops.aten
CONSTANT, INPUT, STATE = range(3)  # what a value depends on: the highest of what it is computed from

Call = Callable[[], Any]
Way = Callable[[Any, Any, Any], Call]  # from arguments, keyword arguments and the memory of the result


class Plan:
    """What is known of a recording before there are numbers: what depends on what, and what is used until when.

    kinds: of each argument of the recording; its results replace the first of them, one by one.
    """

    def __init__(self, recording: GraphModule, kinds: Sequence[int]) -> None:
        self.recording = recording
        self.nodes = [node for node in recording.graph.nodes if node.op in ("call_function", "get_attr")]
        self.places = [node for node in recording.graph.nodes if node.op == "placeholder"]
        self.results: tuple[Node, ...] = tuple(recording.graph.output_node().args[0])  # type: ignore[arg-type]
        self.kind: dict[Node, int] = dict(zip(self.places, kinds, strict=True))
        self.owner: dict[Node, Node] = {node: node for node in self.places}  # of the memory in which a value lies
        self.last: dict[Node, int] = dict.fromkeys(self.places, -1)  # use of the memory of an owner
        self.ways: dict[Node, Way] = {}
        for i, node in enumerate(self.nodes):
            sources = node.all_input_nodes
            self.kind[node] = max((self.kind[source] for source in sources), default=CONSTANT)
            self.owner[node] = self.owner[sources[0]] if is_view(node) else node
            self.last |= {self.owner[used]: i for used in (node, *sources)}
        self.last |= {self.owner[node]: len(self.nodes) for node in self.results}
        self.ending: dict[int, list[Node]] = {}  # the owners of which an operation is the last use
        for owner, i in self.last.items():
            self.ending.setdefault(i, []).append(owner)


def is_view(node: Node) -> bool:
    """Whether what a node gives lies in the memory of its first argument."""
    return node.target in (operator.getitem, aten._unsafe_view.default) or getattr(node.target, "is_view", False)


class Replay:
    """A step on memory of its own; made from the leaves of a state, whose first step it does, of input and constants.

    state: the leaves of the state after the last step, overwritten by the next one.
    """

    def __init__(
        self, plan: Plan, state: Sequence[Tensor], inputs: Sequence[Tensor], constants: Sequence[Tensor]
    ) -> None:
        self.state = [leaf.clone(memory_format=torch.contiguous_format) for leaf in state]
        self._inputs = [leaf.clone(memory_format=torch.contiguous_format) for leaf in inputs]
        self._given = tuple(inputs)
        self._of_input: list[Call] = []
        self._of_step: list[Call] = []
        self._plan = plan
        self._values: dict[Node, Any] = dict(zip(plan.places, [*self.state, *self._inputs, *constants], strict=True))
        self._held: dict[Node, Tensor] = {}  # by owner, flat: memory that is free after its last use
        self._free: dict[tuple[int, torch.dtype], list[Tensor]] = {}
        for i, node in enumerate(plan.nodes):
            self._values[node] = self._bind(i, node)
            for owner in plan.ending.get(i, ()):
                if (memory := self._held.pop(owner, None)) is not None:
                    self._free.setdefault((memory.numel(), memory.dtype), []).append(memory)
        self._write_back()
        del self._plan, self._values, self._held, self._free

    def step(self, inputs: Sequence[Tensor]) -> None:
        """Replace the state by the next one."""
        if any(new is not old for new, old in zip(inputs, self._given, strict=True)):
            self._given = tuple(inputs)
            for memory, new in zip(self._inputs, inputs, strict=True):
                memory.copy_(new)
            for call in self._of_input:
                call()
        for call in self._of_step:
            call()

    def _bind(self, i: int, node: Node) -> Any:
        """Compute a node for the first time and note how to do so again; returns its value."""
        plan = self._plan
        if node.op == "get_attr":
            return getattr(plan.recording, str(node.target))
        args, kwargs = map_arg((node.args, node.kwargs), self._values.__getitem__)
        result = node.target(*args, **kwargs)  # type: ignore[operator]
        if plan.kind[node] == CONSTANT or is_view(node):
            return result
        if node not in plan.ways:
            plan.ways[node] = way(node.target, args, kwargs, result)
        memory, calls = result, self._of_input
        if plan.kind[node] == STATE:
            calls = self._of_step
            if isinstance(result, Tensor):
                memory = self._memory(i, node, (args, kwargs), result)
                memory.copy_(result)
        calls.append(plan.ways[node](args, kwargs, memory))
        return memory

    def _memory(self, i: int, node: Node, arguments: Any, result: Tensor) -> Tensor:
        """Where a result goes: onto the state it replaces, an operand that is used no more, what is free, or anew."""
        plan = self._plan
        for place, following, memory in zip(plan.places, plan.results, self.state, strict=False):
            replaced = following is node and plan.last[place] <= i
            if replaced and alike(memory, result) and writable(node, arguments, memory):
                return memory
        size = result.numel(), result.dtype
        if result.untyped_storage().nbytes() != result.nbytes:
            return result
        for owner in {plan.owner[source] for source in node.all_input_nodes}.intersection(plan.ending.get(i, ())):
            held = self._held.get(owner)
            if held is not None and (held.numel(), held.dtype) == size:
                memory = held.as_strided(result.size(), result.stride())
                if writable(node, arguments, memory):
                    self._held[node] = self._held.pop(owner)
                    return memory
        free = self._free.get(size)
        self._held[node] = free.pop() if free else result.as_strided((result.numel(),), (1,))
        return self._held[node].as_strided(result.size(), result.stride())

    def _write_back(self) -> None:
        """Copy results that are not where the state lies there, now and at the end of each step."""
        late: list[Call] = []
        for memory, node in zip(self.state, self._plan.results, strict=True):
            value = self._values[node]
            if value is memory:
                continue
            if any(shares(value, other) for other in self.state):
                aside = value.clone()
                self._of_step.append(partial(aside.copy_, value))
                value = aside
            late.append(partial(memory.copy_, value))
        for call in late:
            call()
        self._of_step += late


def shares(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors lie in the same memory."""
    return a.untyped_storage().data_ptr() == b.untyped_storage().data_ptr()


def alike(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors are laid out in the same way."""
    return (a.shape, a.stride(), a.dtype) == (b.shape, b.stride(), b.dtype)


def writable(node: Node, arguments: Any, memory: Tensor) -> bool:
    """Whether an operation may put its result here: where it reads, it must do so number by number."""
    tensors = [leaf for leaf in tree_leaves(arguments) if isinstance(leaf, Tensor)]
    sharing = [tensor for tensor in tensors if shares(tensor, memory)]
    if node.target == aten.scatter_add.default:
        by_number = all(tensor is tensors[0] for tensor in sharing)
    else:
        by_number = torch.Tag.pointwise in node.target.tags  # type: ignore[union-attr]
    return not sharing or (by_number and all(
        tensor.data_ptr() == memory.data_ptr() and alike(tensor, memory) for tensor in sharing))


def way(target: Any, args: Any, kwargs: Any, result: Any) -> Way:
    """How an operation is told where to put its result; the quickest of the ways it knows."""
    if isinstance(result, Tensor):
        if target in WAYS:
            return WAYS[target]
        quick = getattr(torch, target._schema.name.partition("::")[2], None)  # a third of the overhead of torch.ops
        if quick is not None and takes_out(quick, args, kwargs, result):
            return lambda args, kwargs, memory: partial(quick, *args, **kwargs, out=memory)
        if (found := with_out(target)) is not None:
            overload, name = found
            return lambda args, kwargs, memory: partial(overload, *args, **kwargs, **{name: memory})
    return lambda args, kwargs, memory: partial(copied, partial(target, *args, **kwargs), memory)


def takes_out(function: Callable[..., Any], args: Any, kwargs: Any, result: Tensor) -> bool:
    """Whether a function of PyTorch's takes where to put its result."""
    try:
        function(*args, **kwargs, out=torch.empty_like(result))
    except TypeError:
        return False
    return True


def with_out(target: Any) -> tuple[Any, str] | None:
    """The overload of an operation that takes where to put its one result, and the name of that argument."""
    wanted = [(a.name, str(a.type)) for a in target._schema.arguments]
    packet = target.overloadpacket
    for overload in (getattr(packet, name) for name in packet.overloads()):
        arguments = overload._schema.arguments
        out = [a.name for a in arguments if a.is_out]
        if len(out) == 1 and [(a.name, str(a.type)) for a in arguments if not a.is_out] == wanted:
            return overload, out[0]
    return None


def copied(call: Call, memory: Any) -> None:
    """For operations that know no other way: compute, and copy what comes out."""
    for old, new in zip(tree_leaves(memory), tree_leaves(call()), strict=True):
        if isinstance(old, Tensor):
            old.copy_(new)


def _looked_up(args: Any, kwargs: Any, memory: Tensor) -> Call:
    table, rows = args[:2]
    if not rows.is_contiguous():
        return partial(copied, partial(aten.embedding.default, *args, **kwargs), memory)
    return partial(torch.index_select, table, 0, rows.view(-1), out=memory.view(-1, table.shape[1]))


WAYS: dict[Any, Way] = {
    aten.embedding.default: _looked_up,
    aten.relu.default: lambda args, kwargs, memory: partial(torch.clamp_min, *args, 0, out=memory),
    aten.clone.default: lambda args, kwargs, memory: partial(memory.copy_, args[0]),
    aten._to_copy.default: lambda args, kwargs, memory: partial(memory.copy_, args[0]),
}
