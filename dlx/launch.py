"""Launching the operations of a step: one after the other, or on a GPU all at once, as a CUDA graph."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

Call = Callable[[], Any]


def at_once(calls: Sequence[Call], state: Sequence[Tensor]) -> Call:
    """One call in the place of many, which work on memory that stays where it is and read and write a state.

    On a GPU that is a CUDA graph, whose launch takes as long as that of one operation. Where CUDA allows none, as when
    an operation waits for the device, or where a graph does not give the numbers of the single calls, these are called.
    The state is left as it was.
    """
    def each() -> None:
        for call in calls:
            call()

    if not state or state[0].device.type != "cuda":
        return each
    before = [leaf.clone() for leaf in state]
    try:
        with torch.cuda.device(state[0].device):
            return _graph(each, state, before) or each
    except RuntimeError:
        _put(state, before)
        return each


def _graph(step: Call, state: Sequence[Tensor], before: Sequence[Tensor]) -> Call | None:
    """A CUDA graph of a step, seen to do the same from a state; None: it does not."""
    graph, here, aside = torch.cuda.CUDAGraph(), torch.cuda.current_stream(), torch.cuda.Stream()
    aside.wait_stream(here)
    with torch.cuda.stream(aside):  # libraries get ready at their first call on a stream, which cannot be captured
        step()
    here.wait_stream(aside)
    expected = [leaf.clone() for leaf in state]
    _put(state, before)
    with torch.cuda.graph(graph, stream=aside, capture_error_mode="thread_local"):
        step()
    graph.replay()
    same = all(torch.allclose(new, old, rtol=1e-3, atol=1e-6, equal_nan=True)
               for new, old in zip(state, expected, strict=True))
    _put(state, before)
    return graph.replay if same else None


def _put(state: Sequence[Tensor], numbers: Sequence[Tensor]) -> None:
    for leaf, number in zip(state, numbers, strict=True):
        leaf.copy_(number)
