import random

import numpy as np
import pytest
import torch
from mnist1d.data import get_dataset_args, make_dataset

from dlx import data
from dlx.context import Context
from dlx.data import cache, mnist1d
from dlx.errors import DeclarationError


@pytest.fixture(scope="module", autouse=True)
def _own_folder(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DLX_DATA_DIR", str(tmp_path_factory.mktemp("data")))
        yield


def test_is_the_published_set():
    published = make_dataset(get_dataset_args())
    splits = data.MNIST1D(validation=0.0).load(Context(0))
    inputs, labels = splits["test"].take(splits["test"].rows)
    assert np.array_equal(inputs, published["x_test"]) and np.array_equal(labels, published["y_test"])
    order = splits["train"].rows.argsort()
    inputs, labels = splits["train"].take(splits["train"].rows[order])
    assert np.array_equal(inputs, published["x"]) and np.array_equal(labels, published["y"])


def test_splits_are_disjoint_and_of_the_declared_size():
    splits = data.MNIST1D(n=1_000, validation=0.25).load(Context(3))
    train, val, test = (set(splits[k].rows.tolist()) for k in ("train", "val", "test"))
    assert (len(train), len(val), len(test)) == (750, 250, 1_000)
    assert not train & val and not train & test and not val & test


def test_samples_is_the_size_of_the_train_split():
    for n in (10, 999, 4_000, 4_500):
        made = data.MNIST1D(n=n, validation=0.3)
        assert made.samples() == len(made.load(Context(0))["train"].rows)


def test_without_validation_there_is_no_val_split():
    assert list(data.MNIST1D(validation=0.0).load(Context(0))) == ["train", "test"]


def test_seed_decides_the_split_and_nothing_else_does():
    rows = [data.MNIST1D(label_noise=noise).load(Context(seed))["train"].rows for seed, noise in
            [(1, 0.0), (1, 0.5), (2, 0.0)]]
    assert torch.equal(rows[0], rows[1]) and not torch.equal(rows[0], rows[2])


def test_inputs_are_the_same_object_for_all_members():
    one, other = data.MNIST1D().load(Context(1)), data.MNIST1D(label_noise=0.1).load(Context(2))
    assert one["train"].inputs is other["val"].inputs


def test_label_noise_is_drawn_from_all_ten_classes():
    wrong = []
    for seed in range(10):
        splits = data.MNIST1D(label_noise=0.15, validation=0.0).load(Context(seed))
        rows = splits["train"].rows
        wrong.append((splits["train"].targets[rows] != splits["test"].targets[rows]).double().mean().item())
    deviation = (0.135 * 0.865 / 40_000) ** 0.5
    assert abs(np.mean(wrong) - 0.135) < 4 * deviation


def test_more_noise_keeps_what_less_noise_redrew():
    clean, some, more = (data.MNIST1D(label_noise=p).load(Context(5))["train"].targets for p in (0.0, 0.1, 0.3))
    changed = some != clean
    assert changed.any() and torch.equal(some[changed], more[changed])


def test_test_labels_are_clean():
    splits = data.MNIST1D(label_noise=1.0).load(Context(0))
    clean = data.MNIST1D().load(Context(0))
    assert torch.equal(splits["test"].targets, clean["test"].targets)


def test_regenerated_test_set_and_more_training_samples():
    splits = data.MNIST1D(n=4_005, test_samples=2_002, validation=0.0).load(Context(0))
    assert len(splits["train"].rows) == 4_005 and len(splits["test"].rows) == 2_002
    assert splits["test"].rows.max() < len(splits["test"].inputs)


def test_shuffled_positions_are_a_permutation():
    plain, shuffled = (np.sort(mnist1d.generate(100, s)["inputs"], axis=1) for s in (False, True))
    np.testing.assert_allclose(plain, shuffled)


def test_generation_leaves_the_global_generators_alone():
    random.seed(7), np.random.seed(7)
    expected = random.random(), np.random.rand()
    random.seed(7), np.random.seed(7)
    mnist1d.generate(20, False)
    assert (random.random(), np.random.rand()) == expected


def test_cache_equals_fresh_and_survives_damage(tmp_path, monkeypatch):
    monkeypatch.setenv("DLX_DATA_DIR", str(tmp_path))
    calls = []

    def make():
        calls.append(1)
        return mnist1d.generate(50, False)

    fresh, stored = cache.cached("a", make), cache.cached("a", make)
    assert len(calls) == 1
    for name in ("inputs", "labels"):
        assert np.array_equal(fresh[name], stored[name]) and fresh[name].dtype == stored[name].dtype
    (tmp_path / "a.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:100])
    again = cache.cached("a", make)
    assert len(calls) == 2 and np.array_equal(again["inputs"], fresh["inputs"])
    cache.cached("a", make)
    assert len(calls) == 2 and [p.name for p in tmp_path.iterdir()] == ["a.npz"]


def test_cache_without_a_place_to_write(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DLX_DATA_DIR", str(tmp_path / "file"))
    assert cache.cached("a", lambda: {"x": np.arange(3)})["x"].tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("made", "field"),
    [
        (data.MNIST1D(n=0), "n "), (data.MNIST1D(label_noise=1.1), "label_noise"),
        (data.MNIST1D(validation=1.0), "validation"), (data.MNIST1D(n=1, validation=0.9), "validation"),
        (data.MNIST1D(test_samples=0), "test_samples"),
    ],
)
def test_check_names_the_field(made, field):
    with pytest.raises(DeclarationError, match=f"^{field}"):
        made.check()


def test_protocol():
    data.MNIST1D().check()
    assert isinstance(data.MNIST1D(), data.Data) and not isinstance("MNIST1D", data.Data)
