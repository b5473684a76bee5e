"""Augmentation: training inputs are changed at random, anew in each step."""

import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

from dlx.data.base import check_at_least, check_shares
from dlx.noise import fold, normal, uniform
from dlx.shelf import Shelf

if typing.TYPE_CHECKING:
    import torch


@runtime_checkable
class Augmentation(Protocol, metaclass=Shelf):
    """A random change; ``varies`` on the class names the fields that enter ``augment`` as tensors in ``hyper``."""

    def augment(self, inputs: "torch.Tensor", key: "torch.Tensor", hyper: Mapping[str, Any]) -> "torch.Tensor":
        """Changed inputs (batch, *shape) from those of one step and the 0-d int64 key of its stream (``dlx.noise``)."""


Augmentation.exemplify("data.Flip()")


@dataclass(frozen=True)
class Flip:
    """Each sample is reversed along its last axis of positions (left and right, or time) with a probability.

    probability: in [0, 1]. Axes of positions: of (numbers,) the only one, of (length, channels) the length, of
    (channels, height, width) height and width.
    """

    probability: float = 0.5

    varies: ClassVar[tuple[str, ...]] = ("probability",)

    def check(self) -> None:
        """Raise DeclarationError where a value is out of its range."""
        check_shares(probability=self.probability)

    def augment(self, inputs: "torch.Tensor", key: "torch.Tensor", hyper: Mapping[str, Any]) -> "torch.Tensor":
        """Inputs (batch, *shape), some of them reversed."""
        import torch

        reversed_ = inputs.flip(_axes(inputs)[-1])
        chosen = uniform(key, (len(inputs),), torch.float32) < hyper["probability"]
        return torch.where(_each(chosen, inputs), reversed_, inputs)


@dataclass(frozen=True)
class Crop:
    """Each sample is moved along each axis of positions by a random number of places, and zeros move in.

    padding: at most so many places in either direction, all equally probable; as cutting the shape out of the sample
    padded with zeros (He et al. 2016, arXiv:1512.03385, section 4.2: 4 for CIFAR-10). Axes as in ``Flip``.
    """

    padding: int = 4

    varies: ClassVar[tuple[str, ...]] = ("padding",)

    def check(self) -> None:
        """Raise DeclarationError where a value is out of its range."""
        check_at_least(0, padding=self.padding)

    def augment(self, inputs: "torch.Tensor", key: "torch.Tensor", hyper: Mapping[str, Any]) -> "torch.Tensor":
        """Inputs (batch, *shape), moved."""
        import torch

        for axis in _axes(inputs):
            drawn = uniform(fold(key, axis), (len(inputs),), torch.float64)  # so that the product is exact
            places = (drawn * (2 * hyper["padding"] + 1)).floor().long() - hyper["padding"].long()
            inputs = _moved(inputs, axis, places)
        return inputs


@dataclass(frozen=True)
class Cutout:
    """A square at a random place of each sample is set to 0 (DeVries and Taylor 2017, arXiv:1708.04552).

    size: of a side, in places; the square may reach over the border. Axes as in ``Flip``.
    """

    size: int = 16

    varies: ClassVar[tuple[str, ...]] = ("size",)

    def check(self) -> None:
        """Raise DeclarationError where a value is out of its range."""
        check_at_least(0, size=self.size)

    def augment(self, inputs: "torch.Tensor", key: "torch.Tensor", hyper: Mapping[str, Any]) -> "torch.Tensor":
        """Inputs (batch, *shape) with a square of zeros in each."""
        import torch

        inside = torch.ones_like(inputs, dtype=torch.bool)
        for axis in _axes(inputs):
            places = torch.arange(inputs.shape[axis], device=inputs.device)
            centre = (uniform(fold(key, axis), (len(inputs), 1), torch.float64) * len(places)).floor()
            first = centre - (hyper["size"] / 2).floor()
            inside = inside & _along((places >= first) & (places < first + hyper["size"]), axis, inputs)
        return inputs.masked_fill(inside, 0.0)


@dataclass(frozen=True)
class Noise:
    """x + std · ε with ε standard normal, in the units of the inputs (Bishop 1995)."""

    std: float

    varies: ClassVar[tuple[str, ...]] = ("std",)

    def check(self) -> None:
        """Raise DeclarationError where a value is out of its range."""
        check_at_least(0, std=self.std)

    def augment(self, inputs: "torch.Tensor", key: "torch.Tensor", hyper: Mapping[str, Any]) -> "torch.Tensor":
        """Inputs (batch, *shape) with noise."""
        return inputs + hyper["std"] * normal(key, inputs.shape, inputs.dtype)


def _axes(inputs: "torch.Tensor") -> tuple[int, ...]:
    """Axes of positions of inputs (batch, numbers), (batch, length, channels) or (batch, channels, height, width)."""
    return (2, 3) if inputs.ndim == 4 else (1,)


def _each(per_sample: "torch.Tensor", inputs: "torch.Tensor") -> "torch.Tensor":
    """(batch,) with as many axes as the inputs."""
    return per_sample.view(-1, *[1] * (inputs.ndim - 1))


def _along(places: "torch.Tensor", axis: int, inputs: "torch.Tensor") -> "torch.Tensor":
    """(batch, places) with as many axes as the inputs, the places at this one."""
    return places.view(len(places), *(places.shape[1] if i == axis else 1 for i in range(1, inputs.ndim)))


def _moved(inputs: "torch.Tensor", axis: int, places: "torch.Tensor") -> "torch.Tensor":
    """Each sample moved along an axis by so many places (batch,), with zeros where nothing was."""
    import torch

    length = inputs.shape[axis]
    source = torch.arange(length, device=inputs.device) - places.unsqueeze(1)
    there = (source >= 0) & (source < length)
    index = _along(source.clamp(0, length - 1), axis, inputs).expand(inputs.shape)
    return inputs.gather(axis, index).masked_fill(~_along(there, axis, inputs), 0.0)
