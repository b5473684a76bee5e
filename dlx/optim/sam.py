"""Sharpness-aware minimisation: the gradient is taken where the loss is worst nearby."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from dlx.optim.base import Gradient, State, Tensors, Wrapper, check_not_negative, global_norm

SMALLEST_NORM = 1e-12  # as in the implementations of Foret et al. and davda54/sam


@dataclass(frozen=True)
class SAM(Wrapper):
    """The inner rule with the gradient at θ + ρ g/‖g‖₂ (Foret et al. 2021, arXiv:2010.01412); two gradients a step.

    rho: ρ, the radius of the ball over all parameters.
    """

    rho: float = 0.05

    varies: ClassVar[tuple[str, ...]] = ("rho",)

    def check(self) -> None:
        """Raise DeclarationError where a value is out of its range."""
        check_not_negative(rho=self.rho)

    def update(
        self, gradient: Gradient, state: State, params: Tensors, hyper: Mapping[str, Any]
    ) -> tuple[Tensors, State]:
        """One step."""

        def at_worst(params: Tensors) -> Tensors:
            grads = gradient(params)
            scale = hyper["rho"] / (global_norm(grads) + SMALLEST_NORM)
            return gradient({k: p + scale * grads[k] for k, p in params.items()})

        stepped, inner = self.inner.update(at_worst, state["inner"], params, hyper["inner"])
        return stepped, {"inner": inner}


@dataclass(frozen=True)
class ASAM(Wrapper):
    """The inner rule with the gradient at θ + ρ T²g/‖Tg‖₂, T = |θ| + η (Kwon et al. 2021, arXiv:2102.11600).

    The ball is scaled by each parameter, biases included, and so is blind to rescaling of layers; two gradients a step.
    rho: ρ, the radius of the ball over all parameters; eta: η. Defaults are those of the paper for CIFAR-10.
    """

    rho: float = 0.5
    eta: float = 0.01

    varies: ClassVar[tuple[str, ...]] = ("rho", "eta")

    def check(self) -> None:
        """Raise DeclarationError where a value is out of its range."""
        check_not_negative(rho=self.rho, eta=self.eta)

    def update(
        self, gradient: Gradient, state: State, params: Tensors, hyper: Mapping[str, Any]
    ) -> tuple[Tensors, State]:
        """One step."""

        def at_worst(params: Tensors) -> Tensors:
            sizes = {k: p.abs() + hyper["eta"] for k, p in params.items()}
            grads = {k: sizes[k] * g for k, g in gradient(params).items()}
            scale = hyper["rho"] / (global_norm(grads) + SMALLEST_NORM)
            return gradient({k: p + scale * sizes[k] * grads[k] for k, p in params.items()})

        stepped, inner = self.inner.update(at_worst, state["inner"], params, hyper["inner"])
        return stepped, {"inner": inner}
