import math
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dlx.canonical import File, setting_digest, values
from dlx.coercion import exact
from dlx.errors import DeclarationError


@dataclass(frozen=True)
class Part:
    rate: float = 0.5
    size: int = 1
    rest: Any = None


SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text())
SETTINGS = st.recursive(SCALARS, lambda inner: st.one_of(
    st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3), st.builds(Part, rest=inner),
), max_leaves=8)


@given(SETTINGS, SETTINGS)
def test_digests_are_equal_exactly_when_settings_are(one, other):
    assert (setting_digest(one) == setting_digest(other)) == (shown(one) == shown(other))


def shown(value):
    """A setting as text, in which only what is the same setting reads the same."""
    if isinstance(value, Part):
        return f"Part({value.rate + 0.0!r}, {value.size}, {shown(value.rest)})"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{k!r}: {shown(value[k])}' for k in sorted(value))}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(shown, value))}]"
    return repr(value + 0.0) if type(value) is float else repr(value)


@given(st.floats(allow_nan=False))
def test_scalars_of_numpy_and_torch_are_the_numbers_they_are(x):
    same = [x, np.float64(x), np.array(x), torch.tensor(x, dtype=torch.float64)]
    assert len({setting_digest(Part(rate=v)) for v in same}) == 1


@given(st.integers(-(2**62), 2**62))
def test_integers_of_numpy_and_torch_are_the_numbers_they_are(n):
    same = [n, np.int64(n), np.array(n), torch.tensor(n)]
    assert len({setting_digest(Part(size=v)) for v in same}) == 1


def test_the_annotation_says_whether_a_number_is_whole():
    assert setting_digest(Part(rate=1)) == setting_digest(Part(rate=1.0))
    assert setting_digest(Part(size=2.0)) == setting_digest(Part(size=2))
    assert setting_digest(Part(rest=1)) != setting_digest(Part(rest=1.0))
    assert setting_digest(Part(rest=True)) != setting_digest(Part(rest=1))
    assert setting_digest(Part(rest="1")) != setting_digest(Part(rest=1))


def test_minus_zero_is_zero():
    assert setting_digest(Part(rate=-0.0)) == setting_digest(Part(rate=0.0))


def test_float32_scalars_are_exact():
    assert setting_digest(Part(rate=np.float32(0.1))) == setting_digest(Part(rate=float(np.float32(0.1))))
    assert exact(np.float32(0.1)) != 0.1


def test_lists_and_tuples_are_the_same_sequence():
    assert setting_digest(Part(rest=[1, 2])) == setting_digest(Part(rest=(1, 2)))


@pytest.mark.parametrize(("value", "said"), [
    (math.nan, "is NaN"),
    (np.float64("nan"), "is NaN"),
    (lambda x: x, "a function, whose meaning cannot be hashed"),
    (math.sqrt, "a function, whose meaning cannot be hashed"),
    (Part, r"a class; give an instance of it, as in Part\(\.\.\.\)"),
    ({1, 2}, "a set, which has no order; give a tuple"),
    (frozenset({1}), "a set, which has no order; give a tuple"),
    (Path("x"), "wrap it as dlx.File"),
    (1j, "a complex has no canonical form"),
    (np.zeros(3), "a ndarray has no canonical form"),
    ({1: "a"}, "has the key 1; keys of a dict must be strings"),
])
def test_what_cannot_be_hashed_is_refused_where_it_stands(value, said):
    with pytest.raises(DeclarationError, match=said) as refusal:
        setting_digest(Part(rest=({"deep": value},)), "template")
    assert str(refusal.value).startswith("template.rest[0].deep ")


def test_an_open_file_is_refused():
    with tempfile.TemporaryFile() as opened, pytest.raises(DeclarationError, match=r"template\.rest .*an open file"):
        setting_digest(Part(rest=opened), "template")


def test_a_file_counts_by_its_content(tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_bytes(b"words")
    other.write_bytes(b"words")
    assert setting_digest(File(str(one))) == setting_digest(File(str(other)))
    other.write_bytes(b"more words")
    assert setting_digest(File(str(one))) != setting_digest(File(str(other)))
    with pytest.raises(DeclarationError, match="absent is unreadable"):
        setting_digest(File(str(tmp_path / "absent")))


def test_values_are_flat():
    setting = Part(rest=(Part(size=2), {"a": (1, 2)}))
    assert values(setting) == {
        "trial": "Part", "rate": 0.5, "size": 1, "rest.0": "Part", "rest.0.rate": 0.5, "rest.0.size": 2,
        "rest.0.rest": None, "rest.1.a": [1, 2],
    }
