"""Random numbers as pure functions of a key: equal on every device, in a pack and alone, and free of any global state.

Counter-based, as in Salmon et al. 2011 ("Parallel random numbers: as easy as 1, 2, 3"): number i of the stream of a
key is a hash of both. The hash is the finaliser of SplitMix64 (Steele, Lea and Flood 2014), applied twice.
"""

import math
import typing
from collections.abc import Sequence

if typing.TYPE_CHECKING:
    import torch

# constants of SplitMix64, as signed 64-bit integers
GOLDEN, FIRST, SECOND = (c - 2**64 for c in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))
UNIFORM_BITS = 24  # so that float32 and float64 hold the same number


def fold(key: "torch.Tensor", number: "torch.Tensor | int") -> "torch.Tensor":
    """The key of a stream of its own for each integer: 0-d int64 from a 0-d int64 key."""
    return _mix(_mix(key + GOLDEN) ^ number)


def bits(key: "torch.Tensor", shape: Sequence[int]) -> "torch.Tensor":
    """Uniform over all int64, of a shape, from a 0-d int64 key."""
    import torch

    counter = torch.arange(math.prod(shape), device=key.device).view(tuple(shape))
    return _mix(_mix(counter * GOLDEN + key) ^ key)


def uniform(key: "torch.Tensor", shape: Sequence[int], dtype: "torch.dtype") -> "torch.Tensor":
    """Uniform on [0, 1) in steps of 2⁻²⁴, of a shape, from a 0-d int64 key."""
    return _shifted(bits(key, shape), 64 - UNIFORM_BITS).to(dtype) * 2.0**-UNIFORM_BITS


def normal(key: "torch.Tensor", shape: Sequence[int], dtype: "torch.dtype") -> "torch.Tensor":
    """Standard normal (Box and Muller 1958), of a shape, from a 0-d int64 key."""
    radius = (-2 * (1 - uniform(fold(key, 1), shape, dtype)).log()).sqrt()
    return radius * (2 * math.pi * uniform(fold(key, 2), shape, dtype)).cos()


def _mix(z: "torch.Tensor") -> "torch.Tensor":
    """The finaliser of SplitMix64; int64 arithmetic wraps."""
    z = (z ^ _shifted(z, 30)) * FIRST
    z = (z ^ _shifted(z, 27)) * SECOND
    return z ^ _shifted(z, 31)


def _shifted(z: "torch.Tensor", by: int) -> "torch.Tensor":
    """z shifted right with zeros from the left, which ``>>`` does not do for negative numbers."""
    return (z >> by) & (2 ** (64 - by) - 1)
