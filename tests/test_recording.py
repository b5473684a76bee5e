import subprocess
import sys

import pytest
import torch
from torch.func import functionalize, grad, vmap
from torch.fx.experimental.proxy_tensor import make_fx

from dlx.recording import meta, record

A, B = torch.linspace(-1, 1, 12).view(3, 4), torch.linspace(0, 2, 12).view(3, 4)
SHIFT = torch.arange(4.0)


def operations(recording):
    return [node.target for node in recording.graph.nodes if node.op == "call_function"]


def several(a, b):
    most, where = a.max(dim=0)
    first, second = (a * b).split(2)
    return [most, where, first + second.exp()]


def in_place(a, b):
    return [a.clone().mul_(b).relu_()]


FUNCTIONS = {
    "plain": lambda a, b: [a.mT @ b, (a + SHIFT).sin()],
    "several results of one operation": several,
    "in place": in_place,
    "in place, undone": functionalize(in_place),
    "vectorised": vmap(lambda a, b: [torch.nn.functional.softmax(a, 0) * b, a.mean() - b]),
    "gradient": vmap(lambda a, b: [grad(lambda a: ((a * b).tanh() + SHIFT).square().sum())(a)]),
    "gradient of a gradient": vmap(lambda a, b: [grad(lambda a: grad(lambda a: (a ** 3 * b).sum())(a).sum())(a)]),
    "an argument itself": lambda a, b: [b, a, SHIFT],
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_operations_are_those_of_make_fx(name):
    recording, usual = record(FUNCTIONS[name], [A, B]), make_fx(FUNCTIONS[name])(A, B)
    usual.graph.eliminate_dead_code()
    assert operations(recording) == operations(usual)
    for a, b in ((A, B), (B + 1, A)):
        assert all(map(torch.equal, recording(a, b), FUNCTIONS[name](a, b)))


def test_shapes_types_and_devices_are_known():
    recording = record(several, [A, B])
    known = [meta(node) for node in recording.graph.nodes if node.op == "call_function"]
    assert [m and (tuple(m.shape), m.dtype, m.device.type) for m in known][:3] == [
        None, ((4,), torch.float32, "cpu"), ((4,), torch.int64, "cpu")]
    assert meta(3) is None


@pytest.mark.parametrize("number", [lambda a: a.sum(), lambda a: torch.rand(1), lambda a: torch.zeros(1) + a[0, 0]])
def test_numbers_that_are_computed_or_drawn_are_not_looked_at(number):
    with pytest.raises(RuntimeError, match="looks at numbers"):
        record(lambda a, b: [a if number(a) > 0 else b], [A, B])


def test_a_tensor_that_is_given_twice_is_two_arguments():
    assert torch.equal(record(lambda a, b: [a - b], [A, A])(A, B)[0], A - B)
    assert torch.equal(record(lambda a: [a - A], [A])(B)[0], B - A)


def test_numbers_of_what_stays_may_be_looked_at():
    recording = record(lambda a, b: [a * int(SHIFT.sum()), torch.arange(3).max().item() + b], [A, B])
    assert torch.equal(recording(B, A)[0], 6 * B) and torch.equal(recording(B, A)[1], A + 2)


def test_a_tensor_that_is_no_argument_stays_what_it_is():
    shift = SHIFT.clone()
    recording = record(lambda a: [a + shift, a - shift], [A])
    assert [node.target for node in recording.graph.nodes if node.op == "get_attr"] == ["kept_0"]
    assert recording.kept_0 is shift


TRAINED = """
import sys
from dlx import Training, data, models, optim
from dlx.context import Context
trials = [Training(data.MNIST1D(n=40, test_samples=10), models.MLP(width=4, depth=1, norm="batch"), optim.SGD(lr), 2, 8)
          for lr in (0.1, 0.2)]
results = Training.run_pack(trials, [Context(0), Context(1)])
assert all(isinstance(result, dict) for result in results), results
loaded = [name for name in ("torch._dynamo", "torch._inductor", "sympy") if name in sys.modules]
assert not loaded, loaded
import torch
assert torch._dynamo.compiled_autograd.__name__ == "torch._dynamo.compiled_autograd"
from dlx.recording import _compiler_away
del torch._dynamo
with _compiler_away():
    from torch import _dynamo as held
assert held.compiled_autograd.compiled_autograd_enabled is False
"""


def test_the_compiler_is_not_loaded_and_can_be_later():
    subprocess.run([sys.executable, "-c", TRAINED], check=True, timeout=120)
