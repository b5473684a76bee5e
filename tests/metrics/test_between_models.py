"""What compares two models: representations, the line between them, and the order of their hidden units."""

import math
from itertools import pairwise, permutations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import orthogonal_procrustes
from scipy.spatial import procrustes

from dlx import metrics, models
from dlx.data import Dimensions
from dlx.errors import DeclarationError

F64 = torch.float64


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


def hsic_by_kernels(x, y):
    """The unbiased estimator of Song et al. 2012 as it is printed, from whole kernel matrices."""
    n, one = len(x), torch.ones(len(x), dtype=F64)
    a, b = ((z @ z.T).fill_diagonal_(0) for z in (x, y))
    product = (one @ a @ one) * (one @ b @ one) / ((n - 1) * (n - 2))
    return ((a @ b).trace() + product - 2 * (one @ a @ b @ one) / (n - 2)) / (n * (n - 3))


@settings(max_examples=30)
@given(st.integers(4, 20), st.integers(1, 8), st.integers(1, 8), st.integers(0, 1_000))
def test_cka_equals_its_definition_by_kernels(n, p, q, seed):
    x, y = randn(n, p, seed=seed) + 3, randn(n, q, seed=seed + 1) - 2
    centre = torch.eye(n, dtype=F64) - 1 / n
    a, b = (centre @ z @ z.T @ centre for z in (x, y))
    torch.testing.assert_close(metrics.cka(x, y), (a * b).sum() / (a.norm() * b.norm()), rtol=1e-9, atol=1e-12)
    unbiased = hsic_by_kernels(x, y) / (hsic_by_kernels(x, x) * hsic_by_kernels(y, y)).sqrt()
    torch.testing.assert_close(metrics.cka(x, y, unbiased=True), unbiased, rtol=1e-6, atol=1e-9, equal_nan=True)


def test_cka_of_independent_representations_is_zero_only_without_bias():
    draws = [(randn(20, 50, seed=2 * i), randn(20, 50, seed=2 * i + 1)) for i in range(200)]
    assert torch.stack([metrics.cka(x, y) for x, y in draws]).mean() > 0.5
    unbiased = torch.stack([metrics.cka(x, y, unbiased=True) for x, y in draws])
    assert abs(unbiased.mean()) < 4 * unbiased.std() / 200**0.5


@settings(max_examples=30)
@given(st.integers(3, 20), st.integers(1, 6), st.integers(0, 1_000))
def test_procrustes_equals_scipy(n, p, seed):
    x, y = randn(n, p, seed=seed), randn(n, p, seed=seed + 1)
    found = metrics.procrustes(x, y).item()
    standard = [((z - z.mean(0)) / (z - z.mean(0)).norm()).numpy() for z in (x, y)]
    rotation, _ = orthogonal_procrustes(*standard)
    assert found == pytest.approx(np.square(standard[0] @ rotation - standard[1]).sum(), rel=1e-9, abs=1e-12)
    disparity = procrustes(x.numpy(), y.numpy())[2]  # which also chooses the scale
    assert 1 - (1 - found / 2) ** 2 == pytest.approx(disparity, rel=1e-9, abs=1e-12)


def test_both_are_blind_to_rotation_shift_and_scale_and_to_columns_of_zero():
    x, rotation = randn(30, 6), torch.linalg.qr(randn(6, 6, seed=1))[0]
    same = torch.cat([4 * x @ rotation + 7, torch.zeros(30, 2, dtype=F64)], dim=1)
    assert metrics.cka(x, same) == pytest.approx(1) and metrics.cka(x, same, unbiased=True) == pytest.approx(1)
    assert metrics.procrustes(x, same) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("compare", [metrics.cka, metrics.procrustes])
@pytest.mark.parametrize("y", [randn(7, 3), randn(8), randn(8, 3, 2)])
def test_representations_of_other_samples_are_refused(compare, y):
    with pytest.raises(DeclarationError, match=r"\(8, 3\).*\(samples, features\)"):
        compare(randn(8, 3), y)


# ---------------------------------------------------------------- the line between two models

INPUTS = randn(200, 6, seed=5)


def mlp(seed, widths=(6, 9, 8, 3), bias=True):
    torch.manual_seed(seed)
    layers = []
    for inputs, outputs in pairwise(widths):
        layers += [torch.nn.Linear(inputs, outputs, bias=bias), torch.nn.ReLU()]
    return torch.nn.Sequential(*layers[:-1]).double()


def weights(module):
    return {k: p.detach().clone() for k, p in module.named_parameters()}


def permuted(params, seed):
    """The same function with hidden units in another order."""
    generator, moved = torch.Generator().manual_seed(seed), dict(params)
    names = [k.removesuffix(".weight") for k in params if k.endswith("weight")]
    for name, following in pairwise(names):
        order = torch.randperm(len(params[f"{name}.weight"]), generator=generator)
        for own in (f"{name}.weight", f"{name}.bias"):
            if own in moved:
                moved[own] = moved[own][order]
        moved[f"{following}.weight"] = moved[f"{following}.weight"][:, order]
    return moved


def test_line_and_barrier_of_a_known_loss():
    a, b = {"x": torch.tensor([0.0], dtype=F64)}, {"x": torch.tensor([2.0], dtype=F64)}
    found = metrics.line(lambda p: p["x"].square().squeeze(), a, b, points=5)
    torch.testing.assert_close(found, torch.tensor([0, 0.25, 1, 2.25, 4], dtype=F64))
    assert metrics.barrier(lambda p: p["x"].square().squeeze(), a, b) == 0  # convex
    bump = metrics.barrier(lambda p: float(1 + p["x"] / 2 - (p["x"] - 1) ** 2), a, b)  # on a chord from 0 to 1
    assert bump == pytest.approx(1)


def test_whole_numbers_are_not_mixed():
    a, b = ({"n": torch.tensor(n), "x": torch.ones(1)} for n in (3, 8))
    assert metrics.line(lambda p: p["n"], a, b, points=3).tolist() == [3, 3, 3]


@pytest.mark.parametrize("bias", [True, False])
@settings(max_examples=10)
@given(seed=st.integers(0, 100))
def test_matching_undoes_a_permutation(seed, bias):
    a = weights(mlp(seed, (40, 9, 8, 3), bias))  # with few inputs the first step may err, and descent ends elsewhere
    b = {k: p + 0.01 * randn(*p.shape, seed=i) for i, (k, p) in enumerate(a.items())}
    matched = metrics.match(a, permuted(b, seed + 1))
    for k in b:
        assert torch.equal(matched[k], b[k]), k


def test_matching_removes_the_barrier_between_equal_functions():
    module = mlp(0)
    a, targets = weights(module), module(INPUTS).detach()

    def loss_at(params):
        return (torch.func.functional_call(module, params, (INPUTS,)) - targets).square().mean()

    b = permuted(a, 3)
    assert metrics.barrier(loss_at, a, b) > 1e-3
    assert metrics.barrier(loss_at, a, metrics.match(a, b)) == pytest.approx(0, abs=1e-12)


@settings(max_examples=10)
@given(st.integers(0, 100))
def test_matching_keeps_the_function_and_brings_independent_models_closer(seed):
    module, other = mlp(seed), mlp(seed + 1_000)
    a, b = weights(module), weights(other)
    matched = metrics.match(a, b)
    outputs = [torch.func.functional_call(module, p, (INPUTS,)) for p in (b, matched)]
    torch.testing.assert_close(*outputs, rtol=1e-10, atol=1e-12)

    def inner(other):
        return sum((a[k] * other[k]).sum() for k in a)

    assert inner(matched) > inner(b)
    again = metrics.match(a, matched)
    assert all(torch.equal(again[k], matched[k]) for k in a)  # nothing is left to gain


@pytest.mark.parametrize(("kind", "shape"), [(models.CNN1d, (12,)), (models.CNN2d, (2, 8, 8))])
def test_matching_orders_the_channels_of_convolutions(kind, shape):
    modules = [kind(channels=(4, 5)).build(Dimensions(math.prod(shape), 3, shape)).double() for _ in range(2)]
    a, b = map(weights, modules)
    inputs = randn(6, *shape)
    matched = metrics.match(a, b)
    outputs = [torch.func.functional_call(modules[0], p, (inputs,)) for p in (b, matched)]
    torch.testing.assert_close(*outputs, rtol=1e-10, atol=1e-12)
    assert sum((a[k] * matched[k]).sum() for k in a) > sum((a[k] * b[k]).sum() for k in a)
    shuffled = {k: p.clone() for k, p in a.items()}
    for name in [k for k in a if k.startswith(next(iter(a)).partition(".")[0] + ".")]:
        shuffled[name] = a[name].flip(0)
    following = [k for k in a if k.endswith("weight")][1]
    shuffled[following] = a[following].flip(1)
    assert all(torch.equal(metrics.match(a, shuffled)[k], a[k]) for k in a)


def test_with_one_hidden_layer_matching_is_the_best_of_all_orders():
    a, b = weights(mlp(0, (4, 5, 2))), weights(mlp(1, (4, 5, 2)))
    similar = a["0.weight"] @ b["0.weight"].T + torch.outer(a["0.bias"], b["0.bias"]) + a["2.weight"].T @ b["2.weight"]
    best = max(sum(similar[i, j].item() for i, j in enumerate(order)) for order in permutations(range(5)))
    matched = metrics.match(a, b)
    found = sum((a[k] * matched[k]).sum() for k in ("0.weight", "0.bias", "2.weight"))
    assert found.item() == pytest.approx(best, rel=1e-12)


def test_what_cannot_be_compared_is_refused():
    a = weights(mlp(0))
    for compare in (lambda b: metrics.match(a, b), lambda b: metrics.barrier(lambda p: 0.0, a, b)):
        with pytest.raises(DeclarationError, match="different names or shapes"):
            compare(weights(mlp(0, (6, 9, 7, 3))))
    with pytest.raises(DeclarationError, match="points is 2"):
        metrics.barrier(lambda p: 0.0, a, a, points=2)
    normalised = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.LayerNorm(4), torch.nn.Linear(4, 2))
    every_place = torch.nn.Sequential(torch.nn.Conv1d(1, 2, 3), torch.nn.Flatten(), torch.nn.Linear(8, 2))
    for module in (normalised, every_place):
        with pytest.raises(DeclarationError, match="linear layers and convolutions, one behind the other"):
            metrics.match(weights(module), weights(module))
