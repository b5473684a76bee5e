"""What the contract of all optimizers does not see: other shapes of parameters, equal rules, bad values."""

from functools import partial

import pytest
import pytorch_optimizer as reference
import torch
from torch.utils._pytree import tree_map

from dlx import optim, shelf
from dlx.errors import DeclarationError
from dlx.optim.muon import split
from dlx.optim.schedules import scaled

torch.set_num_threads(1)


def gradients(shape, steps, seed=0):
    return torch.randn(steps, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def run(optimizer, grads, dtype=torch.float64):
    """One parameter that starts at 1 and meets these gradients in turn."""
    hyper = tree_map(partial(torch.tensor, dtype=torch.promote_types(dtype, torch.float32)),
                     shelf.hyperparameters(optimizer))
    params = {"0.weight": torch.ones(grads.shape[1:], dtype=dtype)}
    state = optimizer.init(params)
    for g in grads.to(dtype):
        params, state = optimizer.update(lambda _, g=g: {"0.weight": g}, state, params, hyper)
    return params["0.weight"]


def run_torch(make, grads):
    param = torch.ones(grads.shape[1:], dtype=torch.float64, requires_grad=True)
    optimizer = make([param])
    for g in grads:
        param.grad = g.clone()
        optimizer.step()
    return param.detach()


@pytest.mark.parametrize("shape", [(4, 3, 2, 2), (5, 4, 3), (4,), (6, 2)])
def test_shampoo_of_any_number_of_axes(shape):
    grads = gradients(shape, 20)
    expected = run_torch(partial(reference.Shampoo, lr=0.1, matrix_eps=1e-3), grads)
    torch.testing.assert_close(run(optim.Shampoo(0.1, eps=1e-3), grads), expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("decay", [0.9, 0.5])
def test_shampoo_with_momentum_and_averages(decay):
    grads = gradients((6, 5), 20)
    expected = run_torch(
        lambda p: reference.ScalableShampoo(
            p, 0.1, betas=(0.8, decay), start_preconditioning_step=1, preconditioning_compute_steps=1, graft_type=0,
            shape_interpretation=False, nesterov=False, matrix_eps=1e-14, use_svd=True,
        ),
        grads,
    )
    found = run(optim.Shampoo(0.1, momentum=0.8, decay=decay, eps=1e-14), grads)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)


def test_shampoo_leaves_long_axes_alone():
    grads = gradients((3, 9), 5)
    outer, param = torch.zeros(3, 3, dtype=torch.float64), torch.ones(3, 9, dtype=torch.float64)
    for g in grads:
        outer += g @ g.T
        values, vectors = torch.linalg.eigh(outer + 1e-6 * torch.eye(3, dtype=torch.float64))
        param -= 0.1 * (vectors / values.sqrt()) @ vectors.T @ g
    found = run(optim.Shampoo(0.1, largest=8), grads)
    torch.testing.assert_close(found, param, rtol=0, atol=1e-10)
    assert torch.equal(run(optim.Shampoo(0.1, largest=2), grads), run(optim.SGD(0.1), grads))


def test_soap_on_long_axes_is_adam():
    grads, adam = gradients((4, 9), 20), optim.Adam(0.01, betas=(0.9, 0.95), eps=1e-30)
    soap = partial(optim.SOAP, 0.01, betas=(0.9, 0.95), eps=1e-30, weight_decay=0.0, precondition_every=3)
    torch.testing.assert_close(run(soap(largest=2), grads), run(adam, grads), rtol=0, atol=1e-12)
    assert not torch.allclose(run(soap(), grads), run(adam, grads), atol=1e-3)


def test_soap_finds_the_eigenbasis():
    """Gradients are noise that is independent in a rotated basis: there, and only there, the matrices are diagonal."""
    left = torch.linalg.qr(gradients((5, 5), 1)[0]).Q
    scales = torch.tensor([8.0, 4.0, 2.0, 1.0, 0.5], dtype=torch.float64)
    grads = left * scales @ gradients((5, 400), 60)
    optimizer = optim.SOAP(0.001, largest=5, precondition_every=1)
    state, params = optimizer.init({"w": grads[0]}), {"w": grads[0]}
    hyper = tree_map(torch.tensor, shelf.hyperparameters(optimizer))
    for g in grads:
        params, state = optimizer.update(lambda _, g=g: {"w": g}, state, params, hyper)
    overlap = (left.T @ state["bases"]["w"]["0"]).abs()
    torch.testing.assert_close(overlap, torch.eye(5, dtype=torch.float64), rtol=0, atol=0.05)


def test_convolutions_are_matrices_to_steepest_descent():
    grads = gradients((4, 3, 2, 2), 3)
    as_matrix = run(optim.SteepestDescent(0.1), grads.flatten(2))
    assert torch.equal(run(optim.SteepestDescent(0.1), grads).flatten(1), as_matrix)


def test_scaled_frobenius_is_gradient_descent():
    grads = gradients((4, 3), 10)
    found = run(optim.SteepestDescent(0.1, optim.Frobenius(), scaled=True), grads)
    torch.testing.assert_close(found, run(optim.SGD(0.1), grads), rtol=0, atol=1e-12)


@pytest.mark.parametrize("norm", [optim.Spectral(exact=True), optim.Rows(), optim.Columns(), optim.MaxNorm()])
def test_the_scaled_step_minimises_the_model_of_the_loss(norm):
    """⟨g, Δ⟩ + max over tensors of ‖Δ‖²/2η is −η‖g‖†²/2 at the step, with ‖g‖† summed over tensors."""
    grads = {"a": gradients((4, 3), 1)[0], "b": gradients((2, 5), 1, seed=1)[0]}
    optimizer = optim.SteepestDescent(0.1, norm, scaled=True)
    hyper = {"lr": torch.tensor(0.1), "momentum": torch.tensor(0.0)}
    zero = {k: torch.zeros_like(g) for k, g in grads.items()}
    step = optimizer.update(lambda _: grads, optimizer.init(zero), zero, hyper)[0]
    sizes = {
        "Spectral": (lambda d: torch.linalg.matrix_norm(d, 2), lambda g: torch.linalg.matrix_norm(g, "nuc")),
        "Rows": (lambda d: d.norm(dim=1).max(), lambda g: g.norm(dim=1).sum()),
        "Columns": (lambda d: d.norm(dim=0).max(), lambda g: g.norm(dim=0).sum()),
        "MaxNorm": (lambda d: d.abs().max(), lambda g: g.abs().sum()),
    }
    size, dual = sizes[type(norm).__name__]
    reached = sum((g * step[k]).sum() for k, g in grads.items()) + max(size(d) for d in step.values()) ** 2 / 0.2
    best = -0.05 * sum(dual(g) for g in grads.values()) ** 2
    torch.testing.assert_close(reached, best, rtol=1e-6, atol=0)


def test_largest_entry_for_all_is_sign_descent():
    grads = gradients((4, 3), 10)
    steepest = optim.SteepestDescent(0.1, optim.MaxNorm(), optim.MaxNorm(), momentum=0.9)
    assert torch.equal(run(steepest, grads), run(optim.SignDescent(0.1, momentum=0.9), grads))


def test_asam_is_sam_where_eta_outweighs_the_parameters():
    grads = gradients((4, 3), 1)[0]
    seen = []

    def gradient(params):
        seen.append(params["w"])
        return {"w": grads}

    params = {"w": torch.full((4, 3), 1e-12, dtype=torch.float64)}
    for wrapped in (optim.SAM(optim.SGD(0.1), rho=0.5), optim.ASAM(optim.SGD(0.1), rho=0.25, eta=2.0)):
        hyper = tree_map(torch.tensor, shelf.hyperparameters(wrapped))
        wrapped.update(gradient, wrapped.init(params), params, hyper)
    torch.testing.assert_close(seen[1], seen[3], rtol=0, atol=1e-10)
    assert abs(seen[1].norm() - 0.5) < 1e-6


def test_swa_evaluates_the_parameters_until_it_starts():
    grads, swa = gradients((4, 3), 6), optim.SWA(optim.SGD(0.1), start=10)
    params = {"w": torch.ones(4, 3, dtype=torch.float64)}
    state, hyper = swa.init(params), tree_map(torch.tensor, shelf.hyperparameters(swa))
    for g in grads:
        params, state = swa.update(lambda _, g=g: {"w": g}, state, params, hyper)
        assert torch.equal(optim.evaluated(swa, state, params)["w"], params["w"])


def test_a_schedule_reaches_the_rates_of_inner_rules_alone():
    hyper = shelf.hyperparameters(optim.DecoupledDecay(optim.SAM(optim.SGD(0.5, momentum=0.9))))
    halved = scaled(tree_map(torch.tensor, hyper), torch.tensor(0.5))
    inner = {"lr": 0.25, "momentum": 0.9, "weight_decay": 0.0}
    expected = {"weight_decay": 0.01, "inner": {"rho": 0.05, "inner": inner}}
    assert halved == tree_map(torch.tensor, expected)


RULES = {
    "Adam": optim.Adam(0.1, betas=(0.9, 0.99)), "RMSprop": optim.RMSprop(0.1), "Adagrad": optim.Adagrad(0.1),
    "Lion": optim.Lion(0.1), "SignDescent": optim.SignDescent(0.1), "Muon": optim.Muon(0.1),
    "Shampoo": optim.Shampoo(0.1), "SOAP": optim.SOAP(0.1, precondition_every=1),
    "SteepestDescent": optim.SteepestDescent(0.1, momentum=0.5, scaled=True),
    "wrappers": optim.Clip(optim.SAM(optim.ASAM(optim.EMA(optim.SWA(optim.SGD(0.1)))))),
}


@pytest.mark.parametrize("name", RULES)
def test_half_precision(name):
    grads = gradients((6, 4), 3)
    found = run(RULES[name], grads, torch.bfloat16)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.to(torch.float64), run(RULES[name], grads), rtol=0.1, atol=0.1)


def test_muon_leaves_first_and_last_matrix_to_adamw():
    shapes = {"0.weight": (6, 5), "0.bias": (6,), "2.weight": (7, 6), "4.weight": (6, 7), "6.weight": (3, 6)}
    inner, outer = split({k: torch.zeros(s) for k, s in shapes.items()})
    assert list(inner) == ["2.weight", "4.weight"] and list(outer) == ["0.weight", "0.bias", "6.weight"]


@pytest.mark.parametrize(
    ("optimizer", "field"),
    [
        (optim.SGD(-1.0), "lr"), (optim.SGD(float("nan")), "lr"), (optim.SGD(0.1, momentum=1.0), "momentum"),
        (optim.SGD(0.1, nesterov=True), "nesterov"), (optim.Adam(0.1, betas=(0.9, 1.0)), r"betas\[1\]"),
        (optim.AdamW(0.1, weight_decay=-0.1), "weight_decay"), (optim.Muon(0.1, momentum=-0.1), "momentum"),
        (optim.RMSprop(0.1, alpha=1.0), "alpha"), (optim.Adagrad(0.1, eps=-1.0), "eps"),
        (optim.Lion(0.1, betas=(1.0, 0.9)), r"betas\[0\]"), (optim.SignDescent(0.1, momentum=1.5), "momentum"),
        (optim.Shampoo(0.1, eps=0.0), "eps"), (optim.Shampoo(0.1, decay=0.0), "decay"),
        (optim.Shampoo(0.1, largest=0), "largest"), (optim.SOAP(0.1, precondition_every=0), "precondition_every"),
        (optim.SteepestDescent(0.1, vectors=optim.Rows()), "vectors"),
        (optim.SAM(optim.SGD(0.1), rho=-1.0), "rho"), (optim.ASAM(optim.SGD(0.1), eta=-1.0), "eta"),
        (optim.Clip(optim.SGD(0.1), norm=float("inf")), "norm"), (optim.EMA(optim.SGD(0.1), decay=1.0), "decay"),
        (optim.SWA(optim.SGD(0.1), start=0), "start"), (optim.SWA(optim.SGD(0.1), every=0), "every"),
        (optim.DecoupledDecay(optim.SGD(0.1), weight_decay=-1.0), "weight_decay"),
    ],
)
def test_check_names_the_field(optimizer, field):
    with pytest.raises(DeclarationError, match=f"^{field} is|^{field} needs"):
        optimizer.check()
