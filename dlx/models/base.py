"""What any model offers: a module of PyTorch, for one trial."""

import typing
from typing import Protocol, runtime_checkable

from dlx.shelf import Shelf

if typing.TYPE_CHECKING:
    import torch

    from dlx.data import Dimensions


@runtime_checkable
class Model(Protocol, metaclass=Shelf):
    """An architecture; ``varies`` on the class names the fields that may differ between members of a pack."""

    def build(self, of: "Dimensions") -> "torch.nn.Module":
        """A module from (batch, *of.shape) to (batch, of.outputs), initialised from PyTorch's global generator.

        The caller seeds that generator from the trial's ``init`` stream. Models that answer at each position of a
        sequence give (batch, length, of.outputs). A module changes a buffer by assigning a new tensor to it, never in
        place, and does otherwise whatever ``torch.func.vmap`` allows.
        """


Model.exemplify("models.MLP(width=64, depth=2)")
