import pytest
import torch
from torch.utils._pytree import tree_leaves

from dlx.recording import record
from dlx.rewrite import first_pure, pure, simplify, without_zeros

F64 = torch.float64
SUM, PRODUCT, FUSED = "add.Tensor", "mul.Tensor", "addcmul.default"


def recorded(function, *arguments):
    """What is left of a function, and the names of its operations; its numbers are checked."""
    recording = record(lambda *leaves: tree_leaves(function(*leaves)), arguments)
    expected = recording(*arguments)
    simplify(recording)
    torch.testing.assert_close(recording(*arguments), expected, rtol=0, atol=1e-14)
    return recording, names(recording)


def names(recording):
    return [node.target.__name__ for node in recording.graph.nodes if node.op == "call_function"]


def normal(*shape):
    return torch.randn(shape, dtype=F64, generator=torch.Generator().manual_seed(sum(shape)))


A, B, C = normal(3, 4), normal(3, 4) + 1, normal(3, 4) + 2
MATRICES, BIAS = (normal(2, 3, 4), normal(2, 4, 5)), normal(2, 1, 5)


@pytest.mark.parametrize(("function", "left"), [
    (lambda a, b, c: a + b * c, [FUSED]), (lambda a, b, c: b * c + a, [FUSED]), (lambda a, b, c: a - b * c, [FUSED]),
    (lambda a, b, c: b * c - a, [PRODUCT, "sub.Tensor"]), (lambda a, b, c: a + b * 3, [SUM]),
    (lambda a, b, c: a * b + b * c, [PRODUCT, FUSED]), (lambda a, b, c: torch.add(a, b * c, alpha=2), [PRODUCT, SUM]),
    (lambda a, b, c: a + (b > 0) * c, ["gt.Scalar", PRODUCT, SUM]),
    (lambda a, b, c: a.float() + b.float() * c, ["_to_copy.default", "_to_copy.default", PRODUCT, SUM]),
    (lambda a, b, c: (a * 1.0, b.view(3, 4), c.expand(3, 4), a.mT.mT * 2), [PRODUCT]),
    (lambda a, b, c: (a.view(4, 3), b[:1].expand(3, 4)), ["view.default", "slice.Tensor", "expand.default"]),
    (lambda a, b, c: a.exp() + a.exp().sin() + (a * b).exp(),
     ["exp.default", "sin.default", SUM, PRODUCT, "exp.default", SUM]),
    (lambda a, b, c: torch.ones_like(a.exp()) * b, ["full.default", PRODUCT]),
])
def test_numbers_stay_and_operations_are_fewer(function, left):
    _, found = recorded(function, A, B, C)
    assert sorted(found) == sorted(left)


def test_what_another_needs_too_is_not_absorbed():
    _, found = recorded(lambda a, b, c: (a + b * c, b * c), A, B, C)
    assert sorted(found) == [SUM, PRODUCT]


def test_an_integer_stays_an_integer():
    recording, _ = recorded(lambda k: (k * 1, k * 1.0, k + k * k), torch.arange(3))
    assert [result.dtype for result in recording(torch.arange(3))] == [torch.int64, torch.float32, torch.int64]


@pytest.mark.parametrize("bias", [BIAS, BIAS[0, 0], normal(2, 3, 5)])
def test_a_sum_with_a_product_of_matrices_is_one_operation(bias):
    assert recorded(lambda a, b, c: c + a @ b, *MATRICES, bias)[1].count("baddbmm.default") == 1
    assert "baddbmm.default" not in recorded(lambda a, b, c: c + (a @ b)[:1], *MATRICES, BIAS)[1]


def test_the_gradient_of_gather_is_scattered_onto_the_rest():
    rows = torch.tensor([[0], [3], [1]])

    def loss(z):
        return (z.logsumexp(1, keepdim=True) - z.gather(1, rows)).sum()

    _, found = recorded(torch.func.grad(loss), A)
    assert found.count("scatter_add.default") == 1 and SUM not in found


def test_the_first_pure_recording_is_taken():
    def impure():
        return [torch.zeros(2).add_(1)]

    functional = torch.func.functionalize(impure)
    assert not pure(record(impure, []))
    found = first_pure([impure, functional], [])
    assert pure(found) and found()[0].tolist() == [1, 1]
    with pytest.raises(TypeError, match="in place"):
        first_pure([impure], [])


def test_what_hindered_the_first_recording_is_raised():
    def hindered(why):
        def function():
            raise ValueError(why)
        return function

    with pytest.raises(ValueError, match="first"):
        first_pure([hindered("first"), hindered("second")], [])


def test_products_with_zeros_are_left_out_where_shapes_agree():
    def function(a, b, c, s):
        return a + s.view(3, 1) * b, a[:, :1] + s.view(3, 1) * c, s * 2

    zero = torch.zeros(3, dtype=F64)
    recording, found = recorded(function, A, B, C, zero)
    fewer = without_zeros(recording, (False, False, False, True))
    assert found.count(FUSED) == 2 and names(fewer).count(FUSED) == 1
    torch.testing.assert_close(fewer(A, B, C, zero), list(function(A, B, C, zero)), rtol=0, atol=0)
    assert names(without_zeros(recording, (True, False, False, False))) == found
