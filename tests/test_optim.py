"""Every optimizer equals a well-known implementation over 100 steps in float64, alone and in an unlike pack."""

import types
from functools import lru_cache, partial

import pytest
import torch
from optim_twins import CASES, objective
from pytorch_optimizer.optimizer import scion, soap
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._pytree import tree_leaves, tree_map

from dlx import optim, shelf

STEPS, TOLERANCE = 100, 1e-10
SHAPES = {
    "0.weight": (6, 5), "0.bias": (6,), "2.weight": (7, 6), "2.bias": (7,), "4.weight": (6, 7), "6.weight": (3, 6),
}
PACK = (1.0, 0.8)  # every hyperparameter of a member times this
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _references_in_full_precision(monkeypatch):
    """float64 where they go down to bfloat16 and float32, and nothing added to norms that are divided by."""
    monkeypatch.setattr(torch.Tensor, "bfloat16", lambda self: self.clone())
    monkeypatch.setattr(torch.Tensor, "float", lambda self: self)
    monkeypatch.setattr(soap, "torch", types.SimpleNamespace(**{**vars(torch), "float32": torch.float64}))
    polar = partial(scion.zero_power_via_newton_schulz_5, dtype=torch.float64)
    monkeypatch.setattr(scion, "zero_power_via_newton_schulz_5", polar)
    for norm in (scion.Row, scion.Col, scion.BiasRMS):
        monkeypatch.setattr(norm, "lmo", partial_method(norm.lmo, eps=0.0))


def partial_method(method, **given):
    return lambda self, gradient: method(self, gradient, **given)


def start(seed):
    generator = torch.Generator().manual_seed(seed)
    return {k: torch.randn(s, generator=generator, dtype=torch.float64) for k, s in SHAPES.items()}


@lru_cache
def twin_run(name, member):
    params = {k: p.requires_grad_() for k, p in start(member).items()}
    twin = CASES[name](PACK[member])[1](params)
    for number in range(1, STEPS + 1):
        twin.step(number)
    return {k: p.detach() for k, p in twin.measured().items()}


def hyper_of(optimizer):
    return tree_map(partial(torch.tensor, dtype=torch.float64), shelf.hyperparameters(optimizer))


def stacked(trees):
    return tree_map(lambda *leaves: torch.stack(leaves), *trees)


@lru_cache
def recorded(name):
    """Where a pack starts, and one step for all its members as a list of operations."""
    members = [CASES[name](s)[0] for s in PACK]
    rule = shelf.without_hyperparameters(members[0])

    def step(params, state, hyper):
        return rule.update(torch.func.grad(objective), state, params, hyper)

    starts = [start(i) for i in range(len(PACK))]
    state = stacked([m.init(p) for m, p in zip(members, starts, strict=True)])
    now = stacked(starts), state, stacked([hyper_of(m) for m in members])
    return rule, now, make_fx(torch.func.vmap(step))(*now)


def pack(name, steps, factors=(1.0, 1.0)):
    """The measured parameters of each member, whose initial ones are multiplied by a factor."""
    rule, (params, state, hyper), step = recorded(name)
    params = tree_map(lambda p: torch.stack([f * q for f, q in zip(factors, p, strict=True)]), params)
    for _ in range(steps):
        params, state = step(params, state, hyper)
    measured = optim.evaluated(rule, state, params)
    return [{k: p[i] for k, p in measured.items()} for i in range(len(PACK))]


def assert_close(params, expected):
    assert list(params) == list(expected)
    for k, p in params.items():
        torch.testing.assert_close(p, expected[k], rtol=0, atol=TOLERANCE)


def public(method):
    return {n for n in optim.__all__ if callable(getattr(getattr(optim, n), method, None))}


def parts(optimizer):
    yield type(optimizer).__name__
    if isinstance(optimizer, optim.Wrapper):
        yield from parts(optimizer.inner)


def test_every_optimizer_and_wrapper_has_a_twin():
    covered = {part for case in CASES.values() for part in parts(case(1.0)[0])}
    assert covered == public("update") - {"Optimizer"}


@pytest.mark.parametrize("name", CASES)
def test_alone(name):
    optimizer, params = CASES[name](PACK[0])[0], start(0)
    rule, state, hyper = shelf.without_hyperparameters(optimizer), optimizer.init(params), hyper_of(optimizer)
    for _ in range(STEPS):
        params, state = rule.update(torch.func.grad(objective), state, params, hyper)
    assert_close(optim.evaluated(rule, state, params), twin_run(name, 0))


@pytest.mark.parametrize("name", CASES)
def test_in_a_pack_of_different_hyperparameters(name):
    for i, measured in enumerate(pack(name, STEPS)):
        assert_close(measured, twin_run(name, i))


@pytest.mark.parametrize("name", CASES)
def test_a_member_that_diverges_leaves_its_neighbour_alone(name):
    undisturbed, (diverged, neighbour) = pack(name, 3)[1], pack(name, 3, factors=(torch.inf, 1.0))
    assert all(torch.equal(p, undisturbed[k]) for k, p in neighbour.items())
    assert not any(p.isfinite().any() for p in diverged.values())


@pytest.mark.parametrize("name", CASES)
def test_a_gradient_of_zero_gives_finite_steps(name):
    optimizer, params = CASES[name](1.0)[0], start(0)
    state, hyper = optimizer.init(params), hyper_of(optimizer)
    for _ in range(2):
        params, state = optimizer.update(lambda p: {k: 0 * v for k, v in p.items()}, state, params, hyper)
    assert all(leaf.isfinite().all() for leaf in tree_leaves((params, state)))


@pytest.mark.parametrize("name", CASES)
def test_update_is_pure(name):
    optimizer, params = CASES[name](1.0)[0], start(0)
    state, hyper = optimizer.init(params), hyper_of(optimizer)
    before = [t.clone() for t in tree_leaves((params, state, hyper))]
    optimizer.update(torch.func.grad(objective), state, params, hyper)
    assert all(torch.equal(t, b) for t, b in zip(tree_leaves((params, state, hyper)), before, strict=True))


@pytest.mark.parametrize("name", CASES)
def test_protocol(name):
    optimizer = CASES[name](1.0)[0]
    assert isinstance(optimizer, optim.Optimizer) and not isinstance(0.1, optim.Optimizer)
    optimizer.check()
