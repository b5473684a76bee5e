"""Twins of PyTorch's layers: equal to the originals with the same weights, outputs, gradients and buffers."""

import copy

import pytest
import torch
from torch import nn

from dlx.models.stateless import TWINS, stateless

torch.set_num_threads(1)


def random(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def pair(module):
    """A module in float64, and a stateless copy of it."""
    module = module.double()
    with torch.no_grad():
        for p in module.parameters():
            p += 0.1 * torch.randn_like(p)
    return module, stateless(copy.deepcopy(module))


SHAPES = {nn.BatchNorm1d: [(9, 4), (9, 4, 5)], nn.BatchNorm2d: [(5, 4, 3, 2)], nn.BatchNorm3d: [(5, 4, 3, 2, 2)]}


@pytest.mark.parametrize("options", [{}, {"momentum": None}, {"momentum": 0.3, "affine": False},
                                     {"track_running_stats": False}], ids=str)
@pytest.mark.parametrize(("kind", "shape"), [(k, s) for k, shapes in SHAPES.items() for s in shapes])
def test_batch_norm_equals_the_one_of_pytorch(kind, shape, options):
    torch.manual_seed(0)
    original, twin = pair(kind(4, **options))
    assert isinstance(twin, kind) and type(twin) is TWINS[kind]
    for _ in range(3):
        x = random(*shape) * 3 + 1
        mine, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
        torch.testing.assert_close(twin(mine), original(theirs), rtol=1e-12, atol=1e-12)
        weights = random(*shape)
        grads = [torch.autograd.grad((m(v) * weights).sum(), v)[0] for m, v in ((twin, mine), (original, theirs))]
        torch.testing.assert_close(*grads, rtol=1e-10, atol=1e-12)
        for name, value in original.state_dict().items():
            torch.testing.assert_close(twin.state_dict()[name], value, rtol=1e-12, atol=1e-12)
    original.eval(), twin.eval()
    torch.testing.assert_close(twin(x), original(x), rtol=1e-12, atol=1e-12)


RECURRENT = [(kind, options) for kind in (nn.LSTM, nn.GRU, nn.RNN) for options in (
    {}, {"num_layers": 2, "bidirectional": True}, {"bias": False, "batch_first": True},
    {"num_layers": 3, "batch_first": True},
)]


@pytest.mark.parametrize(("kind", "options"), [
    *RECURRENT, (nn.LSTM, {"proj_size": 3, "num_layers": 2}), (nn.RNN, {"nonlinearity": "relu"}),
], ids=str)
def test_recurrent_layers_equal_those_of_pytorch(kind, options):
    torch.manual_seed(0)
    original, twin = pair(kind(4, 5, **options))
    x = random(6, 3, 4)
    directions = original.num_layers * (2 if original.bidirectional else 1)
    batch = 6 if original.batch_first else 3
    hidden = random(directions, batch, original.proj_size or 5)
    for start in (None, (hidden, random(directions, batch, 5)) if kind is nn.LSTM else hidden):
        mine, theirs = twin(x, start), original(x, start)
        flat = [[r[0], *(r[1] if kind is nn.LSTM else [r[1]])] for r in (mine, theirs)]
        torch.testing.assert_close(*flat, rtol=1e-12, atol=1e-12)
        grads = [torch.autograd.grad(out[0].square().sum() + out[-1].sum(), list(m.parameters()))
                 for out, m in zip(flat, (twin, original), strict=True)]
        torch.testing.assert_close(*grads, rtol=1e-10, atol=1e-12)
    packed = nn.utils.rnn.pack_padded_sequence(x, [6, 4, 2] if batch == 3 else [3] * 6, original.batch_first)
    torch.testing.assert_close(twin(packed)[0].data, original(packed)[0].data, rtol=1e-12, atol=1e-12)
    assert twin.state_dict().keys() == original.state_dict().keys()


MASKS = {
    "none": {}, "causal": {"attn_mask": torch.ones(5, 6, dtype=torch.bool).triu(1)},
    "float": {"attn_mask": torch.linspace(-1, 1, 30, dtype=torch.float64).view(5, 6), "need_weights": False},
    "by head": {"attn_mask": torch.arange(6 * 30).view(6, 5, 6) % 7 == 1, "average_attn_weights": False},
    "padding": {"key_padding_mask": torch.arange(6) >= torch.tensor([[6], [4], [3]])},
}


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("options", [{}, {"batch_first": True, "bias": False}, {"kdim": 3, "vdim": 7},
                                     {"add_bias_kv": True}, {"add_zero_attn": True}], ids=str)
def test_attention_equals_the_one_of_pytorch(options, mask):
    torch.manual_seed(0)
    original, twin = pair(nn.MultiheadAttention(4, 2, **options))
    q, k, v = random(3, 5, 4), random(3, 6, original.kdim), random(3, 6, original.vdim)
    if not original.batch_first:
        q, k, v = (x.transpose(0, 1) for x in (q, k, v))
    for training in (True, False):
        results = [m.train(training)(q, k, v, **MASKS[mask]) for m in (twin, original)]
        torch.testing.assert_close(*results, rtol=1e-10, atol=1e-12)
