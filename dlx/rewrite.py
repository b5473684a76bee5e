"""Rewrites of a recorded computation that leave its numbers as they are, to rounding, and its operations fewer."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.fx import Graph, GraphModule, Node

from dlx.device import out_of_memory
from dlx.recording import Operation, meta, record

aten = torch.ops.aten
RESHAPES = {aten.view.default, aten._unsafe_view.default, aten.expand.default}
PRODUCTS = {aten.mul.Tensor, aten.mul.Scalar}
FILLS = {
    aten.ones_like.default: 1, aten.zeros_like.default: 0, aten.new_zeros.default: 0, aten.new_ones.default: 1,
}


def first_pure(functions: Sequence[Callable[..., Any]], leaves: Sequence[torch.Tensor]) -> GraphModule:
    """The operations of the first of some functions, which all do the same, that can be recorded and is pure.

    Raises what hindered the first one where there is none.
    """
    hindered: Exception | None = None
    for function in functions:
        try:
            recording = record(function, leaves)
        except Exception as e:
            if out_of_memory(e):
                raise
            hindered = hindered or e
        else:
            if pure(recording):
                return recording
    raise hindered or TypeError("It changes tensors in place in a way that cannot be undone.")


def simplify(recording: GraphModule) -> None:
    """Take out of a pure recording what changes nothing or is computed twice; join what one operation can do."""
    rewrites = (_forget_what_is_filled, _drop_identity, _share, _scatter_onto, _accumulate, _add_to_product)
    for rewrite in rewrites:
        seen: dict[Any, Operation] = {}
        for node in list(recording.graph.nodes):
            if node.op == "call_function" and meta(node) is not None:
                rewrite(node, seen)
        recording.graph.eliminate_dead_code()
    recording.recompile()


def pure(recording: GraphModule) -> bool:
    """Whether no operation changes its arguments, so that operations may be shared and told where to put results."""
    calls = [node.target for node in recording.graph.nodes if node.op == "call_function"]
    return not any(call._schema.is_mutable for call in calls if isinstance(call, torch._ops.OpOverload))


def without_zeros(recording: GraphModule, zero: Sequence[bool]) -> GraphModule:
    """A copy that leaves out what is multiplied by arguments known to be zero."""
    graph = Graph()
    graph.output(graph.graph_copy(recording.graph, {}))
    copy = GraphModule(recording, graph)
    nodes: list[Operation] = list(copy.graph.nodes)
    places = [node for node in nodes if node.op == "placeholder"]
    zeros = {node for node, is_zero in zip(places, zero, strict=True) if is_zero}
    for node in nodes:
        if node.target in RESHAPES and node.args[0] in zeros:
            zeros.add(node)
        elif node.target == aten.addcmul.default and zeros.intersection(node.args[1:]) and _same(node, node.args[0]):
            node.replace_all_uses_with(node.args[0])
    copy.graph.eliminate_dead_code()
    copy.recompile()
    return copy


def _same(a: Any, b: Any) -> bool:
    """Whether both are tensors of one shape and type."""
    first, second = meta(a), meta(b)
    return first is not None and second is not None and (first.shape, first.dtype) == (second.shape, second.dtype)


def _replace(node: Operation, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any] | None = None) -> None:
    """Compute a node in another way."""
    node.target, node.args, node.kwargs = target, args, kwargs or {}


def _forget_what_is_filled(node: Operation, seen: dict[Any, Operation]) -> None:
    """``ones_like(x)`` needs the shape of x, not its numbers."""
    known = meta(node)
    if node.target in FILLS and known is not None:
        options = {"dtype": known.dtype, "device": known.device}
        _replace(node, aten.full.default, (list(known.shape), FILLS[node.target]), options)


def _drop_identity(node: Operation, seen: dict[Any, Operation]) -> None:
    """Reshapes to the same shape, products with 1, a transposition and its inverse."""
    source = node.args[0] if node.args else None
    if not isinstance(source, Node):
        return
    both_transpose = node.target == source.target == aten.transpose.int
    if both_transpose and set(_axes(node)) == set(_axes(source)):
        node.replace_all_uses_with(source.args[0])
    reshaped = node.target in RESHAPES
    times_one = node.target in PRODUCTS and isinstance(node.args[1], int | float) and node.args[1] == 1
    if (reshaped or times_one) and _same(node, source):
        node.replace_all_uses_with(source)


def _axes(node: Operation) -> list[int]:
    """The axes that a transposition exchanges, counted from the front."""
    known = meta(node)
    assert known is not None
    return [axis % len(known.shape) for axis in node.args[1:]]


def _share(node: Operation, seen: dict[Any, Operation]) -> None:
    """What was computed before is not computed again."""
    first = seen.setdefault((node.target, repr(node.args), repr(node.kwargs)), node)
    if first is not node:
        node.replace_all_uses_with(first)


def _scatter_onto(node: Operation, seen: dict[Any, Operation]) -> None:
    """x + scatter_add(0, …) is scatter_add(x, …)."""
    if node.target != aten.add.Tensor or node.kwargs:
        return
    for scattered, other in (node.args, node.args[::-1]):
        if _only_for(scattered, node, {aten.scatter_add.default}) and _same(node, other) and _same(node, scattered):
            base = scattered.args[0]
            if base.target == aten.full.default and base.args[1] == 0:
                _replace(node, aten.scatter_add.default, (other, *scattered.args[1:]))
                return


def _accumulate(node: Operation, seen: dict[Any, Operation]) -> None:
    """x ± a·b is addcmul(x, a, b)."""
    if node.target not in (aten.add.Tensor, aten.sub.Tensor) or node.kwargs:
        return
    sign = 1 if node.target == aten.add.Tensor else -1
    for product, other in ((node.args[1], node.args[0]), node.args)[: 2 if sign == 1 else 1]:
        if not _only_for(product, node, PRODUCTS) or not _floating(node, other, product):
            continue
        a, b = product.args
        if _floating(node, a, b):
            _replace(node, aten.addcmul.default, (other, a, b), {} if sign == 1 else {"value": sign})
            return
        if isinstance(b, int | float) and _floating(node, a):
            _replace(node, aten.add.Tensor, (other, a), {"alpha": sign * b})
            return


def _add_to_product(node: Operation, seen: dict[Any, Operation]) -> None:
    """x + A·B of batches of matrices is baddbmm(x, A, B)."""
    if node.target != aten.add.Tensor or node.kwargs:
        return
    for product, other in (node.args, node.args[::-1]):
        if _only_for(product, node, {aten.bmm.default}) and _same(node, product) and _floating(node, other):
            _replace(node, aten.baddbmm.default, (other, *product.args))
            return


def _only_for(value: Any, user: Operation, targets: set[Any]) -> bool:
    """Whether a value is what one of these operations gives, and nobody else uses it."""
    return isinstance(value, Node) and value.target in targets and list(value.users) == [user]


def _floating(node: Operation, *others: Any) -> bool:
    """Whether all are tensors of the node's floating-point type."""
    known = meta(node)
    if known is None or not known.dtype.is_floating_point:
        return False
    return all((m := meta(other)) is not None and m.dtype == known.dtype for other in others)
