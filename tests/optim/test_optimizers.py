"""Every optimizer equals its twin in torch.optim over 100 steps in float64, alone and in a pack."""

import pytest
import torch

from dlx import optim, shelf
from dlx.errors import DeclarationError
from dlx.vectorise import stack, unstack, vectorise

STEPS, TOLERANCE = 100, 1e-10
SHAPES = {
    "0.weight": (6, 5), "0.bias": (6,), "2.weight": (7, 6), "2.bias": (7,), "4.weight": (6, 7), "6.weight": (3, 6),
}

TORCH = torch.optim
CASES = {
    "SGD": lambda lr: (optim.SGD(lr), lambda p: [TORCH.SGD(p, lr)]),
    "SGD with all": lambda lr: (
        optim.SGD(lr, momentum=0.9, nesterov=True, weight_decay=0.01),
        lambda p: [TORCH.SGD(p, lr, momentum=0.9, nesterov=True, weight_decay=0.01)],
    ),
    "SGD with momentum": lambda lr: (optim.SGD(lr, momentum=0.7), lambda p: [TORCH.SGD(p, lr, momentum=0.7)]),
    "Adam": lambda lr: (
        optim.Adam(lr, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.1),
        lambda p: [TORCH.Adam(p, lr, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.1)],
    ),
    "AdamW": lambda lr: (optim.AdamW(lr), lambda p: [TORCH.AdamW(p, lr)]),
    "Muon": lambda lr: (optim.Muon(lr, weight_decay=0.1), lambda p: muon_twin(p, lr, weight_decay=0.1)),
    "Muon without Nesterov": lambda lr: (
        optim.Muon(lr, momentum=0.8, nesterov=False),
        lambda p: muon_twin(p, lr, momentum=0.8, nesterov=False, weight_decay=0.0),
    ),
}
RATES = (0.003, 0.01, 0.02)


def muon_twin(params, lr, weight_decay, **more):
    hidden = [p for p in params if p.shape in [(7, 6), (6, 7)]]
    rest = [p for p in params if not any(p is h for h in hidden)]
    return [
        TORCH.Muon(hidden, lr, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw", **more),
        TORCH.AdamW(rest, lr, weight_decay=weight_decay),
    ]


@pytest.fixture(autouse=True)
def _newton_schulz_in_full_precision(monkeypatch):
    monkeypatch.setattr(torch.Tensor, "bfloat16", lambda self: self.clone())


def start(seed):
    generator = torch.Generator().manual_seed(seed)
    return {k: torch.randn(s, generator=generator, dtype=torch.float64) for k, s in SHAPES.items()}


INPUTS = torch.randn(40, 5, generator=torch.Generator().manual_seed(8), dtype=torch.float64)
TARGETS = torch.randn(40, 3, generator=torch.Generator().manual_seed(9), dtype=torch.float64)


def objective(params):
    """Noise to fit: its gradient stays away from 0, where Muon would normalise rounding errors."""
    x = INPUTS
    for w in params.values():
        x = x @ w.T if w.ndim == 2 else torch.tanh(x + w)
    return (x - TARGETS).square().mean()


def twin_run(make_twins, seed):
    params = {k: p.requires_grad_() for k, p in start(seed).items()}
    twins = make_twins(list(params.values()))
    for _ in range(STEPS):
        for twin in twins:
            twin.zero_grad()
        objective(params).backward()
        for twin in twins:
            twin.step()
    return {k: p.detach() for k, p in params.items()}


def make_step(optimizer):
    def step(now, hyper):
        return optimizer.update(torch.func.grad(objective)(now[0]), now[1], now[0], hyper)

    return step


def assert_close(params, expected):
    for k, p in params.items():
        torch.testing.assert_close(p, expected[k], rtol=0, atol=TOLERANCE)


def test_every_optimizer_has_a_twin():
    assert {type(case(0.1)[0]).__name__ for case in CASES.values()} == set(optim.__all__) - {"Optimizer"}


@pytest.mark.parametrize("name", CASES)
def test_alone(name):
    optimizer, make_twins = CASES[name](0.01)
    to_tensor = lambda v: torch.tensor(v, dtype=torch.float64)  # noqa: E731
    hyper = {k: tuple(map(to_tensor, v)) if isinstance(v, tuple) else to_tensor(v)
             for k, v in shelf.hyperparameters(optimizer).items()}
    step, now = make_step(shelf.without_hyperparameters(optimizer)), (start(1), optimizer.init(start(1)))
    for _ in range(STEPS):
        now = step(now, hyper)
    assert_close(now[0], twin_run(make_twins, 1))


@pytest.mark.parametrize("name", CASES)
def test_in_a_pack_of_different_learning_rates(name):
    members = [CASES[name](lr)[0] for lr in RATES]
    step = vectorise(make_step(shelf.without_hyperparameters(members[0])))
    hyper = stack([shelf.hyperparameters(m) for m in members], "cpu", torch.float64, share=False)
    now = stack([(start(i), members[0].init(start(i))) for i in range(3)], "cpu", torch.float64, share=False)
    for _ in range(STEPS):
        now = step(now, hyper)
    for i, (params, _) in enumerate(unstack(now, 3)):
        assert_close(params, twin_run(CASES[name](RATES[i])[1], i))


@pytest.mark.parametrize("name", CASES)
def test_update_is_pure(name):
    optimizer, _ = CASES[name](0.01)
    params = start(0)
    state = optimizer.init(params)
    before = [t.clone() for t in torch.utils._pytree.tree_leaves((params, state))]
    hyper = {k: tuple(map(torch.tensor, v)) if isinstance(v, tuple) else torch.tensor(v)
             for k, v in shelf.hyperparameters(optimizer).items()}
    optimizer.update(start(1), state, params, hyper)
    for t, b in zip(torch.utils._pytree.tree_leaves((params, state)), before, strict=True):
        assert torch.equal(t, b)


def test_muon_orthogonalises():
    matrix = torch.randn(12, 30, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    singular = torch.linalg.svdvals(optim.muon.orthogonalise(matrix))
    assert singular.min() > 0.6 and singular.max() < 1.3


def test_muon_leaves_first_and_last_matrix_to_adamw():
    params = start(0)
    inner, outer = optim.muon.split(params)
    assert list(inner) == ["2.weight", "4.weight"] and list(outer) == ["0.weight", "0.bias", "2.bias", "6.weight"]


@pytest.mark.parametrize(
    ("optimizer", "field"),
    [
        (optim.SGD(-1.0), "lr"), (optim.SGD(float("nan")), "lr"), (optim.SGD(0.1, momentum=1.0), "momentum"),
        (optim.SGD(0.1, nesterov=True), "nesterov"), (optim.Adam(0.1, betas=(0.9, 1.0)), r"betas\[1\]"),
        (optim.AdamW(0.1, weight_decay=-0.1), "weight_decay"), (optim.Muon(0.1, momentum=-0.1), "momentum"),
    ],
)
def test_check_names_the_field(optimizer, field):
    with pytest.raises(DeclarationError, match=f"^{field}"):
        optimizer.check()


@pytest.mark.parametrize("name", CASES)
def test_defaults_and_protocol(name):
    optimizer, _ = CASES[name](0.01)
    assert isinstance(optimizer, optim.Optimizer) and not isinstance(0.1, optim.Optimizer)
    optimizer.check()
