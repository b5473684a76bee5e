from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pytest

from dlx.coercion import annotations, coerce
from dlx.errors import DeclarationError


@dataclass(frozen=True)
class Part:
    rate: float = 0.5


@dataclass(frozen=True)
class Shelf:
    example = "Part(rate=0.1)"


@dataclass(frozen=True)
class Whole:
    part: Shelf
    sizes: tuple[int, ...] = ()
    pair: tuple[int, float] = (1, 2.0)
    kind: Literal["a", "b"] = "a"
    maybe: int | None = None
    steps: Sequence[float] = ()
    more: dict[str, float] = field(default_factory=dict)
    few: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Unresolved:
    rate: float
    tensor: "NoSuchName"  # noqa: F821


@pytest.mark.parametrize(("name", "value", "said"), [
    ("part", Part(), r"place is Part\(\.\.\.\); it must be a Shelf, such as Part\(rate=0.1\)\."),
    ("part", 3, r"place is 3; it must be a Shelf"),
    ("sizes", (1, 2.5), r"place\[1\] is 2\.5; it must be an int"),
    ("sizes", "ab", r"place is 'ab'; it must be a tuple"),
    ("pair", (1, 2.0, 3), "place has 3 entries; it must have 2"),
    ("kind", "c", "place is 'c'; it must be one of 'a', 'b'"),
    ("maybe", 1.5, r"place is 1\.5; it must be an int"),
    ("maybe", True, "place is True; it must be an int"),
    ("steps", (0.1, "b"), r"place\[1\] is 'b'; it must be a float"),
    ("more", 5, "place is 5; it must be a dict"),
    ("more", {"a": "b"}, r"place\.a is 'b'; it must be a float"),
    ("sizes", {"a": 1}, "place is {'a': 1}; it must be a tuple"),
])
def test_a_value_of_the_wrong_kind_is_refused(name, value, said):
    with pytest.raises(DeclarationError, match=said):
        coerce(value, annotations(Whole)[name], "place")


@pytest.mark.parametrize(("name", "value", "becomes"), [
    ("sizes", [1.0, np.int64(2)], (1, 2)),
    ("pair", [np.int32(1), 2], (1, 2.0)),
    ("maybe", 3.0, 3),
    ("maybe", None, None),
    ("steps", [1, 2], (1.0, 2.0)),
    ("more", {"a": 1}, {"a": 1.0}),
    ("few", [1.0, 2.0], (1, 2)),
    ("few", None, None),
])
def test_a_value_becomes_what_its_annotation_says(name, value, becomes):
    coerced = coerce(value, annotations(Whole)[name], "place")
    assert coerced == becomes and repr(coerced) == repr(becomes)


def test_an_annotation_that_cannot_be_read_spoils_only_itself():
    assert annotations(Unresolved) == {"rate": float, "tensor": Any}
