"""Provenance: what it says of a repository, what it never says, and the digest of a trial's sources."""

import subprocess
import sys
import types
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import dlx.training
from dlx import provenance, records
from dlx.provenance import collect, command_line, looks_secret, source_digest, without_secrets
from dlx.trial import Trial


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    for name, text in (("study.py", "lr = 1\n"), (".env", "A=1\n"), ("deploy.pem", "old\n"), ("tokens.py", "n = 1\n")):
        (tmp_path / name).write_text(text)
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    for command in (["init", "-q", "-b", "work"], ["add", "."], [*who, "commit", "-q", "-m", "first"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    return tmp_path


def test_a_clean_repository_has_a_commit_and_no_diff(repository: Path) -> None:
    found = collect(repository)
    assert found.commit is not None and len(found.commit) == 40 and found.branch == "work"
    assert not found.dirty and found.diff == ""
    assert found.versions.keys() >= {"python", "torch", "ray", "optuna", "mlflow", "pyarrow"}
    assert found.hardware["cores"].isdigit() and found.host and found.command


def test_changes_are_shown_and_secrets_are_not(repository: Path) -> None:
    (repository / "study.py").write_text('lr = 2\npassword = "hunter22"\n')
    (repository / ".env").write_text("A=swordfish\n")
    (repository / "deploy.pem").write_text("swordfish\n")
    (repository / "tokens.py").write_text("n = 3\n")
    found = collect(repository)
    assert found.dirty and "+lr = 2" in found.diff and "+n = 3" in found.diff
    assert "swordfish" not in found.diff and "hunter22" not in found.diff and "left out" in found.diff


def test_a_long_diff_is_cut(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "LONGEST_DIFF", 1000)
    (repository / "study.py").write_text("lr = 3\n" * 1_000_000)
    found = collect(repository)
    assert found.dirty and len(found.diff) < 1100 and found.diff.endswith("(the rest is left out)\n")


def test_without_git_or_outside_of_a_repository_nothing_is_said_of_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert collect(tmp_path).commit is None and collect(tmp_path / "absent").diff == ""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert collect(".").commit is None and not collect(".").dirty


@pytest.mark.parametrize(("typed", "shown"), [
    (["dlx", "run", "a", "--set", "template.lr=0.1"], "dlx run a --set template.lr=0.1"),
    (["dlx", "--api-key", "abc", "run"], "dlx --api-key *** run"),
    (["dlx", "--token=abc"], "dlx '--token=***'"),
    (["dlx", "--password", "--quiet"], "dlx --password --quiet"),
    (["WANDB_API_KEY=abc"], "'WANDB_API_KEY=***'"),
    (["--set", "template.tokenizer=bpe", "--max-tokens", "64"], "--set template.tokenizer=bpe --max-tokens 64"),
    (["postgresql://me:abc@host/db"], "'postgresql://me:***@host/db'"),
    (["a study"], "'a study'"),
])
def test_the_command_line_is_shown_without_its_secrets(typed: list[str], shown: str) -> None:
    assert command_line(typed) == shown


@pytest.mark.parametrize("text", [
    "token: ghp_abcdefghijabcdefghijabcd", "AKIAABCDEFGHIJKLMNOP", '"client_secret": "abc"', "hf_" + "a" * 30,
    "-----BEGIN RSA PRIVATE KEY-----\nabc\n", "https://me:abc@host",
])
def test_a_secret_inside_a_diff_is_masked(text: str) -> None:
    shown = without_secrets(f"diff --git a/x.py b/x.py\n+{text}\n")
    assert "***" in shown and "abc" not in shown.lower() and "aaaa" not in shown


@pytest.mark.parametrize(("path", "secret"), [
    ("a/.env", True), (".env.local", True), ("certs/server.pem", True), ("id_rsa", True), ("wandb_key.txt", True),
    ("secrets/values.yaml", True), ("study.py", False), ("tokenizer.py", False), ("data/monkey.py", False),
])
def test_files_that_look_like_secrets(path: str, secret: bool) -> None:
    assert looks_secret(path) is secret


@given(st.text(max_size=300))
def test_any_text_can_be_shown(text: str) -> None:
    without_secrets(text)
    command_line([text, text])


# ---------------------------------------------------------------- sources

STUDY = """
from dataclasses import dataclass
from {base} import {name} as Base
@dataclass(frozen=True)
class Mine(Base):
    x: int = 0
"""


def made(tmp_path: Path, name: str, source: str) -> type[Trial]:
    """The class ``Mine`` of a module with this source, as the loader of study files makes it."""
    (tmp_path / f"{name}.py").write_text(source)
    module = types.ModuleType(name)
    module.__file__ = str(tmp_path / f"{name}.py")
    sys.modules[name] = module
    exec(compile(source, module.__file__, "exec"), module.__dict__)
    found: type[Trial] = module.__dict__["Mine"]
    return found


def test_the_digest_follows_the_source_of_the_class_and_of_its_bases(tmp_path: Path) -> None:
    plain = STUDY.format(base="dlx.trial", name="Trial")
    one, same = made(tmp_path, "source_one", plain)(), made(tmp_path, "source_same", plain.replace("\n", "\r\n"))()
    other = made(tmp_path, "source_other", plain + "# changed\n")()
    assert source_digest(one) == source_digest(same) != source_digest(other) and len(source_digest(one)) == 32
    assert source_digest(one) != source_digest((one, other)) == source_digest({"a": other, "b": one})
    child = STUDY.format(base="{base}", name="Mine")
    children = {source_digest(made(tmp_path, f"child_of_{base}", child.format(base=base))())
                for base in ("source_one", "source_same", "source_other")}
    assert len(children) == 3
    for name in [n for n in sys.modules if n.startswith(("source_", "child_of_source"))]:
        del sys.modules[name]


def test_what_is_dlx_own_does_not_count() -> None:
    training = dlx.Training(dlx.data.MNIST1D(), dlx.models.MLP(4, 1), dlx.optim.SGD(0.1), steps=1)
    assert source_digest(training) == source_digest(3)


def test_what_a_run_adds_to_the_versions_stays_out_of_rows():
    before = dict(records.versions())
    assert provenance.collect().versions.keys() > before.keys() and records.versions() == before
