"""Dropout as a pure function of buffers: twins of ``torch.nn.Dropout*`` whose noise does not come from a generator.

Imported inside functions only. The mask is made of ``dlx.noise`` from three buffers: ``key`` (0-d int64, drawn from
PyTorch's global generator), ``step`` (0-d int64, one more after each use in train mode) and ``rate`` (0-d). They are
no part of the ``state_dict``, which stays that of the module as it was written.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from dlx import noise

LEVELS, PER_WORD = 2**16, 4  # of a random number, which is a quarter of the 64 bits that are drawn at once
TINY = 1e-12  # so that a rate of 1 gives zeros instead of 0/0
ALPHA = 1.7580993408473766  # λα of SELU (Klambauer et al. 2017, arXiv:1706.02515)


class Noisy(nn.Module):
    """A module with a stream of noise of its own."""

    key: Tensor
    step: Tensor
    rate: Tensor

    def begin(self, rate: float) -> None:
        """Register the buffers; rate: share of the numbers to drop, in [0, 1]."""
        key = torch.randint(2**63 - 1, (), dtype=torch.int64)
        self.register_buffer("key", key, persistent=False)
        self.register_buffer("step", torch.zeros((), dtype=torch.int64), persistent=False)
        self.register_buffer("rate", torch.tensor(rate, dtype=torch.float64), persistent=False)

    def kept(self, shape: Sequence[int]) -> Tensor:
        """What is not dropped this time, bool of a shape; advances ``step``."""
        size = math.prod(shape)
        words = noise.bits(noise.fold(self.key, self.step), (-(-size // PER_WORD),))
        self.step = self.step + 1
        drawn = words.view(torch.int16)[:size].view(tuple(shape))  # uniform on −2¹⁵ … 2¹⁵ − 1
        return drawn.float() >= (self.share() - 0.5) * LEVELS

    def share(self) -> Tensor:
        """The rate as a multiple of 2⁻¹⁶, which is what is dropped in the mean, 0-d."""
        return (self.rate * LEVELS).round() / LEVELS

    def dropped(self, x: Tensor, shape: Sequence[int]) -> Tensor:
        """In train mode x with dropped numbers 0 and the others over (1 − rate); in eval mode x; shape: of the mask."""
        return x * self.kept(shape) / (1 - self.share()).clamp(min=TINY) if self.training else x


class Dropout(Noisy, nn.Dropout):
    """Numbers of (batch, ...) dropped one by one, as ``torch.nn.Dropout`` (Srivastava et al. 2014)."""

    def forward(self, input: Tensor) -> Tensor:
        """As the base, without change in place."""
        return self.dropped(input, input.shape)


class _ByChannel(Noisy):
    def forward(self, input: Tensor) -> Tensor:
        """Whole channels of (batch, channels, ...) dropped."""
        return self.dropped(input, (*input.shape[:2], *[1] * (input.ndim - 2)))


class Dropout1d(_ByChannel, nn.Dropout1d):
    """Channels of (batch, channels, length) dropped, as ``torch.nn.Dropout1d``."""


class Dropout2d(_ByChannel, nn.Dropout2d):
    """Channels of (batch, channels, height, width) dropped, as ``torch.nn.Dropout2d`` (arXiv:1411.4280)."""


class Dropout3d(_ByChannel, nn.Dropout3d):
    """Channels of (batch, channels, depth, height, width) dropped, as ``torch.nn.Dropout3d``."""


class AlphaDropout(Noisy, nn.AlphaDropout):
    """Dropped numbers become −λα, then mean and variance are restored, as ``torch.nn.AlphaDropout``."""

    def forward(self, input: Tensor) -> Tensor:
        """As the base, without change in place."""
        if not self.training:
            return input
        share = self.share()
        scale = ((1 - share) * (1 + share * ALPHA**2)).clamp(min=TINY).rsqrt()
        return torch.where(self.kept(input.shape), input, -ALPHA) * scale + scale * share * ALPHA


TWINS: dict[type[nn.Module], type[Noisy]] = {
    nn.Dropout: Dropout, nn.Dropout1d: Dropout1d, nn.Dropout2d: Dropout2d, nn.Dropout3d: Dropout3d,
    nn.AlphaDropout: AlphaDropout,
}
