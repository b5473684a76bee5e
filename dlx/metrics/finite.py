"""How a number that is not finite shows in a metric, and never stops the neighbours of a diverged model."""

import typing

if typing.TYPE_CHECKING:
    import torch


def where_finite(value: "torch.Tensor", of: "torch.Tensor") -> "torch.Tensor":
    """The value, and NaN where a number of ``of`` is not finite."""
    import torch

    if not of.numel():
        return value
    return torch.where(of.abs().amax() < torch.inf, value, torch.nan)  # an eighth of the time of isfinite().all()


def singular_values(matrix: "torch.Tensor") -> "torch.Tensor":
    """Those of a matrix (rows, columns), largest first, in float32 or better; all NaN where it is not finite."""
    import torch

    return where_finite(torch.linalg.svdvals(_decomposable(matrix)), matrix)


def eigenvalues(matrix: "torch.Tensor") -> "torch.Tensor":
    """Those of a symmetric matrix (n, n), smallest first, in float32 or better; all NaN where it is not finite."""
    import torch

    return where_finite(torch.linalg.eigvalsh(_decomposable(matrix)), matrix)


def _decomposable(matrix: "torch.Tensor") -> "torch.Tensor":
    """Finite numbers (0 for others, at which LAPACK would raise for the whole pack), in a precision that LAPACK has."""
    import torch

    return matrix.nan_to_num(0.0, 0.0, 0.0).to(torch.promote_types(matrix.dtype, torch.float32))
