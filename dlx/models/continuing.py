"""Modules that continue a series. Imported inside functions only."""

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool1d


class Decomposed(nn.Module):
    """An affine map of what a moving average leaves of a series, and one of the average; channels share them."""

    def __init__(self, length: int, horizon: int, kernel: int) -> None:
        super().__init__()
        self.kernel = kernel
        self.seasonal = nn.Linear(length, horizon)
        self.trend = nn.Linear(length, horizon)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, horizon · channels) from (batch, length) or (batch, length, channels)."""
        series = x.unsqueeze(1) if x.ndim == 2 else x.transpose(1, 2)
        half = self.kernel // 2
        ends = series[..., :1].expand(-1, -1, half), series[..., -1:].expand(-1, -1, half)
        mean = avg_pool1d(torch.cat([ends[0], series, ends[1]], -1), self.kernel, stride=1)
        return (self.seasonal(series - mean) + self.trend(mean)).transpose(1, 2).flatten(1)


class Anchored(nn.Module):
    """A module over patches of a series, less and then plus a share of its last value, 0-d."""

    share: Tensor

    def __init__(self, inner: nn.Module, patch: int, horizon: int, share: float) -> None:
        super().__init__()
        self.inner, self.patch, self.horizon = inner, patch, horizon
        self.register_buffer("share", torch.tensor(share, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, horizon · channels) from (batch, length) or (batch, length, channels)."""
        series = x.unsqueeze(-1) if x.ndim == 2 else x
        base = self.share.to(x.dtype) * series[:, -1:]
        patches = (series - base).unflatten(1, (-1, self.patch)).flatten(2)
        return self.inner(patches) + base.expand(-1, self.horizon, -1).flatten(1)
