"""A declaration is the study without its file: JSON and back, in a home, and results that need nothing else."""

import json
import shutil

import hypothesis.strategies as st
import pytest
from hypothesis import given
from toys import Valley, go, tuned, valley

import dlx
from dlx import claims, figures
from dlx.declaration import Declaration, claim_digest, decode, encode, variants
from dlx.errors import DeclarationError, DlxError
from dlx.results import Results
from dlx.store import Store

LOWER = claims.Lower("test/loss", {"width": 2}, than={"width": 1})
CURVES = figures.Curves(x="width", y="test/loss", points=figures.Points("theory", {1: 0.5, 2.5: 0.25}))


def test_a_copy_of_a_home_is_as_good_as_the_study(tmp_path):
    study = tuned(claims=[LOWER], figures=[CURVES, lambda results: None], presets={"quick": {"seeds": 3}})
    here = go(study, tmp_path / "home")
    shutil.copytree(tmp_path / "home", tmp_path / "copy")
    stored = Declaration.stored(Store(study.name, str(tmp_path / "copy")))
    assert stored == dlx.study.dataclasses.replace(here.declaration, figures=(CURVES,))
    assert stored.grid.equals(here.grid) and stored.origin["dlx"] and stored.nuisance["lr"].high == 1.0
    there = Results.of(stored, str(tmp_path / "copy"))
    assert there.table.equals(here.table) and there.cells().equals(here.cells())
    assert there.verdicts() == here.verdicts() and str(there) == str(here) and there.missing == 0
    with pytest.raises(DlxError, match="file of the study valley is not here"):
        there.load_model(here.table["key"][0].as_py())


def test_variants_stand_apart(tmp_path):
    study = valley(presets={"quick": {"seeds": 1}, "a/b ü": {"seeds": 1}})
    assert (study.variant, study.preset("quick").variant) == ("full", "quick")
    assert study.preset("quick").with_({"seeds": 5}).variant == "custom"
    for one in (study, study.preset("quick"), study.preset("a/b ü")):
        go(one, tmp_path)
    store = Store(study.name, str(tmp_path))
    assert variants(store) == ["full", "a/b ü", "quick"]
    assert len(Declaration.stored(store, "quick").seeds) == 1 and len(Declaration.stored(store).seeds) == 2
    assert Declaration.stored(store, "none") is None


def test_where_a_run_came_from_stays_when_nothing_runs(tmp_path):
    go(valley(), tmp_path)
    file = tmp_path / "studies" / "valley" / "declaration.json"
    before = json.loads(file.read_text())
    before["origin"]["host"] = "elsewhere"
    file.write_text(json.dumps(before))
    go(valley(), tmp_path)
    assert json.loads(file.read_text())["origin"]["host"] == "elsewhere"
    go(valley(seeds=3), tmp_path)
    assert json.loads(file.read_text())["origin"]["host"] != "elsewhere"


@pytest.mark.parametrize("text", ["{}", "[1]", '{"name": "valley"}', '{"class": "Popen", "args": "id"}', "\x00"])
def test_what_is_no_declaration_is_none(tmp_path, text):
    go(valley(), tmp_path)
    (tmp_path / "studies" / "valley" / "declaration.json").write_text(text)
    store = Store("valley", str(tmp_path))
    assert Declaration.stored(store) is None and len(store.damaged) == 1
    go(valley(), tmp_path)
    assert Declaration.stored(Store("valley", str(tmp_path))) is not None


@pytest.mark.parametrize("name", ["Popen", "draw", "check_all"])
def test_only_components_of_the_shelves_are_read(name):
    with pytest.raises(KeyError, match=f"no shelf has a {name}"):
        decode({"class": name, "functions": [], "results": None, "folder": "elsewhere"})


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3).map(tuple)
    | st.dictionaries(st.text().filter(lambda name: name != "class"), inner, max_size=3),
    max_leaves=8,
)


@given(VALUES)
def test_values_survive_json(value):
    assert decode(json.loads(json.dumps(encode(value)))) == value


def test_a_claim_is_known_by_all_that_it_says():
    other = claims.Lower("test/loss", {"width": 2}, than={"width": 1}, by=0.1)
    assert claim_digest(LOWER) == claim_digest(claims.Lower("test/loss", {"width": 2}, than={"width": 1}))
    assert claim_digest(LOWER) != claim_digest(other)


def test_an_axis_that_is_called_like_a_column_keeps_its_values(tmp_path):
    study = dlx.Study(name="s", question="?", template=Valley(width=1, lr=0.1, optimizer=dlx.grid("a", "b")), seeds=1)
    assert Declaration.of(study).grid.column_names == ["cell", "tuned", "finals", "optimizer"]


def test_looks_are_numbers_of_seeds():
    with pytest.raises(DeclarationError, match="looks is"):
        valley(looks=[5, 3])
    with pytest.raises(DeclarationError, match="looks is 5; give numbers of seeds"):
        valley(looks=5)
