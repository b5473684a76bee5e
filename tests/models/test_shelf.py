"""What each model promises: initialisation, parameterisation, features, and the counts of the papers."""

import math

import pytest
import torch
from scipy import stats
from torch import nn

from dlx import models
from dlx.data import Dimensions
from dlx.models.layers import parameterised
from dlx.models.stateless import stateless
from dlx.trial import setting_digest

torch.set_num_threads(1)
OF = Dimensions(40, 10, (40,))


def test_mlp_is_linear_layers_as_pytorch_initialises_them():
    torch.manual_seed(3)
    built = models.MLP(width=16, depth=2).build(OF)
    torch.manual_seed(3)
    layers = [nn.Linear(40, 16), nn.Linear(16, 16), nn.Linear(16, 10)]
    expected = [p for layer in layers for p in layer.parameters()]
    assert all(torch.equal(a, b) for a, b in zip(built.parameters(), expected, strict=True))
    x = torch.randn(7, 40)
    by_hand = layers[2](layers[1](layers[0](x).relu()).relu())
    assert torch.equal(built(x), by_hand)


@pytest.mark.parametrize("activation", ["relu", "gelu", "tanh", "sigmoid"])
def test_activation_is_the_one_named(activation):
    built = models.MLP(width=4, depth=1, activation=activation).build(Dimensions(3, 2, (3,)))
    x = torch.linspace(-2, 2, 5)
    function = getattr(torch.nn.functional, activation, None) or getattr(torch, activation)
    assert torch.equal(built[1](x), function(x))


def test_quadratic_units_square():
    built = models.MLP(width=4, depth=1, activation="quadratic").build(Dimensions(3, 2, (3,)))
    assert torch.equal(built[1](torch.tensor([-2.0, 0.0, 3.0])), torch.tensor([4.0, 0.0, 9.0]))


def test_keys_of_mlps_stay_what_they_were():
    assert setting_digest(models.MLP(32, 2)).hex() == "df5745601d825d3ad25709ddbc260d03"
    assert setting_digest(models.Linear()).hex() == "648ad9287589d3fa1e9fa43c8156a568"


@pytest.mark.parametrize(("init", "std"), [
    ("default", 1 / math.sqrt(3 * 200)), ("kaiming", math.sqrt(2 / 200)), ("xavier", math.sqrt(2 / 400)),
])
def test_initial_weights_have_the_spread_of_their_rule(init, std):
    torch.manual_seed(0)
    for scale in (1.0, 3.0):
        weight = models.MLP(200, 2, init=init, init_scale=scale).build(OF)[2].weight.detach()
        assert float(weight.std()) == pytest.approx(scale * std, rel=0.01)
        assert abs(float(weight.mean())) < 0.01 * scale


def test_orthogonal_weights_are_orthogonal_and_biases_0():
    layer = models.MLP(50, 2, init="orthogonal", init_scale=2.0).build(OF)[2]
    torch.testing.assert_close(layer.weight @ layer.weight.T, 4 * torch.eye(50), rtol=1e-4, atol=1e-4)
    assert not layer.bias.any()


def test_residual_layers_add_and_norms_stand_before_activations():
    torch.manual_seed(0)
    built = models.MLP(8, 3, residual=True, norm="layer", dropout=0.3).build(OF).eval()
    x = torch.randn(5, 40)
    h = torch.relu(built[1](built[0](x)))
    for i in (4, 5):
        linear, norm, *_ = built[i].inner
        h = h + torch.relu(norm(linear(h)))
    torch.testing.assert_close(built(x), built[6](h))


def steps_of(parameterisation, width, seed, rule):
    """How much hidden units and outputs change over three steps on 32 samples: root mean squares."""
    torch.manual_seed(0)
    x, y = torch.randn(32, 40), torch.randint(10, (32,))
    torch.manual_seed(seed)
    net = models.MLP(width, 3, parameterisation=parameterisation, base_width=64).build(OF)
    optimizer = torch.optim.SGD(net.parameters(), 0.1) if rule == "sgd" else torch.optim.Adam(net.parameters(), 0.003)
    parts = nn.Sequential(*net[:-1]), net
    with torch.no_grad():
        before = [part(x) for part in parts]
    for _ in range(3):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()
    with torch.no_grad():
        return [float((part(x) - b).square().mean().sqrt()) for part, b in zip(parts, before, strict=True)]


@pytest.mark.parametrize("rule", ["sgd", "adam"])
def test_coordinate_check_of_mup(rule):
    """Features and outputs move as much at any width in μP, and not in the standard parameterisation."""
    exponents = {}
    for parameterisation in ("standard", f"mup-{rule}"):
        moved = {w: [sum(m) / 3 for m in zip(*(steps_of(parameterisation, w, s, rule) for s in range(3)), strict=True)]
                 for w in (128, 1024)}
        exponents[parameterisation] = [math.log(b / a, 8) for a, b in zip(moved[128], moved[1024], strict=True)]
    hidden, outputs = exponents[f"mup-{rule}"]
    assert abs(hidden) < 0.1 and abs(outputs) < 0.1
    assert exponents["standard"][1] > 0.4


@pytest.mark.parametrize(("rule", "layer", "weight", "bias", "initial"), [  # table 3 of arXiv:2203.03466, width × 4
    ("mup-sgd", "input", 4, 4, 1), ("mup-sgd", "hidden", 1, 4, 1), ("mup-sgd", "output", 1 / 4, 1, 1 / 2),
    ("mup-adam", "input", 1, 1, 1), ("mup-adam", "hidden", 1 / 4, 1, 1), ("mup-adam", "output", 1 / 4, 1, 1 / 2),
])
def test_weights_that_act_start_and_move_as_the_table_of_mup_says(rule, layer, weight, bias, initial):
    """weight, bias: learning rates of what acts; initial: its scale; all over those at the base width."""
    torch.manual_seed(0)
    affine = nn.Linear(5, 3).double()
    net = parameterised(affine, layer, rule, 4.0)
    x, lr = torch.randn(7, 5, dtype=torch.float64), 0.1

    def acting():
        b = net(torch.zeros(1, 5, dtype=torch.float64))[0]
        return (net(torch.eye(5, dtype=torch.float64)) - b).T.detach(), b.detach()

    before = acting()
    torch.testing.assert_close(before, (affine.weight.detach() * initial, affine.bias.detach()))
    net(x).sum().backward()
    with torch.no_grad():
        for p in net.parameters():
            p -= lr * (p.grad if rule == "mup-sgd" else p.grad.sign())
    grads = x.sum(0).expand(3, 5), torch.full((3,), 7.0, dtype=torch.float64)
    for b, after, g, rate in zip(before, acting(), grads, (weight, bias), strict=True):
        torch.testing.assert_close(after, b - lr * rate * (g if rule == "mup-sgd" else g.sign()))


@pytest.mark.parametrize("parameterisation", ["mup-sgd", "mup-adam"])
def test_mup_at_the_base_width_is_standard(parameterisation):
    nets = []
    for p in (parameterisation, "standard"):
        torch.manual_seed(0)
        nets.append(models.MLP(48, 3, parameterisation=p, base_width=48).build(OF))
    assert all(torch.equal(a, b) for a, b in zip(*(n.parameters() for n in nets), strict=True))
    x = torch.randn(4, 40)
    assert torch.equal(nets[0](x), nets[1](x))


@pytest.mark.parametrize("kind", ["fourier", "relu"])
def test_random_features_approach_their_kernel(kind):
    torch.manual_seed(0)
    net = models.RandomFeatures(200_000, kind, bandwidth=1.7).build(Dimensions(3, 1, (3,)))
    x = torch.randn(6, 3)
    mine = net[1](x) @ net[1](x).T
    if kind == "fourier":
        expected = (-torch.cdist(x, x).square() / (2 * 1.7**2)).exp()
    else:  # the arc-cosine kernel of degree 1 (Cho and Saul 2009), over the 3 dimensions of the sphere
        norms = x.norm(dim=1)
        angles = torch.acos((x @ x.T / norms[:, None] / norms).clamp(-1, 1))
        expected = norms[:, None] * norms * (angles.sin() + (math.pi - angles) * angles.cos()) / math.pi / 3
    torch.testing.assert_close(mine, expected, rtol=0, atol=0.03)
    assert [name for name, _ in net.named_parameters()] == ["2.weight"]  # only the read-out is trained


def test_gaussian_kernels_are_gaussians_around_centres():
    torch.manual_seed(0)
    net = models.GaussianKernelNet(5000, bandwidth=1.5, spread=2.0).build(Dimensions(2, 1, (2,)))
    x = torch.randn(7, 2)
    expected = (-torch.cdist(x, net[1].centres).square() / (2 * 1.5**2)).exp()
    torch.testing.assert_close(net[1](x), expected, rtol=1e-4, atol=1e-6)
    assert stats.kstest(net[1].centres.flatten().detach() / 2.0, "norm").pvalue > 1e-3


def test_siren_starts_as_its_paper_says():
    """Weights have their bounds; beyond the first layer what goes into a sine is N(0, 1), what comes out arcsine."""
    torch.manual_seed(0)
    net = models.CoordinateNet(1024, 4, "none", activation="sine").build(Dimensions(2, 1, (2,)))
    bounds = [1 / 2, *[math.sqrt(6 / 1024) / 30] * 4]
    for layer, bound in zip(net, bounds, strict=True):
        weight = getattr(layer, "affine", layer).weight.detach()
        assert stats.kstest(weight.flatten()[:100_000] / bound, stats.uniform(-1, 2).cdf).pvalue > 1e-3
    x = torch.rand(500, 2) * 2 - 1
    for i in (2, 3):
        given = net[:i](x)
        assert float((30 * net[i].affine(given)).detach().std()) == pytest.approx(1.0, abs=0.1)
        assert float(given.detach().std()) == pytest.approx(math.sqrt(0.5), abs=0.05)


def test_fourier_features_have_their_frequencies():
    torch.manual_seed(0)
    of = Dimensions(2, 3, (2,))
    gaussian = models.CoordinateNet(8, 1, frequencies=20_000, scale=7.0).build(of)[0].frequencies
    assert stats.kstest(gaussian.flatten() / 7.0, "norm").pvalue > 1e-3
    ladder = models.CoordinateNet(8, 1, "log", frequencies=3, scale=8.0).build(of)[0].frequencies
    torch.testing.assert_close(ladder, torch.tensor([[1.0, 0], [0, 1], [2, 0], [0, 2], [4, 0], [0, 4]]))
    codes = models.CoordinateNet(8, 1, "basic").build(of)[0](torch.tensor([[0.25, 0.5]]))
    torch.testing.assert_close(codes, torch.tensor([[0.0, -1, 1, 0]]), rtol=0, atol=1e-6)


def test_codes_without_a_period_fall_with_the_distance():
    torch.manual_seed(0)
    x, of = torch.rand(9, 2, dtype=torch.float64) * 2 - 1, Dimensions(2, 1, (2,))
    bumps = models.CoordinateNet(8, 1, "bumps", frequencies=5, scale=3.0).build(of)[0](x).view(9, 2, 5)
    centres = torch.tensor([-1.0, -0.5, 0.0, 0.5, 1.0], dtype=torch.float64)
    torch.testing.assert_close(bumps, (-4.5 * (x[..., None] - centres) ** 2).exp())
    radial = models.CoordinateNet(8, 1, "rbf", frequencies=400, scale=3.0).build(of)[0].double()
    torch.testing.assert_close(radial(x), (-4.5 * torch.cdist(x, radial.centres) ** 2).exp(), rtol=1e-6, atol=1e-9)
    assert stats.kstest(radial.centres.flatten(), stats.uniform(-1, 2).cdf).pvalue > 1e-3
    slots = models.CoordinateNet(8, 1, "onehot", frequencies=6, scale=2.0).build(of)[0]
    codes = slots(torch.tensor([[-0.9, 0.1], [0.6, 7.0]])).view(2, 2, 6)
    assert codes.argmax(-1).tolist() == [[1, 3], [4, 5]] and (codes.sum(-1) == 1).all()


@pytest.mark.parametrize("encoding", ["basic", "log", "gaussian", "bumps", "rbf", "onehot"])
def test_length_is_the_unit_of_scale(encoding, length=2.0):
    of, x = Dimensions(2, 1, (2,)), torch.rand(5, 2) * 2 - 1
    codes = []
    for scale, unit in ((6.0, length), (6.0 / length, 1.0)):
        torch.manual_seed(0)
        codes.append(models.CoordinateNet(4, 1, encoding, 3, scale, length=unit).build(of)[0](x))
    if encoding in ("basic", "log"):  # whose lowest frequency is 1, whatever the scale
        one = models.CoordinateNet(4, 1, encoding, 3, 6.0).build(of)[0](x / length)
        torch.testing.assert_close(codes[0], one)
    else:
        torch.testing.assert_close(codes[0], codes[1])


@pytest.mark.parametrize(("scale", "sparse"), [(0.01, True), (3.0, False)])
def test_diagonal_nets_are_biased_by_their_scale(scale, sparse):
    """Gradient descent finds the least ℓ₁ norm from a small scale, the least ℓ₂ norm from a large one."""
    torch.manual_seed(0)
    x = torch.randn(12, 20, dtype=torch.float64)
    target = torch.zeros(20, dtype=torch.float64)
    target[3] = 1.0
    net = models.DiagonalLinear(scale=scale).build(Dimensions(20, 1, (20,))).double()
    assert not net(x).any()
    for _ in range(10_000):
        loss = (net(x)[:, 0] - x @ target).square().mean()
        for p in net.parameters():
            p.grad = None
        loss.backward()
        with torch.no_grad():
            for p in net.parameters():
                p -= (0.05 if sparse else 0.0005) * p.grad
    found = (net[1].u ** 2 - net[1].v ** 2)[0].detach()
    assert loss.detach() < 1e-6
    expected = target if sparse else torch.linalg.pinv(x) @ (x @ target)
    assert float((found - expected).norm()) < 0.1


def count(model, of):
    return sum(p.numel() for p in model.build(of).parameters())


def test_resnets_have_the_sizes_and_depths_of_the_paper():
    pictures = Dimensions(3072, 10, (3, 32, 32))
    assert count(models.ResNet(3), pictures) == 269_722  # ResNet-20, 0.27M
    assert count(models.ResNet(9), pictures) == 853_018  # ResNet-56, 0.85M
    net = models.ResNet(2).build(pictures)
    assert sum(isinstance(m, nn.Conv2d | nn.Linear) for m in net.modules()) == 6 * 2 + 2
    x = torch.randn(2, 3, 32, 32)
    sizes = [tuple(net[:i](x).shape[1:]) for i in (5, 7, 9)]
    assert sizes == [(16, 32, 32), (32, 16, 16), (64, 8, 8)]


def test_recurrent_models_are_those_of_pytorch_with_a_read_out():
    torch.manual_seed(0)
    of = Dimensions(14, 3, (7, 2))
    x = torch.randn(4, 7, 2)
    for model, kind in ((models.LSTM(5, 2, readout="each"), nn.LSTM), (models.GRU(5, readout="last"), nn.GRU)):
        net = model.build(of)
        core = kind(2, 5, model.depth, batch_first=True)
        core.load_state_dict(net[1].core.state_dict())
        outputs = net[3](core(x)[0])
        expected = outputs if model.readout == "each" else outputs[:, -1]
        torch.testing.assert_close(stateless(net)(x), expected)


class PublishedDLinear(nn.Module):
    """DLinear as its authors compute it (github.com/cure-lab/LTSF-Linear, models/DLinear.py): layers and reshapes."""

    def __init__(self, length, horizon, kernel):
        super().__init__()
        self.kernel, self.average = kernel, nn.AvgPool1d(kernel, stride=1, padding=0)
        self.seasonal, self.trend = nn.Linear(length, horizon), nn.Linear(length, horizon)

    def forward(self, x):
        front, end = (x[:, i : i + 1].repeat(1, (self.kernel - 1) // 2, 1) for i in (0, x.shape[1] - 1))
        trend = self.average(torch.cat([front, x, end], dim=1).permute(0, 2, 1))
        return (self.seasonal(x.permute(0, 2, 1) - trend) + self.trend(trend)).permute(0, 2, 1)


@pytest.mark.parametrize("kernel", [1, 25])
def test_dlinear_equals_the_published_one(kernel):
    torch.manual_seed(0)
    mine = models.DLinear(kernel).build(Dimensions(40 * 3, 6 * 3, (40, 3))).double()
    theirs = PublishedDLinear(40, 6, kernel).double()
    theirs.load_state_dict(mine.state_dict())
    x = torch.randn(5, 40, 3, dtype=torch.float64)
    torch.testing.assert_close(mine(x).unflatten(1, (6, 3)), theirs(x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("anchor", [0.0, 0.3, 1.0])
def test_patches_hold_neighbours_and_a_share_of_the_last_value_goes_round_the_model(anchor):
    torch.manual_seed(0)
    net = models.Patched(models.Linear(), patch=2, anchor=anchor).build(Dimensions(12, 4, (6, 2))).double()
    x, last = torch.randn(5, 6, 2, dtype=torch.float64), slice(-1, None)
    patches = (x - anchor * x[:, last]).reshape(5, 3, 4)
    expected = net.inner(patches).view(5, 2, 2) + anchor * x[:, last]
    torch.testing.assert_close(net(x).view(5, 2, 2), expected)
    if anchor == 1.0:
        torch.testing.assert_close(net(x + 7.0), net(x) + 7.0)
