"""Augmentation: training inputs are changed at random, anew in each step."""

import typing
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from dlx.shelf import Shelf

if typing.TYPE_CHECKING:
    import torch


@runtime_checkable
class Augmentation(Protocol, metaclass=Shelf):
    """A random change; ``varies`` on the class names the fields that enter ``augment`` as tensors in ``hyper``."""

    def augment(self, inputs: "torch.Tensor", key: "torch.Tensor", hyper: Mapping[str, Any]) -> "torch.Tensor":
        """Changed inputs (batch, *shape) from those of one step and the 0-d int64 key of its stream (``dlx.noise``)."""


Augmentation.exemplify("data.Flip()")
