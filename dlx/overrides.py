"""Change a declaration by path: in Python with values, on the command line with literals and marker calls."""

import ast
import dataclasses
import difflib
import typing
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from dlx import markers
from dlx.coercion import is_component
from dlx.compile import option_labels
from dlx.errors import DeclarationError
from dlx.markers import Grid, Marker

S = TypeVar("S")
HIDDEN = ("presets", "variant")  # fields of a study that no path reaches
CALLS = ("grid", "uniform", "loguniform", "randint", "choice")


def apply(study: S, changes: Mapping[str, Any], **named: Any) -> S:
    """The study with each path replaced; raises DeclarationError, with the nearest match, for an unknown path.

    It is checked once, with all of them in place; ``named``: fields that no path reaches.
    """
    current: Any = dict(_children(study, ""))
    for path, value in changes.items():
        known = dict(places(current))
        if path not in known:
            raise DeclarationError(_unknown(path, known))
        old = known[path]
        if isinstance(value, list):
            value = tuple(value)
        made: dict[int, tuple[Grid, Grid]] = {}
        if isinstance(old, Marker):  # one marker object is one axis: all its places change together
            current = _replace(current, "", lambda place, v, old=old, new=value: new if v is old else v, made)
        else:
            current = _replace(current, "", lambda place, v, path=path, new=value: new if place == path else v, made)
        for before, after in made.values():  # so do those of a grid around the change
            current = _replace(current, "", lambda place, v, old=before, new=after: new if v is old else v, {})
    return typing.cast(S, dataclasses.replace(typing.cast(Any, study), **current, **named))


def _unknown(path: str, known: Mapping[str, Any]) -> str:
    near = difflib.get_close_matches(path, known, n=1, cutoff=0.5)
    if not near and (tail := path.rpartition(".")[2]):
        near = [p for p in known if p.rpartition(".")[2] == tail][:1]
    roots = ", ".join(sorted(p for p in known if "." not in p and "[" not in p))
    hint = f"did you mean {near[0]!r}?" if near else f"paths begin with {roots}."
    return f"Nothing in the study is called {path!r}; {hint}"


def places(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Every path below a declaration and what stands there."""
    if place:
        yield place, value
    for name, child in _children(value, place):
        yield from places(child, name)


def _children(value: Any, place: str) -> Iterator[tuple[str, Any]]:
    prefix = f"{place}." if place else ""
    if is_component(value) and not isinstance(value, Marker):
        for f in dataclasses.fields(value):
            if place or f.name not in HIDDEN:
                yield f"{prefix}{f.name}", getattr(value, f.name)
    elif isinstance(value, Grid):
        for label, option in zip(option_labels(value.options), value.options, strict=True):
            if is_component(option) or isinstance(option, list | tuple | Mapping):
                yield f"{place}[{label}]", option
    elif isinstance(value, list | tuple):
        for i, option in enumerate(value):
            yield f"{place}[{i}]", option
    elif isinstance(value, Mapping):
        for key, option in value.items():
            yield f"{prefix}{key}", option


def _replace(value: Any, place: str, change: Any, made: dict[int, tuple[Grid, Grid]]) -> Any:
    """The tree with ``change(place, value)`` applied everywhere; untouched parts stay the same objects.

    made: by id, grids with a change inside, and what became of them.
    """
    changed = change(place, value) if place else value
    if changed is not value:
        return changed
    if id(value) in made:
        return made[id(value)][1]
    old = dict(_children(value, place))
    new = {name: _replace(child, name, change, made) for name, child in old.items()}
    if all(new[name] is old[name] for name in old):
        return value
    if isinstance(value, Grid):
        by_option = {id(old[name]): new[name] for name in old}
        made[id(value)] = value, type(value)(tuple(by_option.get(id(o), o) for o in value.options))
        return made[id(value)][1]
    if is_component(value):
        prefix = f"{place}." if place else ""
        return dataclasses.replace(value, **{n.removeprefix(prefix): v for n, v in new.items() if v is not old[n]})
    if isinstance(value, Mapping):
        return dict(zip(value, new.values(), strict=True))
    return type(value)(new.values())


def parse(text: str) -> tuple[str, Any]:
    """``path=value`` from the command line: a literal, several with commas (a grid), or one call of a marker.

    Never evaluates code; raises DeclarationError with an example for anything else.
    """
    path, sign, right = text.partition("=") if "]" not in text else _split_after_bracket(text)
    if not sign or not path.strip() or not right.strip():
        raise DeclarationError(f"--set {text!r} is not path=value; write, say, --set 'template.model.width=32,64'.")
    try:
        items = ast.parse(f"({right.strip()},)", mode="eval").body
        values = [_literal(node) for node in items.elts] if isinstance(items, ast.Tuple) else []
        if not values:
            raise ValueError("not a list of values")
    except (SyntaxError, ValueError, TypeError, RecursionError) as e:
        words = [w.strip() for w in right.split(",")]
        if not all(w.replace("_", "").replace("-", "").isalnum() for w in words):
            raise DeclarationError(
                f"--set {path}: {right!r} is neither a literal nor a marker; write 0.1, 32,64, relu or "
                "loguniform(1e-4, 1)."
            ) from e
        values = list(words)
    return path.strip(), values[0] if len(values) == 1 else markers.grid(*values)


def _split_after_bracket(text: str) -> tuple[str, str, str]:
    """Split at the first ``=`` outside brackets: labels such as ``[SGD(momentum=0.9)]`` hold some of their own."""
    depth = 0
    for i, letter in enumerate(text):
        depth += (letter == "[") - (letter == "]")
        if letter == "=" and depth == 0:
            return text[:i], "=", text[i + 1 :]
    return text, "", ""


def _literal(node: ast.expr) -> Any:
    if isinstance(node, ast.Call):
        if not isinstance(node.func, ast.Name) or node.func.id not in CALLS or node.keywords:
            raise ValueError("not a marker")
        return getattr(markers, node.func.id)(*(_literal(a) for a in node.args))
    if isinstance(node, ast.Name) and node.id not in CALLS:
        return node.id
    return ast.literal_eval(node)
