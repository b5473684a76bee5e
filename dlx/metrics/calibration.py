"""How well the softmax of the outputs, as probabilities of the classes, fits the classes."""

import math
import typing
from dataclasses import dataclass
from typing import ClassVar

from dlx.errors import DeclarationError
from dlx.metrics.base import by_sample
from dlx.metrics.finite import where_finite

if typing.TYPE_CHECKING:
    import torch

    from dlx.losses import Loss


@dataclass(frozen=True)
class NLL:
    """Negative log-likelihood −log softmax(outputs)[target], the mean over a split, in nats, whatever the loss is."""

    name: ClassVar[str] = "nll"

    def measure(self, outputs: "torch.Tensor", targets: "torch.Tensor", loss: "Loss") -> "torch.Tensor":
        """0-d from logits (n, classes) and classes (n,), or with a length behind n in both."""
        return where_finite(self._of_answers(outputs, targets).mean(), outputs)

    def measure_items(self, outputs: "torch.Tensor", targets: "torch.Tensor", loss: "Loss") -> "torch.Tensor":
        """(n,), of a sequence the mean over its positions, from what ``measure`` takes."""
        return by_sample(self._of_answers(outputs, targets).reshape(targets.shape))

    def _of_answers(self, outputs: "torch.Tensor", targets: "torch.Tensor") -> "torch.Tensor":
        logits, classes = _by_answer(outputs, targets, self.name)
        return logits.logsumexp(dim=-1) - logits.gather(-1, classes.unsqueeze(-1)).squeeze(-1)


@dataclass(frozen=True)
class Perplexity:
    """exp(NLL): among how many equally likely classes the model is as unsure; 1 at best."""

    name: ClassVar[str] = "perplexity"

    def measure(self, outputs: "torch.Tensor", targets: "torch.Tensor", loss: "Loss") -> "torch.Tensor":
        """0-d from logits (n, classes) and classes (n,), or with a length behind n in both."""
        return NLL().measure(outputs, targets, loss).exp()


@dataclass(frozen=True)
class Brier:
    """Σ over the classes of (probability − 1[it is the class])², the mean over a split, in [0, 2] (Brier 1950)."""

    name: ClassVar[str] = "brier"

    def measure(self, outputs: "torch.Tensor", targets: "torch.Tensor", loss: "Loss") -> "torch.Tensor":
        """0-d from logits (n, classes) and classes (n,), or with a length behind n in both."""
        return where_finite(self._of_answers(outputs, targets).mean(), outputs)

    def measure_items(self, outputs: "torch.Tensor", targets: "torch.Tensor", loss: "Loss") -> "torch.Tensor":
        """(n,), of a sequence the mean over its positions, from what ``measure`` takes."""
        return by_sample(self._of_answers(outputs, targets).reshape(targets.shape))

    def _of_answers(self, outputs: "torch.Tensor", targets: "torch.Tensor") -> "torch.Tensor":
        logits, classes = _by_answer(outputs, targets, self.name)
        wrong = logits.softmax(dim=-1) - _indicator(classes, logits.shape[-1], logits)
        return wrong.square().sum(dim=-1)


@dataclass(frozen=True)
class CalibrationError:
    """Expected calibration error Σ_b n_b/n |accuracy_b − confidence_b|, in [0, 1] (Guo et al. 2017, arXiv:1706.04599).

    bins: of equal width over confidences, the largest probability of a sample, in (0, 1]; 15 as in the paper.
    """

    bins: int = 15

    name: ClassVar[str] = "ece"

    def check(self) -> None:
        """Raise DeclarationError where a value is out of its range."""
        if self.bins < 1:
            raise DeclarationError(f"bins is {self.bins}; it must be at least 1.")

    def measure(self, outputs: "torch.Tensor", targets: "torch.Tensor", loss: "Loss") -> "torch.Tensor":
        """0-d from logits (n, classes) and classes (n,), or with a length behind n in both."""
        logits, classes = _by_answer(outputs, targets, self.name)
        confidence, found = logits.softmax(dim=-1).max(dim=-1)
        bin_of = (confidence * self.bins).ceil() - 1
        excess = (found == classes).to(logits.dtype) - confidence
        by_bin = excess @ _indicator(bin_of, self.bins, logits)
        return where_finite(by_bin.abs().sum() / len(classes), outputs)


def _by_answer(
    outputs: "torch.Tensor", targets: "torch.Tensor", metric: str
) -> "tuple[torch.Tensor, torch.Tensor]":
    """Logits (answers, classes) and classes (answers,), one answer for each sample, or for each of its positions."""
    if targets.is_floating_point():
        raise DeclarationError(
            f"{metric} needs classes as targets, and these are numbers; name other metrics, such as metrics.loss()."
        )
    answers = math.prod(targets.shape)
    return outputs.reshape(answers, outputs.shape[-1]), targets.reshape(answers)


def _indicator(index: "torch.Tensor", of: int, like: "torch.Tensor") -> "torch.Tensor":
    """(n, of), 1 where the index (n,) is the column and 0 elsewhere."""
    import torch

    return (index.unsqueeze(-1) == torch.arange(of, device=like.device)).to(like.dtype)
