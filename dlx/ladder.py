"""A ladder: the same training on more and more samples, and how many it takes."""

import math
import typing
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from dlx.data import Subset
from dlx.errors import DeclarationError
from dlx.training import Training
from dlx.trial import Trial

if typing.TYPE_CHECKING:
    from dlx.context import Context

METRIC = "accuracy"


@dataclass(frozen=True)
class Ladder(Trial):
    """One training on n samples for each n in ``rungs``, subsets of each other, all in one pack.

    training: its data have at least as many samples as the last rung, its batches at most as many as the first, and it
    measures ``metrics.accuracy()``; rungs: rising numbers of samples; reaches: an accuracy in (0, 1).
    Accuracies are logged with n for a step. On each split that is not trained on it returns ``n``, where the accuracy
    first reaches ``reaches``, linear in log n between two rungs, ``log2_n``, and ``censored``: 1 where that is below
    the first rung, whose n it then has, or beyond the last, whose n it then has. In results ``test/n`` and so on.
    """

    training: Training
    rungs: tuple[int, ...]
    reaches: float = 0.9

    def check(self) -> None:
        """Raise DeclarationError where values are out of range or do not fit together."""
        if not self.rungs or any(a >= b for a, b in zip((0, *self.rungs), self.rungs, strict=False)):
            raise DeclarationError(f"rungs is {self.rungs}; give rising numbers of samples, the first above 0.")
        if not 0.0 < self.reaches < 1.0:
            raise DeclarationError(f"reaches is {self.reaches}; it is an accuracy and must lie in (0, 1).")
        if all(getattr(m, "name", "") != METRIC for m in self.training.metrics):
            raise DeclarationError("training measures no accuracy, which a ladder needs; add metrics.accuracy() to it.")
        self._on(self.rungs[-1]).data.check()  # type: ignore[attr-defined]
        self._on(self.rungs[0]).check()

    def shape(self) -> Hashable:
        """That of the trainings, and the rungs."""
        return type(self), self.rungs, self._on(self.rungs[0]).shape()

    def _on(self, n: int) -> Training:
        return replace(self.training, data=Subset(self.training.data, n))

    @classmethod
    def run_pack(
        cls, trials: Sequence[Self], contexts: Sequence["Context"]
    ) -> Sequence[Mapping[str, float] | Exception]:
        """Train all rungs of all ladders together."""
        from dlx.context import Context

        own = [Context(ctx.seed, ctx.device) for t, ctx in zip(trials, contexts, strict=True) for _ in t.rungs]
        results = iter(Training.run_pack([t._on(n) for t in trials for n in t.rungs], own))
        for ctx in contexts:
            ctx.rate = own[0].rate
            ctx.notes += own[0].notes
        return [t._climbed(ctx, [next(results) for _ in t.rungs]) for t, ctx in zip(trials, contexts, strict=True)]

    def _climbed(self, ctx: "Context", found: Sequence[Any]) -> Mapping[str, float] | Exception:
        """What the rungs gave."""
        if failed := next((one for one in found if isinstance(one, Exception)), None):
            return failed
        names = [name for name in found[0] if name.endswith(f"/{METRIC}") and not name.startswith("train/")]
        for n, one in zip(self.rungs, found, strict=True):
            ctx.log(n, {name: one[name] for name in names})
        results: dict[str, float] = {}
        for name in names:
            log2_n, censored = crossed(self.rungs, [one[name] for one in found], self.reaches)
            split = name.partition("/")[0]
            results |= {f"{split}/log2_n": log2_n, f"{split}/n": 2.0**log2_n, f"{split}/censored": float(censored)}
        return results


def crossed(rungs: Sequence[int], accuracies: Sequence[float], reaches: float) -> tuple[float, bool]:
    """log₂ n at which accuracies (rungs,) first reach a value, and whether that lies outside of the rungs."""
    for i, accuracy in enumerate(accuracies):
        if accuracy >= reaches:
            if i == 0 or not math.isfinite(accuracies[i - 1]):
                return math.log2(rungs[i]), True
            share = (reaches - accuracies[i - 1]) / (accuracy - accuracies[i - 1])
            return math.log2(rungs[i - 1]) + share * math.log2(rungs[i] / rungs[i - 1]), False
    return math.log2(rungs[-1]), True
