"""Recurrent networks over series and tokens."""

import typing
from dataclasses import dataclass
from typing import ClassVar, Literal

from dlx.errors import DeclarationError
from dlx.models.checks import check_choice, check_counts, check_dropout, sequence

if typing.TYPE_CHECKING:
    import torch

    from dlx.data import Dimensions

READOUTS = ("each", "last", "mean")


@dataclass(frozen=True)
class _Recurrent:
    """What both kinds share."""

    width: int
    depth: int = 1
    readout: Literal["each", "last", "mean"] = "last"
    embedding: int | None = None
    dropout: float | None = None

    varies: ClassVar[tuple[str, ...]] = ("dropout",)

    def check(self) -> None:
        """Raise DeclarationError where a value is out of its range."""
        check_counts(width=self.width, depth=self.depth, embedding=1 if self.embedding is None else self.embedding)
        check_choice("readout", self.readout, READOUTS)
        check_dropout(self.dropout)
        if self.dropout == 0.0 or (self.dropout is not None and self.depth == 1):
            raise DeclarationError(
                f"dropout is {self.dropout} with depth={self.depth}; it acts between layers: give a positive rate and "
                f"depth ≥ 2, or None."
            )

    def build(self, of: "Dimensions") -> "torch.nn.Module":
        """A module from (batch, *of.shape) to (batch, of.outputs), or (batch, length, of.outputs) with ``each``."""
        import torch

        from dlx.models.layers import Outputs, Readout, Series, embedding

        _, channels = sequence(of, type(self).__name__)
        before: list[torch.nn.Module] = [] if of.tokens else [Series(len(of.shape) == 1)]
        if of.tokens or self.embedding is not None:
            dim = self.embedding or self.width
            before, channels = [embedding(of, channels, dim)], dim
        kind = getattr(torch.nn, type(self).__name__)
        core = kind(channels, self.width, self.depth, batch_first=True, dropout=self.dropout or 0.0)
        return torch.nn.Sequential(
            *before, Outputs(core), Readout(self.readout), torch.nn.Linear(self.width, of.outputs)
        )


@dataclass(frozen=True)
class LSTM(_Recurrent):
    """Long short-term memory (Hochreiter and Schmidhuber 1997), as ``torch.nn.LSTM``, and a linear read-out.

    width: of the hidden state; depth: number of layers; readout: at ``each`` position, the ``last`` one or of the
    ``mean``; embedding: width of tokens, or of a linear map before the first layer (None: width for tokens, no map for
    series); dropout: rate between the layers. Reads (batch, length), tokens or not, or (batch, length, channels).
    """


@dataclass(frozen=True)
class GRU(_Recurrent):
    """Gated recurrent units (Cho et al. 2014, arXiv:1406.1078), as ``torch.nn.GRU``; fields as of ``LSTM``."""
