import pytest
import torch

from dlx import data, models, optim
from dlx.context import Context
from dlx.launch import at_once
from dlx.training import Training

on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def steps(state, *more):
    """Calls that work on the spot: double, add one, and what else is given."""
    one = torch.ones_like(state)
    return [lambda: torch.mul(state, 2, out=state), lambda: torch.add(state, one, out=state), *more]


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=on_gpu)])
def test_calls_are_made_in_their_order_and_not_before(device):
    state = torch.tensor([1.0, torch.nan], device=device)
    launch = at_once(steps(state), [state])
    assert state[0] == 1
    launch()
    launch()
    assert state[0] == 7 and state[1].isnan()


@on_gpu
def test_on_a_gpu_it_is_a_graph():
    state = torch.ones(3, device="cuda")
    assert isinstance(at_once(steps(state), [state]).__self__, torch.cuda.CUDAGraph)


@on_gpu
def test_what_waits_for_the_device_is_called_by_itself():
    state = torch.ones(3, device="cuda")
    seen = []
    launch = at_once(steps(state, lambda: seen.append(state.sum().item())), [state])
    launch()
    assert seen[-1] == 9 and state.tolist() == [3, 3, 3]


@on_gpu
@pytest.mark.parametrize("optimizer", [optim.SGD(lr=0.1, momentum=0.9), optim.Adam(lr=0.01), optim.Muon(lr=0.01)])
def test_a_gpu_trains_to_the_numbers_of_a_cpu(optimizer):
    trial = Training(data.MNIST1D(n=100, test_samples=20), models.MLP(width=8, depth=2), optimizer, steps=30,
                     batch_size=10, dtype="float64")
    packs = [Training.run_pack([trial] * 2, [Context(seed, device) for seed in (0, 1)]) for device in ("cpu", "cuda")]
    for alone, other in zip(*packs, strict=True):
        assert other == pytest.approx(alone, rel=1e-9)
