import dataclasses
import json
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import dlx
from dlx.errors import DeclarationError
from dlx.markers import Choice, Grid
from dlx.space import Space
from dlx.trial import Trial, setting_digest


@dataclass(frozen=True)
class Pair:
    rate: float
    what: Any = None
    late: float = dlx.field(0.0, absent=0.0)


@dataclass(frozen=True)
class Tree(Trial):
    left: Any = 0
    right: Any = 0
    size: int = 1
    rate: float = 0.5
    watched: tuple[Any, ...] = dlx.field((), keyed=False)


@dataclass(frozen=True)
class SGD:
    lr: float
    momentum: float = 0.0

    def check(self):
        if self.lr <= 0:
            raise DeclarationError(f"lr is {self.lr}; it must be positive.")


@dataclass(frozen=True)
class Adam:
    lr: float
    beta: float = 0.9


def labels(space):
    return [space.labels(cell) for cell in space.cells]


def trials(space):
    return [space.trial(cell) for cell in space.cells]


# ---------------------------------------------------------------- any template, against a plain enumeration

SCALARS = st.one_of(st.integers(0, 2), st.sampled_from([0.0, 0.5]), st.sampled_from(["a", None]))
FLOATS = st.sampled_from([0.0, 0.5, 1.0])
RATES = st.one_of(FLOATS, st.builds(lambda v: dlx.grid(*v), st.lists(FLOATS, min_size=1, max_size=3, unique=True)))
PARTS = st.recursive(SCALARS, lambda inner: st.one_of(
    st.builds(Pair, rate=RATES, what=inner, late=RATES),
    st.builds(lambda options: dlx.grid(*options), st.lists(inner, min_size=1, max_size=3)),
    st.lists(inner, max_size=2).map(tuple),
    st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
), max_leaves=6)


@st.composite
def templates(draw):
    left = draw(PARTS)
    right = draw(st.one_of(PARTS, st.just(left), st.just((left, left))))
    rate = dlx.derived(lambda t: len(repr(t.left)), name="long") if draw(st.booleans()) else draw(RATES)
    return Tree(left=left, right=right, rate=rate)


def expanded(value, chosen):
    """Every way to choose one option of every grid, one object one choice: (value, what was chosen)."""
    if isinstance(value, Grid):
        options = [chosen[id(value)]] if id(value) in chosen else range(len(value.options))
        for i in options:
            yield from expanded(value.options[i], {**chosen, id(value): i})
    elif dataclasses.is_dataclass(value) and not isinstance(value, dlx.markers.Marker):
        names = [f.name for f in dataclasses.fields(value)]
        for values, after in expanded(tuple(getattr(value, n) for n in names), chosen):
            yield type(value)(**dict(zip(names, values, strict=True))), after
    elif isinstance(value, dict):
        for values, after in expanded(tuple(value.values()), chosen):
            yield dict(zip(value, values, strict=True)), after
    elif isinstance(value, tuple):
        ways = [((), chosen)]
        for part in value:
            ways = [((*done, v), after) for done, c in ways for v, after in expanded(part, c)]
        yield from ways
    else:
        yield value, chosen


def enumerated(template):
    for tree, _ in expanded(template, {}):
        yield replace(tree, rate=len(repr(tree.left))) if isinstance(tree.rate, dlx.markers.Derived) else tree


@given(templates())
def test_cells_are_all_combinations_and_their_keys_those_of_their_trials(template):
    wanted = Counter(setting_digest(t) for t in enumerated(template))
    if max(wanted.values()) > 1:
        with pytest.raises(DeclarationError, match="resolve to the same setting; remove one value"):
            _ = Space(template).cells
        return
    space = Space(template)
    assert Counter(cell.digest for cell in space.cells) == wanted
    for cell in space.cells:
        assert setting_digest(space.trial(cell)) == cell.digest == space.cells.digests[space.cells.index(cell)]


@given(templates(), st.integers(1, 5))
def test_skip_drops_just_the_cells_it_names(template, size):
    def skip(t):
        return len(repr(t)) % (size + 1) == 0

    try:
        every = Space(template).cells
    except DeclarationError:
        return
    kept = [cell for cell in every if not skip(Space(template).trial(cell))]
    if kept:
        assert [c.key for c in Space(template, skip).cells] == [c.key for c in kept]
    else:
        with pytest.raises(DeclarationError, match="skip= drops every cell"):
            _ = Space(template, skip).cells


# ---------------------------------------------------------------- grids


def test_without_a_grid_there_is_one_cell():
    space = Space(Tree())
    assert len(space.cells) == 1 and space.describe(space.cells[0]) == "the only cell"
    assert space.trial(space.cells[0]) == Tree()


def test_cells_come_in_declared_order_the_last_axis_fastest():
    space = Space(Tree(left=dlx.grid("a", "b"), size=dlx.grid(1, 2)))
    assert labels(space) == [
        {"left": "a", "size": 1}, {"left": "a", "size": 2}, {"left": "b", "size": 1}, {"left": "b", "size": 2},
    ]
    assert space.describe(space.cells[1]) == "left=a, size=2"
    assert [c.key for c in space.cells[1:3]] == [space.cells[1].key, space.cells[2].key]


def test_an_axis_inside_one_branch_exists_only_there():
    space = Space(Tree(left=dlx.grid(SGD(lr=0.1, momentum=dlx.grid(0.0, 0.9)), Adam(lr=0.01)), size=dlx.grid(1, 2)))
    assert len(space.cells) == 6
    assert labels(space)[-1] == {"left": "Adam", "size": 2}
    assert {"left": "SGD", "left[SGD].momentum": 0.9, "size": 1} in labels(space)


def test_one_marker_at_two_places_is_one_axis():
    width = dlx.grid(1, 2, 3)
    space = Space(Tree(left=width, size=width))
    assert [(t.left, t.size) for t in trials(space)] == [(1, 1), (2, 2), (3, 3)]
    assert labels(space)[0] == {"left": 1}


def test_equal_markers_are_two_axes():
    assert len(Space(Tree(left=dlx.grid(1, 2), size=dlx.grid(1, 2))).cells) == 4


def test_components_alike_are_told_apart_by_what_differs():
    space = Space(Tree(left=dlx.grid(SGD(lr=0.1), SGD(lr=0.1, momentum=0.9), Adam(lr=0.1))))
    assert [row["left"] for row in labels(space)] == ["SGD(momentum=0.0)", "SGD(momentum=0.9)", "Adam"]


@pytest.mark.parametrize("options", [(1, 1), (0.5, 0.5), (1, 1.0), (SGD(0.1), SGD(0.1, 0.0))])
def test_a_value_named_twice_is_refused(options):
    place = {"rate": dlx.grid(*options)} if isinstance(options[0], int | float) else {"left": dlx.grid(*options)}
    with pytest.raises(DeclarationError, match=r"The cells \(.+\) and \(.+\) resolve to the same setting"):
        _ = Space(Tree(**place)).cells


def test_a_cell_keeps_its_key_when_a_grid_grows():
    few, more = (Space(Tree(left=dlx.grid(*values), size=dlx.grid(1, 2))) for values in ("ab", "abc"))
    assert {c.key for c in few.cells} < {c.key for c in more.cells}


@pytest.mark.parametrize(("template", "said"), [
    (Tree(size=dlx.grid()), r"template\.size is an empty grid\(\); give it at least one value"),
    (Tree(left=Pair(rate=dlx.choice())), r"template\.left\.rate is an empty choice\(\)"),
    (Tree(size=dlx.grid(1, 2.5)), r"template\.size\[2\.5\] is 2\.5; it must be an int"),
    (Tree(size=dlx.grid(1, "wide")), r"template\.size\[wide\] is 'wide'; it must be an int"),
    (Tree(left=(Pair(rate=dlx.grid(0.1, lambda: 0)),)), r"template\.left\[0\]\.rate.* it must be a float"),
    (Tree(left=dlx.grid(1, lambda: 0)), r"template\.left.* a function, whose meaning cannot be hashed"),
    (Tree(size=dlx.uniform(1, 9)), r"template\.size is uniform\(1, 9\), but must be a whole number; write grid"),
    (Tree(size=dlx.loguniform(1, 9)), r"template\.size is loguniform\(1, 9\), but must be a whole number"),
    (Tree(watched=3), r"template\.watched is 3; it must be a tuple"),
    (Tree(watched=(dlx.grid(1, 2),)), r"template\.watched\[0\] is grid\(1, 2\), but is no part of the key"),
    (Tree(rate=dlx.loguniform(0.0, 1.0)), r"template\.rate: loguniform\(0\.0, 1\.0\) has a bound that is not positive"),
    (Tree(rate=dlx.loguniform(1.0, 0.1)), r"template\.rate: loguniform\(1\.0, 0\.1\) has its bounds reversed"),
    (Tree(left={1: 2}), r"template\.left has the key 1; keys of a dict must be strings"),
    (SGD(lr=0.1), r"template is SGD; it must be a dlx\.Training"),
    (Tree, r"template is type; it must be a dlx\.Training"),
])
def test_a_template_that_cannot_be_run_is_refused_at_its_place(template, said):
    with pytest.raises(DeclarationError, match=said):
        Space(template)


def test_components_check_themselves_once_resolved():
    space = Space(Tree(left=dlx.grid(SGD(lr=0.1), SGD(lr=-1.0))))
    with pytest.raises(DeclarationError, match=r"^template\.left: lr is -1\.0; it must be positive\.$"):
        space.check()


def test_skip_that_raises_names_the_cell():
    with pytest.raises(DeclarationError, match=r"skip= raised AttributeError: .* on the cell left=1; it is given"):
        _ = Space(Tree(left=dlx.grid(1, 2)), lambda t: t.wdith > 3).cells


@dataclass(frozen=True)
class Typed(Trial):
    widths: tuple[int, ...] | None = None
    pair: tuple[int, float] = (1, 1.0)
    rates: dict[str, float] | None = None
    parts: tuple[Pair, ...] = ()


def test_markers_stand_in_tuples_and_dicts_too():
    template = Typed(
        (dlx.grid(1, 2.0), 3), (dlx.grid(4, 5), 6), {"head": dlx.grid(1, 2), "body": 1}, (Pair(dlx.grid(0, 1)),)
    )
    space = Space(template)
    assert len(space.cells) == 16
    assert trials(space)[0] == Typed((1, 3), (4, 6.0), {"head": 1.0, "body": 1.0}, (Pair(0),))
    assert all(setting_digest(space.trial(c)) == c.digest for c in space.cells)
    assert [axis.name for axis in space.axes] == ["widths[0]", "pair[0]", "rates.head", "parts[0].rate"]


def test_a_whole_tuple_may_be_an_axis():
    space = Space(Typed(widths=dlx.grid((1, 2), [3], None), rates=dlx.choice({"a": 1}, {"a": dlx.uniform(0, 1)})))
    assert [space.labels(c)["widths"] for c in space.cells] == ["(1, 2)", "[3]", None]


def test_a_file_is_an_option_by_its_content(tmp_path):
    for name in ("one", "same", "other"):
        (tmp_path / name).write_text(name.replace("same", "one"))
    one, same, other = (dlx.File(str(tmp_path / name)) for name in ("one", "same", "other"))
    space = Space(Tree(left=dlx.grid(one, other)))
    assert [c.digest for c in space.cells] == [setting_digest(Tree(left=same)), setting_digest(Tree(left=other))]


@pytest.mark.parametrize(("template", "said"), [
    (Typed(widths=(1, dlx.grid(2, 2.5))), r"template\.widths\[1\]\[2\.5\] is 2\.5; it must be an int"),
    (Typed(widths=3), r"template\.widths is 3; it must be a tuple"),
    (Typed(pair=(1, 2.0, 3)), r"template\.pair has 3 entries; it must have 2"),
    (Typed(rates=(0.1,)), r"template\.rates is \(0\.1,\); it must be a dict"),
    (Typed(parts=(Pair(0.1), Adam(0.1))), r"template\.parts\[1\] is Adam\(\.\.\.\); it must be a Pair"),
])
def test_entries_of_the_wrong_kind_are_refused(template, said):
    with pytest.raises(DeclarationError, match=said):
        Space(template)


# ---------------------------------------------------------------- derived values


def test_a_derived_value_follows_from_its_trial_and_its_value_is_the_key():
    space = Space(Tree(size=dlx.grid(1, 2), rate=dlx.derived(lambda t: 1 / t.size, name="inverse")))
    assert [t.rate for t in trials(space)] == [1.0, 0.5]
    assert [c.digest for c in space.cells] == [setting_digest(Tree(size=1, rate=1.0)), setting_digest(Tree(size=2))]


def test_derived_values_see_those_declared_before_them():
    first, second = (dlx.derived(f, name="d") for f in (lambda t: t.size + 1, lambda t: t.left * 10))
    assert trials(Space(Tree(size=4, left=first, right=second)))[0].right == 50


def test_a_derived_value_may_equal_the_one_that_is_left_out():
    space = Space(Tree(left=Pair(rate=0.5, late=dlx.derived(lambda t: 0.0, name="none"))))
    assert space.cells[0].digest == setting_digest(Tree(left=Pair(rate=0.5)))


def test_a_derived_value_may_follow_from_a_tuned_one():
    space = Space(Tree(left=SGD(lr=dlx.loguniform(0.1, 1.0)), rate=dlx.derived(lambda t: t.left.lr, name="same")))
    assert space.trial(space.cells[0], {"left.lr": 0.3}).rate == 0.3


def test_a_derived_value_in_the_option_not_chosen_is_not_computed():
    option = Pair(rate=dlx.derived(lambda t: t.left.what * 2, name="double"), what=3)
    space = Space(Tree(left=dlx.choice(SGD(lr=0.1), option)))
    assert space.trial(space.cells[0], {"left": "SGD"}).left == SGD(lr=0.1)
    assert space.trial(space.cells[0], {"left": "Pair"}).left.rate == 6.0


@pytest.mark.parametrize(("function", "said"), [
    (lambda t: t.wdith, r"template\.rate: derived\(name='d'\) raised AttributeError"),
    (lambda t: "wide", r"template\.rate is 'wide'; it must be a float"),
])
def test_a_derived_value_that_fails_says_where(function, said):
    with pytest.raises(DeclarationError, match=said):
        _ = Space(Tree(rate=dlx.derived(function, name="d"))).cells


# ---------------------------------------------------------------- nuisance axes


def asked(space, cell, values):
    """The nuisance values of a cell when each choice and range is answered from ``values`` by name."""
    return space.ask(cell, lambda name, marker, labels: values[name])


def test_hyperparameters_of_the_same_name_under_different_optimizers_are_different():
    space = Space(Tree(left=dlx.grid(SGD(lr=dlx.loguniform(0.1, 1)), Adam(lr=dlx.loguniform(0.01, 1)))))
    values = {"left[SGD].lr": 0.5, "left[Adam].lr": 0.05}
    params = [asked(space, cell, values) for cell in space.cells]
    assert params == [{"left[SGD].lr": 0.5}, {"left[Adam].lr": 0.05}]
    assert [space.trial(c, p).left for c, p in zip(space.cells, params, strict=True)] == [SGD(0.5), Adam(0.05)]


def test_a_choice_asks_only_for_what_its_option_holds():
    choice = dlx.choice(SGD(lr=dlx.loguniform(0.1, 1)), Adam(lr=0.1, beta=dlx.uniform(0, 1)))
    space = Space(Tree(left=choice, size=dlx.grid(1, 2)))
    assert isinstance(choice, Choice) and len(space.cells) == 2 and all(map(space.is_tuned, space.cells))
    values = {"left": "Adam", "left[Adam].beta": 0.5}
    assert asked(space, space.cells[0], values) == values
    assert set(space.tuned_axes(space.cells[0])) == {"left", "left[SGD].lr", "left[Adam].beta"}


def test_a_tied_nuisance_marker_is_asked_for_once():
    lr = dlx.loguniform(0.1, 1)
    space = Space(Tree(left=SGD(lr=lr), right=Adam(lr=lr)))
    trial = space.trial(space.cells[0], asked(space, space.cells[0], {"left.lr": 0.5}))
    assert (trial.left.lr, trial.right.lr) == (0.5, 0.5)


def test_tying_makes_another_cell():
    tied = dlx.loguniform(0.1, 1)
    spaces = [Space(Tree(left=SGD(lr=a), right=Adam(lr=b)))
              for a, b in ((tied, tied), (dlx.loguniform(0.1, 1), dlx.loguniform(0.1, 1)))]
    assert len({s.cells[0].key for s in spaces}) == 2


def test_bounds_scale_and_options_make_other_cells():
    places = [dlx.loguniform(0.1, 1), dlx.uniform(0.1, 1), dlx.loguniform(0.1, 2), dlx.choice(0.1, 1.0), 0.1,
              dlx.choice(0.1, 2.0)]
    assert len({Space(Tree(rate=p)).cells[0].key for p in places}) == len(places)


def test_options_that_read_alike_stay_apart():
    space = Space(Tree(left=dlx.choice(1, "1")))
    got = []
    space.ask(space.cells[0], lambda name, marker, labels: got.extend(labels) or labels[0])
    assert len(got) == 2 and [space.trial(space.cells[0], {"left": label}).left for label in got] == [1, "1"]


def test_an_int_axis_stays_whole_and_params_survive_json():
    space = Space(Tree(size=dlx.randint(1, 5), rate=dlx.uniform(0, 1)))
    params = json.loads(json.dumps(asked(space, space.cells[0], {"size": 3, "rate": 1})))
    trial = space.trial(space.cells[0], params)
    assert type(trial.size) is int and type(trial.rate) is float
    assert setting_digest(trial) == setting_digest(Tree(size=3, rate=1.0))
