"""Where results come from: code, changes to it, versions, hardware and the command line; never a secret."""

import hashlib
import inspect
import os
import platform
import re
import shlex
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields
from fnmatch import fnmatch
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from dlx import records
from dlx.coercion import is_component

NOT_OWN = ("dlx", "builtins", "typing", "abc")  # packages whose classes a source digest leaves out
PACKAGES = ("ray", "optuna", "mlflow", "pyarrow", "scipy")  # besides those that numbers may depend on
LONGEST_DIFF = 200_000  # characters of the dirty diff that are kept
PATIENCE = 1.0  # seconds that git gets to answer
MASK = "***"

SECRET_FILES = (
    ".env*", "*.env", "*.pem", "*.p12", "*.pfx", "*.jks", "*.keystore", "*.key", "id_rsa*", "id_ed25519*", ".netrc",
    ".npmrc", ".pypirc", ".git-credentials", "kubeconfig*",
)
SECRET_UNLESS_CODE = ("*secret*", "*credential*", "*password*", "*token*", "*key*")  # token.txt, but not tokens.py
CODE = (".py", ".pyi", ".md", ".c", ".cc", ".cpp", ".cu", ".h", ".rs")
SECRET_NAME = (
    r"[\w.-]*(?:secret|passw(?:or)?d|passphrase|credential|(?:api|access|private|auth)[_-]?key|token)(?![a-z]|s\b)"
)
OPTION = re.compile(rf"-{{0,2}}{SECRET_NAME}[\w.-]*", re.IGNORECASE)
VALUE = r"\"[^\"]*\"|'[^']*'|[^\s\"',;()\[\]]{8,}"
ASSIGNED = re.compile(rf"({SECRET_NAME}[\w-]*[\"']?\s*[=:]\s*)({VALUE})", re.IGNORECASE)
IN_ADDRESS = re.compile(r"(\w+://[^\s/@:]*:)[^\s/@]+@")
KNOWN = re.compile(
    r"\b(?:AKIA[0-9A-Z]{16}|gh[opsu]_\w{20,}|github_pat_\w{20,}|hf_\w{20,}|sk-[\w-]{20,}|xox[abp]-[\w-]{10,}"
    r"|eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]+)"
)
PRIVATE = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL)


@dataclass(frozen=True)
class Provenance:
    """What a run was made with; every field is safe to show."""

    command: str
    host: str
    dlx: str  # version
    commit: str | None = None  # None outside git
    branch: str | None = None
    dirty: bool = False
    diff: str = ""  # what differs from the commit in tracked files, at most ``LONGEST_DIFF`` characters
    versions: dict[str, str] = field(default_factory=dict)
    hardware: dict[str, str] = field(default_factory=dict)


def collect(folder: str | os.PathLike[str] = ".") -> Provenance:
    """The provenance of this process, git being asked about ``folder``; never raises."""
    found = _versions()
    commit, branch = _git(folder, "rev-parse", "HEAD"), _git(folder, "rev-parse", "--abbrev-ref", "HEAD")
    diff: str | None = ""
    if commit:
        diff = _git(folder, "diff", "HEAD", "--no-ext-diff", "--no-textconv", "--no-color", "--src-prefix=a/",
                    "--dst-prefix=b/")
    return Provenance(
        command=command_line(sys.argv), host=socket.gethostname(), dlx=found.get("dlx", "unknown"),
        commit=commit and commit.strip(), branch=branch and branch.strip(), dirty=diff != "",
        diff="(git gave no diff in time)" if diff is None else without_secrets(diff), versions=found,
        hardware=_hardware(),
    )


def source_digest(trial: Any) -> str:
    """Digest of the source files of a trial's classes and of its components', dlx's own left out: 32 digits."""
    return _digest_of(frozenset(_own_classes(trial)))


@cache
def _digest_of(classes: frozenset[type]) -> str:
    hashed = hashlib.blake2b(digest_size=16)
    for source in sorted({hashlib.blake2b(_source(c)).digest() for c in classes}):
        hashed.update(source)
    return hashed.hexdigest()


def _own_classes(value: Any) -> Iterator[type]:
    """Classes of a component and of all below it, with their bases, that are neither dlx's nor Python's."""
    if is_component(value):
        yield from (c for c in type(value).__mro__ if c.__module__.partition(".")[0] not in NOT_OWN)
        for f in fields(value):
            yield from _own_classes(getattr(value, f.name))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _own_classes(item)
    elif isinstance(value, Mapping):
        yield from _own_classes(tuple(value.values()))


def _source(cls: type) -> bytes:
    module = sys.modules.get(cls.__module__)
    with suppress(OSError):
        return Path(str(getattr(module, "__file__", None))).read_bytes().replace(b"\r\n", b"\n")
    try:
        return inspect.getsource(cls).encode()
    except (OSError, TypeError):
        return f"{cls.__module__}.{cls.__qualname__}".encode()


# ---------------------------------------------------------------- secrets


def command_line(arguments: Sequence[str]) -> str:
    """The arguments as one would type them, the values of secret-looking options masked."""
    shown: list[str] = []
    hide = False
    for argument in arguments:
        name, equals, _ = argument.partition("=")
        if hide and not argument.startswith("-"):
            shown.append(MASK)
        elif equals and OPTION.fullmatch(name):
            shown.append(f"{name}={MASK}")
        else:
            shown.append(_masked(argument))
        hide = not equals and argument.startswith("-") and OPTION.fullmatch(argument) is not None
    return shlex.join(shown).replace(f"'{MASK}'", MASK)


def without_secrets(diff: str) -> str:
    """A git diff without the files that look like secrets, secret-looking values masked, cut to ``LONGEST_DIFF``."""
    first, *sections = re.split(r"^(?=diff --git )", diff, flags=re.MULTILINE)
    kept = [first]
    for section in sections:
        header = section.partition("\n")[0]
        if any(looks_secret(path) for path in re.split(r' "?[ab]/', header)[1:]):
            kept.append(f"{header}\n(left out: the name looks like a secret's)\n")
        else:
            kept.append(section)
    text = _masked("".join(kept))
    return text if len(text) <= LONGEST_DIFF else text[:LONGEST_DIFF] + "\n(the rest is left out)\n"


def looks_secret(path: str) -> bool:
    """Whether a file's name, or that of a folder above it, looks as if it held secrets."""
    *folders, name = path.lower().strip('"').split("/")
    patterns = SECRET_FILES if name.endswith(CODE) else SECRET_FILES + SECRET_UNLESS_CODE
    if any(fnmatch(part, pattern) for part in folders for pattern in ("*secret*", "*credential*")):
        return True
    return any(fnmatch(name, pattern) for pattern in patterns)


def _masked(text: str) -> str:
    text = PRIVATE.sub(MASK, text)
    text = ASSIGNED.sub(rf"\1{MASK}", text)
    return KNOWN.sub(MASK, IN_ADDRESS.sub(rf"\1{MASK}@", text))


# ---------------------------------------------------------------- surroundings


def _git(folder: str | os.PathLike[str], *arguments: str) -> str | None:
    """What git prints, up to twice ``LONGEST_DIFF`` bytes; None where git fails, is missing or is slow."""
    command = ["git", "-c", "core.fsmonitor=false", "-c", "core.quotepath=off", *arguments]
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    try:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    except OSError:
        return None
    timer = threading.Timer(PATIENCE, process.kill)
    timer.start()
    try:
        assert process.stdout is not None
        with process.stdout as out:
            text = out.read(2 * LONGEST_DIFF).decode(errors="replace")
    finally:
        timer.cancel()
    if len(text) >= LONGEST_DIFF:
        process.kill()
        process.wait()
        return text
    return text if process.wait() == 0 else None


def _versions() -> dict[str, str]:
    found = dict(records.versions())
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _hardware() -> dict[str, str]:
    """Processor, cores, memory and GPUs, from the operating system alone: no torch, no helper program."""
    found = {"system": platform.platform(), "machine": platform.machine(), "cores": str(os.cpu_count() or "unknown")}
    if model := _line("/proc/cpuinfo", "model name"):
        found["processor"] = model
    with suppress(OSError, ValueError):
        found["memory"] = f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.1f} GiB"
    cards = [_line(str(p), "Model") for p in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information"))]
    if cards:
        found["gpus"] = ", ".join(card or "unknown" for card in cards)
    return found


def _line(path: str, name: str) -> str | None:
    """The value of the first ``name: value`` line of a file."""
    try:
        with open(path, encoding="utf-8", errors="replace") as lines:
            return next((v.strip() for k, _, v in (line.partition(":") for line in lines) if k.strip() == name), None)
    except OSError:
        return None
