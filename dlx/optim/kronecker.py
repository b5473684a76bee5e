"""Preconditioners that are products over the axes of a tensor: what Shampoo and SOAP share."""

import typing
from collections.abc import Callable

from dlx.errors import DeclarationError

if typing.TYPE_CHECKING:
    import torch


def second_moment(tensor: "torch.Tensor", axis: int) -> "torch.Tensor":
    """G Gᵀ of a tensor that is unfolded along an axis of size n, (n, n)."""
    unfolded = tensor.movedim(axis, 0).reshape(tensor.shape[axis], -1)
    return unfolded @ unfolded.T


def along(tensor: "torch.Tensor", axis: int, matrix: "torch.Tensor") -> "torch.Tensor":
    """A tensor whose axis of size n is multiplied by a matrix (n, k) from the right."""
    return (tensor.movedim(axis, -1) @ matrix).movedim(-1, axis)


def in_single(function: "Callable[[torch.Tensor], torch.Tensor]", matrix: "torch.Tensor") -> "torch.Tensor":
    """A decomposition in float32 at least, for there is none in half precision."""
    import torch

    return function(matrix.to(torch.promote_types(matrix.dtype, torch.float32))).to(matrix.dtype)


def inverse_root(matrix: "torch.Tensor", damping: "torch.Tensor", root: int) -> "torch.Tensor":
    """(S + εI) to the power −1/root of a positive semidefinite S, (n, n), by its eigenvectors; ε: damping, 0-d.

    NaN where S is not finite, which ``torch.linalg.eigh`` would refuse for all members of a pack.
    """
    import torch

    finite = matrix.isfinite().all()

    def power(matrix: "torch.Tensor") -> "torch.Tensor":
        values, vectors = torch.linalg.eigh(matrix)
        return vectors * (values.clamp(min=0) + damping) ** (-1 / root) @ vectors.T

    return torch.where(finite, in_single(power, torch.where(finite, matrix, 0)), torch.nan)


def check_largest(largest: int) -> None:
    """Raise DeclarationError for a largest size of preconditioned axes below 1."""
    if largest < 1:
        raise DeclarationError(f"largest is {largest}; it must be at least 1, the size of the axes it leaves alone.")
