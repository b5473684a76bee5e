"""Transformers over tokens, series and patches of pictures."""

import typing
from dataclasses import dataclass
from typing import ClassVar, Literal

from dlx.errors import DeclarationError
from dlx.models.checks import ACTIVATIONS, check_choice, check_counts, check_dropout, picture, sequence
from dlx.models.recurrent import READOUTS

if typing.TYPE_CHECKING:
    import torch

    from dlx.data import Dimensions

POSITIONS = ("none", "sinusoid", "learnt", "rope", "alibi")


@dataclass(frozen=True)
class Transformer:
    """Self-attention and MLPs in turn (Vaswani et al. 2017, arXiv:1706.03762), a norm before each (arXiv:2002.04745).

    dim: of the vector at each position; depth: number of blocks; heads: of each attention, a divisor of dim;
    causal: no position sees a later one (a decoder), or all see all (an encoder); positions: none, sinusoid (added),
    learnt (added, N(0, 0.02²) at first), rope (Su et al. 2021, arXiv:2104.09864) or alibi (Press et al. 2022,
    arXiv:2108.12409; by distance to both sides where not causal); hidden: width of the MLPs, None: 4 · dim;
    activation: of the MLPs; norm: layer or none; readout: at ``each`` position, the ``last`` one or of the ``mean``;
    dropout: rate on embeddings, attention weights and what blocks add. Tokens are embedded from N(0, 1), series by an
    affine map; affine maps have PyTorch's default initialisation. parameterisation: ``standard`` or ``mup-adam``, as of
    ``MLP``, with q·k over dim/heads (arXiv:2203.03466, definition 4.1); base_dim: where μP is standard.
    """

    dim: int
    depth: int
    heads: int
    causal: bool = True
    positions: Literal["none", "sinusoid", "learnt", "rope", "alibi"] = "learnt"
    hidden: int | None = None
    activation: str = "gelu"
    norm: Literal["layer", "none"] = "layer"
    readout: Literal["each", "last", "mean"] = "each"
    dropout: float | None = None
    parameterisation: Literal["standard", "mup-adam"] = "standard"
    base_dim: int = 64

    varies: ClassVar[tuple[str, ...]] = ("dropout",)

    def check(self) -> None:
        """Raise DeclarationError where a value is out of its range."""
        check_heads(self.dim, self.heads)
        check_choice("parameterisation", self.parameterisation, ("standard", "mup-adam"))
        check_counts(base_dim=self.base_dim)
        check_counts(depth=self.depth, hidden=1 if self.hidden is None else self.hidden)
        check_choice("positions", self.positions, POSITIONS)
        check_choice("activation", self.activation, ACTIVATIONS)
        check_choice("norm", self.norm, ("layer", "none"))
        check_choice("readout", self.readout, READOUTS)
        check_dropout(self.dropout)
        if self.positions == "rope" and self.dim // self.heads % 2:
            raise DeclarationError(f"dim is {self.dim} and heads is {self.heads}; rope turns pairs: dim/heads be even.")

    def build(self, of: "Dimensions") -> "torch.nn.Module":
        """A module from (batch, *of.shape) to (batch, length, of.outputs), or (batch, of.outputs) if pooled."""
        import torch

        from dlx.models.encoder import Positions, encoder
        from dlx.models.layers import Readout, embedding, parameterised

        length, channels = sequence(of, "Transformer")
        ratio = 1.0 if self.parameterisation == "standard" else self.dim / self.base_dim

        def affine(inputs: int, outputs: int, layer: str = "hidden") -> torch.nn.Module:
            return parameterised(torch.nn.Linear(inputs, outputs), layer, self.parameterisation, ratio)

        return torch.nn.Sequential(
            embedding(of, channels, self.dim), Positions(self.positions, length, self.dim),
            encoder(self.dim, self.depth, self.heads, hidden=self.hidden or 4 * self.dim, causal=self.causal,
                    positions=self.positions, activation=self.activation, norm=self.norm, dropout=self.dropout,
                    scale=(self.dim // self.heads * ratio) ** -0.5, affine=affine),
            Readout(self.readout), affine(self.dim, of.outputs, "output"),
        )


@dataclass(frozen=True)
class ViT:
    """The vision transformer (Dosovitskiy et al. 2021, arXiv:2010.11929) over patches of pictures.

    patch: side of a patch in pixels, a divisor of height and width; dim, depth, heads: as of ``Transformer``; readout:
    of a learnt class ``token`` in front, as there, or of the ``mean`` (arXiv:2205.01580); dropout: as of
    ``Transformer``. Positions are learnt, MLPs are 4 · dim wide with GELU. Reads (batch, channels, height, width).
    """

    patch: int = 4
    dim: int = 64
    depth: int = 4
    heads: int = 4
    readout: Literal["token", "mean"] = "mean"
    dropout: float | None = None

    varies: ClassVar[tuple[str, ...]] = ("dropout",)

    def check(self) -> None:
        """Raise DeclarationError where a value is out of its range."""
        check_heads(self.dim, self.heads)
        check_counts(depth=self.depth, patch=self.patch)
        check_choice("readout", self.readout, ("token", "mean"))
        check_dropout(self.dropout)

    def build(self, of: "Dimensions") -> "torch.nn.Module":
        """A module from (batch, *of.shape) to (batch, of.outputs)."""
        import torch

        from dlx.models.encoder import ClassToken, First, Patches, Positions, encoder
        from dlx.models.layers import Readout

        channels, height, width = picture(of, "ViT")
        if height % self.patch or width % self.patch:
            raise DeclarationError(f"patch is {self.patch}; it must divide the height {height} and the width {width}.")
        token = self.readout == "token"
        length = (height // self.patch) * (width // self.patch) + token
        return torch.nn.Sequential(
            Patches(self.patch), torch.nn.Linear(channels * self.patch**2, self.dim),
            *([ClassToken(self.dim)] if token else []), Positions("learnt", length, self.dim),
            encoder(self.dim, self.depth, self.heads, hidden=4 * self.dim, causal=False, positions="learnt",
                    activation="gelu", norm="layer", dropout=self.dropout),
            First() if token else Readout("mean"), torch.nn.Linear(self.dim, of.outputs),
        )


def check_heads(dim: int, heads: int) -> None:
    """Raise DeclarationError where heads are no divisor of the dimension."""
    check_counts(dim=dim, heads=heads)
    if dim % heads:
        raise DeclarationError(f"heads is {heads}; it must divide dim={dim}.")
