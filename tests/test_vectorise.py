import gc
import weakref

import pytest
import torch

from dlx.stacking import select, stack, unstack
from dlx.vectorise import NotVectorisable, batches, one_by_one, vectorise, vectorise_by_rows

F64 = torch.float64


def test_stack_shares_what_is_the_same_object_and_unstack_undoes_it():
    shared, own = torch.arange(6.0), [torch.tensor([i, i + 1]) for i in range(3)]
    together = stack([{"a": shared, "b": (own[i], 0.5 * i)} for i in range(3)], "cpu", F64)
    assert together.form.axes == (None, 0, 0)
    assert [leaf.dtype for leaf in together.leaves] == [F64, torch.int64, F64]
    for i, tree in enumerate(unstack(together, 3)):
        assert torch.equal(tree["a"], shared.double()) and torch.equal(tree["b"][0], own[i])
        assert tree["b"][1].item() == 0.5 * i


def test_a_shared_table_is_moved_once_and_goes_with_its_source():
    table = torch.arange(6)
    as_it_is, moved = torch.arange(6.0, dtype=F64), torch.arange(6.0)
    first, again = (stack([moved, moved], "cpu", F64).leaves[0] for _ in range(2))
    assert first is again and first.dtype == F64
    assert stack([as_it_is] * 2, "cpu", F64).leaves[0] is as_it_is and stack([table] * 2, "cpu", F64).leaves[0] is table
    copy = weakref.ref(first)
    del first, again, moved
    gc.collect()
    assert copy() is None


def test_stack_without_sharing():
    shared = torch.arange(6.0)
    assert stack([shared, shared], "cpu", F64, share=False).leaves[0].shape == (2, 6)


def test_stack_refuses_members_of_different_structure():
    with pytest.raises(ValueError):
        stack([{"a": torch.ones(1)}, {"a": torch.ones(1), "b": torch.ones(1)}], "cpu", F64)


@pytest.mark.parametrize("members", [1, 4])
def test_vectorised_function_equals_the_function_of_each_member(members):
    def function(tree, table):
        return {"grad": torch.func.grad(lambda w: (table @ w).square().sum())(tree["w"]), "w": tree["w"] * tree["s"]}

    table = torch.randn(7, 3, dtype=F64)
    trees = [{"w": torch.randn(3, dtype=F64), "s": float(i)} for i in range(members)]
    results = unstack(vectorise(function)(stack(trees, "cpu", F64), stack([table] * members, "cpu", F64)), members)
    for tree, result in zip(trees, results, strict=True):
        expected = function(tree, table)
        torch.testing.assert_close(result, expected, rtol=0, atol=1e-12)


def test_recording_is_not_reused_for_other_sizes_or_values():
    double = vectorise(lambda x: (x + x.sum()).reshape(-1))
    for members, size in [(2, 3), (3, 3), (2, 5), (2, 3)]:
        x = torch.randn(members, size)
        (result,) = double(stack(list(x), "cpu", torch.float32)).leaves
        torch.testing.assert_close(result, x + x.sum(1, keepdim=True))


def test_a_result_that_does_not_depend_on_the_member_is_given_to_each():
    fixed = vectorise(lambda x, y: (x, y))
    different, equal = [torch.ones(2), torch.zeros(2)], [torch.ones(3, dtype=F64)] * 2
    together = fixed(stack(different, "cpu", F64), stack(equal, "cpu", F64))
    assert [leaf.shape for leaf in together.leaves] == [(2, 2), (2, 3)]


def test_reshapes_and_products_that_matter_are_kept():
    f = vectorise(lambda x: (x.reshape(3, 2).T * 1.0, x[:1].expand(4), x * 2))
    x = torch.arange(12.0).view(2, 6)
    results = unstack(f(stack(list(x), "cpu", torch.float32)), 2)
    for one, (a, b, c) in zip(x, results, strict=True):
        assert torch.equal(a, one.reshape(3, 2).T) and torch.equal(b, one[:1].expand(4)) and torch.equal(c, one * 2)


@pytest.mark.parametrize("together", [vectorise, one_by_one])
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("at_once", [3, 10, 100])
def test_by_rows_equals_all_rows(shared, at_once, together):
    table = torch.randn(10, 4, dtype=F64)
    rows = torch.arange(9) if shared else None
    members = [torch.randn(4, dtype=F64) for _ in range(2)]
    rows_of = [rows if shared else torch.randperm(10)[:9] for _ in range(2)]
    function = vectorise_by_rows(lambda w, table, rows: table[rows] * w, at_once, together)
    results = unstack(
        function(stack(members, "cpu", F64), stack([table] * 2, "cpu", F64), stack(rows_of, "cpu", F64)), 2)
    for w, r, result in zip(members, rows_of, results, strict=True):
        assert torch.equal(result, table[r] * w)


def test_selected_members_are_those():
    shared = torch.arange(4.0)
    trees = [{"a": shared, "b": torch.full((2,), float(i))} for i in range(4)]
    kept = unstack(select(stack(trees, "cpu", F64), [3, 1]), 2)
    assert [tree["b"][0].item() for tree in kept] == [3, 1] and all(torch.equal(t["a"], shared.double()) for t in kept)


def test_what_vmap_refuses_is_said():
    with pytest.raises(NotVectorisable, match="data-dependent control flow"):
        vectorise(lambda x: x if x.sum() > 0 else -x)(stack([torch.ones(2)], "cpu", F64, share=False))


def test_members_never_go_through_a_silent_loop():
    with pytest.raises(NotVectorisable, match="histc"):
        vectorise(lambda x: torch.histc(x, 3, 0, 1))(stack([torch.ones(2)] * 2, "cpu", F64, share=False))
    with pytest.warns(UserWarning, match="performance drop"):  # elsewhere PyTorch goes on as ever
        torch.func.vmap(lambda x: torch.histc(x, 3, 0, 1))(torch.ones(2, 2))


def sets(x):
    y = x.clone()
    y[1] = x[0]
    return y


@pytest.mark.parametrize("function", [
    lambda x: x.clone().clamp_(min=0), lambda x: torch.zeros(3, dtype=F64).add_(x), sets,
    torch.func.grad(lambda x: (x * 2).relu_().sum())])
def test_what_is_done_in_place_to_new_tensors(function):
    members = list(torch.randn(4, 3, dtype=F64))
    results = unstack(vectorise(function)(stack(members, "cpu", F64)), 4)
    assert all(torch.equal(result, function(x)) for x, result in zip(members, results, strict=True))


class Counting:
    def __init__(self, start, batch):
        self.next, self.batch, self.always = start, batch, None

    def take(self, steps):
        taken = torch.arange(self.next, self.next + steps * self.batch).view(steps, self.batch)
        self.next += steps * self.batch
        return taken


@pytest.mark.parametrize("ahead", [1, 13, 1 << 20])
def test_batches_do_not_depend_on_how_far_ahead_they_are_drawn(ahead, monkeypatch):
    monkeypatch.setattr("dlx.vectorise.AHEAD", ahead)
    orders = [Counting(0, 2), Counting(1_000, 2)]
    drawn = [b.leaves[0] for steps in (3, 4) for b in batches(orders, steps, "cpu")]
    assert len(drawn) == 7
    for i, rows in enumerate(drawn):
        assert rows.tolist() == [[2 * i, 2 * i + 1], [1_000 + 2 * i, 1_001 + 2 * i]]
