"""Corruption changes what it says, as much as it says, and nothing else."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import dlx
from dlx import data, metrics, models, optim, shelf
from dlx.context import Context
from dlx.data import corruption
from dlx.errors import DeclarationError

DIGITS = data.Digits()


def test_label_noise_on_mnist1d_is_its_own():
    one = data.LabelNoise(data.MNIST1D(n=500), 0.3).load(Context(4))
    own = data.MNIST1D(n=500, label_noise=0.3).load(Context(4))
    for name in own:
        assert all(torch.equal(a, b) for a, b in zip(one[name], own[name], strict=True))
    assert one["train"].targets is one["val"].targets and one["train"].inputs is own["train"].inputs


@pytest.mark.parametrize(("made", "classes"), [
    (data.ModularArithmetic(61), 61), (data.GroupWords("Z3", n=2_000), 3), (data.GaussianMixture(n=4_000), 2),
])
def test_label_noise_is_wrong_as_often_as_chance_has_it(made, classes):
    clean, noisy = made.load(Context(0)), data.LabelNoise(made, 0.4).load(Context(0))
    for name in ("train", "val"):
        wrong = (clean[name].take(clean[name].rows)[1] != noisy[name].take(noisy[name].rows)[1]).double()
        expected = 0.4 * (classes - 1) / classes
        assert abs(wrong.mean() - expected) < 4 * (expected * (1 - expected) / wrong.numel()) ** 0.5
    assert torch.equal(clean["test"].targets, noisy["test"].targets)


@given(shares=st.tuples(st.floats(0, 1), st.floats(0, 1)), seed=st.integers(0, 99))
@settings(max_examples=25)
def test_what_less_noise_redraws_more_noise_redraws_alike(shares, seed):
    clean, less, more = (
        data.LabelNoise(DIGITS, share).load(Context(seed))["train"].targets for share in (0.0, *sorted(shares))
    )
    changed = less != clean
    assert torch.equal(less[changed], more[changed])


def test_label_noise_needs_classes():
    with pytest.raises(DeclarationError, match=r"^data is TeacherStudent, whose targets are no classes"):
        data.LabelNoise(data.TeacherStudent(), 0.1).load(Context(0))


@given(sizes=st.lists(st.integers(1, 1_150), min_size=2, max_size=2), seed=st.integers(0, 99))
@settings(max_examples=25)
def test_subsets_lie_in_each_other_and_leave_the_rest_alone(sizes, seed):
    small, large = (data.Subset(DIGITS, n).load(Context(seed)) for n in sorted(sizes))
    assert set(small["train"].rows.tolist()) <= set(large["train"].rows.tolist())
    whole = DIGITS.load(Context(seed))
    assert set(large["train"].rows.tolist()) <= set(whole["train"].rows.tolist())
    for name in ("val", "test"):
        assert torch.equal(small[name].rows, whole[name].rows)


def test_a_subset_of_a_series_is_drawn_at_random(public_files):
    rows = data.Subset(data.ETTh1(look_back=24, horizon=1), 2_000).load(Context(0))["train"].rows.double()
    assert abs(rows.mean() / 8_616 - 0.5) < 4 / (12 * 2_000) ** 0.5 and rows.max() > 8_000


def test_shift_changes_the_test_inputs_alone():
    clean, shifted = DIGITS.load(Context(0)), data.Shift(DIGITS, offset=0.7, noise=0.3).load(Context(0))
    for name in ("train", "val"):
        assert all(a is b for a, b in zip(clean[name][:2], shifted[name][:2], strict=True))
    (before, labels), (after, same) = (s["test"].take(s["test"].rows) for s in (clean, shifted))
    moved = after - before
    assert torch.equal(labels, same)
    assert abs(moved.mean() - 0.7) < 4 * 0.3 / moved.numel() ** 0.5
    assert abs(moved.std() - 0.3) < 4 * 0.3 / (2 * moved.numel()) ** 0.5


def test_shifts_of_one_noise_are_the_same_noise():
    tests = {n: data.Shift(DIGITS, noise=n).load(Context(n > 1))["test"].inputs for n in (0.0, 0.5, 1.0, 2.0)}
    for n in (0.5, 2.0):
        torch.testing.assert_close(tests[n] - tests[0.0], n * (tests[1.0] - tests[0.0]))
    assert data.Shift(DIGITS, noise=2.0).load(Context(9))["test"].inputs is tests[2.0]


def test_shift_follows_test_rows_that_the_seed_draws():
    made = data.ModularArithmetic(13, one_hot=True)
    for seed in range(6):
        clean, shifted = made.load(Context(seed))["test"], data.Shift(made, offset=1.0).load(Context(seed))["test"]
        inputs, targets = shifted.take(shifted.rows)
        assert torch.equal(inputs - 1, clean.take(clean.rows)[0]) and torch.equal(targets, clean.take(clean.rows)[1])


def test_permuted_pictures_keep_their_colours_together():
    pictures = torch.randn(20, 3, 5, 6, generator=torch.Generator().manual_seed(0))
    colours, permuted = pictures.flatten(2), corruption.permuted(pictures).flatten(2)
    order = [(colours == permuted[..., j : j + 1]).all(0).all(0).nonzero().item() for j in range(30)]
    assert sorted(order) == list(range(30)) and order != sorted(order)


@pytest.mark.parametrize("made", [data.MNIST1D(n=100), data.GroupWords("Z5", n=50), data.GaussianMixture(n=50)])
def test_permuted_positions_are_the_same_in_all_splits_and_seeds(made):
    orders = []
    for seed in range(2):
        clean, permuted = made.load(Context(seed)), data.Permuted(made).load(Context(seed))
        for name in clean:
            before, after = (s[name].inputs[:200] for s in (clean, permuted))
            orders.append([(before == after[:, j : j + 1]).all(0).nonzero().item() for j in range(after.shape[1])])
    assert all(order == orders[0] for order in orders) and sorted(orders[0]) == list(range(len(orders[0])))
    assert orders[0] != sorted(orders[0])


def test_parts_of_wrapped_data_may_vary_in_a_pack():
    made = [data.Subset(data.LabelNoise(data.MNIST1D(label_noise=p), p / 2), 20) for p in (0.1, 0.2)]
    assert shelf.shape(made[0]) == shelf.shape(made[1])
    assert shelf.shape(data.Subset(DIGITS, 20)) == shelf.shape(data.Subset(DIGITS, 21))


@pytest.mark.parametrize("measured", [metrics.error(), metrics.hessian_trace()])
def test_subsets_of_different_size_train_as_one_pack_as_alone(measured):
    trials = [
        dlx.Training(data.Subset(data.GaussianMixture(n=60), n), models.MLP(4, 1), optim.SGD(0.1), steps=9,
                     batch_size=8, dtype="float64", measure=2, metrics=(metrics.loss(), measured))
        for n in (8, 13, 48)
    ]
    assert len({trial.shape() for trial in trials}) == 1
    packed = dlx.Training.run_pack(trials, [Context(5) for _ in trials])
    for trial, together in zip(trials, packed, strict=True):
        assert together == pytest.approx(trial.run(Context(5)), rel=1e-12, abs=1e-12)


def test_subsets_of_which_all_is_one_batch_do_not_pack():
    whole = [dlx.Training(data.Subset(DIGITS, n), models.Linear(), optim.SGD(0.1), steps=1) for n in (20, 21)]
    assert whole[0].shape() != whole[1].shape()


def test_what_is_made_of_a_table_goes_with_it():
    made = data.Permuted(data.Parity(n=50))
    before = len(corruption._made())
    kept = [made.load(Context(seed)) for seed in range(5)]
    assert len(corruption._made()) <= before + 5 and kept
    del kept
    assert len(corruption._made()) <= before
