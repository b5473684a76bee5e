"""Notebooks show the numbers of the text forms as HTML, foreign text as text; the tour runs and says what it said."""

import re
from dataclasses import dataclass, replace
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
from nbclient import NotebookClient
from toys import Valley, go, tuned, valley

import dlx
from dlx import data, models, notebook, optim

TOUR = Path(__file__).parents[1] / "studies/tour.ipynb"
EVIL = "</td><script>alert('x')</script><img src=x onerror=alert(1)> & \x1b[31m$x$"
PATHS = re.compile(r"(?<![\w.:/<])/[A-Za-z][\w.-]*/[\w./-]+")


class Page(HTMLParser):
    """The tags of a piece of HTML, which must be balanced, and its text."""

    VOID = ("br",)

    def __init__(self, text):
        super().__init__()
        self.tags, self.words, self._open = [], [], []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        assert not any(name.startswith("on") for name, _ in attrs)
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return "".join(self.words)


def verdict(**changes):
    return SimpleNamespace(**{"outcome": "supported", "claim": "a is lower than b", "reasons": (), **changes})


class Line(SimpleNamespace):
    """A verdict whose text form is given."""

    def __str__(self):
        return self.line


def cells(text):
    """What stands in the table of a text form, word by word."""
    return [word for line in text.splitlines() if "─" not in line for word in line.split()]


def test_a_study_shows_its_axes_and_how_much_it_wants(tmp_path):
    study = tuned()
    text = Page(notebook.study_html(study)).text
    assert "Where is the floor?" in text
    assert "width = grid(1, 2)  scientific" in text and "lr = loguniform(0.0001, 1.0)  nuisance" in text
    assert f"at most {study.plan(str(tmp_path)).wanted:,} trials" in text
    assert "optimizer" not in text  # it is as by default


@pytest.mark.parametrize("search", [
    dlx.TPE(trials=4), dlx.TPE(trials=1, repeats=2), dlx.TPE(trials=9, repeats=3, top=1), dlx.TPE(trials=5, recheck=0),
])
def test_what_is_wanted_is_what_the_plan_says(search, tmp_path):
    study = tuned(search=search, seeds=3)
    assert f"at most {study.plan(str(tmp_path)).wanted:,} trials" in Page(notebook.study_html(study)).text
    untuned = valley(seeds=3)
    assert "4 cells, 3 seeds: 12 trials" in Page(notebook.study_html(untuned)).text


def test_axes_inside_options_stand_below_them():
    training = dlx.Training(
        data=data.MNIST1D(), model=models.MLP(width=dlx.grid(8, 16), depth=2), steps=10,
        optimizer=dlx.grid(optim.SGD(lr=dlx.loguniform(0.1, 1.0)), optim.Adam(lr=0.1)), batch_size=dlx.choice(10, 20),
    )
    study = dlx.Study(name="deep", question="?", template=training, objective=dlx.minimize("val/loss"),
                      search=dlx.Random(trials=2))
    lines = Page(notebook.study_html(study)).text.splitlines()
    place = next(i for i, line in enumerate(lines) if line == "  optimizer = grid of 2  scientific")
    assert lines[place + 1 : place + 4] == ["    SGD", "      lr = loguniform(0.1, 1.0)  nuisance", "    Adam(lr=0.1)"]
    assert lines[-1].startswith("  batch_size = choice(10, 20)  nuisance")
    assert "4 cells, 1 search of 2 asks in 4 of them, 1 seed" in lines[-1]


def test_long_templates_and_values_are_cut():
    @dataclass(frozen=True)
    class Many(dlx.Trial):
        text: str
        options: object

        def run(self, ctx):
            return {}

    options = dlx.grid(*(Many("x", dlx.grid(i, i + 0.5)) for i in range(100)))
    text = Page(notebook.study_html(dlx.Study("many", "?", Many("y" * 500, options)))).text
    assert "y" * 90 in text and "y" * 110 not in text
    assert "more lines" in text and len(text.splitlines()) < 70


def test_a_plan_shows_its_text(tmp_path):
    plan = tuned().plan(str(tmp_path))
    assert Page(notebook.plan_html(plan)).text == str(plan)


def test_results_show_the_numbers_of_their_text(tmp_path):
    results = go(tuned(), tmp_path / "home")
    page = Page(notebook.results_html(results))
    assert "Where is the floor?" in page.text
    assert page.tags.count("tr") == 1 + len(results.grid)
    shown = " ".join(page.text.split())
    for word in cells(repr(results)):
        assert word in shown


def test_results_without_a_trial_say_so(tmp_path):
    page = Page(notebook.results_html(valley().results(str(tmp_path))))
    assert "nothing stored yet" in page.text


def test_long_results_are_cut_with_a_note(tmp_path):
    study = valley(template=Valley(width=dlx.grid(*range(1, 81)), lr=0.1), seeds=1)
    page = Page(notebook.results_html(go(study, tmp_path / "home")))
    assert page.tags.count("tr") == 51 and "30 more cells" in page.text


def test_verdicts_show_outcome_claim_estimate_and_reasons():
    shown = Line(outcome="undecided", claim="a is lower than b", reasons=("3 of 9 trials are missing.", "Run more."),
                 line="undecided    a is lower than b: a − b −0.1 [−0.3, 0.1] — 3 of 9 trials are missing.")
    page = Page(notebook.verdicts_html([shown]))
    assert page.text.count("a is lower than b") == 1 and "a − b −0.1 [−0.3, 0.1]" in page.text
    assert page.text.count("3 of 9 trials are missing.") == page.text.count("Run more.") == 1
    colours = [notebook.verdicts_html([verdict(outcome=o)]) for o in ("supported", "refuted", "undecided")]
    assert len(set(re.findall(r"color:(#\w+)", "".join(colours)))) == 3


def test_no_claims_and_many_claims():
    assert "no claims" in Page(notebook.verdicts_html([])).text
    page = Page(notebook.verdicts_html([verdict()] * 60))
    assert page.tags.count("tr") == 50 and "10 more verdicts" in page.text


def test_foreign_text_is_text(tmp_path):
    study = valley(question=EVIL, template=Valley(width=dlx.grid(1, 2), lr=0.1, optimizer=dlx.grid(EVIL, "<b>sgd</b>")))
    results = go(study, tmp_path / "home")
    for shown in (notebook.study_html(study), notebook.results_html(results),
                  notebook.verdicts_html([Line(outcome=EVIL, claim=EVIL, reasons=(EVIL,), line=EVIL)]),
                  notebook.plan_html(replace(study.plan(str(tmp_path)), study=EVIL))):
        page = Page(shown)
        assert not {"script", "img"} & set(page.tags)
        assert "alert('x')" in page.text and "\x1b" not in shown
        assert notebook.IGNORED in shown  # dollars are no formulas


# ---------------------------------------------------------------- the tour


def outputs(book):
    """The source of each cell of a notebook, and all that it shows, as text."""
    return [(cell.source, "\n".join(_texts(cell))) for cell in book.cells if cell.cell_type == "code"]


def _texts(cell):
    for output in cell.outputs:
        yield from (v for k, v in output.get("data", {}).items() if not k.startswith("image/"))
        yield output.get("text", "")


def outcomes(book):
    return [re.findall(r"^(supported|refuted|undecided)", text, re.MULTILINE)
            for source, text in outputs(book) if source == "results.verdicts()"]


@pytest.fixture(scope="module")
def committed():
    return nbformat.read(TOUR, as_version=4)


def test_the_tour_is_committed_as_it_ran(committed):
    nbformat.validate(committed)
    code = [cell for cell in committed.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert not any(output.output_type in ("error", "stream") and output.get("name") != "stdout"
                   for cell in code for output in cell.outputs)
    assert TOUR.stat().st_size < 500_000


def test_the_tour_holds_no_path_of_a_machine(committed):
    for source, text in outputs(committed):
        assert not PATHS.search(text), (source, PATHS.search(text))
        assert str(Path.home()) not in text


def test_the_tour_runs_and_says_what_it_said(committed, tmp_path, monkeypatch):
    monkeypatch.delenv("DLX_HOME")
    book = nbformat.from_dict(committed)
    for cell in book.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    NotebookClient(book, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}).execute()
    before = nbformat.read(TOUR, as_version=4)
    assert outcomes(book) == outcomes(before) and [len(found) for found in outcomes(before)] == [3, 3]
    audited = next(text for source, text in outputs(book) if "audit(" in source)
    said = re.findall(r"of 4 (\w+):", audited)
    assert said and set(said) <= {"equal", "close", "parted"}
    assert (tmp_path / outputs(book)[-1][1].split()[0]).is_file()
