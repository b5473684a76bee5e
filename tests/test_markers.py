import math

import numpy as np
import pytest
import torch

import dlx
from dlx.errors import DeclarationError
from dlx.markers import Choice, Derived, Grid, LogUniform, RandInt, Uniform


@pytest.mark.parametrize(("marker", "kind", "reads"), [
    (dlx.grid(1, "a", None), Grid, "grid(1, 'a', None)"),
    (dlx.choice(1, 2), Choice, "choice(1, 2)"),
    (dlx.uniform(0, 0.9), Uniform, "uniform(0, 0.9)"),
    (dlx.loguniform(1e-4, 1), LogUniform, "loguniform(0.0001, 1)"),
    (dlx.randint(1, 5), RandInt, "randint(1, 5)"),
    (dlx.derived(len, name="size"), Derived, "derived(size)"),
])
def test_markers_read_as_they_are_written(marker, kind, reads):
    assert type(marker) is kind and repr(marker) == reads
    marker.check("here")


def test_equality_is_identity():
    one = dlx.grid(1, 2)
    assert one == one and one != dlx.grid(1, 2)


def test_scalars_of_numpy_and_torch_become_numbers():
    assert repr(dlx.grid(np.int64(1), torch.tensor(2.0))) == "grid(1, 2.0)"
    assert repr(dlx.loguniform(np.float64(0.5), np.int32(1))) == "loguniform(0.5, 1)"


@pytest.mark.parametrize(("marker", "said"), [
    (dlx.grid(), r"here is an empty grid\(\); give it at least one value"),
    (dlx.choice(), r"here is an empty choice\(\); give it at least one value"),
    (dlx.choice(0.1, 0.1), r"here: choice\(0\.1, 0\.1\) has an option twice; give each once"),
    (dlx.uniform(1, 0), r"here: uniform\(1, 0\) has its bounds reversed; write uniform\(low, high\) with low < high"),
    (dlx.uniform(1, 1), "low < high"),
    (dlx.loguniform(1, 0.1), r"here: loguniform\(1, 0\.1\) has its bounds reversed"),
    (dlx.loguniform(0, 1), "a bound that is not positive; a log scale needs low > 0"),
    (dlx.loguniform(-1, 1), "a bound that is not positive"),
    (dlx.randint(5, 1), "bounds reversed"),
    (dlx.randint(0.5, 3), r"randint\(0\.5, 3\) must have whole bounds"),
    (dlx.uniform(0, math.inf), "the bound inf; bounds must be finite numbers"),
    (dlx.uniform(math.nan, 1), "the bound nan; bounds must be finite numbers"),
    (dlx.uniform("a", 1), "the bound 'a'; bounds must be finite numbers"),
    (dlx.uniform(False, 1), "the bound False; bounds must be finite numbers"),
    (dlx.derived(3, name="x"), "here: derived takes a function of the trial and name='…'"),
    (dlx.derived(len, name=""), "here: derived takes a function of the trial and name='…'"),
])
def test_markers_that_stand_for_nothing_are_refused(marker, said):
    with pytest.raises(DeclarationError, match=said):
        marker.check("here")
