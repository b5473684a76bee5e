"""Modules made stateless: pure, with noise of their own in each member of a pack, or refused with a reason."""

import copy
import re

import pytest
import torch
from scipy import stats
from stacks import alone, outputs_together, together
from torch import nn
from torch.func import functional_call, grad, hessian, stack_module_state, vmap

from dlx.models.stateless import stateless, why_not

torch.set_num_threads(1)


def random(*shape):
    return torch.randn(*shape, dtype=torch.float64)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("norm_first", [True, False])
def test_transformer_layers_of_pytorch_work_in_a_pack(norm_first, training):
    def layer():
        inner = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.1 if training else 0.0, batch_first=True,
                                           norm_first=norm_first)
        return nn.TransformerEncoder(inner, 1, enable_nested_tensor=False).double()

    torch.manual_seed(0)
    originals = [layer().train(training) for _ in range(3)]
    modules = [stateless(copy.deepcopy(m)) for m in originals]
    x, y = random(3, 6, 5, 4), random(3, 6, 5, 4)
    packed = together(modules, [(x, y)] * 2)
    for i, module in enumerate(modules):
        if not training:
            torch.testing.assert_close(module(x[i]), originals[i](x[i]), rtol=1e-10, atol=1e-12)
        losses, state = alone(module, [(x[i], y[i])] * 2)
        torch.testing.assert_close(packed[i][0], losses, rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(packed[i][1], state, rtol=1e-10, atol=1e-10)


DROPOUTS = {nn.Dropout: (40, 50), nn.Dropout1d: (40, 50, 3), nn.Dropout2d: (40, 50, 2, 2),
            nn.Dropout3d: (40, 50, 2, 1, 2)}


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("kind", DROPOUTS)
def test_dropout_drops_its_share_and_keeps_the_mean(kind, rate):
    torch.manual_seed(1)
    layer = stateless(kind(rate))
    x = torch.ones(DROPOUTS[kind])
    out = layer(x)
    values = out.unique().tolist()
    assert values == pytest.approx([0.0] * (rate > 0) + [1 / max(1 - rate, 1e-9)] * (rate < 1), rel=1e-4)
    first = out.flatten(2)[:, :, 0] if out.ndim > 2 else out
    assert out.ndim == 2 or (out.flatten(2) == first[:, :, None]).all()  # whole channels
    dropped = int((first == 0).sum())
    assert stats.binomtest(dropped, first.numel(), rate).pvalue > 1e-3
    assert not torch.equal(layer(x), out) or rate in (0.0, 1.0)
    assert torch.equal(layer.eval()(x), x)


def test_alpha_dropout_keeps_mean_and_variance_and_has_the_values_of_pytorch():
    torch.manual_seed(1)
    original, layer = nn.AlphaDropout(0.3), stateless(nn.AlphaDropout(0.3))
    x = torch.randn(200_000)
    out = layer(x)
    assert abs(float(out.mean())) < 0.01 and abs(float(out.var()) - 1) < 0.02
    ones = torch.ones(1000)
    torch.testing.assert_close(layer(ones).unique(), original(ones).unique())


def test_noise_of_a_layer_depends_on_its_key_and_step_alone():
    torch.manual_seed(1)
    one, other = stateless(nn.Sequential(nn.Dropout(0.5), nn.Dropout(0.5)))
    x = torch.ones(64, 64)
    masks = [layer(x) != 0 for layer in (one, one, other, other)]
    for i, a in enumerate(masks):
        for b in masks[:i]:
            assert stats.binomtest(int((a == b).sum()), a.numel(), 0.5).pvalue > 1e-3
    one.step = torch.tensor(0)
    torch.rand(3)
    assert torch.equal(one(x) != 0, masks[0])


def test_members_of_a_pack_have_their_own_rates_and_streams():
    def layer(seed, rate):
        torch.manual_seed(seed)
        return stateless(nn.Dropout(rate))

    rates = [0.1, 0.3, 0.6, 0.3]
    modules = [layer(seed, rate) for seed, rate in enumerate(rates)]
    x = torch.ones(4, 100, 100)
    packed = outputs_together(modules, x)
    for i, rate in enumerate(rates):
        assert torch.equal(packed[i], layer(i, rate)(x[i]))  # whatever its neighbours are
        assert stats.binomtest(int((packed[i] == 0).sum()), 10_000, rate).pvalue > 1e-3
    same = int(((packed[1] != 0) == (packed[3] != 0)).sum())
    assert stats.binomtest(same, 10_000, 0.3**2 + 0.7**2).pvalue > 1e-3


def test_the_object_stays_and_so_does_what_refers_to_it():
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.drop = nn.Dropout(0.5)
            self.again = [self.drop]  # PyTorch does not look into lists

        def forward(self, x):
            return self.again[0](x)

    module = Shared()
    before = module.drop
    assert stateless(module) is module and module.again[0] is before is module.drop
    state = {**dict(module.named_buffers())}
    functional_call(module, state, (torch.ones(3),))
    assert int(state["drop.step"]) == 1 and int(module.drop.step) == 0  # what was passed moves, the module does not
    assert module.state_dict() == {}


@pytest.mark.parametrize("make", [
    lambda: nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 1)),
    lambda: nn.Sequential(nn.Unflatten(1, (3, 1)), First(nn.LSTM(1, 3, batch_first=True)), nn.Flatten(),
                          nn.Linear(9, 1)),
    lambda: nn.Sequential(nn.Unflatten(1, (3, 1)), nn.Linear(1, 4), Self(nn.MultiheadAttention(4, 2)), nn.Flatten(),
                          nn.Linear(12, 1)),
], ids=["batch norm", "lstm", "attention"])
def test_second_derivatives_exist_in_a_pack_and_are_symmetric(make):
    torch.manual_seed(0)
    modules = [stateless(make().double()).eval() for _ in range(2)]
    params, buffers = stack_module_state(modules)
    params = {k: p.detach() for k, p in params.items()}
    x, direction = random(2, 5, 3), {k: torch.randn_like(p) for k, p in params.items()}

    def loss(p, b, x):
        return functional_call(modules[0], {**p, **b}, (x,)).square().mean()

    def product(p, b, x, v):
        return grad(lambda p: sum((v[k] * g).sum() for k, g in grad(loss)(p, b, x).items()))(p)

    packed = vmap(product)(params, buffers, x, direction)
    for i in range(2):
        p, b, v = ({k: t[i] for k, t in tree.items()} for tree in (params, buffers, direction))
        whole = hessian(loss)(p, b, x[i])
        expected = {k: sum(torch.tensordot(whole[k][j], v[j], v[j].ndim) for j in p) for k in p}
        for k in p:
            torch.testing.assert_close(packed[k][i], expected[k], rtol=1e-9, atol=1e-10)


class Affine(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(4, 4).double()
        self.register_buffer("seen", torch.zeros(4, dtype=torch.float64))


class Branching(Affine):
    def forward(self, x):
        return self.inner(x) if x.sum() > 0 else self.inner(-x)


class Item(Affine):
    def forward(self, x):
        return self.inner(x) * self.inner.weight.sum().item()


class Drawing(Affine):
    def forward(self, x):
        return self.inner(x + torch.randn_like(x))


class Filtering(Affine):
    def forward(self, x):
        return self.inner(x)[x > 0]


class InPlace(Affine):
    def forward(self, x):
        self.inner.weight.mul_(0.5)
        return self.inner(x)


class Counting(Affine):
    def forward(self, x):
        self.seen += x.mean(0)
        return self.inner(x - self.seen)


class ByNumPy(Affine):
    def forward(self, x):
        return torch.from_numpy(self.inner(x).detach().numpy()) * self.inner.weight.sum()


class Normalised(Affine):
    def __init__(self):
        super().__init__()
        nn.utils.parametrizations.spectral_norm(self.inner)

    def forward(self, x):
        return self.inner(x)


class Wrong(Affine):
    def forward(self, x):
        return self.inner(x[:, :3])


@pytest.mark.parametrize(("kind", "said"), [
    (Branching, "depends on values"), (Item, "depends on values"), (Drawing, "draws random numbers"),
    (Filtering, "shape of what it computes"), (InPlace, "in place"), (Counting, "in place"), (ByNumPy, "NumPy"),
    (Normalised, "cannot vectorise"), (Wrong, "PyTorch says"),
])
def test_what_cannot_be_vectorised_is_refused_and_said_why(kind, said):
    modules = [stateless(kind()) for _ in range(2)]
    with pytest.raises(Exception) as refused:
        together(modules, [(random(2, 5, 4), random(2, 5, 4))])
    assert re.search(said, why_not(refused.value)), why_not(refused.value)


class First(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x)[0]


class Self(First):
    def forward(self, x):
        return self.inner(x, x, x)[0]
