"""What any metric offers: one number for one model on one split."""

import typing
from typing import ClassVar, Protocol, runtime_checkable

from dlx.shelf import Shelf

if typing.TYPE_CHECKING:
    import torch

    from dlx.losses import Loss


@runtime_checkable
class Metric(Protocol, metaclass=Shelf):
    """A number over a split; ``name`` stands behind the split's in results, as in ``val/error``."""

    name: ClassVar[str]

    def measure(self, outputs: "torch.Tensor", targets: "torch.Tensor", loss: "Loss") -> "torch.Tensor":
        """A 0-d tensor from outputs (n, outputs), targets (n, ...) and the loss that is trained on.

        It must not be finite where the outputs are not, for this is how a diverged trial is known.
        """


Metric.exemplify("metrics.error()")
