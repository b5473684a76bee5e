"""Norms of tensors, each by its linear minimisation oracle: the direction of steepest ascent for a gradient."""

import typing
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from dlx.optim.muon import orthogonalise
from dlx.shelf import Shelf

if typing.TYPE_CHECKING:
    import torch


@runtime_checkable
class Norm(Protocol, metaclass=Shelf):
    """A norm ‖·‖ of weight matrices (outputs m, inputs n), or of vectors too."""

    def direction(self, gradient: "torch.Tensor") -> "torch.Tensor":
        """The T with ‖T‖ = 1 for which ⟨G, T⟩ is largest, namely the dual norm ‖G‖†; 0 where G is 0. As G, (m, n)."""


Norm.exemplify("optim.Spectral()")


@dataclass(frozen=True)
class Spectral:
    """The largest singular value; T = U Vᵀ of G = U S Vᵀ, without singular values 0.

    rms: the operator norm from root mean square to root mean square, √(n/m) times as much (Bernstein and Newhouse 2024,
    arXiv:2409.20325); exact: not by the five quintic steps of Muon, which end between 0.7 and 1.2, but as near to 1 as
    rounding for singular values above 1e-4 of the Frobenius norm, in 13 steps.
    """

    rms: bool = False
    exact: bool = False

    def direction(self, gradient: "torch.Tensor") -> "torch.Tensor":
        """U Vᵀ, times √(m/n) with ``rms``."""
        polar = polar_factor(gradient) if self.exact else orthogonalise(gradient)
        m, n = gradient.shape
        return polar * (m / n) ** 0.5 if self.rms else polar


@dataclass(frozen=True)
class Frobenius:
    """The ℓ₂ norm of all entries, of matrices or vectors; T = G / ‖G‖.

    rms: their root mean square.
    """

    rms: bool = False

    def direction(self, gradient: "torch.Tensor") -> "torch.Tensor":
        """G / ‖G‖, times √(number of entries) with ``rms``."""
        unit = gradient / _not_zero(gradient.norm())
        return unit * gradient.numel() ** 0.5 if self.rms else unit


@dataclass(frozen=True)
class Rows:
    """The largest ℓ₂ norm of a row, which is the operator norm from ℓ₂ to ℓ∞; T: every row of G on its own length.

    rms: from root mean square to ℓ∞, √n times as much.
    """

    rms: bool = False

    def direction(self, gradient: "torch.Tensor") -> "torch.Tensor":
        """Rows of length 1, or 1/√n with ``rms``."""
        unit = gradient / _not_zero(gradient.norm(dim=1, keepdim=True))
        return unit / gradient.shape[1] ** 0.5 if self.rms else unit


@dataclass(frozen=True)
class Columns:
    """The largest ℓ₂ norm of a column, which is the operator norm from ℓ₁ to ℓ₂; T: every column on its own length.

    rms: from ℓ₁ to root mean square, 1/√m times as much.
    """

    rms: bool = False

    def direction(self, gradient: "torch.Tensor") -> "torch.Tensor":
        """Columns of length 1, or √m with ``rms``."""
        unit = gradient / _not_zero(gradient.norm(dim=0, keepdim=True))
        return unit * gradient.shape[0] ** 0.5 if self.rms else unit


@dataclass(frozen=True)
class MaxNorm:
    """The largest absolute entry, of matrices or vectors; T = sign(G)."""

    def direction(self, gradient: "torch.Tensor") -> "torch.Tensor":
        """The sign of each entry."""
        return gradient.sign()


# Polar Express for singular values in [1e-3, 1] (Amsel et al. 2025, arXiv:2505.16932), the first seven steps of
# optimal_composition(l=1e-3, num_iters=10, safety_factor_eps=1e-2, cushion=0.02) of github.com/NoahAmsel/PolarExpress;
# then the Newton–Schulz quintic, of which each step cubes the distance to 1
POLAR_EXPRESS = (
    (8.237312490495555, -23.157747414558198, 16.680568411445915),
    (4.082441999064835, -2.893047735332586, 0.5252849256975648),
    (3.9263479922546582, -2.8547468034765298, 0.5318022422894988),
    (3.2982187133085143, -2.424541981026706, 0.48632008358844075),
    (2.2970369434552573, -1.63662558125903, 0.4002628455953627),
    (1.8763805351440397, -1.2347896577722228, 0.35891887501668385),
    (1.8564423485617974, -1.2132449880935525, 0.3568003487825883),
)
CONVERGENT = ((15 / 8, -10 / 8, 3 / 8),) * 6


def polar_factor(matrix: "torch.Tensor") -> "torch.Tensor":
    """U Vᵀ of the matrix U S Vᵀ, (m, n), to rounding for singular values above 1e-4 of the Frobenius norm."""
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / _not_zero(x.norm())
    for a, b, c in POLAR_EXPRESS + CONVERGENT:
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if tall else x


def _not_zero(norm: "torch.Tensor") -> "torch.Tensor":
    """A norm to divide by: where it is 0, so is what is divided."""
    return norm + (norm == 0)
