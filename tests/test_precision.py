import pytest
import torch
from torch.backends import cuda, cudnn

from dlx import data, models, optim
from dlx.canonical import setting_digest
from dlx.context import Context
from dlx.precision import multiplying, stored_as
from dlx.training import Training

PLACES = cuda.matmul, cudnn.conv, cudnn.rnn
seen = set()


class Watching(torch.nn.Linear):
    def __init__(self, inputs, outputs):
        super().__init__(inputs, outputs)

    def forward(self, x):
        seen.add(now())
        return super().forward(x)


def now():
    return tuple(place.fp32_precision for place in PLACES)


def trained(dtype):
    seen.clear()
    trial = Training(data.GaussianMixture(n=20, inputs=3), models.Module(Watching), optim.SGD(lr=0.1), 3, dtype=dtype)
    (result,) = Training.run_pack([trial], [Context(0)])
    return trial, result, seen.copy()


@pytest.mark.parametrize(("dtype", "asked"), [("tf32", "tf32"), ("float32", "ieee"), ("float64", "ieee")])
def test_how_exactly_a_gpu_multiplies_is_as_the_training_says_and_afterwards_as_before(dtype, asked):
    before = now()
    _, _, found = trained(dtype)
    assert found == {(asked,) * 3} and now() == before
    with pytest.raises(ZeroDivisionError), multiplying(dtype):
        1 / 0  # noqa: B018
    assert now() == before


def test_tf32_is_float32_without_a_gpu_and_another_setting():
    (exact, usual, _), (quick, same, _) = trained("float32"), trained("tf32")
    assert same == usual and setting_digest(exact) != setting_digest(quick)
    assert (stored_as("tf32"), stored_as("bfloat16")) == (torch.float32, torch.bfloat16)
