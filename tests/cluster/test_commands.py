"""The commands in the README and in the files: programs of ours and of Ray know each option, and named files exist."""

import re
import shlex
from pathlib import Path

import pytest
import typer
import yaml

ROOT = Path(__file__).parents[2]
CLUSTER = ROOT / "cluster"
README = (CLUSTER / "README.md").read_text()
BLOCKS = re.findall(r"^```sh\n(.*?)^```", README, re.M | re.S)
ENTRYPOINT = yaml.safe_load((CLUSTER / "kuberay-job.yaml").read_text())["spec"]["entrypoint"]
BATCH = re.search(r"^dlx run .*?(?= &$)", (CLUSTER / "slurm.sh").read_text(), re.M)[0]


def words():
    """The words of each command."""
    for block in [*BLOCKS, ENTRYPOINT, BATCH]:
        for line in re.sub(r"\\\n", " ", block).splitlines():
            lexer = shlex.shlex(line, posix=True, punctuation_chars=";&|")
            lexer.whitespace_split, found = True, []
            for word in lexer:
                if set(word) <= set(";&|"):
                    yield found
                    found = []
                else:
                    found.append(word)
            yield found


def calls(program):
    for command in words():
        for i, word in enumerate(command):
            if word == program and (i == 0 or command[i - 1] == "--" or "=" in command[i - 1]):
                yield command[i + 1:]


def unknown(command, arguments):
    """Long options that a command does not have, up to ``--``; of the subcommand that is named."""
    arguments = arguments[: arguments.index("--")] if "--" in arguments else arguments
    while hasattr(command, "commands"):
        command, arguments = command.commands[arguments[0]], arguments[1:]
    known = {option for parameter in command.params for option in parameter.opts}
    return {a.split("=")[0] for a in arguments if a.startswith("--")} - known


def test_ray_knows_every_option():
    from ray.scripts.scripts import cli

    found = list(calls("ray"))
    assert {tuple(c[:2]) for c in found} >= {("get-auth-token", "--generate"), ("up", "ray-aws.yaml")}
    for arguments in found:
        assert not unknown(cli, arguments), arguments
    assert unknown(cli, ["job", "submit", "--adress", "x"]) == {"--adress"}


def test_dlx_knows_every_option():
    from dlx.cli import app

    found = list(calls("dlx"))
    assert {c[0] for c in found} >= {"run", "submit", "watch", "stop"} and ["watch", "STUDY.py"] in found
    for arguments in found:
        assert not unknown(typer.main.get_command(app), arguments), arguments


def test_mlflow_knows_every_option():
    from mlflow.cli import cli

    script = (CLUSTER / "tracking" / "serve.sh").read_text()
    served = re.search(r"^mlflow (.*?) &$", re.sub(r"\\\n", " ", script), re.M)[1]
    assert not unknown(cli, shlex.split(served))


@pytest.mark.parametrize("name", sorted({
    *re.findall(r"\]\(([^)]+)\)", README),
    *(w for c in words() for w in c if w.endswith((".yaml", ".sh", "env.example", "Dockerfile")) and "=" not in w),
}))
def test_every_file_that_is_named_exists(name):
    assert any((folder / name).exists() for folder in (CLUSTER, ROOT, CLUSTER / "tracking"))


def test_ray_is_the_version_that_was_tested():
    pinned = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().split() if "==" in line)
    assert f"ray[default]=={pinned['ray']}" in README


def test_nothing_listens_on_all_addresses_but_inside_containers():
    for path in CLUSTER.rglob("*"):
        if path.is_file() and "0.0.0.0" in path.read_text():
            assert path.name in ("compose.yaml", "kubernetes.yaml"), path
