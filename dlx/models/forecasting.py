"""Models that read a window of a series and give its continuation, hour by hour, of all its channels."""

import typing
from dataclasses import dataclass
from typing import ClassVar

from dlx.errors import DeclarationError
from dlx.models.base import Model
from dlx.models.checks import check_counts, continuation

if typing.TYPE_CHECKING:
    import torch

    from dlx.data import Dimensions


@dataclass(frozen=True)
class DLinear:
    """y = W_s (x − m(x)) + W_t m(x) + b, in each channel the same (Zeng et al. 2023, arXiv:2205.13504).

    m: moving average over ``kernel`` positions, an odd number, the ends repeated; initial weights are PyTorch's. Reads
    (batch, length) or (batch, length, channels), and gives all channels at each position of the horizon in turn.
    """

    kernel: int = 25

    def check(self) -> None:
        """Raise DeclarationError where a value is out of its range."""
        if self.kernel < 1 or self.kernel % 2 == 0:
            raise DeclarationError(f"kernel is {self.kernel}; it must be an odd number of positions, at least 1.")

    def build(self, of: "Dimensions") -> "torch.nn.Module":
        """A module from (batch, *of.shape) to (batch, of.outputs)."""
        from dlx.models.continuing import Decomposed

        length, _, horizon = continuation(of, "DLinear")
        return Decomposed(length, horizon, self.kernel)


@dataclass(frozen=True)
class Patched:
    """y = a l + f(x − a l): a model of sequences f, such as an LSTM, over patches of a series, l its last value.

    model: f, which reads (length/patch, patch · channels) and gives one answer, so with a readout of ``last`` or
    ``mean``; patch: positions that are read as one (Nie et al. 2023, arXiv:2211.14730, with all channels in a patch),
    a divisor of the length; anchor: a, from 0 (none) to 1 (as NLinear, arXiv:2205.13504), so that a series may drift.
    """

    model: Model
    patch: int = 24
    anchor: float = 1.0

    varies: ClassVar[tuple[str, ...]] = ("anchor",)

    def check(self) -> None:
        """Raise DeclarationError where a value is out of its range."""
        check_counts(patch=self.patch)
        if not 0.0 <= self.anchor <= 1.0:
            raise DeclarationError(f"anchor is {self.anchor}; it is a share of the last value and must lie in [0, 1].")
        if getattr(self.model, "readout", None) == "each":
            raise DeclarationError("model.readout is 'each', but one answer is wanted; take 'last' or 'mean'.")

    def build(self, of: "Dimensions") -> "torch.nn.Module":
        """A module from (batch, *of.shape) to (batch, of.outputs)."""
        from dlx.models.continuing import Anchored

        length, channels, horizon = continuation(of, "Patched")
        if length % self.patch:
            raise DeclarationError(f"patch is {self.patch}; it must divide the length {length} of the series.")
        inner = of._replace(shape=(length // self.patch, self.patch * channels))
        return Anchored(self.model.build(inner), self.patch, horizon, self.anchor)
