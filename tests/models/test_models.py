"""Contract of all models: right shapes, pure, and three in a pack train as each does alone; and what each one is."""

import pytest
import torch
from model_cases import CASES, PICTURES, SERIES, TOKENS, VECTORS, each, members
from stacks import alone, built, outputs_together, together

from dlx import models
from dlx.data import Dimensions
from dlx.errors import DeclarationError
from dlx.models import (
    GRU,
    LSTM,
    MLP,
    CNN1d,
    CNN2d,
    CoordinateNet,
    DiagonalLinear,
    DLinear,
    GaussianKernelNet,
    Patched,
    RandomFeatures,
    ResNet,
    Transformer,
    ViT,
)

torch.set_num_threads(1)

def batches(of, steps, members, positions):
    torch.manual_seed(7)
    shape = (members, 6, *of.shape)
    for _ in range(steps):
        x = torch.randint(of.inputs, shape) if of.tokens else torch.randn(shape, dtype=torch.float64)
        yield x, torch.randn(members, 6, *([of.shape[0]] if positions else []), of.outputs, dtype=torch.float64)


def test_every_model_has_a_case():
    own = {type(m).__name__ for m, _ in CASES.values()} - {"Own"} | {"Module"}
    assert own == set(models.__all__) - {"Model"}


@pytest.mark.parametrize("name", CASES)
def test_a_pack_trains_as_its_members_alone(name):
    model, of = CASES[name]
    model.check() if hasattr(model, "check") else None
    assert isinstance(model, models.Model)
    fed = list(batches(of, 3, 3, each(model)))
    modules = [built(m, of, seed) for seed, m in enumerate(members(model))]
    packed = together(modules, fed)
    for i, module in enumerate(modules):
        losses, state = alone(module, [(x[i], y[i]) for x, y in fed])
        torch.testing.assert_close(packed[i][0], losses, rtol=1e-10, atol=1e-10)
        for key, value in state.items():
            torch.testing.assert_close(packed[i][1][key], value, rtol=1e-10, atol=1e-10)
        module.eval()
    evaluated = outputs_together(modules, fed[0][0])
    for i, module in enumerate(modules):
        before = {k: v.clone() for k, v in module.named_buffers()}
        torch.testing.assert_close(evaluated[i], module(fed[0][0][i]).detach(), rtol=1e-10, atol=1e-10)
        assert all(torch.equal(v, before[k]) for k, v in module.named_buffers())  # measuring changes nothing


@pytest.mark.parametrize("name", CASES)
def test_shapes_dtypes_and_a_draw_that_the_seed_decides(name):
    model, of = CASES[name]
    (x, y), = batches(of, 1, 1, each(model))
    for dtype in (torch.float32, torch.float64):
        given = x[0] if of.tokens else x[0].to(dtype)
        first, again = built(model, of, 3, dtype), built(model, of, 3, dtype)
        assert all(map(torch.equal, first.state_dict().values(), again.state_dict().values()))
        assert first(given).dtype == dtype
        assert first(given).shape == y[0].shape
    model.build(of).load_state_dict(first.state_dict())  # made stateless, a module has the names of before


@pytest.mark.parametrize("of", [VECTORS, PICTURES, SERIES, TOKENS])
@pytest.mark.parametrize("model", {type(m): m for m, _ in CASES.values()}.values(), ids=lambda m: type(m).__name__)
def test_other_samples_are_refused_in_a_sentence_or_read(model, of):
    if isinstance(model, CASES["own"][0].__class__):
        return  # reads what its author likes
    try:
        module = built(model, of, 0)
    except DeclarationError as e:
        assert str(e).startswith(f"model is {type(model).__name__}, which reads")
    else:
        ((x, _),) = batches(of, 1, 1, False)
        assert module(x[0]).shape[-1] == of.outputs


@pytest.mark.parametrize(("model", "field"), [
    (MLP(0, 1), "width"), (MLP(1, 0), "depth"), (MLP(1, 1, activation="step"), "activation"),
    (MLP(1, 1, norm="group"), "norm"), (MLP(1, 1, init="zero"), "init"), (MLP(1, 1, init_scale=0.0), "init_scale"),
    (MLP(1, 1, dropout=1.0), "dropout"), (MLP(1, 1, parameterisation="ntk"), "parameterisation"),
    (MLP(1, 1, base_width=0), "base_width"), (RandomFeatures(0), "features"), (RandomFeatures(1, "cos"), "kind"),
    (RandomFeatures(1, bandwidth=0.0), "bandwidth"), (GaussianKernelNet(0, 1.0), "units"),
    (GaussianKernelNet(1, -1.0), "bandwidth"), (GaussianKernelNet(1, 1.0, 0.0), "spread"), (CNN1d(()), "channels"),
    (CNN2d((4, 0)), "channels"), (CNN2d(kernel=2), "kernel"), (CNN2d(readout="max"), "readout"),
    (ResNet(0), "blocks"), (ResNet(1, 0), "width"), (LSTM(0), "width"), (LSTM(1, dropout=0.1), "dropout"),
    (GRU(1, 2, dropout=0.0), "dropout"), (GRU(1, embedding=0), "embedding"), (LSTM(1, readout="all"), "readout"),
    (Transformer(8, 1, 3), "heads"), (Transformer(6, 1, 2, positions="rope"), "dim"),
    (Transformer(8, 0, 1), "depth"), (Transformer(8, 1, 1, hidden=0), "hidden"), (ViT(0), "patch"),
    (Transformer(8, 1, 1, positions="rotary"), "positions"), (ViT(readout="last"), "readout"),
    (Transformer(8, 1, 1, parameterisation="mup-sgd"), "parameterisation"),
    (Transformer(8, 1, 1, base_dim=0), "base_dim"),
    (CoordinateNet(encoding="wave"), "encoding"), (CoordinateNet(scale=0.0), "scale"),
    (CoordinateNet(activation="tanh"), "activation"), (CoordinateNet(omega=float("inf")), "omega"),
    (DiagonalLinear(0.0), "scale"), (DiagonalLinear(1.0, 1), "depth"), (DLinear(24), "kernel"),
    (Patched(LSTM(1), 0), "patch"), (Patched(LSTM(1), anchor=1.5), "anchor"),
    (Patched(LSTM(1, readout="each")), "model.readout"),
])
def test_check_names_the_field(model, field):
    with pytest.raises(DeclarationError, match=f"^{field} is"):
        model.check()


@pytest.mark.parametrize(("model", "of", "start"), [
    (ViT(patch=3), PICTURES, "patch is 3"), (CNN2d((2, 2, 2, 2)), PICTURES, "channels is"),
    (ResNet(), Dimensions(18, 1, (2, 3, 3)), "model is ResNet"), (Patched(LSTM(2), 4), VECTORS, "patch is 4"),
])
def test_data_that_do_not_fit_are_refused(model, of, start):
    with pytest.raises(DeclarationError, match=f"^{start}"):
        model.build(of)
