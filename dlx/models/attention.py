"""Attention in plain tensor operations, and what tells it positions; twin of ``torch.nn.MultiheadAttention``.

Imported inside functions only. Fused kernels are left out: they have no second derivative.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from dlx.models.dropout import Noisy

Affine = Callable[[int, int], nn.Module]
BASE = 10_000.0  # of the wavelengths, in sinusoids (arXiv:1706.03762) and in RoPE (arXiv:2104.09864)


def attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, scale: float, drop: nn.Module) -> Tensor:
    """dropout(softmax(scale · q kᵀ + bias)) v over (batch, heads, length, dim); bias: −∞ where none may look."""
    scores = q @ k.transpose(-2, -1) * scale
    weights = (scores if bias is None else scores + bias).softmax(-1)
    return drop(weights) @ v


def sinusoids(length: int, dim: int, like: Tensor) -> Tensor:
    """sin and cos of position / 10000^(2i/dim), interleaved, (length, dim) (Vaswani et al. 2017, arXiv:1706.03762)."""
    angles = _angles(length, dim + dim % 2, like)
    return torch.stack([angles.sin(), angles.cos()], -1).flatten(1)[:, :dim]


def _angles(length: int, dim: int, like: Tensor) -> Tensor:
    """position / 10000^(2i/dim) in radians, (length, dim/2)."""
    rates = BASE ** (-torch.arange(0, dim, 2, dtype=torch.float64, device=like.device) / dim)
    return (torch.arange(length, device=like.device)[:, None] * rates).to(like.dtype)


def slopes(heads: int, like: Tensor) -> Tensor:
    """2^(−8h/heads) for h = 1…heads (Press et al. 2022, arXiv:2108.12409), (heads,).

    Where ``heads`` is no power of two, those of the power below, then every other one of the power above, as there.
    """
    power = 2 ** int(math.log2(heads))
    number = torch.arange(heads, dtype=like.dtype, device=like.device)
    exponents = torch.cat([(number[:power] + 1) * 2, number[: heads - power] * 2 + 1])
    return (exponents * (-4 / power)).exp2()


def mask(length: int, heads: int, causal: bool, alibi: bool, like: Tensor) -> Tensor:
    """What is added to scores, (heads or 1, length, length): −∞ ahead where causal, −slope · distance with ALiBi."""
    place = torch.arange(length, device=like.device)
    ahead = place - place[:, None]
    bias = torch.zeros(1, length, length, dtype=like.dtype, device=like.device)
    if alibi:
        bias = -slopes(heads, like)[:, None, None] * ahead.abs()
    return bias.masked_fill(ahead > 0, -math.inf) if causal else bias


def rotate(x: Tensor) -> Tensor:
    """RoPE (Su et al. 2021, arXiv:2104.09864): at position m pairs (2i, 2i+1) of (..., length, dim) turn by mθᵢ."""
    angles = _angles(x.shape[-2], x.shape[-1], x)
    even, odd = x[..., 0::2], x[..., 1::2]
    turned = even * angles.cos() - odd * angles.sin(), even * angles.sin() + odd * angles.cos()
    return torch.stack(turned, -1).flatten(-2)


class SelfAttention(nn.Module):
    """Multi-head self-attention (Vaswani et al. 2017, arXiv:1706.03762) on (batch, length, dim).

    causal: no position sees a later one; positions: ``rope`` and ``alibi`` enter here, others elsewhere; scale: on q·k;
    dropout: rate on the attention weights, None: none; affine: makes a map from (inputs, outputs).
    """

    def __init__(
        self, dim: int, heads: int, *, causal: bool, positions: str, scale: float, dropout: float | None, affine: Affine
    ) -> None:
        super().__init__()
        self.heads, self.causal, self.positions, self.scale = heads, causal, positions, scale
        self.qkv, self.out = affine(dim, 3 * dim), affine(dim, dim)
        self.drop = nn.Identity() if dropout is None else nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, length, dim) from (batch, length, dim)."""
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        if self.positions == "rope":
            q, k = rotate(q), rotate(k)
        alibi = self.positions == "alibi"
        bias = mask(x.shape[1], self.heads, self.causal, alibi, x) if self.causal or alibi else None
        seen = attend(q, k, v, bias, self.scale, self.drop)
        return self.out(seen.transpose(1, 2).flatten(2))


class MultiheadAttention(Noisy, nn.MultiheadAttention):
    """Twin of ``torch.nn.MultiheadAttention``; names of parameters, and all numbers, are those of the original."""

    def begin(self, rate: float) -> None:
        """Register the buffers of dropout where there is some."""
        if rate > 0:
            super().begin(rate)

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, key_padding_mask: Tensor | None = None,
        need_weights: bool = True, attn_mask: Tensor | None = None, average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """As the base; ``is_causal`` is a hint there that changes no number, and is not looked at."""
        if not self.batch_first:
            query, key, value = (each.transpose(0, 1) for each in (query, key, value))
        q, k, v = (self._heads(each) for each in self._projected(query, key, value))
        scores = q @ k.transpose(-2, -1) * self.head_dim**-0.5
        if attn_mask is not None:
            whole = attn_mask if attn_mask.ndim == 2 else attn_mask.unflatten(0, (-1, self.num_heads))
            scores = scores + _additive(whole, scores)
        if key_padding_mask is not None:
            scores = scores + _additive(key_padding_mask[:, None, None, :], scores)
        weights = scores.softmax(-1)
        if self.dropout > 0:
            weights = self.dropped(weights, weights.shape)
        seen = self.out_proj((weights @ v).transpose(1, 2).flatten(2))
        shown = (weights.mean(1) if average_attn_weights else weights) if need_weights else None
        return (seen if self.batch_first else seen.transpose(0, 1)), shown

    def _projected(self, *given: Tensor) -> list[Tensor]:
        """Query, key and value, (batch, length, dim) each, through their projections."""
        packed = self.in_proj_weight
        three = (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight) if packed is None else packed.chunk(3)
        biases = (None,) * 3 if self.in_proj_bias is None else self.in_proj_bias.chunk(3)
        return [linear(x, w, b) for x, w, b in zip(given, three, biases, strict=True)]

    def _heads(self, x: Tensor) -> Tensor:
        """(batch, heads, length, dim / heads) from (batch, length, dim)."""
        return x.unflatten(-1, (self.num_heads, self.head_dim)).transpose(1, 2)


def _additive(given: Tensor, like: Tensor) -> Tensor:
    """A mask as what is added to scores: −∞ where a bool one is True."""
    if given.dtype != torch.bool:
        return given
    return torch.zeros_like(given, dtype=like.dtype).masked_fill(given, -math.inf)
