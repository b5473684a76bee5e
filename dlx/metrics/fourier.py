"""Spectra over residues: how much of a matrix lies in few frequencies of Z_p, as in networks that have grokked."""

import typing
from dataclasses import dataclass

from dlx.errors import DeclarationError
from dlx.metrics.base import Tensors

if typing.TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class FourierSparsity:
    """The share of the power of weights over Z_p that lies in their ``k`` strongest frequencies, from 0 to 1.

    P_f = |Σ_a w_a exp(−2πi fa/p)|² for f = 1 … ⌊p/2⌋, the constant part left out; 1 where weights are sums of k waves
    (Nanda et al. 2023, arXiv:2301.05217; Gromov 2023, arXiv:2301.02679), somewhat above k/⌊p/2⌋ where they are random.
    p: the modulus, None: the rows of the last matrix, one for each class; of: the name of the parameter, (units, 2p)
    that reads one-hot pairs or the embedding (p + 1, units) of tokens, as of ``data.ModularArithmetic``; together: one
    choice of frequencies for all units, else each unit, and each of its two summands, has its own, and counts by power.
    """

    p: int | None = None
    of: str = "0.weight"
    k: int = 1
    together: bool = False

    @property
    def name(self) -> str:
        """``fourier_sparsity_<k>``, with ``_together`` behind it where it is so."""
        return f"fourier_sparsity_{self.k}" + ("_together" if self.together else "")

    def check(self) -> None:
        """Raise DeclarationError where a value is out of its range."""
        if self.p is not None and self.p < 3:
            raise DeclarationError(f"p is {self.p}; it must be at least 3, for one frequency above 0.")
        if self.k < 1 or (self.p is not None and self.k > self.p // 2):
            raise DeclarationError(f"k is {self.k}; it must lie between 1 and ⌊p/2⌋, the number of frequencies.")

    def measure_weights(self, params: Tensors) -> "torch.Tensor":
        """0-d; raises DeclarationError where there is no such parameter, or not of such a shape."""
        import torch

        weights = self._by_residue(params)
        exact = weights.to(torch.promote_types(weights.dtype, torch.float32))
        power = torch.view_as_real(torch.fft.rfft(exact)).square().sum(-1)[:, 1:]
        power = power.sum(0, keepdim=True) if self.together else power
        if self.k > power.shape[1]:
            raise DeclarationError(f"k is {self.k}; weights over {weights.shape[1]} residues have {power.shape[1]} "
                                   "frequencies, give at most these.")
        return power.topk(self.k).values.sum() / power.sum()

    def _by_residue(self, params: Tensors) -> "torch.Tensor":
        """(units, or summands of units, p)."""
        if self.of not in params:
            raise DeclarationError(f"of is {self.of!r}, no parameter of this model; it has {', '.join(params)}.")
        matrix, matrices = params[self.of], [m for m in params.values() if m.ndim == 2]
        p = self.p or len(matrices[-1])
        if matrix.ndim == 2 and matrix.shape[1] == 2 * p:
            return matrix.unflatten(1, (2, p)).flatten(0, 1)
        if matrix.ndim == 2 and matrix.shape[0] == p + 1:
            return matrix[:p].T
        raise DeclarationError(
            f"p is {p}, and {self.of} is {tuple(matrix.shape)}; it must be (units, {2 * p}), which reads one-hot "
            f"pairs, or ({p + 1}, units), an embedding of tokens."
        )
