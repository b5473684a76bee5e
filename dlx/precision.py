"""In what numbers a training computes, and how exactly they are multiplied."""

import contextlib
import typing
from collections.abc import Iterator

if typing.TYPE_CHECKING:
    import torch


def stored_as(dtype: str) -> "torch.dtype":
    """PyTorch's type of the numbers of a training; those that are multiplied in TF32 are float32."""
    import torch

    found: torch.dtype = getattr(torch, "float32" if dtype == "tf32" else dtype)
    return found


@contextlib.contextmanager
def multiplying(dtype: str, device: str) -> Iterator[None]:
    """Let a GPU multiply float32 numbers in TF32 (11 significant bits) where a training asks for that, and else not.

    PyTorch by itself does so in convolutions and recurrent nets. It holds for the process; elsewhere nothing changes.
    """
    if not device.startswith("cuda"):
        yield
        return
    from torch.backends import cuda, cudnn

    before = [place.fp32_precision == "tf32" for place in (cuda.matmul, cudnn.conv)]  # type: ignore[attr-defined]
    cuda.matmul.allow_tf32 = cudnn.allow_tf32 = dtype == "tf32"
    try:
        yield
    finally:
        cuda.matmul.allow_tf32, cudnn.allow_tf32 = before
