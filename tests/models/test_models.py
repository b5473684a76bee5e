"""Every model has PyTorch's default initialisation and trains alone and in a pack."""

import pytest
import torch

from dlx import models
from dlx.errors import DeclarationError

CASES = {
    "MLP": models.MLP(width=16, depth=2),
    "MLP, deep and narrow": models.MLP(width=3, depth=5, activation="tanh", bias=False),
    "Linear": models.Linear(),
    "Linear without bias": models.Linear(bias=False),
}


def test_every_model_has_a_case():
    assert {type(m).__name__ for m in CASES.values()} == set(models.__all__) - {"Model"}


@pytest.mark.parametrize("name", CASES)
def test_maps_inputs_to_outputs(name):
    assert CASES[name].build(40, 10)(torch.zeros(5, 40)).shape == (5, 10)
    assert isinstance(CASES[name], models.Model)


def test_mlp_is_linear_layers_as_pytorch_initialises_them():
    torch.manual_seed(3)
    built = models.MLP(width=16, depth=2).build(40, 10)
    torch.manual_seed(3)
    layers = [torch.nn.Linear(40, 16), torch.nn.Linear(16, 16), torch.nn.Linear(16, 10)]
    expected = [p for layer in layers for p in layer.parameters()]
    assert all(torch.equal(a, b) for a, b in zip(built.parameters(), expected, strict=True))
    x = torch.randn(7, 40)
    by_hand = layers[2](layers[1](layers[0](x).relu()).relu())
    assert torch.equal(built(x), by_hand)


@pytest.mark.parametrize("activation", ["relu", "gelu", "tanh", "sigmoid"])
def test_activation_is_the_one_named(activation):
    built = models.MLP(width=4, depth=1, activation=activation).build(3, 2)
    x = torch.linspace(-2, 2, 5)
    function = getattr(torch.nn.functional, activation, None) or getattr(torch, activation)
    assert torch.equal(built[1](x), function(x))


@pytest.mark.parametrize(
    ("model", "field"),
    [(models.MLP(0, 1), "width"), (models.MLP(1, 0), "depth"), (models.MLP(1, 1, activation="step"), "activation")],
)
def test_check_names_the_field(model, field):
    with pytest.raises(DeclarationError, match=f"^{field}"):
        model.check()
