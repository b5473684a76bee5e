"""The command line, as a person uses it: real processes in a folder of one's own."""

import csv
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

STUDY = '''
from dataclasses import dataclass
import dlx

@dataclass(frozen=True)
class Toy(dlx.Trial):
    width: int
    way: str = "well"
    def run(self, ctx):
        if self.way == "raise" and self.width == 2:
            raise RuntimeError("the [b]dog[/b] \\x1b[31mate it")
        ctx.log(1, {"loss": 1.0})
        return {"test/loss": self.width + 0.1 * ctx.seed}

STUDY = dlx.Study(name="toy-study", question="Is [b]this[/b] <i>a</i> question?", template=Toy(dlx.grid(1, 2)), seeds=2,
                  presets={"bad": {"template.way": "raise"}})
'''
HEAVY = "torch", "ray", "optuna", "mlflow", "matplotlib"


@pytest.fixture
def here(tmp_path):
    folder = tmp_path / "here"
    (folder / "studies" / "theme").mkdir(parents=True)
    (folder / "studies" / "theme" / "toy.py").write_text(STUDY)
    return folder


def dlx(here, *words, code=0, columns=80):
    environment = {**os.environ, "DLX_HOME": str(here / "home"), "COLUMNS": str(columns)}
    done = subprocess.run([sys.executable, "-m", "dlx.cli", *words], cwd=here, env=environment, capture_output=True,
                          text=True, check=False)
    assert done.returncode == code, done.stderr
    return done.stdout, done.stderr


def run(here, *words, code=0):
    return dlx(here, "run", "toy", "--executor", "local", *words, code=code)


def test_from_plan_to_export(here):
    out, _ = dlx(here, "plan", "toy")
    assert re.search(r"final +4 +0 +4", out)
    out, err = run(here, "--max-trials", "1", code=3)
    assert "next     dlx run toy --executor local   (3 final trials are missing)" in out
    out, err = run(here)
    assert "toy-study: 2 cells, 4 trials, 1 of them stored" in err and "4/4 trials, 2/2 cells" in err
    assert "1.05 ± 0.64" in out and "next     dlx show toy\nnext     dlx report toy\nnext     dlx ui\n" in out
    assert str(here / "home" / "studies" / "toy-study") in out
    shown, _ = dlx(here, "show", "toy")
    assert "Is [b]this[/b] <i>a</i> question?" in shown and "1.05 ± 0.64" in shown
    assert "4 rows in toy-study.csv" in dlx(here, "export", "toy", "--to", "csv")[0]
    rows = list(csv.DictReader((here / "toy-study.csv").open()))
    assert [(r["width"], r["seed"]) for r in rows] == [("1", "0"), ("1", "1"), ("2", "0"), ("2", "1")]
    dlx(here, "export", "toy", "--to", "parquet", "--history", "--out", "curves")
    assert (here / "curves").read_bytes()[:4] == b"PAR1"
    listed, _ = dlx(here, "list")
    assert re.search(r"toy +4/4 +Is \[b\]this\[/b\] <i>a</i>", listed)


def test_failures_are_explained(here):
    out, _ = run(here, "--preset", "bad", code=4)
    assert "2 trials failed:\n  2 × RuntimeError: the [b]dog[/b]  [31mate it" in out and "\x1b" not in out
    assert "next     dlx run toy --preset bad --executor local --retry-failed" in out
    out, err = run(here, "--preset", "bad", "--quiet", code=4)
    assert out == err == ""
    out, _ = run(here, "--preset", "bad", "--set", "template.way=well")
    assert "dlx show toy --preset bad --set template.way=well" in out


@pytest.mark.parametrize(("words", "said"), [
    (("run", "tyo"), r"There is no study 'tyo'; did you mean 'toy' \("),
    (("plan", "toy", "--preset", "quik"), "has no preset 'quik'; it has: bad"),
    (("plan", "toy", "--set", "template.wdth=3"), "did you mean 'template.width'"),
    (("plan", "toy", "--set", "template.width"), "is not path=value"),
    (("run", "toy", "--max-seconds", "-1"), "max_seconds is -1.0; it must be more than 0"),
    (("export", "toy", "--to", "csv", "--out", "studies"), "studies cannot be written"),
    (("show", "toy", "--home", "studies/theme/toy.py"), "is, or lies below, a file"),
])
def test_refusals_are_one_line(here, words, said):
    out, err = dlx(here, *words, code=2)
    assert out == "" and re.fullmatch(rf"dlx: .*{said}.*\n", err), err
    assert not (here / "home" / "studies").exists()


def test_other_exceptions_keep_their_traceback(here):
    (here / "studies" / "odd.py").write_text(STUDY.replace('"toy-study"', '"odd"').replace(
        "def run(", "def shape(self):\n        return 1 // 0\n    def run("))
    _, err = dlx(here, "plan", "odd", code=1)
    assert "Traceback" in err and "ZeroDivisionError" in err and "│" not in err


def test_list_tells_what_it_cannot_load_and_what_has_no_file(here):
    run(here)
    (here / "studies" / "theme" / "toy.py").write_text("import dlx\n\nx = 1 / 0\n")
    out, err = dlx(here, "list")
    assert "dlx: studies/theme/toy.py, line 3: ZeroDivisionError" in err
    assert re.search(r"toy-study +4/\? +Is \[b\]this", out)
    assert "(its file is in no folder studies here)" in re.sub(r"\s+", " ", out)


@pytest.mark.parametrize("words", [("list",), ("plan", "toy"), ("show", "toy"), ("export", "toy", "--to", "csv")])
def test_what_only_reads_loads_no_engine(here, words):
    code = (
        "import sys\nfrom dlx import cli\nsys.argv[0] = 'dlx'\ntry:\n    cli.main()\nexcept SystemExit as e:\n"
        f"    assert not e.code, e.code\nprint('heavy:', [m for m in {HEAVY} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], cwd=here, capture_output=True, text=True, check=False,
                          env={**os.environ, "DLX_HOME": str(here / "home")})
    assert done.stdout.endswith("heavy: []\n"), done.stderr
    assert not Path(here / "home").exists()
