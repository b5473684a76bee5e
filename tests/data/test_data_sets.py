"""Each data set is what it says: published counts and figures, or the definition worked out another way."""

import io
import itertools
import math

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.stats import norm
from sklearn.datasets import load_digits
from sklearn.preprocessing import StandardScaler
from sympy.combinatorics.named_groups import AlternatingGroup, SymmetricGroup

from dlx import data, shelf
from dlx.context import Context
from dlx.data import cifar10, fashion_mnist
from dlx.data.group_words import products
from dlx.data.quadratic_signs import rotation
from dlx.errors import DeclarationError, DlxError


def taken(made, name, seed=0):
    split = made.load(Context(seed))[name]
    return split.take(split.rows)


def test_digits_are_those_of_scikit_learn():
    images, labels = load_digits(return_X_y=True)
    splits = data.Digits(validation=0.0).load(Context(0))
    rows = torch.cat([splits["train"].rows, splits["test"].rows])
    assert rows.sort().values.tolist() == list(range(1_797))
    assert np.array_equal(16 * splits["test"].inputs.flatten(1), images)
    assert np.array_equal(splits["test"].targets, labels)
    assert torch.equal(splits["test"].rows, data.Digits().load(Context(7))["test"].rows)


def test_fashion_mnist_is_the_published_set(public_files):
    splits = data.FashionMNIST(validation=0.0).load(Context(0))
    train, test = splits["train"], splits["test"]
    assert train.targets[:10].tolist() == [9, 0, 0, 3, 0, 2, 7, 2, 5, 5]  # as in the files of the authors
    assert test.targets[:10].tolist() == [9, 2, 1, 1, 6, 1, 4, 6, 5, 7]
    assert train.targets.bincount().tolist() == [6_000] * 10 and test.targets.bincount().tolist() == [1_000] * 10
    assert abs(train.inputs.mean()) < 1e-3 and abs(train.inputs.std() - 1) < 1e-3
    picture = next(pq.ParquetFile(fashion_mnist.TRAIN.file.locate()).iter_batches(1))["image"][0]["bytes"].as_py()
    expected = np.asarray(Image.open(io.BytesIO(picture))) / 255
    assert np.allclose(train.inputs[0, 0] * 0.3530 + 0.2860, expected, atol=1e-6)


def test_cifar10_is_decoded_and_normalised(public_files):
    splits = data.CIFAR10(validation=0.0, recompressed=True).load(Context(0))
    train, test = splits["train"], splits["test"]
    assert train.targets.bincount().tolist() == [5_000] * 10 and test.targets.bincount().tolist() == [1_000] * 10
    sample = train.inputs[::25]
    assert sample.mean((0, 2, 3)).abs().max() < 0.03 and (sample.std((0, 2, 3)) - 1).abs().max() < 0.03
    batch = next(pq.ParquetFile(public_files / "cifar10/test-00000-of-00001.parquet").iter_batches(5))
    for i in range(5):
        picture = Image.open(io.BytesIO(batch["img"][i]["bytes"].as_py())).convert("RGB")
        back = test.inputs[i].permute(1, 2, 0) * torch.tensor(cifar10.DEVIATION) + torch.tensor(cifar10.MEAN)
        assert np.array_equal((255 * back).round().to(torch.uint8), np.asarray(picture))
        assert test.targets[i] == batch["label"][i].as_py()


def test_cifar10_says_when_the_pictures_are_not_the_originals(public_files):
    with pytest.raises(data.DataError, match=r"cifar10/train.*no PNG.*recompressed=True"):
        data.CIFAR10().load(Context(0))


def test_tiny_shakespeare_is_the_text_cut_into_windows(public_files):
    text = (public_files / "tinyshakespeare/input.txt").read_text()
    symbols = sorted(set(text))
    number = {c: i for i, c in enumerate(symbols)}
    assert len(symbols) == 65 and [number[c] for c in "hii there"] == [46, 47, 47, 1, 58, 46, 43, 56, 43]  # nanoGPT
    made = data.TinyShakespeare(length=100)
    start = 0
    for name, end in (("train", int(0.9 * len(text))), ("val", 1_059_624), ("test", len(text))):
        inputs, targets = taken(made, name)
        read, due = ("".join(symbols[i] for i in t.flatten().tolist()) for t in (inputs, targets))
        assert read == text[start:end][: len(read)] and due == text[start + 1 : end][: len(due)]
        assert 0 <= end - start - 1 - len(read) < 100
        start = end


def test_held_out_windows_of_tiny_shakespeare_are_some_of_all(public_files):
    few, every = (data.TinyShakespeare(length=100, held_out=n).load(Context(0)) for n in (50, None))
    assert few["train"].rows is every["train"].rows
    for name in ("val", "test"):
        gaps = few[name].rows.diff()
        assert len(few[name].rows) == 50 and set(few[name].rows.tolist()) <= set(every[name].rows.tolist())
        assert few[name].rows[0] == every[name].rows[0] and gaps.max() - gaps.min() <= 1


def test_etth1_follows_the_published_protocol(public_files):
    hours = np.loadtxt(public_files / "ett/ETTh1.csv", delimiter=",", skiprows=1, usecols=range(1, 8))
    borders = [(0, 8_640), (8_640 - 336, 11_520), (11_520 - 336, 14_400)]  # Dataset_ETT_hour of Informer
    scaled = StandardScaler().fit(hours[:8_640]).transform(hours)
    for (name, split), (start, end), n in zip(
        data.ETTh1().load(Context(0)).items(), borders, (8_209, 2_785, 2_785), strict=True
    ):
        assert len(split.rows) == n == end - start - 336 - 96 + 1, name
        for i in (0, n // 2, n - 1):
            inputs, targets = split.take(split.rows[i : i + 1])
            at = start + i
            np.testing.assert_allclose(inputs[0], scaled[at : at + 336], rtol=0, atol=1e-5)
            np.testing.assert_allclose(targets[0].view(96, 7), scaled[at + 336 : at + 432], rtol=0, atol=1e-5)


def test_naive_forecasts_of_etth1_have_the_published_errors(public_files):
    inputs, targets = taken(data.ETTh1(), "test")
    future = targets.view(-1, 96, 7)
    repeated, yesterday = inputs[:, -1:], inputs[:, -24:].repeat(1, 4, 1)
    assert round((future - repeated).square().mean().item(), 3) in (1.294, 1.295)  # DLinear's table: Repeat, 1.295
    assert round((future - yesterday).square().mean().item(), 3) == 0.512


@pytest.mark.parametrize(("operation", "of"), [
    ("add", lambda a, b, p: (a + b) % p), ("subtract", lambda a, b, p: (a - b) % p),
    ("multiply", lambda a, b, p: a * b % p), ("divide", lambda a, b, p: next(c for c in range(p) if c * b % p == a)),
])
def test_modular_arithmetic_is_the_complete_table(operation, of):
    found = {}
    for name in ("train", "val", "test"):
        inputs, targets = taken(data.ModularArithmetic(13, operation), name)
        assert (inputs[:, 2] == 13).all()
        found |= dict(zip(map(tuple, inputs[:, :2].tolist()), targets.tolist(), strict=True))
    first = 1 if operation == "divide" else 0
    assert found == {(a, b): of(a, b, 13) for a in range(13) for b in range(first, 13)}


def test_one_hot_pairs_are_the_tokens():
    for name in ("train", "val", "test"):
        tokens, one_hot = (taken(data.ModularArithmetic(11, one_hot=o), name)[0] for o in (False, True))
        assert torch.equal(one_hot.view(-1, 2, 11).argmax(2), tokens[:, :2]) and (one_hot.sum(1) == 2).all()


@given(share=st.floats(0.02, 0.97), validation=st.floats(0, 0.99), p=st.integers(8, 20), seed=st.integers(0, 9))
@settings(max_examples=30)
def test_pairs_are_used_once(share, validation, p, seed):
    made = data.ModularArithmetic(p, share=share, validation=validation)
    others = p * p - made.samples()
    if others == round(others * validation):
        with pytest.raises(DeclarationError, match="leaves no pair to test"):
            made.check()
        return
    made.check()
    splits = made.load(Context(seed))
    assert torch.cat([s.rows for s in splits.values()]).sort().values.tolist() == list(range(p * p))
    assert len(splits["test"].rows) >= 1 and len(splits["train"].rows) == made.samples()


@pytest.mark.parametrize("k", [1, 2, 3])
def test_parity_is_of_one_set_of_hidden_signs(k):
    made = data.Parity(n=200, bits=8, k=k)
    hidden = []
    for seed in range(4):
        inputs, classes = (torch.cat(t) for t in zip(*(taken(made, s, seed) for s in ("train", "test")), strict=True))
        signs = 1 - 2 * classes
        hidden += [s for s in itertools.combinations(range(8), k) if torch.equal(inputs[:, s].prod(1).long(), signs)]
        assert abs(inputs.mean()) < 4 / math.sqrt(inputs.numel())
    assert len(hidden) == 4 and len(set(hidden)) > 1


@pytest.mark.parametrize(("name", "group"), [
    ("S3", SymmetricGroup(3)), ("S4", SymmetricGroup(4)), ("S5", SymmetricGroup(5)), ("A4", AlternatingGroup(4)),
    ("A5", AlternatingGroup(5)),
])
def test_products_are_those_of_sympy(name, group):
    elements = sorted(g.array_form for g in group.elements)
    number = {tuple(g): i for i, g in enumerate(elements)}
    expected = [[number[tuple(g[i] for i in h)] for h in elements] for g in elements]
    assert np.array_equal(products(name), expected)


def test_cyclic_words_are_running_sums():
    inputs, targets = taken(data.GroupWords("Z7", length=20, n=50), "train")
    assert torch.equal(inputs.cumsum(1) % 7, targets)


@pytest.mark.parametrize("group", ["S4", "A5", "Z12"])
def test_running_products_do_not_depend_on_brackets(group):
    inputs, targets = taken(data.GroupWords(group, length=6, n=100), "train")
    table = torch.from_numpy(products(group))
    tail = inputs[:, -1]
    for t in range(4, -1, -1):
        tail = table[inputs[:, t], tail]
    assert torch.equal(tail, targets[:, -1]) and torch.equal(inputs[:, 0], targets[:, 0])
    assert abs(inputs.double().mean() / (len(table) - 1) - 0.5) < 0.06


def test_teacher_has_unit_outputs_and_noise_as_said():
    clean = [data.TeacherStudent(n=500, validation=0.0).load(Context(seed)) for seed in range(300)]
    squares = torch.stack([s["train"].targets.square().mean() for s in clean])
    assert abs(squares.mean() - 1) < 4 * squares.std() / 300**0.5
    noisy = data.TeacherStudent(n=500, validation=0.0, noise=0.5).load(Context(0))
    added = noisy["train"].targets - clean[0]["train"].targets
    assert abs(added.std() - 0.5) < 4 * 0.5 / (2 * 500) ** 0.5
    assert torch.equal(noisy["train"].inputs, clean[0]["train"].inputs)
    assert torch.equal(noisy["test"].targets, clean[0]["test"].targets)


def test_sparse_targets_are_a_line_of_unit_norm():
    few, all_, noisy = (data.SparseLinear(n=200, nonzero=k, validation=0.0, noise=s).load(Context(3))
                        for k, s in ((5, 0.0), (100, 0.0), (5, 0.5)))
    for splits, nonzero in ((few, 5), (all_, 100)):
        inputs, targets = splits["train"].take(splits["train"].rows)
        beta = torch.linalg.lstsq(inputs, targets).solution.squeeze(1)
        sizes = beta[beta.abs() > 1e-9].abs()
        torch.testing.assert_close(sizes, torch.full_like(beta[:nonzero], nonzero**-0.5))
        inputs, targets = splits["test"].take(splits["test"].rows)
        torch.testing.assert_close(inputs @ beta, targets.squeeze(1))
    added = noisy["train"].targets - few["train"].targets
    assert abs(added.std() - 0.5) < 4 * 0.5 / (2 * 200) ** 0.5
    assert torch.equal(noisy["test"].targets, few["test"].targets)
    assert shelf.shape(data.SparseLinear(nonzero=5)) == shelf.shape(data.SparseLinear(nonzero=100))


def test_teacher_is_a_relu_network():
    """On a ray from the origin a network without biases is linear, and between many points it is not."""
    inputs, targets = taken(data.TeacherStudent(n=3_000, inputs=2, width=1, validation=0.0), "train")
    active = targets.squeeze(1) != 0
    slope = torch.linalg.lstsq(inputs[active], targets[active]).solution
    torch.testing.assert_close(inputs[active] @ slope, targets[active])
    assert 0.4 < active.double().mean() < 0.6


@pytest.mark.parametrize("target", ["halves", "axis"])
def test_rotated_inputs_are_one_rotation_of_the_standard_ones(target):
    plain, turned = (data.QuadraticSigns(n=400, inputs=6, target=target, basis=b).load(Context(2))["train"]
                     for b in ("standard", "rotated"))
    by = torch.linalg.lstsq(plain.inputs, turned.inputs).solution
    torch.testing.assert_close(plain.inputs @ by, turned.inputs)
    torch.testing.assert_close(by @ by.T, torch.eye(6, dtype=by.dtype))
    assert (by - torch.eye(6)).abs().max() > 0.1 and torch.equal(plain.targets, turned.targets)
    z = plain.inputs
    form = z[:, 0] if target == "axis" else (z[:, :3] ** 2).sum(1) - (z[:, 3:] ** 2).sum(1)
    assert torch.equal(plain.targets == 1, form > 0)


def test_rotations_are_uniform():
    """Over seeds the mean of Q is 0 and that of its entries' squares 1/d, also of the diagonal."""
    drawn = np.stack([rotation(3, np.random.default_rng(seed)) for seed in range(4_000)])
    assert np.abs(drawn.mean(0)).max() < 4 / np.sqrt(3 * 4_000)
    assert np.abs((drawn**2).mean(0) - 1 / 3).max() < 4 * 0.3 / np.sqrt(4_000)


@pytest.mark.parametrize("separation", [0.0, 1.0, 3.0])
def test_best_error_of_two_gaussians(separation):
    made = data.GaussianMixture(n=40_000, inputs=5, separation=separation, validation=0.0)
    x, labels = taken(made, "train")
    centres = torch.stack([x[labels == c].mean(0) for c in (0, 1)])
    assert abs((centres[0] - centres[1]).norm() - separation) < 0.07
    wrong = (torch.cdist(x, centres).argmin(1) != labels).double().mean().item()
    assert abs(wrong - 0.5 * math.erfc(separation / 2 / 2**0.5)) < 0.015


def test_gaussian_centres_are_equally_far():
    x, labels = taken(data.GaussianMixture(n=60_000, inputs=6, classes=6, separation=10.0, validation=0.0), "train")
    distances = torch.pdist(torch.stack([x[labels == c].mean(0) for c in range(6)]))
    assert (distances - 10).abs().max() < 0.1
    assert (x - torch.stack([x[labels == c].mean(0) for c in range(6)])[labels]).std() - 1 < 0.01


@pytest.mark.parametrize("name", ["camera", "astronaut", "coffee", "retina"])
def test_picture_is_the_one_of_scikit_image(name):
    skimage = pytest.importorskip("skimage")
    whole = getattr(pytest.importorskip("skimage.data"), name)()
    side = min(whole.shape[:2])
    top, left = ((n - side) // 2 for n in whole.shape[:2])
    expected = skimage.img_as_float(whole[top : top + side, left : left + side])
    splits = data.Picture(name, size=16).load(Context(0))
    colours, points = splits["train"].targets.view(16, 16, -1), splits["train"].inputs.view(16, 16, 2)
    block = expected[: side // 16 * 16, : side // 16 * 16].reshape(16, side // 16, 16, side // 16, -1).mean((1, 3))
    assert np.abs(colours.numpy() - block).mean() < 0.05  # the mean over each square, smoothed
    assert torch.equal(points[:, 0, 0], points[0, :, 1]) and points[0, 0].tolist() == [-0.9375, -0.9375]
    assert splits["train"].rows.tolist() == [16 * r + c for r in range(0, 16, 2) for c in range(0, 16, 2)]
    assert torch.cat([s.rows for s in splits.values()]).sort().values.tolist() == list(range(256))


def test_picture_in_grey():
    color = pytest.importorskip("skimage.color")
    made, coloured = data.Picture("coffee", size=16, grey=True), data.Picture("coffee", size=16)
    expected = color.rgb2gray(coloured.load(Context(0))["train"].targets.numpy())
    grey = made.load(Context(0))["train"].targets
    assert np.abs(grey[:, 0].numpy() - expected).max() < 1e-12
    assert made.dimensions().outputs == grey.shape[1] == 1
    assert shelf.shape(made) == shelf.shape(data.Picture("camera", size=16, grey=True))
    assert shelf.shape(coloured) != shelf.shape(data.Picture("astronaut", size=16))


def test_volume_is_that_of_marschner_and_lobb():
    (x, y), (_, still) = (taken(data.Volume(n=5_000, ripple=r), "train") for r in (0.25, 0.0))
    assert x.abs().max() <= 1 and x.std() == pytest.approx(3**-0.5, abs=0.01)
    assert y.min() >= 0 and y.max() <= 1
    slope = (1 - (x[:, 2:] * math.pi / 2).sin()) / 2
    torch.testing.assert_close(still, slope)
    rings = (y * 2.5 - 2 * slope) / 0.25 - 1  # cos(2π · 6 cos(πr/2))
    phase = 12 * math.pi * (math.pi / 2 * x[:, :2].norm(dim=1, keepdim=True)).cos()
    torch.testing.assert_close(rings, phase.cos(), rtol=0, atol=1e-9)


def test_picture_without_scikit_image(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "skimage", None)
    with pytest.raises(DlxError, match="needs the package scikit-image; run: pip install scikit-image"):
        data.Picture("camera", size=7).load(Context(0))


def test_a_noisy_curve_has_the_quantiles_that_it_says():
    made = data.NoisyCurve(n=20_000, low=0.2, high=0.7, outputs=2, validation=0.0)
    x, y = (part.numpy() for part in taken(made, "train"))
    assert np.array_equal(y[:, 0], y[:, 1])
    for q in (0.05, 0.5, 0.95):
        quantile = np.sin(np.pi * x) + made.noise(x) * norm.ppf(q)
        for part in (np.abs(x) < 0.3, np.abs(x) > 0.7):
            assert np.mean(y[:, :1][part] <= quantile[part]) == pytest.approx(q, abs=0.01)
