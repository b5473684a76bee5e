import pickle
import subprocess
import sys
from dataclasses import dataclass

import pytest

import dlx
from dlx.errors import DeclarationError
from dlx.pack import Resources
from dlx.trial import Trial


@dataclass(frozen=True)
class Fit(Trial):
    width: int = 1
    lr: float = 0.1

    def check(self):
        if self.width < 1:
            raise DeclarationError(f"width is {self.width}; it must be at least 1.")


def study(**declared):
    return dlx.Study(**{"name": "s", "question": "?", "template": Fit(), **declared})


TUNED = {
    "template": Fit(width=dlx.grid(1, 2), lr=dlx.loguniform(1e-4, 1)), "objective": dlx.minimize("val/loss"),
    "search": dlx.TPE(trials=4),
}


@pytest.mark.parametrize("name", ["optimizers-by-width", "Study 2.1", "a", "x_y", "9"])
def test_names_that_are_folders_everywhere(name):
    assert study(name=name).name == name


@pytest.mark.parametrize("name", [
    "", "a/b", "a\\b", "../up", ".hidden", "-x", "<b>bold</b>", "a&b", "a\nb", "a" * 101, "ü", "con:", "x ", "x.",
    None, 3,
])
def test_other_names_are_refused(name):
    with pytest.raises(DeclarationError, match="a study's name has letters, digits"):
        study(name=name)


@pytest.mark.parametrize(("seeds", "wanted"), [(3, (0, 1, 2)), ((5, 7), (5, 7)), (range(2, 4), (2, 3)), ([1], (1,))])
def test_seeds_are_a_number_or_a_list(seeds, wanted):
    assert study(seeds=seeds).seed_list == wanted


@pytest.mark.parametrize("seeds", [
    0, -1, (), (1, 1), (0.5,), True, (True,), (-1,), (10**9,), "12", None, dlx.grid(1, 2),
])
def test_other_seeds_are_refused(seeds):
    with pytest.raises(DeclarationError, match="give a number of seeds, or different whole numbers from 0"):
        study(seeds=seeds)


@pytest.mark.parametrize(("declared", "said"), [
    ({"pack": 0}, "pack is 0; it must be a whole number of at least 1"),
    ({"pack": "many"}, "pack is 'many'; it must be a whole number"),
    ({"pack": dlx.grid(1, 2)}, r"pack is grid\(1, 2\); it must be a whole number"),
    ({"retries": -1}, "retries is -1; it must be a whole number of at least 0"),
    ({"template": 3}, r"template is int; it must be a dlx\.Training"),
    ({"template": Fit(width=dlx.grid())}, r"template\.width is an empty grid"),
    ({"template": Fit(width="wide")}, r"template\.width is 'wide'; it must be an int"),
    ({"search": "tpe"}, r"search is 'tpe'; it must be a search, such as dlx\.TPE\(trials=16\)"),
    ({"search": dlx.TPE(trials=0)}, r"search\.trials is 0; it must be a whole number of at least 1"),
    ({"search": dlx.TPE(trials=2.5)}, r"search\.trials is 2\.5; it must be a whole number"),
    ({"search": dlx.TPE(trials=dlx.grid(4, 8))}, r"search\.trials is grid\(4, 8\); it must be a whole number"),
    ({"search": dlx.TPE(trials=4, startup=0)}, r"search\.startup is 0; it must be a whole number of at least 1"),
    ({"search": dlx.GP(trials=4, parallel=0)}, r"search\.parallel is 0"),
    ({"search": dlx.QMC(trials=4, repeats=0)}, r"search\.repeats is 0"),
    ({"objective": "val/loss"}, r"objective is 'val/loss'; write dlx\.minimize\('val/loss'\)"),
    ({"objective": dlx.minimize("")}, r"objective is minimize\(''\); name a metric, as in dlx\.minimize\('val/loss'\)"),
    ({"objective": dlx.maximize(3)}, r"objective is maximize\(3\); name a metric"),
    ({**TUNED, "search": None}, r"template\.lr must be tuned, but the study has no search; give search=dlx\.TPE"),
    ({**TUNED, "objective": None}, r"has no objective; give objective=dlx\.minimize"),
    ({**TUNED, "objective": None, "search": None}, r"has no objective and no search; give .* and .*, or a fixed value"),
    ({"resources": 2}, r"resources is 2; write dlx\.Resources\(cpus=2\), or a function of the trial"),
    ({"skip": 3}, r"skip is 3; it must be a function of the trial"),
    ({"presets": {"quick": 3}}, r"presets\['quick'\] is 3; it must be a dict of path → value"),
    ({"presets": 3}, r"presets is 3; it must be a dict of name → overrides"),
    ({"figures": 3}, r"figures is 3; it must be a list of functions of the results"),
    ({"question": None}, r"question is None; it must be a str"),
])
def test_a_study_that_cannot_be_run_is_refused(declared, said):
    with pytest.raises(DeclarationError, match=said):
        study(**declared)


def test_values_are_checked_once_resolved_and_not_before():
    declared = study(template=Fit(width=dlx.grid(1, -1)))
    with pytest.raises(DeclarationError, match=r"template: width is -1; it must be at least 1"):
        declared.space.check()


def test_without_nuisance_axes_a_cell_is_filed_under_its_setting():
    for cell in study(template=Fit(width=dlx.grid(1, 2))).space.cells:
        assert study(**{**TUNED, "template": Fit(width=dlx.grid(1, 2))}).cell_key(cell) == cell.key


def test_a_search_is_another_one_unless_only_its_budget_grew():
    declared = study(**TUNED)
    cell = declared.space.cells[0]

    def filed(**changes):
        return declared.with_(changes).cell_key(cell)

    name = declared.cell_key(cell)
    assert name == filed(**{"search.trials": 99, "search.repeats": 3, "search.top": 1, "search.recheck": 5})
    others = [
        {"search.parallel": 8}, {"search.startup": 8}, {"search": dlx.Random(trials=4)},
        {"objective": dlx.maximize("val/loss")}, {"objective": dlx.minimize("val/error")},
    ]
    assert len({name, *(filed(**changes) for changes in others)}) == 6


def test_presets_are_named_overrides():
    presets = {"quick": {"search.trials": 2, "template.width": 1}, "wrong": {"template.widht": 1}}
    declared = study(**TUNED, presets=presets)
    quick = declared.preset("quick")
    assert (quick.search.trials, quick.template.width, quick.presets) == (2, 1, presets)
    with pytest.raises(DeclarationError, match=r"The study s has no preset 'slow'; it has: quick, wrong\."):
        declared.preset("slow")
    with pytest.raises(DeclarationError, match=r"did you mean 'template\.width'"):
        declared.preset("wrong")


def test_resources_may_depend_on_the_trial():
    declared = study(resources=lambda t: Resources(cpus=t.width))
    assert declared.resources_of(Fit(width=3)) == Resources(cpus=3)
    assert study().resources_of(Fit()) == Resources()
    with pytest.raises(DeclarationError, match=r"resources= gave 3 for a trial; it must give dlx\.Resources"):
        study(resources=lambda t: t.width).resources_of(Fit(width=3))


def test_a_study_travels():
    declared = study(**TUNED)
    assert [c.key for c in pickle.loads(pickle.dumps(declared)).space.cells] == [c.key for c in declared.space.cells]


def test_keys_are_the_same_in_every_process():
    script = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from test_study import *\n"
        "s = study(**TUNED)\nprint([s.cell_key(c) for c in s.space.cells])"
    )
    folder = __file__.rpartition("/")[0]
    ran = [subprocess.run([sys.executable, "-c", script, folder], env={"PYTHONHASHSEED": seed}, text=True, check=True,
                          capture_output=True).stdout for seed in "12"]
    declared = study(**TUNED)
    assert ran == [f"{[declared.cell_key(c) for c in declared.space.cells]}\n"] * 2


def test_a_declaration_loads_no_engine():
    script = (
        "import sys, dlx; dlx.Study, dlx.Training, dlx.grid, dlx.TPE\n"
        "print({'torch', 'ray', 'optuna', 'mlflow'} & set(sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", script], text=True, check=True, capture_output=True)
    assert ran.stdout == "set()\n"
