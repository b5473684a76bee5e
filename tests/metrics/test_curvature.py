import math
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dlx import losses, metrics, models
from dlx.data import Dimensions
from dlx.metrics.curvature import hessian_product
from dlx.stacking import stack, unstack
from dlx.vectorise import vectorise

F64 = torch.float64
N, FEATURES, CLASSES = 64, 4, 3
GENERATOR = torch.Generator().manual_seed(0)
INPUTS = torch.randn(N, FEATURES, generator=GENERATOR, dtype=F64)
TARGETS = torch.randint(0, CLASSES, (N,), generator=GENERATOR)
KEY = torch.tensor(11)
COUPLED = torch.randn(30, 30, generator=torch.Generator().manual_seed(1), dtype=F64)
COUPLED = (COUPLED + COUPLED.T) / 2


class Attention(torch.nn.Module):
    """One head over the inputs as a sequence of single numbers."""

    def __init__(self):
        super().__init__()
        self.read, self.write = torch.nn.Linear(1, 6), torch.nn.Linear(2, CLASSES)

    def forward(self, x):
        q, k, v = self.read(x.unsqueeze(-1)).unsqueeze(1).chunk(3, dim=-1)
        return self.write(torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True).mean((1, 2)))


def mlp(activation):
    return models.MLP(width=3, depth=2, activation=activation).build(Dimensions(FEATURES, CLASSES, (FEATURES,)))


MODULES = {name: lambda name=name: mlp(name) for name in ("tanh", "gelu", "relu", "sigmoid")}
MODULES["attention"] = Attention


def problem(name, loss=losses.CrossEntropy(), seed=0):
    """An objective, random parameters and their exact Hessian as a matrix."""
    torch.manual_seed(seed)
    module = MODULES[name]().double()

    def objective(params):
        return loss(torch.func.functional_call(module, params, (INPUTS,)), TARGETS).mean()

    params = {k: 2 * p.detach() for k, p in module.named_parameters()}
    return objective, params


def exact_hessian(objective, params):
    sizes = [p.numel() for p in params.values()]

    def flat(vector):
        parts = vector.split(sizes)
        return objective({k: part.view(p.shape) for (k, p), part in zip(params.items(), parts, strict=True)})

    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        return torch.func.jacrev(torch.func.grad(flat))(torch.cat([p.flatten() for p in params.values()]))


@pytest.mark.parametrize("name", MODULES)
def test_products_and_largest_eigenvalue_are_those_of_the_exact_hessian(name):
    objective, params = problem(name, losses.MSE() if name == "sigmoid" else losses.CrossEntropy())
    hessian = exact_hessian(objective, params)
    vector = torch.randn(len(hessian), generator=torch.Generator().manual_seed(5), dtype=F64)
    torch.testing.assert_close(hessian_product(objective, params)(vector), hessian @ vector, rtol=1e-9, atol=1e-12)
    largest = torch.linalg.eigvalsh(hessian)[-1]
    found = metrics.sharpness(iterations=len(hessian)).measure_loss(objective, params, KEY)
    torch.testing.assert_close(found, largest, rtol=1e-9, atol=1e-12)
    soon = metrics.sharpness().measure_loss(objective, params, KEY)
    assert largest * (1 - 1e-3) <= soon <= largest * (1 + 1e-9)


def test_sharpness_of_attention_and_gelu_in_a_pack():
    for name in ("attention", "gelu"):
        objective, _ = problem(name)
        members = [problem(name, seed=i)[1] for i in range(2)]
        together = vectorise(partial(metrics.sharpness(2).measure_loss, objective))
        found = unstack(together(stack(members, "cpu", F64), stack([KEY, KEY + 1], "cpu", F64)), 2)
        for params, key, value in zip(members, [KEY, KEY + 1], found, strict=True):
            alone = metrics.sharpness(2).measure_loss(objective, params, key)
            torch.testing.assert_close(value, alone, rtol=1e-10, atol=1e-10)


@settings(max_examples=40)
@given(st.lists(st.floats(-10, 10), min_size=1, max_size=12), st.integers(0, 100))
def test_sharpness_of_a_quadratic_is_its_largest_eigenvalue(spectrum, key):
    """Repeated, zero and negative eigenvalues among them: the Krylov space is smaller than the parameters."""
    n = len(spectrum)
    rotation = torch.linalg.qr(torch.randn(n, n, generator=torch.Generator().manual_seed(key), dtype=F64))[0]
    matrix = (rotation * torch.tensor(spectrum, dtype=F64)) @ rotation.T

    def objective(params):
        return params["x"] @ matrix @ params["x"] / 2

    found = metrics.sharpness().measure_loss(objective, {"x": torch.ones(n, dtype=F64)}, torch.tensor(key))
    assert found.item() == pytest.approx(max(spectrum), rel=1e-8, abs=1e-8)


@pytest.mark.parametrize("curvature", [-2.0, 0.0, 3.0])
def test_sharpness_where_every_direction_is_alike(curvature):
    params = {"x": torch.ones(7, dtype=F64)}
    found = metrics.sharpness().measure_loss(lambda p: curvature * p["x"].square().sum() / 2, params, KEY)
    assert found.item() == pytest.approx(curvature, abs=1e-12)


@pytest.mark.parametrize("name", ["tanh", "attention"])
def test_trace_is_within_its_standard_error(name):
    objective, params = problem(name)
    hessian = exact_hessian(objective, params)
    off = hessian - hessian.diag().diag()
    probes = 40
    found = metrics.hessian_trace(probes=probes).measure_loss(objective, params, KEY)
    assert abs(found - hessian.trace()) < 3 * math.sqrt(2 * off.square().sum() / probes)


def test_trace_of_a_diagonal_hessian_is_exact_and_its_variance_elsewhere_that_of_hutchinson():
    params = {"x": torch.ones(30, dtype=F64)}
    diagonal = COUPLED.diag()
    found = metrics.hessian_trace(probes=1).measure_loss(lambda p: diagonal @ p["x"].square() / 2, params, KEY)
    torch.testing.assert_close(found, diagonal.sum())
    draws = torch.stack([
        metrics.hessian_trace(probes=1).measure_loss(lambda p: p["x"] @ COUPLED @ p["x"] / 2, params, KEY + i)
        for i in range(600)
    ])
    expected = 2 * (COUPLED - diagonal.diag()).square().sum()
    assert draws.var() == pytest.approx(expected.item(), rel=0.25)
    assert abs(draws.mean() - diagonal.sum()) < 4 * (expected / 600).sqrt()


@pytest.mark.parametrize("adaptive", [False, True])
def test_sam_sharpness_equals_an_ascent_step_by_autograd(adaptive):
    objective, params = problem("tanh")
    leaves = {k: p.clone().requires_grad_() for k, p in params.items()}
    here = objective(leaves)
    here.backward()
    scale = {k: p.abs() if adaptive else 1.0 for k, p in params.items()}
    norm = torch.stack([(scale[k] * p.grad).norm() for k, p in leaves.items()]).norm()
    there = objective({k: params[k] + 0.3 * scale[k] ** 2 * p.grad / norm for k, p in leaves.items()})
    found = metrics.sam_sharpness(rho=0.3, adaptive=adaptive).measure_loss(objective, params, KEY)
    torch.testing.assert_close(found, (there - here).detach(), rtol=1e-10, atol=1e-12)


def test_adaptive_sharpness_does_not_change_when_layers_are_rescaled():
    objective, params = problem("relu")
    rescaled = {**params, "0.weight": 5 * params["0.weight"], "0.bias": 5 * params["0.bias"],
                "2.weight": params["2.weight"] / 5}
    for metric, same in [(metrics.sam_sharpness(adaptive=True), True), (metrics.sam_sharpness(), False)]:
        before, after = (metric.measure_loss(objective, p, KEY).item() for p in (params, rescaled))
        assert (before == pytest.approx(after, rel=1e-9)) == same


def test_sam_sharpness_at_a_stationary_point_is_zero():
    params = {"x": torch.zeros(3, dtype=F64)}
    assert metrics.sam_sharpness().measure_loss(lambda p: p["x"].square().sum(), params, KEY) == 0


@pytest.mark.parametrize("batches", [2, 8, N])
def test_gradient_noise_is_that_of_the_paper(batches):
    """|G|² and S by the estimators of appendix A.1, from gradients by autograd of every batch and of all."""
    torch.manual_seed(0)
    module = mlp("tanh").double()
    params = {k: p.detach() for k, p in module.named_parameters()}

    def objective(params):
        found = losses.CrossEntropy()(torch.func.functional_call(module, params, (INPUTS,)), TARGETS)
        return found.view(batches, -1).mean(1)

    def squared_gradient(rows):
        module.zero_grad()
        losses.CrossEntropy()(module(INPUTS[rows]), TARGETS[rows]).mean().backward()
        return sum(p.grad.square().sum() for p in module.parameters())

    small, big = N // batches, N
    small_norm = torch.stack([squared_gradient(rows) for rows in torch.arange(N).chunk(batches)]).mean()
    big_norm = squared_gradient(torch.arange(N))
    gradient = (big * big_norm - small * small_norm) / (big - small)
    noise = (small_norm - big_norm) / (1 / small - 1 / big)
    found = metrics.gradient_noise(batches=batches, samples=N).measure_loss(objective, params, KEY)
    torch.testing.assert_close(found, noise / gradient, rtol=1e-9, atol=1e-12)
