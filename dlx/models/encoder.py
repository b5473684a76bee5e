"""Blocks of transformers, and what stands before and after them. Imported inside functions only."""

import torch
from torch import Tensor, nn

from dlx.models.attention import Affine, SelfAttention, sinusoids
from dlx.models.layers import Residual
from dlx.models.layers import activation as activation_of

LEARNT_STD = 0.02  # of learnt positions at first, as in BERT and ViT


class Positions(nn.Module):
    """Adds to (batch, length, dim) what tells positions apart: ``sinusoid`` or ``learnt``; other kinds add nothing."""

    def __init__(self, kind: str, length: int, dim: int) -> None:
        super().__init__()
        self.kind = kind
        if kind == "learnt":
            self.table = nn.Parameter(torch.randn(length, dim) * LEARNT_STD)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, length, dim)."""
        if self.kind == "learnt":
            return x + self.table[: x.shape[1]]
        return x + sinusoids(x.shape[1], x.shape[2], x) if self.kind == "sinusoid" else x


def encoder(
    dim: int, depth: int, heads: int, *, hidden: int, causal: bool, positions: str, activation: str, norm: str,
    dropout: float | None, scale: float | None = None, affine: Affine = nn.Linear,
) -> nn.Sequential:
    """Blocks x + attention(norm(x)), x + mlp(norm(x)) over (batch, length, dim), and a last norm.

    scale: on the products of queries and keys, None: 1/√(dim/heads); affine: makes a map from (inputs, outputs).
    """
    scale = (dim // heads) ** -0.5 if scale is None else scale

    def residual(*layers: nn.Module) -> nn.Module:
        return Residual(nn.Sequential(normalise(), *layers, drop()))

    def normalise() -> nn.Module:
        return nn.LayerNorm(dim) if norm == "layer" else nn.Identity()

    def drop() -> nn.Module:
        return nn.Identity() if dropout is None else nn.Dropout(dropout)

    blocks: list[nn.Module] = [drop()]
    for _ in range(depth):
        blocks.append(residual(SelfAttention(
            dim, heads, causal=causal, positions=positions, scale=scale, dropout=dropout, affine=affine
        )))
        blocks.append(residual(affine(dim, hidden), activation_of(activation), drop(), affine(hidden, dim)))
    return nn.Sequential(*blocks, normalise())


class Patches(nn.Module):
    """(batch, patches, channels · side²), row by row, from pictures (batch, channels, height, width)."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side

    def forward(self, x: Tensor) -> Tensor:
        """The patches, each with its channels first."""
        cut = x.unflatten(3, (-1, self.side)).unflatten(2, (-1, self.side))
        return cut.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)


class ClassToken(nn.Module):
    """Puts a learnt vector, 0 at first, in front of (batch, length, dim)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.zeros(dim))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, 1 + length, dim)."""
        return torch.cat([self.token.expand(len(x), 1, -1), x], 1)


class First(nn.Module):
    """(batch, dim), the first position of (batch, length, dim)."""

    def forward(self, x: Tensor) -> Tensor:
        """The first position."""
        return x[:, 0]
