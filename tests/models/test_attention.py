"""Transformers: equal to PyTorch's blocks with the same weights, and positions as their papers have them."""

import dataclasses
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from dlx.data import Dimensions
from dlx.models import Transformer, ViT
from dlx.models.attention import SelfAttention, rotate, sinusoids, slopes
from dlx.models.encoder import Patches, encoder

torch.set_num_threads(1)
LIKE = torch.empty((), dtype=torch.float64)
TOKENS = Dimensions(11, 5, (9,), tokens=True)


def random(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def numbers_of(block, layer):
    """Copy the weights of a block, and of the norm behind it, into PyTorch's layer."""
    blocks = list(block)
    attention, mlp = blocks[1].inner, blocks[2].inner
    here = [attention[0], attention[1].qkv, attention[1].out, mlp[0], mlp[1], mlp[4]]
    there = [layer.norm1, None, layer.self_attn.out_proj, layer.norm2, layer.linear1, layer.linear2]
    with torch.no_grad():
        layer.self_attn.in_proj_weight.copy_(here[1].weight)
        layer.self_attn.in_proj_bias.copy_(here[1].bias)
        for mine, theirs in zip(here, there, strict=True):
            if theirs is not None:
                theirs.load_state_dict(mine.state_dict())


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_a_block_is_the_one_of_pytorch(causal, activation):
    torch.manual_seed(0)
    block = encoder(8, 1, 2, hidden=20, causal=causal, positions="none", activation=activation, norm="layer",
                    dropout=None).double()
    with torch.no_grad():
        for p in block.parameters():
            p += 0.2 * torch.randn_like(p)
    layer = nn.TransformerEncoderLayer(8, 2, 20, dropout=0.0, activation=activation, batch_first=True,
                                       norm_first=True).double()
    numbers_of(block, layer)
    x = random(3, 6, 8)
    mask = nn.Transformer.generate_square_subsequent_mask(6, dtype=torch.float64) if causal else None
    torch.testing.assert_close(block(x), block[-1](layer(x, src_mask=mask)), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("positions", ["none", "sinusoid", "learnt", "rope", "alibi"])
def test_causal_models_see_nothing_ahead_and_encoders_all(positions):
    torch.manual_seed(0)
    before = torch.randint(11, (1, 9))
    after = before.clone()
    after[0, 5] = (after[0, 5] + 1) % 11
    model = Transformer(8, 2, 2, positions=positions)
    for causal in (True, False):
        module = dataclasses.replace(model, causal=causal).build(TOKENS).double()
        changed = (module(before) != module(after)).any(-1)[0]
        assert changed[5:].all() and changed[:5].all() == (not causal) and changed[:5].any() == (not causal)


@pytest.mark.parametrize("positions", ["none", "sinusoid", "learnt", "rope", "alibi"])
def test_positions_tell_an_encoder_the_order_and_none_do_not(positions):
    torch.manual_seed(0)
    module = Transformer(8, 1, 2, causal=False, positions=positions, readout="mean").build(TOKENS).double()
    x = torch.arange(9)[None]
    order = torch.tensor([3, 1, 2, 0, 8, 4, 6, 7, 5])
    same = torch.allclose(module(x), module(x[:, order]), rtol=1e-10, atol=1e-12)
    assert same == (positions == "none")


@given(st.integers(1, 4), st.integers(0, 30), st.integers(0, 30), st.integers(1, 30))
@settings(max_examples=30)
def test_rope_sees_distances_only(pairs, m, n, shift):
    torch.manual_seed(pairs)
    q, k = random(2 * pairs), random(2 * pairs)

    def product(at, to):
        rows = torch.zeros(2, 64, 2 * pairs, dtype=torch.float64)
        rows[0, at], rows[1, to] = q, k
        turned = rotate(rows)
        return turned[0, at] @ turned[1, to]

    torch.testing.assert_close(product(m, n), product(m + shift, n + shift), rtol=1e-9, atol=1e-11)
    torch.testing.assert_close(product(m, m), q @ k, rtol=1e-9, atol=1e-11)


def test_rope_is_multiplication_by_unit_complex_numbers():
    x = random(2, 7, 6)
    angles = torch.arange(7)[:, None] * 10_000.0 ** (-2 * torch.arange(3, dtype=torch.float64) / 6)
    pairs = torch.view_as_complex(x.unflatten(-1, (3, 2))) * torch.polar(torch.ones_like(angles), angles)
    torch.testing.assert_close(rotate(x), torch.view_as_real(pairs).flatten(-2), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("heads", "expected"), [
    (1, [2**-8]), (2, [2**-4, 2**-8]), (8, [2.0**-i for i in range(1, 9)]), (16, [2 ** (-i / 2) for i in range(1, 17)]),
    (3, [2**-4, 2**-8, 2**-2]), (12, [2.0**-i for i in range(1, 9)] + [2 ** (-i / 2) for i in (1, 3, 5, 7)]),
])
def test_alibi_has_the_slopes_of_the_paper(heads, expected):
    torch.testing.assert_close(slopes(heads, LIKE), torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=0)


def test_alibi_falls_linearly_with_distance():
    torch.manual_seed(0)
    attention = SelfAttention(8, 4, causal=True, positions="alibi", scale=0.0, dropout=None, affine=nn.Linear).double()
    x = random(1, 6, 8)
    v = (x @ attention.qkv.weight[16:].T + attention.qkv.bias[16:]).unflatten(-1, (4, 2))[0]
    distances = torch.arange(5.0, -1, -1, dtype=torch.float64)
    weights = torch.softmax(-slopes(4, LIKE)[:, None] * distances, -1)
    expected = attention.out(torch.einsum("hl,lhd->hd", weights, v).flatten())
    torch.testing.assert_close(attention(x)[0, -1], expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("dim", [6, 7])
def test_sinusoids_are_those_of_the_paper(dim):
    table = sinusoids(12, dim, LIKE)
    for position in range(12):
        for i in range(dim):
            angle = torch.tensor(position / 10_000 ** (i // 2 * 2 / (dim + dim % 2)), dtype=torch.float64)
            expected = angle.cos() if i % 2 else angle.sin()
            torch.testing.assert_close(table[position, i], expected, rtol=1e-12, atol=1e-12)


def test_patches_and_their_affine_map_are_a_strided_convolution():
    torch.manual_seed(0)
    x = random(2, 3, 8, 12)
    convolution = nn.Conv2d(3, 5, 4, stride=4).double()
    expected = convolution(x).flatten(2).transpose(1, 2)
    mine = Patches(4)(x) @ convolution.weight.flatten(1).T + convolution.bias
    torch.testing.assert_close(mine, expected, rtol=1e-10, atol=1e-12)


def moved(parameterisation, dim):
    """How much the outputs change over three steps of Adam on 8 sequences: root mean square over three seeds."""
    torch.manual_seed(0)
    x = torch.randint(11, (8, 9))
    changes = []
    for seed in range(3):
        torch.manual_seed(seed)
        net = Transformer(dim, 1, 2, parameterisation=parameterisation, base_dim=32).build(TOKENS)
        optimizer = torch.optim.Adam(net.parameters(), 0.003)
        before = net(x).detach()
        for _ in range(3):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x).flatten(0, 1), (x % 5).flatten()).backward()
            optimizer.step()
        changes.append((net(x).detach() - before).square().mean())
    return float(torch.stack(changes).mean().sqrt())


@pytest.mark.parametrize(("parameterisation", "expected"), [("standard", 8**-0.5), ("mup-adam", 2**0.5 / 8)])
def test_products_of_queries_and_keys_are_over_their_dimension_in_mup(parameterisation, expected):
    net = Transformer(16, 1, 2, parameterisation=parameterisation, base_dim=4).build(TOKENS)
    (attention,) = (m for m in net.modules() if isinstance(m, SelfAttention))
    assert attention.scale == pytest.approx(expected)  # 1/√8, as at the base width 1/√2 = √2/2


def test_coordinate_check_of_mup():
    """Outputs move as much at any width in μP, and not in the standard parameterisation."""
    exponents = {p: math.log(moved(p, 512) / moved(p, 64), 8) for p in ("mup-adam", "standard")}
    assert abs(exponents["mup-adam"]) < 0.1 and exponents["standard"] > 0.4, exponents


@pytest.mark.parametrize("readout", ["token", "mean"])
def test_vit_sees_every_patch_and_where_it_is(readout):
    torch.manual_seed(0)
    module = ViT(patch=4, dim=8, depth=1, heads=2, readout=readout).build(Dimensions(192, 3, (3, 8, 8))).double()
    x = random(1, 3, 8, 8)
    for row in (0, 4):
        for column in (0, 4):
            changed = x.clone()
            changed[0, 1, row + 2, column + 3] += 1
            assert not torch.allclose(module(x), module(changed), rtol=1e-6)
    assert not torch.allclose(module(x), module(x.roll(4, -1)), rtol=1e-6)
