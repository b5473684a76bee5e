"""Every norm: its direction has size 1 in it, and no other of size 1 is better aligned with the gradient."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dlx import optim
from dlx.optim.muon import orthogonalise

torch.set_num_threads(1)


def spectral(a):
    return torch.linalg.matrix_norm(a, 2)


def rms(size):
    return size**0.5


# norm, its size of a matrix (m, n), its dual norm
NORMS = {
    "spectral": (optim.Spectral(exact=True), spectral, lambda g: torch.linalg.matrix_norm(g, "nuc")),
    "spectral, rms": (
        optim.Spectral(exact=True, rms=True), lambda a: spectral(a) * rms(a.shape[1] / a.shape[0]),
        lambda g: torch.linalg.matrix_norm(g, "nuc") * rms(g.shape[0] / g.shape[1]),
    ),
    "frobenius": (optim.Frobenius(), torch.Tensor.norm, torch.Tensor.norm),
    "frobenius, rms": (
        optim.Frobenius(rms=True), lambda a: a.square().mean().sqrt(), lambda g: g.norm() * rms(g.numel()),
    ),
    "rows": (optim.Rows(), lambda a: a.norm(dim=1).max(), lambda g: g.norm(dim=1).sum()),
    "rows, rms": (
        optim.Rows(rms=True), lambda a: a.norm(dim=1).max() * rms(a.shape[1]),
        lambda g: g.norm(dim=1).sum() / rms(g.shape[1]),
    ),
    "columns": (optim.Columns(), lambda a: a.norm(dim=0).max(), lambda g: g.norm(dim=0).sum()),
    "columns, rms": (
        optim.Columns(rms=True), lambda a: a.norm(dim=0).max() / rms(a.shape[0]),
        lambda g: g.norm(dim=0).sum() * rms(g.shape[0]),
    ),
    "largest entry": (optim.MaxNorm(), lambda a: a.abs().max(), lambda g: g.abs().sum()),
}


def matrix(seed, rows, columns):
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_every_norm_is_covered():
    found = {n for n in optim.__all__ if callable(getattr(getattr(optim, n), "direction", None))}
    assert found - {"Norm", "SteepestDescent"} == {type(norm).__name__ for norm, *_ in NORMS.values()}


@pytest.mark.parametrize("name", NORMS)
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), rows=st.integers(1, 8), columns=st.integers(1, 8), scale=st.floats(1e-6, 1e6))
def test_direction_is_dual(name, seed, rows, columns, scale):
    norm, size, dual = NORMS[name]
    gradient = matrix(seed, rows, columns) * scale
    direction = norm.direction(gradient)
    torch.testing.assert_close(size(direction), torch.ones((), dtype=torch.float64), rtol=0, atol=1e-9)
    torch.testing.assert_close((gradient * direction).sum(), dual(gradient), rtol=1e-4, atol=0)
    other = matrix(seed + 1, rows, columns)
    assert (gradient * other / size(other)).sum() <= dual(gradient) * (1 + 1e-9)


@pytest.mark.parametrize("name", NORMS)
def test_a_gradient_of_zero_has_direction_zero(name):
    assert torch.equal(NORMS[name][0].direction(torch.zeros(4, 3)), torch.zeros(4, 3))


@pytest.mark.parametrize("shape", [(12, 30), (30, 12), (20, 20)])
def test_exact_polar_factor(shape):
    """Singular values from 1 down to 1e-3."""
    few = min(shape)
    left, right = (torch.linalg.qr(matrix(i, n, few)).Q for i, n in enumerate(shape))
    given = left * torch.logspace(0, -3, few, dtype=torch.float64) @ right.T
    torch.testing.assert_close(optim.Spectral(exact=True).direction(given), left @ right.T, rtol=0, atol=1e-10)


def test_quintic_steps_bring_singular_values_near_one():
    singular = torch.linalg.svdvals(orthogonalise(matrix(0, 12, 30)))
    assert singular.min() > 0.6 and singular.max() < 1.3


def test_polar_factor_leaves_the_null_space():
    given = matrix(0, 6, 2) @ matrix(1, 2, 5)
    singular = torch.linalg.svdvals(optim.Spectral(exact=True).direction(given))
    torch.testing.assert_close(singular, torch.tensor([1, 1, 0, 0, 0], dtype=torch.float64), rtol=0, atol=1e-9)
