"""Study files: found by name or path, loaded without installing anything, each with exactly one study.

Files lie in a folder ``studies`` below the current one, and in the one that comes with dlx; the former hides a file
of the same place in the latter.
"""

import ast
import copyreg
import dataclasses
import difflib
import functools
import hashlib
import importlib.util
import inspect
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import cloudpickle

from dlx.coercion import short
from dlx.errors import DeclarationError, DlxError
from dlx.study import Study

PREFIX = "dlx_study_"  # of the names of their modules


@dataclasses.dataclass(frozen=True)
class Found:
    """A study file: its name (``theme/study``), and its study, or why there is none."""

    name: str
    path: Path
    study: Study | None
    problem: str | None = None


def load(name: str) -> Study:
    """The study of a file, by name (``double_descent``), by theme and name, by path, or as the study is called.

    Raises DeclarationError when there is no such file, or it does not declare exactly one study of a name of its own.
    """
    path, beside = _find(name)
    study = _study_of(path)
    for other in beside:
        if other.resolve() != path.resolve() and study.name in _names_in(other):
            raise DeclarationError(_same_name(study.name, path, other))
    return study


def find_all() -> list[Found]:
    """All study files with their studies, in the order of their names; what cannot be loaded says why."""
    found = []
    for name, path in sorted(_files().items()):
        try:
            found.append(Found(name, path, _study_of(path)))
        except DlxError as e:
            found.append(Found(name, path, None, str(e)))
    first: dict[str, Path] = {}
    for i, one in enumerate(found):
        if one.study is not None and (other := first.setdefault(one.study.name, one.path)) != one.path:
            found[i] = Found(one.name, one.path, None, _same_name(one.study.name, other, one.path))
    return found


def _same_name(name: str, one: Path, other: Path) -> str:
    return f"Two studies are called {name!r}: {_shown(one)} and {_shown(other)}; rename one of them."


# ---------------------------------------------------------------- finding


def roots() -> list[Path]:
    """The folders in which study files are looked for, the nearest first."""
    package = Path(__file__).resolve().parent
    places = [Path.cwd() / "studies", package.parent / "studies", package / "library"]
    return [p for i, p in enumerate(places) if p.is_dir() and p.resolve() not in [q.resolve() for q in places[:i]]]


def _files() -> dict[str, Path]:
    """Study files by name: their place below ``studies`` without ``.py``."""
    found: dict[str, Path] = {}
    for root in roots():
        for path in sorted(root.rglob("*.py")):
            inside = path.relative_to(root)
            if not any(part.startswith((".", "_")) for part in inside.parts):
                found.setdefault(inside.with_suffix("").as_posix(), path)
    return found


def _find(name: str) -> tuple[Path, list[Path]]:
    """The file that is meant, and the files among which the name of its study must be its own."""
    files = _files()
    for path in (Path(name), Path(f"{name}.py")):
        if path.suffix == ".py" and os.path.isfile(path):
            known = path.resolve() in [p.resolve() for p in files.values()]
            return path, list(files.values()) if known else sorted(path.parent.glob("*.py"))
    wanted = name.removesuffix(".py").removeprefix("./").removeprefix("studies/")
    hits = [n for n in files if n == wanted] or [n for n in files if n.endswith(f"/{wanted}")]
    if len(hits) > 1:
        both = " and ".join(_shown(files[n]) for n in hits)
        raise DeclarationError(f"{name!r} may be {both}; write {hits[0]} or {hits[1]}.")
    if not hits and (titled := _by_title(name)) is not None:
        return titled.path, list(files.values())
    if not hits:
        raise DeclarationError(_unknown(name, wanted, files))
    return files[hits[0]], list(files.values())


def _by_title(name: str) -> Found | None:
    """The file whose study is called so, where no file is."""
    return next((one for one in find_all() if one.study is not None and one.study.name == name), None)


def _unknown(name: str, wanted: str, files: Mapping[str, Path]) -> str:
    if name.endswith(".py") or not files:
        where = " or ".join(map(str, roots())) or "a folder named studies"
        return f"There is no study file {name!r}; give its path, or its name when it lies in {where}."
    by_end = {n.rpartition("/")[2]: n for n in files} | {n: n for n in files}
    near = difflib.get_close_matches(wanted, by_end, n=1, cutoff=0.5)
    known = ", ".join(sorted(files))
    hint = f"did you mean {near[0]!r} (there are {known})?" if near else f"there are {known}."
    return f"There is no study {short(name)}; {hint}"


def _names_in(path: Path) -> Iterator[str]:
    """The names that calls of ``Study`` in a file give, read without running it."""
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) == "Study":
            given = [k.value for k in node.keywords if k.arg == "name"] + node.args[:1]
            yield from (v.value for v in given if isinstance(v, ast.Constant) and isinstance(v.value, str))


def _shown(path: Path) -> str:
    """The path as a person here would write it."""
    path = path.absolute()
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


# ---------------------------------------------------------------- loading


def _study_of(path: Path) -> Study:
    module = _module(path)
    studies: dict[int, tuple[str, Study]] = {}
    for variable, value in vars(module).items():
        if isinstance(value, Study):
            studies.setdefault(id(value), (variable, value))
    if len(studies) == 1:
        study = next(iter(studies.values()))[1]
        return study if study.notes else dataclasses.replace(study, notes=inspect.cleandoc(module.__doc__ or ""))
    if not studies:
        raise DeclarationError(f"{_shown(path)} declares no study; write STUDY = dlx.Study(...) at its top level.")
    names = ", ".join(name for name, _ in studies.values())
    raise DeclarationError(f"{_shown(path)} declares {len(studies)} studies ({names}); put each into its own file.")


def _module(path: Path) -> ModuleType:
    """The executed module of a file, under a name of its own that workers need not know: it travels by value."""
    name = PREFIX + path.stem + "_" + hashlib.blake2b(os.fsencode(path.resolve()), digest_size=6).hexdigest()
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    before = sys.modules.get(name)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
        cloudpickle.register_pickle_by_value(module)
    except BaseException as e:
        del sys.modules[name]
        if before is not None:
            sys.modules[name] = before
        if isinstance(e, KeyboardInterrupt):
            raise
        raise DeclarationError(_cannot_load(path, e)) from e
    return module


def _reduced(cached: Any) -> str | tuple[Any, ...]:
    """How a cached function is pickled: that of a study by value, with an empty cache, another by its name."""
    if not cached.__module__.startswith((PREFIX, "__main__")):
        return str(cached.__qualname__)
    return _cached, (cached.__wrapped__, cached.cache_parameters())


def _cached(function: Callable[..., Any], parameters: Mapping[str, Any]) -> Any:
    return functools.lru_cache(**parameters)(function)


copyreg.pickle(type(functools.lru_cache(len)), _reduced)


def _cannot_load(path: Path, error: BaseException) -> str:
    """One sentence with the file, the line and what is wrong there."""
    if isinstance(error, SyntaxError) and error.filename and Path(error.filename).resolve() == path.resolve():
        return f"{_shown(path)}, line {error.lineno}: {error.msg}; correct the syntax there."
    own = [f.lineno for f in traceback.extract_tb(error.__traceback__) if Path(f.filename).resolve() == path.resolve()]
    place = f"{_shown(path)}, line {own[-1]}" if own else _shown(path)
    text = " ".join(str(error).split())
    if isinstance(error, DlxError):
        return f"{place}: {text}"
    return f"{place}: {type(error).__name__}: {text or 'no message'}; correct the file."
