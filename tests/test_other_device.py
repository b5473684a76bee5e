"""Trained on another device than the CPU: the very numbers, in steps that neither wait for it nor move things to it."""

from pathlib import Path

import far
import pytest
import torch
from model_cases import CASES as MODELS
from model_cases import Noise, each
from model_cases import members as varied
from optim_twins import CASES as OPTIMIZERS
from shelves import AUGMENTATIONS, METRICS
from test_optim_schedules import CASES as SCHEDULES

import dlx
from dlx import data, losses, metrics, models, optim
from dlx.pack import Member, Pack, Resources
from dlx.pruning import Halving, Prune
from dlx.training import Training
from dlx.vectorise import NotVectorisable

WAITS = {"Shampoo": ["aten._linalg_eigh.default"]}  # as PyTorch's on CUDA does, to see whether it went well


@pytest.fixture(scope="module")
def there():
    with far.process() as process:
        yield lambda function, *arguments: process.submit(function, *arguments).result()


def training(**changes):
    given = {"data": data.GaussianMixture(n=60, inputs=6), "model": models.MLP(width=6, depth=2), "steps": 6,
             "optimizer": optim.SGD(lr=0.1), "batch_size": 8, "metrics": (metrics.loss(),), **changes}
    return Training(**given)


@pytest.mark.parametrize("name", MODELS)
def test_models(there, name):
    model, of = MODELS[name]
    trials = [training(data=Noise(of, each(model)), model=m, optimizer=optim.Adam(lr=0.01), loss=losses.MSE(), steps=3)
              for m in varied(model)]
    assert there(far.compared, trials) == (True, [])


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers(there, name):
    trials = [training(optimizer=OPTIMIZERS[name](s)[0]) for s in (1.0, 0.9)]
    assert there(far.compared, trials) == (True, WAITS.get(name, []))


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules(there, name):
    assert there(far.compared, [training(schedule=SCHEDULES[name](1)[0])] * 2) == (True, [])


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_augmentations(there, name):
    changes = {"augment": (AUGMENTATIONS[name],), "model": models.CNN1d((3,))}
    assert there(far.compared, [training(**changes)] * 2) == (True, [])


@pytest.mark.parametrize("metric", METRICS, ids=repr)
def test_metrics(there, metric):
    changes = {"metrics": (metric,), "batch_size": None}
    if isinstance(metric, metrics.psnr):
        changes |= {"data": Noise(data.Dimensions(6, 3, (6,)), False), "loss": losses.MSE()}
    assert there(far.compared, [training(**changes)] * 2) == (True, [])


@pytest.mark.parametrize("loss", [losses.CrossEntropy(), losses.MSE(), losses.Logistic(), losses.Pinball((0.1, 0.9))],
                         ids=repr)
def test_losses(there, loss):
    of = data.Dimensions(6, 1, (6,)) if isinstance(loss, losses.Logistic) else data.Dimensions(6, 2, (6,))
    kind = {} if isinstance(loss, losses.CrossEntropy) else {"data": Noise(of, False)}
    assert there(far.compared, [training(loss=loss, **kind)] * 2) == (True, [])


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "tf32"])
def test_dtypes(there, dtype):
    assert there(far.compared, [training(dtype=dtype)] * 2) == (True, [])


def test_a_pack_that_is_pruned_killed_and_keeps_its_best(there, tmp_path):
    found = []
    for device in ("cpu", far.NAME):
        folder = tmp_path / device
        members = tuple(Member(f"k{i}", training(optimizer=optim.SGD(lr), steps=40, measure=8), i, cohort="one")
                        for i, lr in enumerate((0.1, 0.01, 1e-5, 0.3)))
        pack = Pack(members, Resources(), folder.as_uri(), checkpoint_every=0.0, keep_best=dlx.minimize("val/loss"),
                    prune=Prune(Halving(eta=2.0, min_steps=5), "val/loss", 1))
        found.append((there(far.ran, pack, device, 20), weights(folder)))
    assert found[0] == found[1]
    rows, weighed = found[0][0][0], found[0][1]
    assert {row["status"] for row in rows} == {"completed", "pruned"} and weighed


def weights(folder):
    return {path.name: path.read_bytes() for path in Path(folder, "checkpoints").glob("*.safetensors")}


def test_tensors_of_two_devices_are_refused(there):
    with pytest.raises(NotVectorisable, match="two devices"):
        there(far.compared, [training(model=models.Module(Forgetful))])


class Forgetful(torch.nn.Linear):
    """Keeps a tensor that is neither a parameter nor a buffer, and so stays behind."""

    def __init__(self, inputs, outputs):
        super().__init__(inputs, outputs)
        self.scales = torch.ones(inputs)

    def forward(self, x):
        return super().forward(x * self.scales)
