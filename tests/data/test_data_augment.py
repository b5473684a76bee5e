"""Augmentation: alone as in a pack, a function of its key alone, and what the papers say."""

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from shelves import AUGMENTATIONS

from dlx import data, shelf
from dlx.stacking import stack, unstack
from dlx.vectorise import vectorise

NOTHING = {"Flip": {"probability": 0.0}, "Crop": {"padding": 0}, "Cutout": {"size": 0}, "Noise": {"std": 0.0}}
SHAPES = [(12,), (12, 3), (3, 8, 7)]  # numbers; length and channels; channels, height and width


def batch(shape, n=16, seed=0, dtype=torch.float64):
    return torch.randn(n, *shape, generator=torch.Generator().manual_seed(seed), dtype=dtype) + 5


def augmented(made, inputs, key):
    hyper = {k: torch.tensor(v, dtype=inputs.dtype) for k, v in shelf.hyperparameters(made).items()}
    return shelf.without_hyperparameters(made).augment(inputs, torch.tensor(key), hyper)


def positions_first(inputs):
    """(batch, channels, *positions)."""
    return {2: lambda x: x.unsqueeze(1), 3: lambda x: x.transpose(1, 2), 4: lambda x: x}[inputs.ndim](inputs)


def test_nothing_on_the_shelf_is_forgotten():
    public = [getattr(data, name) for name in data.__all__]
    on_the_shelf = {c for c in public if dataclasses.is_dataclass(c) and hasattr(c, "augment")}
    assert {type(c) for c in AUGMENTATIONS.values()} == on_the_shelf
    for made in AUGMENTATIONS.values():
        made.check()
        assert isinstance(made, data.Augmentation) and not isinstance(made, data.Data)
        assert set(shelf.varies(made)) == {f.name for f in dataclasses.fields(made)}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_a_function_of_inputs_and_key(name, shape):
    inputs = batch(shape)
    before = inputs.clone()
    one, again, other = (augmented(AUGMENTATIONS[name], inputs, key) for key in (1, 1, 2))
    assert torch.equal(inputs, before) and torch.equal(one, again) and not torch.equal(one, other)
    assert one.shape == inputs.shape and one.dtype == inputs.dtype
    nothing = dataclasses.replace(AUGMENTATIONS[name], **NOTHING[name])
    assert torch.equal(augmented(nothing, inputs, 1), inputs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", ["Flip", "Crop", "Cutout"])
def test_the_same_places_in_every_dtype(name, dtype):
    inputs = batch((3, 8, 7)).to(dtype)
    for key in range(20):
        low, high = augmented(AUGMENTATIONS[name], inputs, key), augmented(AUGMENTATIONS[name], inputs.double(), key)
        assert low.dtype == dtype and torch.equal(low.double(), high)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_a_pack_is_its_members_alone(name, shape):
    made = AUGMENTATIONS[name]
    (field,) = shelf.varies(made)
    members = [dataclasses.replace(made, **{field: value}) for value in (getattr(made, field), 1, 0)]
    inputs = [batch(shape, seed=i) for i in range(3)]
    apply = vectorise(shelf.without_hyperparameters(members[0]).augment)
    keys, hyper = [torch.tensor(k) for k in (5, 6, 7)], [shelf.hyperparameters(m) for m in members]
    together = apply(*(stack(trees, "cpu", torch.float64, share=False) for trees in (inputs, keys, hyper)))
    for i, found in enumerate(unstack(together, 3)):
        torch.testing.assert_close(found, augmented(members[i], inputs[i], 5 + i), rtol=0, atol=1e-12)


@given(shape=st.sampled_from(SHAPES), probability=st.floats(0, 1), key=st.integers(-(2**63), 2**63 - 1))
@settings(max_examples=30)
def test_flip_reverses_or_leaves(shape, probability, key):
    inputs = batch(shape, n=400)
    found = augmented(data.Flip(probability), inputs, key)
    there = positions_first(inputs).flip(-1)
    flipped = (positions_first(found) == there).flatten(1).all(1)
    assert torch.equal(found[~flipped], inputs[~flipped])
    assert abs(flipped.double().mean() - probability) <= 5 * (probability * (1 - probability) / 400) ** 0.5 + 1e-9


@given(shape=st.sampled_from(SHAPES), padding=st.integers(0, 4), key=st.integers(-(2**63), 2**63 - 1))
@settings(max_examples=30)
def test_crop_is_a_piece_of_the_padded_sample(shape, padding, key):
    inputs = batch(shape, n=8)
    found, whole = positions_first(augmented(data.Crop(padding), inputs, key)), positions_first(inputs)
    axes = whole.ndim - 2
    padded = torch.nn.functional.pad(whole, [padding] * 2 * axes)
    windows = padded
    for axis in range(axes):
        windows = windows.unfold(2 + axis, whole.shape[2 + axis], 1)
    pieces = windows.flatten(2, 1 + axes).transpose(1, 2)  # (batch, (2 padding + 1)^axes, channels, *positions)
    assert (pieces == found.unsqueeze(1)).flatten(2).all(2).any(1).all()


def test_crop_takes_every_piece_equally_often():
    n = 20_000
    inputs = torch.zeros(n, 1, 7, 7)
    inputs[:, :, 3, 3] = 1.0
    counts = augmented(data.Crop(2), inputs, 3).sum((0, 1))[1:6, 1:6]
    assert counts.sum() == n
    chi_squared = ((counts - n / 25).square() / (n / 25)).sum().item()
    assert chi_squared < 51.2  # 99.9 % of χ² with 24 degrees of freedom


@pytest.mark.parametrize("size", [1, 3, 4, 8])
def test_cutout_is_a_square_around_a_uniform_place(size):
    n = 30_000
    found = augmented(data.Cutout(size), torch.ones(n, 2, 6, 5), 11)
    zeros = found == 0
    assert torch.equal(zeros[:, 0], zeros[:, 1])
    rows, columns = zeros[:, 0].any(2), zeros[:, 0].any(1)
    assert torch.equal(zeros[:, 0], rows.unsqueeze(2) & columns.unsqueeze(1))
    for places in (rows, columns):
        length = places.shape[1]
        at = torch.arange(length)
        first = at.unsqueeze(1) - size // 2
        expected = ((at >= first) & (at < first + size)).double().mean(0)  # over all centres
        assert (places.double().mean(0) - expected).abs().max() < 4.5 * 0.5 / n**0.5


def test_noise_is_normal():
    added = augmented(data.Noise(0.5), torch.zeros(400, 500, dtype=torch.float64), 2).flatten() / 0.5
    n = len(added)
    for power, moment, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs(added.pow(power).mean() - moment) < 4 * (variance / n) ** 0.5


def test_samples_of_a_batch_are_changed_independently():
    found = augmented(data.Noise(1.0), torch.zeros(50, 2_000, dtype=torch.float64), 4)
    correlation = torch.corrcoef(found) - torch.eye(50)
    assert correlation.abs().max() < 5 / 2_000**0.5
