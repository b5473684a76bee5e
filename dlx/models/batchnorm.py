"""Batch normalisation that assigns new running statistics: twins of ``torch.nn.BatchNorm*``.

Imported inside functions only. Names of parameters and buffers, and all numbers, are those of the originals.
"""

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


class _Pure(_BatchNorm):
    def forward(self, input: Tensor) -> Tensor:
        """(batch, channels, ...) normalised over all but the channels (Ioffe and Szegedy 2015, arXiv:1502.03167)."""
        if not self.training or self.running_mean is None:
            return super().forward(input)
        self._check_input_dim(input)  # type: ignore[no-untyped-call]
        normalised, mean, inverse = torch.native_batch_norm(
            input, self.weight, self.bias, None, None, True, 0.0, self.eps
        )
        size = input.numel() // input.shape[1]
        if size == 1:
            raise ValueError(f"Expected more than 1 value per channel when training, got input size {input.shape}")
        var = (inverse.detach() ** -2 - self.eps) * (size / (size - 1))
        self._follow(mean.detach().to(self.running_mean.dtype), var.to(self.running_mean.dtype))
        return normalised

    def _follow(self, mean: Tensor, var: Tensor) -> None:
        """Move the running statistics, (channels,) each, towards those of the batch."""
        assert self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None
        self.num_batches_tracked = self.num_batches_tracked + 1
        share = self.momentum if self.momentum is not None else 1 / self.num_batches_tracked.to(mean.dtype)
        self.running_mean = self.running_mean + share * (mean - self.running_mean)
        self.running_var = self.running_var + share * (var - self.running_var)


class BatchNorm1d(_Pure, nn.BatchNorm1d):
    """Twin of ``torch.nn.BatchNorm1d``, for (batch, channels) and (batch, channels, length)."""


class BatchNorm2d(_Pure, nn.BatchNorm2d):
    """Twin of ``torch.nn.BatchNorm2d``, for (batch, channels, height, width)."""


class BatchNorm3d(_Pure, nn.BatchNorm3d):
    """Twin of ``torch.nn.BatchNorm3d``, for (batch, channels, depth, height, width)."""


TWINS: dict[type[nn.Module], type[nn.Module]] = {
    nn.BatchNorm1d: BatchNorm1d, nn.BatchNorm2d: BatchNorm2d, nn.BatchNorm3d: BatchNorm3d,
}
