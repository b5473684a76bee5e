"""Recording what a function does to tensors, as a flat list of operations.

PyTorch's own ``make_fx`` gives the same list, but loads its compiler first and describes each tensor anew: together
3 s of each process, for what takes a few hundredths of a second.
"""

import contextlib
import importlib
from collections.abc import Callable, Iterator, Sequence
from operator import getitem
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor
from torch.fx import Graph, GraphModule
from torch.fx.node import map_aggregate
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakTensorKeyDictionary

Operation: TypeAlias = Any  # a Node of torch.fx, whose arguments are of more types than can be told apart here


class Meta(NamedTuple):
    """What is known of a node's one tensor without its numbers; ``node.meta["tensor"]``."""

    shape: torch.Size
    dtype: torch.dtype
    device: torch.device


def meta(value: Any) -> Meta | None:
    """What is known of the one tensor that a node gives; None: it gives several, or the value is no node."""
    return value.meta.get("tensor") if isinstance(value, torch.fx.Node) else None


def record(function: Callable[..., Sequence[Tensor]], leaves: Sequence[Tensor]) -> GraphModule:
    """The operations of a function of tensors, below ``vmap`` and ``grad``; their order and numbers are the same.

    Raises RuntimeError where the function looks at a number that it computed from the leaves, or drew.
    """
    leaves = [leaf.detach() for leaf in leaves]  # each an object of its own, where two are the same tensor
    recorder = Recorder(leaves)
    with _compiler_away(), recorder:
        results = function(*leaves)
    return recorder.finish(results)


class _Away:
    """A module of PyTorch's compiler while that is not loaded; knows a few things, and loads it for all others."""

    def __init__(self, module: str, **known: Any) -> None:
        vars(self).update(known, _module=module)

    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module(self._module), name)


@contextlib.contextmanager
def _compiler_away() -> Iterator[None]:
    """``torch.func.grad`` does not load the compiler, which takes 2 s, where nobody else has."""
    autograd = _Away("torch._dynamo.compiled_autograd", _disable=contextlib.nullcontext)  # for it is off
    known, away = vars(torch), _Away("torch._dynamo", compiled_autograd=autograd)
    known.setdefault("_dynamo", away)
    try:
        yield
    finally:
        if known.get("_dynamo") is away:
            del known["_dynamo"]


class Recorder(TorchDispatchMode):
    """Carries out each operation and notes it; tensors that are no arguments and come from none stay what they are."""

    def __init__(self, leaves: Sequence[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._graph, self._root = Graph(), torch.nn.Module()
        self._nodes: Any = WeakTensorKeyDictionary()  # which tensor is what node
        self._varying: set[Operation] = set()  # nodes that depend on arguments
        self._kept = 0
        for i, leaf in enumerate(leaves):
            self._varying.add(self._name(leaf, self._graph.placeholder(f"leaf_{i}")))

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """No: PyTorch would load its compiler for that, which does not run here."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """One operation, in those that it is made of where it is no basic one."""
        kwargs = kwargs or {}
        with self:
            parts = func.decompose(*args, **kwargs)
        if parts is not NotImplemented:
            return parts
        noted: Any = map_aggregate((args, kwargs), self._node)
        node = self._graph.call_function(func, *noted)
        varies = not self._varying.isdisjoint(node.all_input_nodes) or torch.Tag.nondeterministic_seeded in func.tags
        if varies and torch.Tag.data_dependent_output in func.tags:
            raise RuntimeError(f"{func} looks at numbers, where only shapes are known")
        result = func(*args, **kwargs)
        if isinstance(result, Tensor):
            named = [self._name(result, node)]
        else:
            several = enumerate(result if isinstance(result, tuple | list) else ())
            named = [node, *(self._name(one, self._graph.call_function(getitem, (node, i)))
                             for i, one in several if isinstance(one, Tensor))]
        if varies:
            self._varying.update(named)
        return result

    def _name(self, tensor: Tensor, node: Operation) -> Operation:
        node.meta["tensor"] = Meta(tensor.shape, tensor.dtype, tensor.device)
        self._nodes[tensor] = node
        return node

    def _node(self, value: Any) -> Any:
        """The node of a tensor; one that was not seen before is kept with the recording."""
        if not isinstance(value, Tensor):
            return value
        if (node := self._nodes.get(value)) is None:
            name, self._kept = f"kept_{self._kept}", self._kept + 1
            self._root.register_buffer(name, value)
            node = self._name(value, self._graph.get_attr(name))
        return node

    def finish(self, results: Sequence[Tensor]) -> GraphModule:
        """The recording, which gives these results."""
        self._graph.output(tuple(self._node(result) for result in results))
        self._graph.eliminate_dead_code()
        return GraphModule(self._root, self._graph)
