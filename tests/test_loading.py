"""Study files are found by name, hold one study of a name of its own, and say where they are wrong."""

import fnmatch
import pickle
import subprocess
import sys

import cloudpickle
import pytest

from dlx import loading
from dlx.errors import DeclarationError

STUDY = """
from dataclasses import dataclass
import dlx

@dataclass(frozen=True)
class Toy(dlx.Trial):
    width: int = 1
    def run(self, ctx):
        return {{"loss": float(self.width)}}

STUDY = ALIAS = dlx.Study(name={name!r}, question="?", template=Toy(dlx.grid(1, 2)))
"""


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """A folder of a user's, with nothing that came with dlx."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(loading, "__file__", str(tmp_path / "installed" / "dlx" / "loading.py"))
    return tmp_path / "here"


def write(folder, text=None, name="toy-study"):
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.write_text(STUDY.format(name=name) if text is None else text)
    return folder


def test_every_way_to_name_a_file(here):
    path = write(here / "studies" / "theme" / "toy.py")
    for name in ("toy", "theme/toy", "theme/toy.py", "toy.py", "studies/theme/toy.py", "studies/theme/toy", str(path)):
        assert loading.load(name).name == "toy-study"


def test_files_come_with_dlx_and_ones_own_hide_them(here, tmp_path):
    for folder in ("studies", "dlx/library"):
        write(tmp_path / "installed" / folder / "theme" / "toy.py", name="theirs")
        assert loading.load("toy").name == "theirs"
        write(here / "studies" / "theme" / "toy.py", name="theirs")
        assert "here" in str(loading.find_all()[0].path) and loading.load("toy").name == "theirs"
        (here / "studies" / "theme" / "toy.py").unlink()
        (tmp_path / "installed" / folder / "theme" / "toy.py").unlink()


@pytest.mark.parametrize(("text", "said"), [
    ("x = (\n", r"studies/toy.py, line 1: '\(' was never closed; correct the syntax there."),
    ("import dlx\n", r"studies/toy.py declares no study; write STUDY = dlx.Study\(...\) at its top level."),
    (STUDY.format(name="a") + "B = dlx.Study(name='b', question='?', template=Toy())\n",
     r"studies/toy.py declares 2 studies \(STUDY, B\); put each into its own file."),
    ("\nimport no_such_module\n", r"studies/toy.py, line 2: ModuleNotFoundError: No module named 'no_such_module'"),
    ("def f():\n    return 1 / 0\nf()\n", r"studies/toy.py, line 2: ZeroDivisionError: division by zero"),
    (STUDY.format(name="a").replace("dlx.grid(1, 2)", "dlx.grid()"),
     r"studies/toy.py, line 11: template.width is an empty grid\(\)"),
    ("raise SystemExit(3)\n", r"studies/toy.py, line 1: SystemExit: 3"),
    ("x = '\\ud800'.encode()\n", r"studies/toy.py, line 1: UnicodeEncodeError"),
])
def test_a_file_that_cannot_be_used_says_where(here, text, said):
    before = set(sys.modules)
    write(here / "studies" / "toy.py", text)
    with pytest.raises(DeclarationError, match=said) as caught:
        loading.load("toy")
    assert "\n" not in str(caught.value)
    assert not [name for name in set(sys.modules) - before if name.startswith(loading.PREFIX)] or "declares" in said
    assert loading.find_all()[0].problem == str(caught.value)


def test_bytes_that_are_no_text(here):
    path = write(here / "studies" / "toy.py")
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DeclarationError, match=r"studies/toy\.py"):
        loading.load("toy")


def test_unknown_names_get_the_nearest(here):
    with pytest.raises(DeclarationError, match="There is no study file 'toy'; give its path"):
        loading.load("toy")
    write(here / "studies" / "theme" / "toy.py")
    with pytest.raises(DeclarationError, match=r"no study 'tpy'; did you mean 'toy' \(there are theme/toy\)\?"):
        loading.load("tpy")
    with pytest.raises(DeclarationError, match=r"no study 'zzzzzz'; there are theme/toy\."):
        loading.load("zzzzzz")
    with pytest.raises(DeclarationError, match=r"no study file 'theme/tpy\.py'; give its path"):
        loading.load("theme/tpy.py")


def test_one_name_for_two_files(here):
    for theme in ("a", "b"):
        write(here / "studies" / theme / "toy.py", name=theme)
    with pytest.raises(DeclarationError, match=r"studies/a/toy\.py and studies/b/toy\.py; write a/toy or b/toy\."):
        loading.load("toy")
    assert loading.load("b/toy").name == "b"


def test_two_files_with_one_study_name(here):
    write(here / "studies" / "one.py")
    write(here / "studies" / "two.py")
    said = r"Two studies are called 'toy-study': studies/one\.py and studies/two\.py; rename one of them\."
    for name in ("one", "studies/one.py"):
        with pytest.raises(DeclarationError, match=said):
            loading.load(name)
    assert [bool(f.problem) for f in loading.find_all()] == [False, True]


def test_a_copy_elsewhere_is_no_duplicate(here, tmp_path):
    write(here / "studies" / "one.py")
    assert loading.load(str(write(tmp_path / "elsewhere" / "one.py"))).name == "toy-study"


def test_trials_travel_by_value(here, tmp_path):
    study = loading.load(str(write(tmp_path / "elsewhere" / "toy.py")))
    trial = study.space.trial(study.space.cells[1])
    assert type(trial).__module__.startswith(loading.PREFIX) and type(trial).__module__ in sys.modules
    assert pickle.loads(pickle.dumps(trial)) == trial
    (tmp_path / "trial").write_bytes(cloudpickle.dumps(trial))
    code = f"import pickle; print(pickle.load(open({str(tmp_path / 'trial')!r}, 'rb')).run(None))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "{'loss': 2.0}", done.stderr


CACHED = """
from dataclasses import dataclass
from functools import lru_cache
import dlx

@lru_cache(maxsize=3)
def squared(width):
    return float(width**2)

@dataclass(frozen=True)
class Toy(dlx.Trial):
    width: int = 1
    def run(self, ctx):
        again = squared(self.width) + squared(self.width)
        return {{"loss": again, "hits": squared.cache_info().hits, "size": squared.cache_info().maxsize}}

STUDY = dlx.Study(name={name!r}, question="?", template=Toy(dlx.grid(1, 2)))
"""


def test_cached_functions_of_a_study_travel_by_value(here, tmp_path):
    study = loading.load(str(write(tmp_path / "toy.py", CACHED.format(name="toy-study"))))
    trial = study.space.trial(study.space.cells[1])
    (tmp_path / "trial").write_bytes(cloudpickle.dumps(trial))
    code = f"import pickle; print(pickle.load(open({str(tmp_path / 'trial')!r}, 'rb')).run(None))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "{'loss': 8.0, 'hits': 1, 'size': 3}", done.stderr
    assert pickle.loads(pickle.dumps(fnmatch._compile_pattern)) is fnmatch._compile_pattern  # by name, as ever


def test_files_of_one_name_are_different_modules(here, tmp_path):
    modules = {type(loading.load(str(write(tmp_path / d / "toy.py"))).template).__module__ for d in ("a", "b")}
    assert len(modules) == 2
