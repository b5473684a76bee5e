import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import embedding, layer_norm

from dlx.stacking import stack, stacked, unstack
from dlx.vectorise import Running, vectorise_step

F64, MEMBERS = torch.float64, 3


def tree(seed, **more):
    g = torch.Generator().manual_seed(seed)
    return {"w": torch.randn(4, 3, dtype=F64, generator=g), "v": torch.randn(4, 3, dtype=F64, generator=g),
            "n": torch.tensor(seed), **more}


INPUTS = [[torch.tensor([k, m, 2]) for m in range(MEMBERS)] for k in range(4)]
TABLE = torch.randn(5, 3, dtype=F64, generator=torch.Generator().manual_seed(9))


def replayed(function, trees, inputs, *constants):
    """Checks that the states of all members after each step are those of the function of each, in turn."""
    step, alone = vectorise_step(function), list(trees)
    now, fixed = stack(trees, "cpu", F64, share=False), [stack(c, "cpu", F64) for c in constants]
    for given_ in inputs:
        now = step(now, stack(given_, "cpu", F64, share=False), *fixed)
        alone = [function(*each) for each in zip(alone, given_, *constants, strict=True)]
        for found, expected in zip(unstack(now, len(trees)), alone, strict=True):
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-11)
    return now


def descent(now, rows, table, hyper):
    def loss(w):
        return torch.tanh(w @ embedding(rows, table).mT).relu().square().mean()

    v = hyper["momentum"] * now["v"] + torch.func.grad(loss)(now["w"]) + hyper["decay"] * now["w"]
    return {"w": now["w"] - hyper["lr"] * v, "v": v, "n": now["n"] + 1}


def in_place(now, rows, table):
    ahead = torch.zeros(4, 3, dtype=F64) + now["w"]
    ahead[1] = now["v"][0]
    ahead.mul_(2)
    return {"w": ahead, "v": now["v"].clone().sub_(now["n"]), "n": now["n"] + 1}


FUNCTIONS = {
    "what trades places": lambda now, rows, table: {"w": now["v"], "v": now["w"], "n": now["n"]},
    "what turns round": lambda now, rows, table: {"w": now["w"].flip(0), "v": now["v"].mT.reshape(4, 3), "n": now["n"]},
    "one result twice": lambda now, rows, table: {"w": now["w"] + now["v"], "v": now["w"] + now["v"], "n": now["n"]},
    "the old after the new": lambda now, rows, table: {
        "w": now["w"] * 0.5, "v": (now["w"] * 0.5).sin() + now["w"], "n": now["n"] + rows[0]},
    "the old read elsewhere": lambda now, rows, table: {
        "w": now["w"].flip(0) + now["w"], "v": now["v"][:1] + now["v"], "n": now["n"] * 2},
    "constants": lambda now, rows, table: {
        "w": torch.ones(4, 3, dtype=F64), "v": table[:4] * 2, "n": torch.tensor(7)},
    "what depends on the input alone": lambda now, rows, table: {
        "w": embedding(rows, table).sum() + now["w"], "v": embedding(rows[:1], table).expand(4, 3), "n": rows[1]},
    "several results": lambda now, rows, table: {
        "w": layer_norm(now["w"], (3,)) + now["v"].sort(0).values, "n": now["n"],
        "v": torch.var_mean(now["v"], 1, keepdim=True)[1] * now["w"]},
    "joined, cut, chosen": lambda now, rows, table: {
        "w": torch.cat([now["v"][2:], now["w"][:2]]), "v": torch.where(now["v"] > 0, now["v"], now["w"].cumsum(0)),
        "n": (now["n"] >> 1) ^ 5},
    "in place": in_place,
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_replayed_step_equals_the_function(name):
    now = replayed(FUNCTIONS[name], [tree(m) for m in range(MEMBERS)], INPUTS, [TABLE] * MEMBERS)
    assert isinstance(now, Running)


@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("private", [True, False])
def test_descent(private, decay):
    hyper = [{"lr": 0.1 * m, "momentum": 0.5 + 0.1 * m, "decay": decay * m} for m in range(MEMBERS)]
    tables = [TABLE + m for m in range(MEMBERS)] if private else [TABLE] * MEMBERS
    replayed(descent, [tree(m) for m in range(MEMBERS)], INPUTS * 5, tables, hyper)


UNARY = [torch.sin, torch.relu, torch.neg, lambda x: x.mT.contiguous().mT, lambda x: x.flip(0), lambda x: x * 0.5,
         lambda x: x.sum(0, keepdim=True).expand(4, 3), lambda x: torch.softmax(x, 1), lambda x: x - x.mean()]
BINARY = [torch.add, torch.sub, torch.mul, torch.maximum, lambda x, y: x + 0.1 * y, lambda x, y: x @ (y.mT @ x) / 9,
          lambda x, y: torch.where(x > y, x, 1.0), lambda x, y: x[:, :1] * y]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.data())
def test_memory_is_written_on_again_only_after_its_last_use(draw):
    calls = draw.draw(st.lists(st.tuples(st.sampled_from(UNARY + BINARY), st.integers(0, 99), st.integers(0, 99)),
                               min_size=1, max_size=12))
    chosen = draw.draw(st.tuples(st.integers(0, 99), st.integers(0, 99)))

    def function(now, rows):
        values = [now["w"], now["v"], embedding(rows, TABLE).sum(0) * torch.ones(4, 1, dtype=F64)]
        for call, i, j in calls:
            x, y = values[i % len(values)], values[j % len(values)]
            values.append(call(x) if call in UNARY else call(x, y))
        first, second = (values[-1 - k % len(values)] for k in chosen)
        return {"w": torch.tanh(first), "v": torch.tanh(second), "n": now["n"]}

    replayed(function, [tree(m) for m in range(MEMBERS)], INPUTS)


def test_the_first_state_is_left_alone_and_later_ones_are_overwritten():
    first = stack([tree(m) for m in range(MEMBERS)], "cpu", F64, share=False)
    before = [leaf.clone() for leaf in first.leaves]
    hyper = stack([{"lr": 0.1, "momentum": 0.9, "decay": 0.0}] * MEMBERS, "cpu", F64)
    rows, table, step = stack(INPUTS[0], "cpu", F64), stack([TABLE] * MEMBERS, "cpu", F64), vectorise_step(descent)
    second = step(first, rows, table, hyper)
    places, numbers = [leaf.data_ptr() for leaf in second.leaves], second.leaves[0].clone()
    third = step(second, rows, table, hyper)
    assert all(torch.equal(a, b) for a, b in zip(first.leaves, before, strict=True))
    assert [leaf.data_ptr() for leaf in third.leaves] == places and not torch.equal(third.leaves[0], numbers)


def test_new_constants_count_from_the_next_step_on():
    step = vectorise_step(lambda now, x, c: {"a": now["a"] + x * c})
    state = stack([{"a": 0.0}] * 2, "cpu", F64, share=False)
    ones = stack([1.0, 1.0], "cpu", F64, share=False)
    for constant in (2.0, 0.0, 3.0):
        fixed = stack([constant, constant + 1], "cpu", F64, share=False)
        for _ in range(2):
            state = step(state, ones, fixed)
    assert [t["a"].item() for t in unstack(state, 2)] == [10.0, 16.0]


def test_a_state_that_changes_its_type_is_stepped_nevertheless():
    step = vectorise_step(lambda now, x: {"a": now["a"] * x})
    state = stacked([torch.tensor([1, 2])], [0], stack([{"a": 0.0}], "cpu", F64).form.spec)
    for k in range(1, 4):
        state = step(state, stack([2.0, 3.0], "cpu", F64, share=False))
        assert state.leaves[0].tolist() == [2.0**k, 2 * 3.0**k]


def test_memory_does_not_grow_with_the_number_of_operations():
    def long(now, rows):
        x = now["w"]
        for k in range(1, 40):
            x = torch.sin(x) @ (x.mT @ x) / math.sqrt(k)
        return {"w": x}

    rows = stack([torch.arange(2)] * 2, "cpu", F64, share=False)
    state = stack([{"w": torch.randn(4, 3)}] * 2, "cpu", F64, share=False)
    replay = vectorise_step(long)(state, rows).replay
    memory = {call.keywords["out"].data_ptr() for call in replay._of_step if "out" in getattr(call, "keywords", {})}
    assert len(replay._of_step) > 100 and len(memory) < 10
