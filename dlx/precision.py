"""In what numbers a training computes, and how exactly they are multiplied."""

import contextlib
import typing
from collections.abc import Iterator
from typing import Any

if typing.TYPE_CHECKING:
    import torch


def stored_as(dtype: str) -> "torch.dtype":
    """PyTorch's type of the numbers of a training; those that are multiplied in TF32 are float32."""
    import torch

    found: torch.dtype = getattr(torch, "float32" if dtype == "tf32" else dtype)
    return found


@contextlib.contextmanager
def multiplying(dtype: str) -> Iterator[None]:
    """Let GPUs multiply float32 numbers in TF32 (11 significant bits) where a training asks for that, and nowhere else.

    PyTorch alone does so in convolutions and recurrent nets. Elsewhere than on GPUs nothing changes.
    """
    from torch.backends import cuda, cudnn

    places: tuple[Any, ...] = cuda.matmul, cudnn.conv, cudnn.rnn  # type: ignore[attr-defined]
    asked = "tf32" if dtype == "tf32" else "ieee"
    before = [place.fp32_precision for place in places]
    for place in places:
        place.fp32_precision = asked
    try:
        yield
    finally:
        for place, was in zip(places, before, strict=True):
            place.fp32_precision = was
