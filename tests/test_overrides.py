from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

import dlx
from dlx import overrides
from dlx.errors import DeclarationError
from dlx.markers import Choice, Grid, LogUniform, RandInt, Uniform
from dlx.overrides import parse
from dlx.trial import Trial


@dataclass(frozen=True)
class SGD:
    lr: float
    momentum: float = 0.0


@dataclass(frozen=True)
class Adam:
    lr: float


@dataclass(frozen=True)
class Fit(Trial):
    width: int
    optimizer: SGD | Adam = SGD(0.1)
    widths: tuple[int, ...] = (1, 2)
    rates: dict[str, float] | None = None
    other: int = 0


@dataclass(frozen=True)
class Pair(Trial):
    first: SGD | Adam
    second: SGD | Adam


def study(**template):
    declared = {"width": dlx.grid(1, 2), **template}
    return dlx.Study(
        name="s", question="?", template=Fit(**declared), objective=dlx.minimize("loss"), search=dlx.TPE(trials=4),
        presets={"quick": {"search.trials": 2, "template.width": 1}},
    )


BOTH = dlx.grid(SGD(lr=dlx.loguniform(1e-3, 1), momentum=0.9), Adam(lr=dlx.loguniform(1e-4, 1)))


@pytest.mark.parametrize(("template", "path", "value"), [
    ({}, "template.width", 3),
    ({}, "template.optimizer.lr", 0.5),
    ({}, "template.widths[1]", 7),
    ({"rates": {"head": 0.1, "body": 0.2}}, "template.rates.head", 0.5),
    ({"optimizer": BOTH}, "template.optimizer[SGD].lr", 0.5),
    ({"optimizer": BOTH}, "template.optimizer[SGD].momentum", 0.5),
    ({"optimizer": dlx.grid(SGD(0.1), SGD(0.1, 0.9))}, "template.optimizer[SGD(momentum=0.9)].lr", 0.5),
    ({}, "search.trials", 9),
    ({}, "seeds", 3),
    ({}, "template", Fit(3)),
])
def test_what_a_path_names_is_replaced_and_nothing_else(template, path, value):
    before = study(**template)
    after = before.with_({path: value})
    places, old = dict(overrides.places(after)), dict(overrides.places(before))
    changed = {p for p in places if p in old and places[p] is not old[p] and places[p] != old[p]}
    assert value in places.values() and dict(overrides.places(before)) == old
    assert all(path.startswith(p) or p.startswith(path) for p in changed if not isinstance(old[p], Grid))


def test_untouched_markers_stay_the_axes_they_were():
    width = dlx.grid(1, 2)
    after = study(width=width, other=width).with_({"template.optimizer.lr": 0.5})
    assert after.template.width is after.template.other is width and len(after.space.cells) == 2


def test_a_tied_marker_changes_at_all_its_places():
    width = dlx.grid(1, 2)
    after = study(width=width, other=width).with_({"template.other": dlx.grid(3, 4, 5)})
    assert [(t.width, t.other) for t in map(after.space.trial, after.space.cells)] == [(3, 3), (4, 4), (5, 5)]


@pytest.mark.parametrize("path", ["first[SGD].momentum", "second[SGD].momentum", "first[SGD].lr", "second[SGD].lr"])
def test_a_tied_grid_stays_one_axis_when_something_in_it_changes(path):
    rule = dlx.grid(SGD(lr=dlx.grid(0.1, 0.2), momentum=0.5), Adam(0.3))
    before = dlx.Study(name="s", question="?", template=Pair(rule, rule))
    after = before.with_({f"template.{path}": dlx.grid(0.7, 0.8)})
    trials = [after.space.trial(c) for c in after.space.cells]
    assert after.template.first is after.template.second is not rule
    assert all(t.first == t.second for t in trials) and len(trials) == (5 if path.endswith("momentum") else 3)


def test_changes_are_made_one_after_another_and_the_study_is_left_as_it_was():
    before = study()
    after = before.with_({"template.optimizer": Adam(0.2), "template.optimizer.lr": 0.3, "template.widths": [3]})
    assert (after.template.optimizer, after.template.widths) == (Adam(0.3), (3,))
    assert (before.template.optimizer, before.template.widths) == (SGD(0.1), (1, 2))


@pytest.mark.parametrize(("path", "said"), [
    ("template.widht", r"Nothing in the study is called 'template\.widht'; did you mean 'template\.width'\?"),
    ("template.optimizer.lrr", r"did you mean 'template\.optimizer\.lr'\?"),
    ("width", r"did you mean 'template\.width'\?"),
    ("serach.trials", r"did you mean 'search\.trials'\?"),
    ("qqqqqqqqqqqqqqqq", r"paths begin with .*template"),
    ("", r"Nothing in the study is called ''"),
    ("presets.quick", "Nothing in the study is called"),
])
def test_an_unknown_path_is_refused_with_the_nearest(path, said):
    with pytest.raises(DeclarationError, match=said):
        study().with_({path: 1})


def test_an_override_is_checked_like_a_declaration():
    with pytest.raises(DeclarationError, match=r"template\.width is 'wide'; it must be an int"):
        study().with_({"template.width": "wide"})
    with pytest.raises(DeclarationError, match=r"search\.trials is 0"):
        study().with_({"search.trials": 0})


# ---------------------------------------------------------------- on the command line


@pytest.mark.parametrize(("text", "path", "value"), [
    ("a.b=32", "a.b", 32),
    ("a.b = 0.5", "a.b", 0.5),
    ("a=-1e-3", "a", -1e-3),
    ("a=relu", "a", "relu"),
    ("a='two words'", "a", "two words"),
    ("a=None", "a", None),
    ("a=True", "a", True),
    ("a=(1, 2)", "a", (1, 2)),
    ("a=[1, 2]", "a", [1, 2]),
    ("a={'x': 1}", "a", {"x": 1}),
    ("a=sgd-fast", "a", "sgd-fast"),
    ("a[SGD(momentum=0.9)].lr=0.1", "a[SGD(momentum=0.9)].lr", 0.1),
    ("a[SGD].x=b", "a[SGD].x", "b"),
])
def test_literals_are_read(text, path, value):
    assert parse(text) == (path, value)


@pytest.mark.parametrize(("text", "kind", "reads"), [
    ("template.optimizer[SGD].lr=loguniform(1e-4,1)", LogUniform, "loguniform(0.0001, 1)"),
    ("a=uniform(0, 0.9)", Uniform, "uniform(0, 0.9)"),
    ("a=randint(1, 9)", RandInt, "randint(1, 9)"),
    ("a=choice(relu, 'gelu')", Choice, "choice('relu', 'gelu')"),
    ("a=grid(1, 2)", Grid, "grid(1, 2)"),
    ("a=32,64", Grid, "grid(32, 64)"),
    ("a=relu, gelu", Grid, "grid('relu', 'gelu')"),
    ("a=0.1,loguniform(1, 2)", Grid, "grid(0.1, loguniform(1, 2))"),
    ("a=(1,2),(3,)", Grid, "grid((1, 2), (3,))"),
])
def test_markers_are_read(text, kind, reads):
    value = parse(text)[1]
    assert type(value) is kind and repr(value) == reads


@pytest.mark.parametrize("text", [
    "a=__import__('os').system('x')", "a=open('/etc/passwd')", "a=(lambda: 1)()", "a=[x for x in (1, 2)]",
    "a=1; import os", "a=grid.__class__", "a=f'{1}'", "a=grid(*range(3))", "a=loguniform(low=1, high=2)",
    "a=loguniform(1)", "a=1 if True else 2", "a=1) or (2", "a=" + "(" * 500,
])
def test_code_is_refused(text):
    with pytest.raises(DeclarationError, match=r"--set a: .* is neither a literal nor a marker; write 0\.1, 32,64"):
        parse(text)


@pytest.mark.parametrize("text", ["a", "a=", "=3", "", "a[SGD=3]"])
def test_what_is_no_assignment_is_refused(text):
    with pytest.raises(DeclarationError, match=r"is not path=value; write, say, --set 'template\.model\.width=32,64'"):
        parse(text)


@given(st.text(max_size=30))
def test_any_text_is_read_or_refused_in_one_sentence(text):
    try:
        path, _ = parse(text)
    except DeclarationError as e:
        assert str(e).endswith(".")
    else:
        assert path
