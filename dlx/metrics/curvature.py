"""Curvature of the training loss by Hessian-vector products, and how far it rises nearby."""

import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from dlx import noise
from dlx.errors import DeclarationError
from dlx.metrics.base import Objective, Tensors
from dlx.metrics.finite import eigenvalues

if typing.TYPE_CHECKING:
    import torch

    Product = Callable[[torch.Tensor], torch.Tensor]  # v (parameters,) → Hv


@dataclass(frozen=True)
class Sharpness:
    """λ_max of the Hessian of the mean loss, by Lanczos with full re-orthogonalisation from a random direction.

    iterations: Hessian-vector products; what is found lies below λ_max and nears it exponentially in them.
    samples: the loss is the mean over the first so many training samples, None: over all.
    """

    iterations: int = 20
    samples: int | None = None

    name: ClassVar[str] = "sharpness"

    def check(self) -> None:
        """Raise DeclarationError where a value is out of its range."""
        _check_at_least_1(iterations=self.iterations, samples=self.samples)

    def measure_loss(self, objective: Objective, params: Tensors, key: "torch.Tensor") -> "torch.Tensor":
        """0-d, in units of the loss over squared units of the parameters."""
        start = noise.normal(key, *_vector(params))
        return _largest(hessian_product(objective, params), start, self.iterations)


@dataclass(frozen=True)
class HessianTrace:
    """tr H of the mean loss, the mean of zᵀHz over random signs z (Hutchinson 1990).

    probes: Hessian-vector products; the variance is 2 Σ_{i≠j} H_ij² / probes.
    samples: the loss is the mean over the first so many training samples, None: over all.
    """

    probes: int = 10
    samples: int | None = None

    name: ClassVar[str] = "hessian_trace"

    def check(self) -> None:
        """Raise DeclarationError where a value is out of its range."""
        _check_at_least_1(probes=self.probes, samples=self.samples)

    def measure_loss(self, objective: Objective, params: Tensors, key: "torch.Tensor") -> "torch.Tensor":
        """0-d, in units of the loss over squared units of the parameters."""
        import torch

        product, (shape, dtype), found = hessian_product(objective, params), _vector(params), []
        for probe in range(self.probes):
            signs = torch.where(noise.bits(noise.fold(key, probe), shape) < 0, -1.0, 1.0).to(dtype)
            found.append((signs * product(signs)).sum())
        return torch.stack(found).mean()


@dataclass(frozen=True)
class SAMSharpness:
    """L(θ + ε) − L(θ) with ε = ρ g / ‖g‖, g = ∇L(θ) (Foret et al. 2021, arXiv:2010.01412).

    rho: ρ, in the units of the parameters.
    adaptive: ε = ρ T²g / ‖Tg‖ with T = |θ|, which rescaling layers does not change (Kwon et al. 2021,
        arXiv:2102.11600); rho is then a share of the parameters.
    samples: the loss is the mean over the first so many training samples, None: over all.
    """

    rho: float = 0.05
    adaptive: bool = False
    samples: int | None = None

    @property
    def name(self) -> str:
        """``sam_sharpness``, or ``asam_sharpness`` where it is adaptive."""
        return "asam_sharpness" if self.adaptive else "sam_sharpness"

    def check(self) -> None:
        """Raise DeclarationError where a value is out of its range."""
        if not self.rho > 0.0:
            raise DeclarationError(f"rho is {self.rho}; it is a radius and must be above 0.")
        _check_at_least_1(samples=self.samples)

    def measure_loss(self, objective: Objective, params: Tensors, key: "torch.Tensor") -> "torch.Tensor":
        """0-d, in the units of the loss."""
        import torch

        grads, here = torch.func.grad_and_value(objective)(params)
        scale = {k: p.abs() if self.adaptive else torch.ones_like(p) for k, p in params.items()}
        length = torch.cat([(scale[k] * g).flatten() for k, g in grads.items()]).norm()
        unit = self.rho / length.clamp_min(torch.finfo(length.dtype).tiny)
        return objective({k: p + unit * scale[k].square() * grads[k] for k, p in params.items()}) - here


def hessian_product(objective: Objective, params: Tensors) -> "Product":
    """v ↦ Hv at these parameters, both (parameters,) in the order of the parameters, in the precision of v.

    Reverse mode twice: the gradient is computed once for all products, and what has no forward mode works as well.
    """
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel

    with sdpa_kernel(SDPBackend.MATH):  # the only one with second derivatives
        pullback = torch.func.vjp(torch.func.grad(objective), params)[1]

    def product(vector: "torch.Tensor") -> "torch.Tensor":
        parts = vector.split([p.numel() for p in params.values()])
        (found,) = pullback({k: part.view(p.shape).to(p) for (k, p), part in zip(params.items(), parts, strict=True)})
        return torch.cat([found[k].flatten() for k in params]).to(vector)

    return product


def _vector(params: Tensors) -> "tuple[tuple[int], torch.dtype]":
    """Shape of all parameters as one vector, and the precision to reckon with it in, float32 or better."""
    import torch

    dtype = next(iter(params.values())).dtype
    return (sum(p.numel() for p in params.values()),), torch.promote_types(dtype, torch.float32)


def _largest(product: "Product", start: "torch.Tensor", iterations: int) -> "torch.Tensor":
    """Largest eigenvalue of the tridiagonal matrix that Lanczos makes of a symmetric operator on (n,).

    Where the Krylov space is exhausted, to rounding, its further vectors are 0; the first α, which is no larger than
    the largest eigenvalue, then fills the diagonal.
    """
    import torch

    basis: list[torch.Tensor] = []
    diagonal: list[torch.Tensor] = []
    beside: list[torch.Tensor] = []
    q, rounding = start / start.norm(), 10 * len(start) ** 0.5 * torch.finfo(start.dtype).eps
    for _ in range(min(iterations, len(start))):
        w = product(q)
        alpha, least = (q * w).sum(), rounding * w.norm()
        diagonal.append(torch.where(beside[-1] == 0, diagonal[0], alpha) if beside else alpha)
        basis.append(q)
        known = torch.stack(basis)
        for _ in range(2):
            w = w - ((known @ w.unsqueeze(1)).T @ known)[0]  # known @ w has no pure recording: vmap squeezes in place
        length = w.norm()
        beside.append(torch.where(length <= least, 0.0, length))
        q = torch.where(length <= least, 0.0, w / length)
    off = torch.stack(beside)[:-1].diag(1)
    return eigenvalues(torch.stack(diagonal).diag() + off + off.T)[-1]


def _check_at_least_1(**fields: int | None) -> None:
    """Raise DeclarationError for a field below 1; None is any."""
    for name, value in fields.items():
        if value is not None and value < 1:
            raise DeclarationError(f"{name} is {value}; it must be at least 1.")
