"""What any model offers: a module of PyTorch, for one trial."""

import typing
from typing import Protocol, runtime_checkable

from dlx.shelf import Shelf

if typing.TYPE_CHECKING:
    import torch


@runtime_checkable
class Model(Protocol, metaclass=Shelf):
    """An architecture; its module may do whatever ``torch.func.vmap`` allows and must be free of randomness."""

    def build(self, inputs: int, outputs: int) -> "torch.nn.Module":
        """A module from (batch, inputs) to (batch, outputs), initialised from PyTorch's global generator.

        The caller seeds that generator from the trial's ``init`` stream.
        """


Model.exemplify("models.MLP(width=64, depth=2)")
