"""Models in dlx.Training: packed without falling back, equal to alone, and taken up from a parent's weights."""

from dataclasses import replace

import pytest
import torch
from model_cases import CASES, Noise, each, members

from dlx import checkpoint, losses, metrics, optim
from dlx.context import Context, Place
from dlx.member import initial
from dlx.training import Training

torch.set_num_threads(1)


FAMILIES = ("mlp, batch norm, dropout", "random fourier features", "cnn 2d", "gru", "encoder", "vit", "siren", "own")


@pytest.mark.parametrize("name", FAMILIES)
def test_packed_is_alone(name):
    model, of = CASES[name]
    trials = [
        Training(data=Noise(of, each(model)), model=m, optimizer=optim.SGD(lr=lr),
                 loss=losses.MSE(), steps=3, batch_size=6, dtype="float64", measure=2, metrics=(metrics.loss(),))
        for m, lr in zip(members(model), (0.1, 0.03, 0.05), strict=True)
    ]
    assert len({t.shape() for t in trials}) == 1
    contexts = [Context(seed) for seed in range(3)]
    packed = Training.run_pack(trials, contexts)
    assert not any(c.notes for c in contexts)
    alone = [trial.run(Context(seed)) for seed, trial in enumerate(trials)]
    for one, other in zip(packed, alone, strict=True):
        assert one == pytest.approx(other, rel=1e-10, abs=1e-12)


def test_a_child_has_its_parents_weights_and_statistics_and_its_own_rate(tmp_path):
    model, of = CASES["own"]
    parent = Training(data=Noise(of, False), model=model, optimizer=optim.SGD(lr=0.1), loss=losses.MSE(), steps=3,
                      dtype="float64", metrics=(metrics.loss(),))
    folder = tmp_path.as_uri()
    parent.run(Context(0, place=Place(folder, "parent", keep=True)))
    child = replace(parent, model=replace(model, rate=0.9), parent=parent)
    module = initial(child, Context(1, place=Place(folder, "child", parent="parent")))
    saved = checkpoint.load(folder, "parent")
    assert saved.keys() == model.build(of).state_dict().keys() == module.state_dict().keys()
    assert all(torch.equal(saved[name], value) for name, value in module.state_dict().items())
    assert int(saved["layers.1.num_batches_tracked"]) == 3
    assert float(module.layers[2].rate) == 0.9 and int(module.layers[2].step) == 0
