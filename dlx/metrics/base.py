"""What any metric offers: one number for one model, of its outputs on a split, of its weights, or of its loss."""

import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias, runtime_checkable

from dlx.metrics.crossing import Crossing
from dlx.shelf import Shelf

if typing.TYPE_CHECKING:
    import torch

    from dlx.losses import Loss

SPLITS = ("train", "val", "test")
Tensors: TypeAlias = "dict[str, torch.Tensor]"  # name of a parameter → tensor of its shape
Network: TypeAlias = "Callable[[Tensors, torch.Tensor], torch.Tensor]"  # parameters, inputs → outputs
Objective: TypeAlias = "Callable[[Tensors], torch.Tensor]"  # parameters → mean loss over samples of the train split


@runtime_checkable
class OutputMetric(Protocol, metaclass=Shelf):
    """A number over a split; ``name`` stands behind the split's in results, as in ``val/error``."""

    @property
    def name(self) -> str:
        """Its name in results."""

    def measure(self, outputs: "torch.Tensor", targets: "torch.Tensor", loss: "Loss") -> "torch.Tensor":
        """A 0-d tensor from outputs (n, outputs), targets (n, ...) and the loss that is trained on.

        It must not be finite where the outputs are not, for this is how a diverged trial is known.
        """


@runtime_checkable
class ItemMetric(OutputMetric, Protocol, metaclass=Shelf):
    """An output metric that is a mean over the samples of a split.

    A metric whose fields may make it something else declares ``averaged``, False where they do.
    """

    def measure_items(self, outputs: "torch.Tensor", targets: "torch.Tensor", loss: "Loss") -> "torch.Tensor":
        """The metric of each sample alone, (n,), whose mean is ``measure`` of the same where that is finite."""


@runtime_checkable
class WeightMetric(Protocol, metaclass=Shelf):
    """A number of the parameters alone; in results ``weights/<name>``."""

    @property
    def name(self) -> str:
        """Its name in results."""

    def measure_weights(self, params: Tensors) -> "torch.Tensor":
        """A 0-d tensor from the parameters by name; not finite where these are not."""


@runtime_checkable
class LossMetric(Protocol, metaclass=Shelf):
    """A number of the loss as a function of the parameters, on the train split; in results ``train/<name>``.

    samples: of how many training samples the loss is the mean, None: of all. A metric may also declare ``batches``:
    then the objective gives the mean losses (batches,) of as many equal parts of these samples, in their order.
    """

    @property
    def name(self) -> str:
        """Its name in results."""

    @property
    def samples(self) -> int | None:
        """Of how many training samples the loss is the mean."""

    def measure_loss(self, objective: Objective, params: Tensors, key: "torch.Tensor") -> "torch.Tensor":
        """A 0-d tensor from the loss, the parameters and the 0-d int64 key of a random stream for ``dlx.noise``.

        It must not be finite where the loss is not.
        """


@runtime_checkable
class NetworkMetric(Protocol, metaclass=Shelf):
    """A number of the network as a function of its inputs, on the train split; in results ``train/<name>``.

    samples: how many training samples it is given, None: all.
    """

    @property
    def name(self) -> str:
        """Its name in results."""

    @property
    def samples(self) -> int | None:
        """How many training samples it is given."""

    def measure_network(self, network: Network, params: Tensors, inputs: "torch.Tensor") -> "torch.Tensor":
        """A 0-d tensor from the network, its parameters and inputs (samples, ...); not finite where outputs are not."""


@runtime_checkable
class When(Protocol, metaclass=Shelf):
    """After which updates something is measured."""

    def steps(self, total: int) -> list[int]:
        """Numbers of updates between 1 and the total, in order, the total always among them."""


@dataclass(frozen=True)
class Only:
    """A metric that is measured after these updates alone, ``when``, and not wherever the others are."""

    metric: OutputMetric | WeightMetric | LossMetric | NetworkMetric
    when: When

    @property
    def name(self) -> str:
        """That of the metric."""
        return self.metric.name


Metric: TypeAlias = OutputMetric | WeightMetric | LossMetric | NetworkMetric | Only | Crossing


def bare(metric: Metric) -> OutputMetric | WeightMetric | LossMetric | NetworkMetric | Crossing:
    """The metric itself, whenever it is measured."""
    return metric.metric if isinstance(metric, Only) else metric


def full_names(metric: Metric) -> tuple[str, ...]:
    """What a metric may be called in results, with splits named as in ``dlx.data``; none for what is no metric."""
    one = bare(metric)
    if isinstance(one, WeightMetric):
        return (f"weights/{one.name}",)
    if isinstance(one, Crossing):
        return (f"crossing/{one.name}",)
    if isinstance(one, LossMetric | NetworkMetric):
        return (f"train/{one.name}",)
    return tuple(f"{split}/{one.name}" for split in SPLITS) if isinstance(one, OutputMetric) else ()


def item_names(metric: Metric) -> tuple[str, ...]:
    """As ``full_names``, of a metric that is a mean over samples; none for another."""
    one = bare(metric)
    return full_names(one) if isinstance(one, ItemMetric) and getattr(one, "averaged", True) else ()


def by_sample(values: "torch.Tensor") -> "torch.Tensor":
    """Means (n,) over all axes but the first of values (n, ...)."""
    return values if values.ndim == 1 else values.flatten(1).mean(dim=1)


OutputMetric.exemplify("metrics.error()")
ItemMetric.exemplify("metrics.error()")
WeightMetric.exemplify("metrics.weight_norm()")
LossMetric.exemplify("metrics.sharpness()")
NetworkMetric.exemplify("metrics.jacobian_norm()")
When.exemplify("metrics.LogSpaced()")
