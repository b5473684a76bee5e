import pytest
import torch
from torch.backends import cuda, cudnn

from dlx import data, models, optim
from dlx.canonical import setting_digest
from dlx.context import Context
from dlx.precision import multiplying, stored_as
from dlx.training import Training


def now():
    """Where TF32 is on, as PyTorch's newer interface has it."""
    return [place.fp32_precision == "tf32" for place in (cuda.matmul, cudnn.conv, cudnn.rnn)]


def usual():
    """As PyTorch's older interface has it."""
    return cuda.matmul.allow_tf32, cudnn.allow_tf32


@pytest.mark.parametrize(("dtype", "quick"), [("tf32", True), ("float32", False), ("float64", False)])
def test_how_exactly_a_gpu_multiplies_is_as_a_training_says_and_afterwards_as_before(dtype, quick):
    before, old = now(), usual()
    with multiplying(dtype, "cuda:0"):
        assert usual() == (quick, quick) and set(now()) == {quick}
        with cudnn.flags(enabled=False):
            pass
    assert (now(), usual()) == (before, old)
    with pytest.raises(ZeroDivisionError), multiplying(dtype, "cuda"):
        1 / 0  # noqa: B018
    assert (now(), usual()) == (before, old)
    with multiplying(dtype, "cpu"):
        assert now() == before


def test_tf32_is_float32_without_a_gpu_and_another_setting():
    exact, quick = (Training(data.GaussianMixture(n=20, inputs=3), models.Linear(), optim.SGD(lr=0.1), 3, dtype=dtype)
                    for dtype in ("float32", "tf32"))
    assert Training.run_pack([exact], [Context(0)]) == Training.run_pack([quick], [Context(0)])
    assert setting_digest(exact) != setting_digest(quick)
    assert (stored_as("tf32"), stored_as("bfloat16")) == (torch.float32, torch.bfloat16)
