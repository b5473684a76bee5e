"""Size and spectrum of the weights.

A matrix is any parameter of two axes or more, (outputs, inputs, ...) with all but the first flattened, as PyTorch
keeps linear layers, convolutions and embeddings; biases and gains are none. σ₁ ≥ σ₂ ≥ … are its singular values.
"""

import typing
from dataclasses import dataclass
from typing import ClassVar

from dlx.errors import DeclarationError
from dlx.metrics.base import Tensors
from dlx.metrics.finite import singular_values

if typing.TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class WeightNorm:
    """‖θ‖₂ over all parameters, biases among them."""

    name: ClassVar[str] = "weight_norm"

    def measure_weights(self, params: Tensors) -> "torch.Tensor":
        """0-d from parameters of any shape."""
        import torch

        return torch.cat([p.flatten() for p in params.values()]).norm()


@dataclass(frozen=True)
class SpectralNorm:
    """Π over the matrices of σ₁: a Lipschitz constant of a chain of them with activations of slope ≤ 1 between.

    (Bartlett et al. 2017, arXiv:1706.08498.) For one layer: ``singular_value(1, "0.weight")``.
    """

    name: ClassVar[str] = "spectral_norm"

    def measure_weights(self, params: Tensors) -> "torch.Tensor":
        """0-d from parameters of which at least one is a matrix."""
        import torch

        return torch.stack([s[0] for s in _spectra(params)]).prod()


@dataclass(frozen=True)
class StableRank:
    """‖W‖_F² / σ₁², the mean over the matrices W; at least 1 and at most their rank."""

    name: ClassVar[str] = "stable_rank"

    def measure_weights(self, params: Tensors) -> "torch.Tensor":
        """0-d from parameters of which at least one is a matrix."""
        import torch

        return torch.stack([(s / s[0]).square().sum() for s in _spectra(params)]).mean()


@dataclass(frozen=True)
class EffectiveRank:
    """exp of the entropy of σ / Σσ (Roy and Vetterli 2007), the mean over the matrices; from 1 to the rank."""

    name: ClassVar[str] = "effective_rank"

    def measure_weights(self, params: Tensors) -> "torch.Tensor":
        """0-d from parameters of which at least one is a matrix."""
        import torch

        shares = [s / s.sum() for s in _spectra(params)]
        return torch.stack([-torch.special.xlogy(p, p).sum() for p in shares]).exp().mean()


@dataclass(frozen=True)
class SingularValue:
    """σ_k of one matrix.

    k: 1 for the largest; of: the name of the parameter, such as ``0.weight``, None: the matrix with the most entries
    (the first of equals).
    """

    k: int = 1
    of: str | None = None

    @property
    def name(self) -> str:
        """``singular_value_<k>``, with the parameter's name behind it where one is given."""
        return f"singular_value_{self.k}" + (f"_{self.of}" if self.of else "")

    def check(self) -> None:
        """Raise DeclarationError where a value is out of its range."""
        if self.k < 1:
            raise DeclarationError(f"k is {self.k}; it must be at least 1, for the largest singular value.")

    def measure_weights(self, params: Tensors) -> "torch.Tensor":
        """0-d; raises DeclarationError where there is no such matrix or its rank is below k."""
        matrices = _matrices(params)
        name = self.of or max(matrices, key=lambda name: matrices[name].numel())
        if name not in matrices:
            raise DeclarationError(f"of is {self.of!r}, no matrix of this model; it has {', '.join(matrices)}.")
        if self.k > min(matrices[name].shape):
            shape = tuple(matrices[name].shape)
            raise DeclarationError(f"k is {self.k}, and {name} is {shape}; k must be at most {min(shape)}.")
        return singular_values(matrices[name])[self.k - 1]


def _matrices(params: Tensors) -> Tensors:
    """The matrices by name, (outputs, rest); raises DeclarationError where there is none."""
    found = {name: p.flatten(1) for name, p in params.items() if p.ndim >= 2}
    if not found:
        raise DeclarationError("Metrics of singular values need a parameter of two axes, and this model has none.")
    return found


def _spectra(params: Tensors) -> "list[torch.Tensor]":
    """The singular values of each matrix, largest first."""
    return [singular_values(matrix) for matrix in _matrices(params).values()]
