"""Averages of the parameters along training: what is measured and kept is the average, what trains is not."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from dlx.errors import DeclarationError
from dlx.optim.base import Gradient, State, Tensors, Wrapper, averages, check_shares


@dataclass(frozen=True)
class EMA(Wrapper):
    """a ← δa + (1−δ)θ after each step of the inner rule (Polyak and Juditsky 1992 with a forgetting factor).

    decay: δ in [0, 1). The average starts at the initial parameters.
    """

    decay: float = 0.999

    varies: ClassVar[tuple[str, ...]] = ("decay",)

    def check(self) -> None:
        """Raise DeclarationError where a value is out of its range."""
        check_shares(decay=self.decay)

    def init(self, params: Tensors) -> State:
        """The inner rule's state, and the initial parameters as their average."""
        return {**super().init(params), "average": dict(params)}

    def update(
        self, gradient: Gradient, state: State, params: Tensors, hyper: Mapping[str, Any]
    ) -> tuple[Tensors, State]:
        """One step."""
        stepped, inner = self.inner.update(gradient, state["inner"], params, hyper["inner"])
        return stepped, {"inner": inner, "average": averages(state["average"], stepped, hyper["decay"])}

    def evaluated(self, state: State, params: Tensors) -> Tensors:
        """The average."""
        return state["average"]


@dataclass(frozen=True)
class SWA(Wrapper):
    """The mean of θ after steps ``start``, ``start + every``, … of the inner rule (Izmailov et al., arXiv:1803.05407).

    start: number of the first step that counts, the first of all being 1; until then the average is θ itself;
    every: steps between those that count, in the paper an epoch.
    """

    start: int = 1
    every: int = 1

    varies: ClassVar[tuple[str, ...]] = ("start", "every")

    def check(self) -> None:
        """Raise DeclarationError where a value is out of its range."""
        for name, value in {"start": self.start, "every": self.every}.items():
            if value < 1:
                raise DeclarationError(f"{name} is {value}; it must be at least 1 step.")

    def init(self, params: Tensors) -> State:
        """The inner rule's state, the initial parameters as their average, and 0 steps of which 0 count."""
        import torch

        zero = next(iter(params.values())).new_zeros((), dtype=torch.int64)
        counts = {"step": zero, "counted": zero}
        return {**super().init(params), "average": dict(params), **counts}

    def update(
        self, gradient: Gradient, state: State, params: Tensors, hyper: Mapping[str, Any]
    ) -> tuple[Tensors, State]:
        """One step."""
        stepped, inner = self.inner.update(gradient, state["inner"], params, hyper["inner"])
        step = state["step"] + 1
        counts = (step >= hyper["start"]) & ((step - hyper["start"]) % hyper["every"] == 0)
        counted = state["counted"] + counts
        share = (counts | (counted == 0)) / counted.clamp(min=1).to(hyper["start"].dtype)
        average = {k: state["average"][k] + share * (p - state["average"][k]) for k, p in stepped.items()}
        return stepped, {"inner": inner, "average": average, "step": step, "counted": counted}

    def evaluated(self, state: State, params: Tensors) -> Tensors:
        """The average."""
        return state["average"]
