"""The README is true: its Python runs, and its commands print what it says, but for numbers."""

import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)
NUMBER = re.compile(r"[-+]?\d[\d,]*(\.\d+)?(e[-+]?\d+)?")


def masked(text):
    """Lines of an output without numbers and without how columns are padded."""
    lines = [re.sub(r"[\s─]+", " ", NUMBER.sub("#", line)).strip() for line in text.splitlines()]
    return [line.replace("# min # s", "# s") for line in lines if line]  # as fast as the machine is


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("readme")


def test_the_readme_does_as_it_says(folder, monkeypatch):
    monkeypatch.setenv("DLX_HOME", str(folder / "dlx-home"))
    monkeypatch.chdir(folder)
    ran = 0
    for kind, text in BLOCKS:
        if kind == "python":
            _python(text, folder)
        elif kind == "console":
            for command, expected in re.findall(r"^\$ (dlx .*)\n((?:(?!\$ ).*\n)*)", text, re.MULTILINE):
                ran += 1
                found = subprocess.run(
                    [str(Path(sys.executable).with_name("dlx")), *shlex.split(command)[1:]], capture_output=True,
                    text=True, timeout=300,
                )
                assert found.returncode == 0, found.stderr
                shown = masked(found.stdout.replace(str(folder), "…"))
                assert shown == masked(expected), command
    assert ran >= 3


def _python(text, folder):
    """Write a block that names its file to that file; run any other after the ones before."""
    if name := re.match(r"# (\w+\.py)\n", text):
        (folder / name[1]).write_text(text)
        return
    process = subprocess.run([sys.executable, "-c", text], cwd=folder, capture_output=True, text=True, timeout=300)
    assert process.returncode == 0, process.stderr


def test_every_table_is_where_its_benchmark_writes_it():
    text, scripts = README.read_text(), README.parent / "tests" / "benchmarks"
    placed = runpy.run_path(str(scripts / "tables.py"))["placed"]
    tables = re.findall(r"^<!-- (\w+) -->\n(.*?)^<!-- /(\w+) -->$", text, re.MULTILINE | re.DOTALL)
    assert len(tables) > 5
    for name, table, closed in tables:
        assert name == closed and (scripts / f"bench_{name}.py").exists()
        assert placed(text, name, table) == text != placed(text, name, "other")
    assert placed(text, "unknown", "table") == text
