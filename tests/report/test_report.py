"""The report says what the results say, in HTML and in Markdown alike, on any machine that has the home."""

import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from stored import stored
from toys import go

import dlx
from dlx import claims, figures, report
from dlx.analysis.budgets import best_against_budget
from dlx.declaration import Declaration
from dlx.errors import DlxError
from dlx.results import Results
from dlx.store import Store

WIDTHS = (1, 10, 100)


@dlx.trial()
def measured(ctx, width: int, noise: float = 0.0):
    if noise > 1.0:
        raise ValueError(f"too much noise: {noise}")
    error = 0.5 + noise - 0.1 * np.log10(width) + 0.01 * ctx.rng(f"noise {width} {noise}").normal()
    return {"test/error": error, "train/error": error / 2 if noise < 1.0 else float("nan")}


@dataclass(frozen=True)
class Inner:
    rate: float


@dlx.trial()
def two_rates(ctx, rate: float, inner: Inner):
    return {"loss": rate + inner.rate}


@dlx.trial()
def tuned_valley(ctx, width: int, lr: float):
    value = (np.log10(lr) + 2.0) ** 2 + 1.0 / width + 0.01 * ctx.rng("noise").normal()
    return {"val/loss": value, "test/loss": value + 0.1}


def study(**more):
    options = {"template": measured(width=dlx.grid(*WIDTHS), noise=dlx.grid(0.0, 0.15)), "seeds": 5}
    return dlx.Study(**{"name": "reported", "question": "Does width help?", **options, **more})


def claimed():
    return study(
        claims=(claims.Lower("test/error", {"width": 100}, than={"width": 1}, by=0.05),
                claims.Lower("test/error", {"noise": 0.15}, than={"noise": 0.0})),
        figures=(figures.Curves(x="width", y=("test/error", "train/error"), name="errors", title="Error by width",
                                log_x=True, points=figures.Points("theory", {1: 0.5, 100: 0.3})),),
        presets={"quick": {"seeds": 3}},
    )


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("home")
    go(claimed(), folder)
    return folder


@pytest.fixture(scope="module")
def written(home):
    return report.write(claimed().results(str(home)))


@pytest.fixture(scope="module")
def page(written, parse):
    return parse(written.html.read_text())


@pytest.fixture
def read(parse):
    """The report of results in a folder: its page, and the text of the twin."""
    def reading(results, folder, **options):
        files = report.write(results, folder, **options)
        return parse(files.html.read_text()), files.markdown.read_text()
    return reading


# ---------------------------------------------------------------- what it says


def test_the_page_needs_nothing_from_elsewhere(written, page):
    policy = next(a["content"] for _, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy and "unsafe" not in policy and "script-src" not in policy
    assert not re.search(r"url\(|@import", written.html.read_text())


def test_anchors_headings_and_pictures_are_named(page):
    ids = [a["id"] for _, a in page.tags if "id" in a]
    assert len(ids) == len(set(ids))
    links = {a["href"][1:] for tag, a in page.tags if tag == "a"}
    assert links <= set(ids) and {"verdicts", "figures", "results", "reproduce", "methods"} <= links
    assert all(a["alt"] for tag, a in page.tags if tag == "img")
    assert all(a.get("scope") == "col" for tag, a in page.tags if tag == "th")
    assert dict(page.tags)["html"]["lang"] == "en"


def test_numbers_are_those_of_the_cells(home, page):
    cells = claimed().results(str(home)).cells().to_pylist()
    rows = page.table("test/error")
    assert len(rows) == len(cells) == 6
    for row, cell in zip(rows, cells, strict=True):
        assert (row["width"], float(row["noise"]), row["n"]) == (str(cell["width"]), cell["noise"], str(cell["n"]))
        mean, half = map(float, row["test/error"].split(" ± "))
        step = 10.0 ** -len(row["test/error"].split(" ± ")[0].partition(".")[2])
        assert mean == pytest.approx(cell["test/error.mean"], abs=0.51 * step)
        assert half == pytest.approx(cell["test/error.half_width"], abs=0.51 * step)


def test_an_axis_with_published_values_may_be_called_by_its_end(tmp_path, parse):
    curves = figures.Curves("rate", "loss", points=figures.Points("theory", {0.1: 1.1, 9.0: 1.0}))
    template = two_rates(rate=1.0, inner=Inner(rate=dlx.grid(0.1, 0.2)))
    results = go(study(template=template, figures=(curves,)), tmp_path)
    (row,) = parse(report.write(results).html.read_text()).table("published")
    assert (row["published"], row["measured"]) == ("1.1", "1.1")


def test_only_the_cells_of_a_figure_stand_beside_what_it_has_from_elsewhere(tmp_path):
    here = {"noise": 0.1}
    drawn = (figures.Curves("width", "test/error", points=figures.Points("theory", {1: 0.6, 10: 0.5}), where=here),
             figures.Dots("width", "test/error", panels=("noise",), published={"0.1": {"10": 0.4, "7": 0.3}}))
    results = go(study(template=measured(width=dlx.grid(1, 10), noise=dlx.grid(0.0, 0.1)), figures=drawn), tmp_path)
    (section,) = [s for s in report.build(results, tmp_path).sections if s.anchor == "published"]
    curves, dots = section.blocks
    assert [row[:3] for row in curves.rows] == [("1", "0.1", "0.6"), ("10", "0.1", "0.5")]
    assert [row[:3] for row in dots.rows] == [("0.1", "10", "0.4")]


def test_what_a_study_says_to_its_reader_is_in_the_report(tmp_path):
    (tmp_path / "noted.py").write_text(
        '"""Noted: `x` <b>\n\n   is\n   told.\n"""\nimport dlx\n\n@dlx.trial()\ndef one(ctx, width: int):\n'
        '    return {"loss": 1.0}\n\nSTUDY = dlx.Study(name="noted", question="Is it?", template=one(width=1))\n')
    noted = dlx.load(str(tmp_path / "noted.py"))
    assert go(noted, tmp_path / "home").declaration.notes == "Noted: `x` <b>\n\nis\ntold."
    home = str(tmp_path / "home")
    written = report.write(Results.of(Declaration.stored(Store("noted", home)), home))
    assert "Noted: `x` &lt;b&gt;" in written.html.read_text() and "\n\nis told.\n" in written.markdown.read_text()


def test_intervals_over_the_seeds_of_one_search_say_so(tmp_path):
    options = {"objective": dlx.minimize("val/loss"), "seeds": 2}
    template = tuned_valley(width=1, lr=dlx.loguniform(1e-4, 1.0))
    for repeats, said in ((1, "nothing of what another search would have chosen"), (2, "a tuned cell the searches")):
        declared = study(template=template, search=dlx.Random(trials=2, repeats=repeats), **options)
        methods = report.build(go(declared, tmp_path / str(repeats)), tmp_path).sections[-1]
        assert said in methods.blocks[0].text


def test_what_is_published_stands_beside_what_was_measured(home, page):
    cells = claimed().results(str(home)).where(width=[1, 100]).cells().to_pylist()
    rows = page.table("published")
    assert [(int(r["width"]), float(r["published"])) for r in rows] == [
        (c["width"], {1: 0.5, 100: 0.3}[c["width"]]) for c in cells]
    for row, cell in zip(rows, cells, strict=True):
        gap = cell["test/error.mean"] - float(row["published"])
        assert float(row["difference"].replace("−", "-")) == pytest.approx(gap, rel=1e-3)
        assert row["in the interval"] == ("yes" if abs(gap) <= cell["test/error.half_width"] else "no")


def test_both_files_state_the_verdicts(home, written, page):
    text = written.markdown.read_text()
    found = claimed().results(str(home)).verdicts()
    assert [v.outcome for v in found] == ["supported", "refuted"]
    for verdict in found:
        assert f"**{verdict.outcome}** ({verdict.label})" in text
        assert report.markdown.escape(verdict.claim) in text and verdict.claim in page.text
    assert [a["class"].split()[1] for tag, a in page.tags if tag == "article"] == [v.outcome for v in found]
    assert "2 claims: 1 supported, 1 refuted" in text and "2 claims: 1 supported, 1 refuted" in page.text


def test_every_text_of_the_page_is_in_its_twin(home, tmp_path, parse):
    """Both are made of one structure: what a block says is in either file."""
    built = report.build(claimed().results(str(home)), tmp_path)
    shown, twin = parse(report.render_html(built)).text, report.render_markdown(built)
    texts = [built.question, *built.outline, *(s.title for s in built.sections)]
    texts += [t for s in built.sections for b in s.blocks if b.kind == "facts" for pair in b.pairs for t in pair]
    texts += [t for s in built.sections for b in s.blocks if b.kind == "table" for row in b.rows for t in row]
    assert len(texts) > 60
    for text in texts:
        assert text in shown and report.markdown.escape(text) in twin


def test_the_twin_shows_figures_beside_it(written):
    named = re.findall(r"^!\[.*\]\((.*)\)$", written.markdown.read_text(), re.MULTILINE)
    assert "figures/errors.png" in named and all((written.markdown.parent / name).is_file() for name in named)


# ---------------------------------------------------------------- what a reader must know


def test_a_preset_and_missing_trials_are_noticed(home, tmp_path, read):
    shown, twin = read(claimed().preset("quick").results(str(home)), tmp_path / "a")
    assert "This is the preset quick" in shown.text and "This is the preset quick" in twin
    other = claimed().with_({"seeds": 7}).results(str(home))
    assert "12 final trials of this study are missing" in read(other, tmp_path / "b")[0].text
    plain = read(study().results(str(home)), tmp_path / "c")[0].text
    assert "preset" not in plain and "are missing" not in plain and "states no claims" in plain


def test_a_study_without_results_says_so(tmp_path, read):
    shown, twin = read(claimed().results(str(tmp_path / "home")), tmp_path)
    assert "30 final trials of this study are missing" in shown.text and "nothing stored yet" in shown.text
    assert "Does width help?" in twin


def test_failures_are_grouped_and_their_tracebacks_folded(tmp_path, read):
    results = stored(study(template=measured(width=dlx.grid(1, 10), noise=dlx.grid(0.0, 1.0, 2.0, 3.0))), tmp_path)
    shown, twin = read(results, tmp_path / "out")
    for text in (shown.text, twin):
        assert "20 trials failed, for 2 reasons." in text and "10 trials diverged" in text
        assert "10 × ValueError: too much noise: 2.0" in text and text.count("Traceback (most recent call last)") == 2
    summaries = [tag for tag, _ in shown.tags if tag == "summary"]
    assert len(summaries) >= 3


def test_a_tuned_study_says_how_it_was_tuned(tmp_path, read):
    declared = dlx.Study(
        "tuned", "Which floor?", tuned_valley(width=dlx.grid(1, 2), lr=dlx.loguniform(1e-4, 1.0)), seeds=2,
        objective=dlx.minimize("val/loss"), search=dlx.Random(trials=6, repeats=3, top=2, recheck=1))
    go(declared, tmp_path)
    shown, _ = read(declared.results(str(tmp_path)), tmp_path / "out")
    axes = {row["axis"]: (row["role"], row["values"]) for row in shown.table("role")}
    assert axes == {"width": ("crossed", "1, 2"), "lr": ("tuned", "loguniform, 0.0001 to 1")}
    assert "3 independent searches a cell, of 6 trials each" in shown.text and "over 3 searches" in shown.text
    assert "Every tuned cell has the same 18 asks" in shown.text
    against = best_against_budget(declared.results(str(tmp_path))).to_pylist()
    for row, width in zip(shown.table("fresh seeds"), (1, 2), strict=True):
        best = {r["asks"]: r["best"] for r in against if r["width"] == width}
        assert [float(row[k].replace("−", "-")) for k in ("1", "2", "4", "6")] == pytest.approx(
            [best[k] for k in (1, 2, 4, 6)], rel=1e-3)
    rows = shown.table("recheck")
    assert [(r["tune"], r["recheck"], r["final"]) for r in rows] == [("18", "6", "6")] * 2


def test_tuned_and_crossed_values_of_one_name_have_columns_of_their_own(tmp_path, read):
    declared = dlx.Study(
        "twice", "Which?", two_rates(rate=dlx.grid(0.1, 0.2), inner=Inner(rate=dlx.uniform(0.0, 1.0))), seeds=1,
        objective=dlx.minimize("loss"), search=dlx.Random(trials=2, top=1, recheck=0))
    go(declared, tmp_path)
    rows = read(declared.results(str(tmp_path)), tmp_path / "out")[0].table("inner.rate")
    cells = declared.results(str(tmp_path)).cells().to_pylist()
    assert [(float(r["rate"]), float(r["inner.rate"])) for r in rows] == [
        (c["rate"], pytest.approx(c["param.inner.rate"], rel=1e-3)) for c in cells]


def test_a_study_of_a_single_cell_has_a_report(tmp_path, read):
    shown, twin = read(stored(study(template=measured(width=1), seeds=3), tmp_path), tmp_path / "out")
    assert len(shown.table("test/error")) == 1 and "1 cell · 3 seeds" in twin


def test_where_it_came_from_is_stated(home, tmp_path, read):
    shown, twin = read(claimed().results(str(home)), tmp_path, command="dlx run reported.py --home h")
    assert "dlx run reported.py --home h" in shown.text and "30 trials stored; nothing is missing" in shown.text
    facts = dict(re.findall(r"^- ([\w' ]+): (.*)$", twin, re.MULTILINE))
    assert {"last run as", "code", "ran", "computing", "machines", "versions", "hardware", "seeds"} <= facts.keys()
    assert "torch" in facts["versions"] and "python" in facts["versions"] and facts["seeds"].endswith("0, 1, 2, 3, 4")
    assert facts["code"] == "outside a git repository" or re.match(r"commit [0-9a-f]{40}", facts["code"])


# ---------------------------------------------------------------- anywhere


def test_a_copied_home_without_the_file_gives_the_same_report(home, written, tmp_path):
    copy = tmp_path / "elsewhere"
    shutil.copytree(home, copy)
    shutil.rmtree(copy / "studies" / "reported" / "report")
    code = (
        "import sys\nfrom dlx import report\nfrom dlx.declaration import Declaration\nfrom dlx.results import Results\n"
        "from dlx.store import Store\n"
        f"said = Declaration.stored(Store('reported', {str(copy)!r}))\n"
        f"print(report.write(Results.of(said, {str(copy)!r})).html)\n"
        "print([m for m in ('torch', 'ray', 'optuna', 'mlflow') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    html, engines = done.stdout.splitlines()
    assert Path(html).read_bytes() == written.html.read_bytes() and engines == "[]"
    assert Path(html).with_suffix(".md").read_bytes() == written.markdown.read_bytes()
    assert str(home) not in written.html.read_text() and str(home) not in written.markdown.read_text()


def test_the_report_of_a_preset_stands_apart(home, written):
    quick = report.write(claimed().preset("quick").results(str(home)))
    assert written.html.parent.name == "report" and quick.html.parent.name == "report-quick"
    assert "This is the preset quick" not in written.html.read_text()


def test_a_folder_that_cannot_be_written_is_named(home, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DlxError, match=r"The report cannot be written to .*file/x .*; name another folder"):
        report.write(claimed().results(str(home)), tmp_path / "file" / "x")


def test_a_declaration_from_the_home_is_the_study(home):
    said = Declaration.stored(Store("reported", str(home)))
    assert said == Declaration.of(claimed())
    assert Results.of(said, str(home)).cells().equals(claimed().results(str(home)).cells())
