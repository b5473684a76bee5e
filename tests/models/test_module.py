"""Modules of the user's own as models: their arguments are values like any other."""

import pickle

import cloudpickle
import pytest
import torch
from torch import nn

import dlx
from dlx import data, models, optim, shelf
from dlx.canonical import values
from dlx.coercion import coerce
from dlx.context import Context
from dlx.data import Dimensions
from dlx.errors import DeclarationError
from dlx.trial import public_name, setting_digest

OF = Dimensions(6, 3, (6,))


class Net(nn.Module):
    """A net."""

    varies = ("rate",)

    def __init__(self, inputs, outputs, dim: int, rate: float = 0.5, act: str = "relu"):
        super().__init__()
        self.given = dim, rate, act
        self.layers = nn.Sequential(nn.Linear(inputs, dim), nn.Dropout(rate), nn.Linear(dim, outputs))

    def forward(self, x):
        return self.layers(x)


class Open(Net):
    def __init__(self, inputs, outputs, **more):
        super().__init__(inputs, outputs, **more)


Newer = type("Net", (Net,), {"version": 2, "__doc__": "Of the same name."})


def test_the_class_is_called_with_what_the_data_have_and_the_arguments():
    net = models.Module(Net, dim=4, act="tanh").build(OF)
    assert net.given == (4, 0.5, "tanh")
    assert net(torch.zeros(2, 6)).shape == (2, 3)


class Shaped(nn.Module):
    """A net that reads pictures as they are."""

    def __init__(self, inputs, outputs, shape, width: int = 2):
        super().__init__()
        self.conv, self.out = nn.Conv2d(shape[0], width, 3), nn.Linear(width, outputs)

    def forward(self, x):
        return self.out(self.conv(x).mean((2, 3)))


def test_pictures_come_flat_unless_the_class_takes_their_shape():
    picture = Dimensions(48, 3, (3, 4, 4))
    assert models.Module(Net, dim=4).build(picture)(torch.zeros(2, 3, 4, 4)).shape == (2, 3)
    shaped = models.Module(Shaped, width=5)
    assert values(shaped, "model") == {"model": "Module(Shaped)", "model.width": 5}
    assert shaped.build(picture)(torch.zeros(2, 3, 4, 4)).shape == (2, 3)
    state = models.Module(Net, dim=4).build(picture).state_dict()
    assert set(state) == set(models.Module(Net, dim=4).build(OF).state_dict())
    trials = [training_on_pictures(models.Module(Net, dim=4, rate=rate)) for rate in (0.0, 0.5)]
    contexts = [Context(seed) for seed in (0, 1)]
    for trial, seed, result in zip(trials, (0, 1), type(trials[0]).run_pack(trials, contexts), strict=True):
        assert trial.run(Context(seed)) == pytest.approx(result, rel=0, abs=1e-10)
    assert not contexts[0].notes


def training_on_pictures(model):
    return dlx.Training(data.Digits(), model, optim.SGD(0.1), steps=20, batch_size=16, dtype="float64", measure=2)


def test_arguments_and_defaults_are_fields_and_enter_the_key():
    model = models.Module(Net, dim=4)
    assert isinstance(model, models.Model) and public_name(type(model)) == "Module(Net)"
    assert values(model, "model") == {"model": "Module(Net)", "model.act": "relu", "model.dim": 4, "model.rate": 0.5}
    assert model == models.Module(Net, dim=4, rate=0.5)
    assert hash(model) == hash(models.Module(Net, dim=4))
    digests = {setting_digest(m) for m in (
        model, models.Module(Net, dim=5), models.Module(Net, dim=4, rate=0.1), models.Module(Open, dim=4),
        models.Module(Newer, dim=4), models.MLP(4, 1),
    )}
    assert len(digests) == 6
    assert setting_digest(models.Module(Net, dim=4, rate=1)) == setting_digest(models.Module(Net, dim=4, rate=1.0))


def test_arguments_that_vary_share_a_shape_and_others_do_not():
    shapes = [shelf.shape(m) for m in (models.Module(Net, dim=4), models.Module(Net, dim=4, rate=0.1),
                                       models.Module(Net, dim=5))]
    assert shapes[0] == shapes[1] != shapes[2]


def test_markers_stand_where_arguments_do():
    template = dlx.Training(data=dlx.data.MNIST1D(), model=models.Module(Net, dim=dlx.grid(4, 8)),
                            optimizer=dlx.optim.SGD(lr=0.1), steps=1)
    study = dlx.Study(name="own", question="?", template=template, seeds=1)
    trials = [study.space.trial(cell, {}) for cell in study.space.cells]
    assert [t.model for t in trials] == [models.Module(Net, dim=4), models.Module(Net, dim=8)]
    assert coerce(trials[0].model, models.Model, "template.model") is trials[0].model


@pytest.mark.parametrize("pickler", [pickle, cloudpickle])
def test_a_declaration_travels(pickler):
    model = models.Module(Net, dim=4, rate=0.25)
    there = pickler.loads(pickler.dumps(model))
    assert there == model and there.build(OF).given == (4, 0.25, "relu")


def test_further_keywords_are_fields_of_a_class_that_takes_them():
    assert models.Module(Open, dim=3, rate=0.1).build(OF).given == (3, 0.1, "relu")


class NoOutputs(nn.Module):
    def __init__(self, inputs):
        super().__init__()


class Listed(Net):
    def __init__(self, inputs, outputs, dims=[4, 4]):  # noqa: B006
        super().__init__(inputs, outputs, *dims)


class Starred(Net):
    def __init__(self, inputs, outputs, *dims):
        super().__init__(inputs, outputs, *dims)


class Building(Net):
    def __init__(self, inputs, outputs, build=1):
        super().__init__(inputs, outputs, build)


@pytest.mark.parametrize(("cls", "arguments", "said"), [
    (Net, {}, "Net needs dim; write models.Module"), (Net, {"dim": 1, "depth": 2}, "Net takes no depth; it takes dim"),
    (NoOutputs, {}, r"NoOutputs must take \(inputs, outputs"), (Listed, {}, "Listed has a default that can change"),
    (Starred, {}, r"Starred takes \*dims"), (Building, {}, "Building takes build=1"),
])
def test_what_cannot_be_called_so_is_refused_in_a_sentence(cls, arguments, said):
    with pytest.raises(DeclarationError, match=f"^{said}"):
        models.Module(cls, **arguments)
