"""Bad input: one clear sentence that names the place and the fix, nothing started, nothing lost."""

import csv
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from toys import Slow, Stage, go

import dlx
from dlx import cli, data, models, optim
from dlx.errors import DlxError
from dlx.results import Results
from dlx.store import Store
from dlx.tables import cells_table, plain, reasons

HEAD = """
import os, sys, threading, time
from dataclasses import dataclass, field
from typing import Any
import dlx
from dlx import data, metrics, models, optim

@dataclass(frozen=True)
class Toy(dlx.Trial):
    width: int = 1
    extra: Any = None
    parent: Any = None
    def run(self, ctx):
        if self.extra == "thread":
            threading.Thread(target=time.sleep, args=(60,), name="ghost").start()
        return {"loss": 1.0}

def training(**changes):
    parts = dict(data=data.MNIST1D(n=200), model=models.MLP(width=4, depth=1), optimizer=optim.SGD(lr=0.1))
    return dlx.Training(**{**parts, "steps": 3, **changes})

def study(template, **declared):
    return dlx.Study(**{"name": "s", "question": "?", "template": template, **declared})
"""
RUN = "run", "s", "--executor", "local", "--tracking-uri", "off"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder of a user's, which is the current one; the home is beside the studies."""
    (tmp_path / "studies").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(here, text, name="s"):
    (here / "studies" / f"{name}.py").write_text(HEAD + text, errors="surrogatepass")


def refused(*words):
    """The sentence with which a command refuses."""
    with pytest.raises(DlxError) as caught:
        cli.app(list(words), standalone_mode=False)
    said = str(caught.value)
    assert "\n" not in said and len(said) < 600 and said.endswith((".", "?"))
    return said


def process(here, *words, code=0, **variables):
    """Standard output and error of the command, run as a person does."""
    done = subprocess.run([sys.executable, "-m", "dlx.cli", *words], cwd=here, capture_output=True, text=True,
                          check=False, env={**os.environ, "COLUMNS": "80", **variables}, errors="replace")
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout, done.stderr


# ---------------------------------------------------------------- declarations


@pytest.mark.parametrize(("text", "said"), [
    ("S = study(training(dtype=dlx.loguniform(1, 9)))", r"template\.dtype is loguniform\(1, 9\), but must be one of"),
    ("S = study(training(data=dlx.uniform(0, 1)))", r"template\.data is uniform\(0, 1\), but must be a Data"),
    ("S = study(training(model=dlx.grid(4, 8)))", r"template\.model\[4\] is 4; it must be a Model, such as"),
    ("S = study(training(optimizer=models.MLP(width=1, depth=1)))", r"template\.optimizer .* must be an Optimizer"),
    ("S = study(training(metrics=['loss']))", r"template\.metrics\[0\] is 'loss'; it must be an OutputMetric, such as"),
    ("S = study(Toy(extra=open(__file__)))", r"template\.extra .* an open file; give its path as dlx\.File"),
    ("S = study(Toy(extra=b'x'))", r"template\.extra is b'x', and a bytes has no canonical form"),
    ("S = study(Toy(extra='\\ud800'))", r"template\.extra is '\\ud800', which holds half a character"),
    ("S = study(Toy(extra={'\\ud800': 1}))", r"A key of template\.extra is '\\ud800', which holds half"),
    ("@dataclass\nclass T(dlx.Trial):\n    x: int = 1\nS = study(T())", "template is a T, which is no frozen data"),
    ("class T(Toy):\n    x: int = 1\nS = study(T())", r"template is a T, which is no frozen dataclass; write @data"),
    ("@dataclass\nclass C:\n    x: int = 1\nS = study(Toy(extra=C()))", r"template\.extra is a C, which is no frozen"),
    ("@dataclass(frozen=True)\nclass T(Toy):\n    x: int = field(init=False, default=1)\nS = study(T())",
     r"template\.x is declared with init=False; make it a property"),
    ("@dataclass(frozen=True)\nclass T(Toy):\n    xs: list = []\nS = study(T())", "mutable default <class 'list'>"),
    ("@dlx.trial\ndef f(ctx, x=1):\n    return {}\nS = study(f())", r"@dlx\.trial has no parentheses; write @dlx"),
    ("S = study(Toy(), resources=dlx.Resources(cpus=-1))", r"resources\.cpus is -1; it must be a number of at least 0"),
    ("S = study(Toy(), resources=dlx.Resources(gpus='x'))", r"resources\.gpus is 'x'; it must be a number"),
    ("S = study(Toy(), resources=dlx.Resources(memory=0.5))", r"resources\.memory is 0\.5; it must be a whole number"),
    ("S = study(Toy(), resources=dlx.Resources(gpus=1.5))", r"resources\.gpus is 1\.5; give a whole number, or a fr"),
    ("S = study(Toy(), resources=dlx.Resources(cpus=float('nan')))", r"resources\.cpus is nan"),
    ("t = Toy()\nobject.__setattr__(t, 'parent', t)\nS = study(t)", "template holds itself, or is nested too deeply"),
    ("class Odd(BaseException):\n    pass\nraise Odd('no')", r"Odd: no; correct the file"),
])
def test_what_cannot_be_declared_is_refused_with_its_line(here, text, said):
    write(here, text)
    for words in (RUN, ("plan", "s")):
        assert re.fullmatch(rf"studies/s\.py, line \d+: .*{said}.*", refused(*words))
    assert not (here / "home").exists()


@pytest.mark.parametrize(("text", "said"), [
    ("S = study(Toy(width=dlx.grid(3, 3)))", r"\(width=3\) and \(width=3#2\) resolve to the same setting; remove one"),
    ("S = study(Toy(), resources=lambda t: 1 / 0)", "resources= raised ZeroDivisionError: division by zero; it is"),
    ("S = study(Toy(), resources=lambda t: dlx.Resources(cpus=-t.width))", r"resources\.cpus is -1"),
    ("@dataclass(frozen=True)\nclass T(Toy):\n    def check(self):\n        raise ValueError('bad')\nS = study(T())",
     r"template: check\(\) of T raised ValueError: bad; correct the values or the check"),
])
def test_what_only_trials_show_is_refused_before_anything_starts(here, text, said):
    write(here, text)
    for words in (RUN, ("plan", "s")):
        assert re.search(said, refused(*words))
    assert not (here / "home").exists() or not Store("s").statuses()


@pytest.mark.parametrize(("words", "said"), [
    ((*RUN, "--max-trials", "-1"), "max_trials is -1; it must be more than 0."),
    ((*RUN, "--max-seconds", "nan"), "max_seconds is nan; it must be more than 0."),
    ((*RUN, "--set", "seeds=0"), "seeds is 0; give a number of seeds"),
    ((*RUN, "--set", "seeds=(1,1)"), "seeds is (1, 1); give a number of seeds, or different whole numbers"),
    ((*RUN, "--set", "presets.quick=3"), "Nothing in the study is called 'presets.quick'"),
    ((*RUN, "--set", "template.width=1e999"), "template.width is inf; it must be an int."),
    ((*RUN, "--set", r"template.extra='\ud800'"), "which holds half a character"),
    (("plan", "x" * 5000), "There is no study 'xxxx"),
    (("run", "s", "--executor", "local", "--home", "what?"), "no SQLite address holds its '?'; rename the folder"),
    (("plan", "\x1b[31mred"), r"There is no study '\x1b[31mred'"),
    (("run", "../../etc/passwd"), "There is no study '../../etc/passwd'"),
])
def test_what_cannot_be_asked_for_is_refused(here, words, said):
    write(here, "S = study(Toy(dlx.grid(1, 2)), presets={'quick': {'template.width': 5}})")
    assert said in refused(*words)
    assert {p.name for p in here.iterdir()} == {"studies"}


# ---------------------------------------------------------------- trials that go wrong


class Unsayable(RuntimeError):
    def __str__(self):
        raise RuntimeError("no words")


@dataclass(frozen=True)
class Wild(dlx.Trial):
    way: str

    def run(self, ctx):
        return getattr(self, self.way)(ctx)

    def exits(self, ctx):
        sys.exit(3)

    def ends_a_generator(self, ctx):
        raise GeneratorExit

    def raises_a_group(self, ctx):
        raise ExceptionGroup("several", [ValueError("one"), ValueError("two")])

    def raises_from_itself(self, ctx):
        error = ValueError("round and round")
        raise error from error

    def raises_what_cannot_be_said(self, ctx):
        raise Unsayable

    def raises_half_a_character(self, ctx):
        raise RuntimeError("\ud800")

    def raises_at_length(self, ctx):
        raise RuntimeError("x" * 10_000_000)

    def logs_at_no_step(self, ctx):
        ctx.log("first", {"loss": 1.0})

    def logs_at_a_huge_step(self, ctx):
        ctx.log(10**30, {"loss": 1.0})

    def returns_nothing(self, ctx):
        return None

    def returns_a_tree(self, ctx):
        return {"loss": {"val": 1.0}}

    def returns_a_huge_number(self, ctx):
        return {"loss": 10**400}

    def returns_text_of_10_mb(self, ctx):
        return {"loss": "9" * 10_000_000}

    def names_half_a_character(self, ctx):
        ctx.log(1, {"\ud800": 1.0, 3: 2.0})
        return {"\ud800": 1.0, 3: 2.0}

    def names_at_length(self, ctx):
        return {"x" * 10_000_000: 1.0}

    def names_columns(self, ctx):
        return dict.fromkeys(("key", "metric.key", "seed", "way", "n", "note", "missing", "param.lr", "loss"), 1.0)


FAILURES = {
    "exits": "SystemExit: 3", "ends_a_generator": "GeneratorExit", "raises_a_group": "ValueError: two",
    "raises_from_itself": "round and round", "raises_what_cannot_be_said": "Unsayable",
    "raises_half_a_character": r"RuntimeError: \ud800", "raises_at_length": "xxx",
    "logs_at_no_step": "ctx.log: step is 'first'; it must be an integer", "logs_at_a_huge_step": "below 2⁶³",
    "returns_nothing": "must return a dict of metric name", "returns_a_tree": "'loss' is a dict; it must be one number",
    "returns_a_huge_number": "int too large to convert to float",
}
ODDITIES = "returns_text_of_10_mb", "names_half_a_character", "names_at_length", "names_columns"


@pytest.fixture(scope="module")
def wild(tmp_path_factory):
    return go(dlx.Study("wild", "?", Wild(dlx.grid(*FAILURES, *ODDITIES))), tmp_path_factory.mktemp("wild"))


def test_a_trial_that_fails_in_any_way_is_a_row_and_the_others_go_on(wild):
    rows = {r["way"]: r for r in wild.table.select(["way", "status", "error"]).to_pylist()}
    assert {way for way, r in rows.items() if r["status"] == "failed"} == set(FAILURES)
    for way, said in FAILURES.items():
        assert said in rows[way]["error"] and "Traceback" in rows[way]["error"] and len(rows[way]["error"]) < 21_000
    assert {rows[way]["status"] for way in ODDITIES} == {"completed", "diverged"}


def test_what_is_shown_of_wild_trials_is_short_and_one_line_each(wild):
    assert len(plain(cells_table(wild, 10_000), 10_000)) < 60_000
    told = [reason for _, reason in reasons(wild)]
    assert all(any(said in reason for reason in told) for said in FAILURES.values())
    assert all(len(reason) <= 200 for reason in told)


def test_metrics_with_the_names_of_columns_have_columns_of_their_own(wild):
    (row,) = wild.where(way="names_columns").table.to_pylist()
    for name in ("key", "metric.key", "seed", "way", "param.lr"):
        assert row[f"metric.{name}"] == 1.0
    assert row["way"] == "names_columns" and row["seed"] == 0 and len(row["key"]) == 32
    assert not wild.cells()["note"].to_pylist()[-1]


def test_an_objective_of_another_name_loses_no_trial(tmp_path):
    study = dlx.Study("slow", "?", Slow(dlx.grid(1, 2), str(tmp_path), 0.0), objective=dlx.minimize("val/eror"))
    with pytest.raises(dlx.DeclarationError, match=r"'val/eror', which the first trial did not return; correct"):
        go(study, tmp_path)
    assert len(go(study.with_({"objective": dlx.minimize("loss")}), tmp_path).table) == 2
    assert len(list(tmp_path.glob("*-0-*"))) == 2


def test_threads_that_a_trial_leaves_behind_keep_nobody_waiting(here):
    write(here, "S = study(Toy(extra='thread'))")
    out, err = process(here, *RUN)
    assert "dlx show s" in out and "dlx: not waiting for ghost, which a trial started and did not end." in err


def test_a_figure_that_exits_ends_no_run(here):
    write(here, "S = study(Toy(), figures=[lambda results: sys.exit(1)])")
    assert "could not be drawn: SystemExit: 1" in process(here, *RUN)[1]


def test_a_damaged_checkpoint_is_named(tmp_path):
    study = dlx.Study("stages", "?", Stage(1.0, parent=Stage(2.0)))
    go(study, tmp_path)
    (checkpoint,) = tmp_path.rglob("*.safetensors")
    checkpoint.write_bytes(b"x")
    (row,) = [r for r in go(study.with_({"template.add": 3.0}), tmp_path).table.to_pylist() if r["phase"] == "final"]
    assert row["status"] == "failed" and f"{checkpoint.name} is damaged" in row["error"]
    checkpoint.unlink()
    again = go(study.with_({"template.add": 3.0}), tmp_path, retry_failed=True).table.to_pylist()
    assert [r["total"] for r in again if r["phase"] == "final"] == [5.0]


# ---------------------------------------------------------------- names and values


@dataclass(frozen=True)
class Named(dlx.Trial):
    way: Any = None
    n: int = 1
    note: int = 1

    def run(self, ctx):
        return {"loss": float(self.n)}


HOSTILE = "<script>alert(1)</script>", "[red]x[/red]", "\x1b[31mred", "a/../b\\c", "a\nb", "日本 😀", "", "x" * 10**7


def test_values_are_shown_as_text(here, capsys):
    write(here, f"S = study(Toy(extra=dlx.grid({', '.join(map(repr, HOSTILE[:-1]))}, 'x' * 10_000_000)))")
    for words in (RUN, ("show", "s"), ("plan", "s"), ("list",), ("export", "s", "--to", "csv")):
        cli.app(list(words), standalone_mode=False)
        shown = capsys.readouterr()
        assert "\x1b" not in shown.out + shown.err and len(shown.out) < 10_000
        if words[0] in ("run", "show"):
            assert "<script>alert(1)</script>" in shown.out and "[red]x[/red]" in shown.out and " [31mred" in shown.out
    csv.field_size_limit(2**31 - 1)
    with Path("s.csv").open(newline="") as file:
        assert [row["extra"] for row in csv.DictReader(file)] == list(HOSTILE)
    assert {p.name for p in here.iterdir()} == {"home", "studies", "s.csv"}


def test_a_command_to_type_next_holds_no_control_characters(here):
    write(here, "S = study(Toy())")
    out, _ = process(here, *RUN, "--set", "template.extra='\x1b[31mred'")
    assert "\x1b" not in out and r"\x1b[31mred" in out


def test_axes_with_the_names_of_counts(tmp_path):
    results = go(dlx.Study("named", "?", Named(n=dlx.grid(3, 4), note=dlx.grid(5, 6))), tmp_path)
    cells = results.cells().to_pylist()
    assert [(c["template.n"], c["template.note"], c["n"], c["note"]) for c in cells] == [
        (n, note, 1, None) for n in (3, 4) for note in (5, 6)]
    assert "template.n" in repr(results) and len(results.where(n=3).table) == 2


def test_axes_called_n_further_down_are_shown_beside_the_count(tmp_path):
    template = dlx.Training(data=data.MNIST1D(n=dlx.grid(100, 200)), model=models.MLP(width=4, depth=1),
                            optimizer=optim.SGD(lr=0.1), steps=3)
    assert repr(Results.of(dlx.Study("sizes", "?", template), str(tmp_path))).split()[:2] == ["data.n", "n"]


def test_paths_that_the_locale_cannot_spell(here):
    (here / "größe" / "studies").mkdir(parents=True)
    write(here / "größe", "S = study(Toy(), question='Größe 😀?')")
    old = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    assert "Gr" in process(here / "größe", "show", "s", "--home", "hö me", **old)[0]
    assert "0/1" in process(here / "größe", "list", **old)[0]


# ---------------------------------------------------------------- homes


def test_a_damaged_part_is_named_and_its_trials_run_again(here, capsys):
    write(here, "S = study(Toy(dlx.grid(1, 2, 3)))")
    for code in (3, 3, 0):
        process(here, *RUN, "--max-trials", "1", code=code)
    one, two, _ = sorted((here / "home" / "studies" / "s" / "trials").iterdir())
    one.write_bytes(one.read_bytes()[:-100])
    two.write_bytes(b"garbage")
    capsys.readouterr()
    for words in (("plan", "s"), ("show", "s"), ("export", "s", "--to", "csv"), RUN):
        cli.app(list(words), standalone_mode=False)
        said = capsys.readouterr().err
        assert f"{one.name} is damaged (" in said and f"{two.name} is damaged (" in said
    assert len(Store("s").statuses()) == 3 and one.exists() and two.exists()


def test_a_home_of_a_newer_version_is_left_as_it_is(here):
    write(here, "S = study(Toy())")
    (here / "home").mkdir()
    (here / "home" / "dlx.json").write_text('{"format": 99}')
    for words in (RUN, ("plan", "s"), ("show", "s"), ("list",), ("export", "s", "--to", "csv")):
        assert "was written by a newer dlx (format 99, this one knows 1); upgrade dlx" in refused(*words)
    assert [p.name for p in (here / "home").iterdir()] == ["dlx.json"]


@pytest.mark.parametrize("text", ["[1]", "{", "3", ""])
def test_a_damaged_declaration_stops_no_listing(here, text, capsys):
    write(here, "S = study(Toy())")
    cli.app(list(RUN), standalone_mode=False)
    (here / "studies" / "s.py").unlink()
    (here / "home" / "studies" / "s" / "declaration.json").write_text(text)
    cli.app(["list"], standalone_mode=False)
    assert "1/?" in capsys.readouterr().out


def test_studies_with_trials_of_one_name_keep_apart_in_one_home(here):
    for name in "st":
        write(here, f"S = study(Toy(), name={name!r})", name)
    both = [subprocess.Popen([sys.executable, "-m", "dlx.cli", RUN[0], name, *RUN[2:]], cwd=here) for name in "st"]
    assert [p.wait() for p in both] == [0, 0]
    assert [len(Store(name).statuses()) for name in "st"] == [1, 1]


@pytest.fixture
def small_disk(here):
    """A file system of 200 kB, at the home's place."""
    place = here / "home"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(place)], capture_output=True).returncode:
        pytest.skip("a small disk can be mounted by root only")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_home_is_enlarged_and_the_same_command_goes_on(here, small_disk):
    (here / "marks").mkdir()
    write(here, """
import random

@dataclass(frozen=True)
class Big(dlx.Trial):
    number: int
    def run(self, ctx):
        open(f"marks/{self.number}-{time.time_ns()}", "w").close()
        time.sleep(0.03)
        for step in range(500):
            ctx.log(step, loss=random.random())
        return {"loss": 1.0}

S = study(Big(dlx.grid(*range(100))))
""")
    _, err = process(here, *RUN, code=2)
    assert re.search(r"dlx: The home \S+/home is full; free some space, or name another folder in DLX_HOME, and", err)
    stored, ran = len(Store("s").statuses()), len(list((here / "marks").iterdir()))
    assert 0 < stored < ran < 100 and f"{ran - stored} finished trials could not be stored; they will run again" in err
    assert process(here, *RUN, code=2)[1].startswith("dlx: ") or len(Store("s").statuses()) >= stored
    ran = len(list((here / "marks").iterdir())) + 100 - len(Store("s").statuses())
    subprocess.run(["mount", "-o", "remount,size=20m", str(small_disk)], check=True)
    process(here, *RUN)
    keys = Store("s").trials().column("key").to_pylist()
    assert len(keys) == len(set(keys)) == 100 and len(list((here / "marks").iterdir())) == ran
    assert len(Store("s").history()) == 100
