"""What a value becomes by the annotation of its field, and what is refused there."""

import dataclasses
import inspect
import sys
import types
import typing
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeVar

from dlx.errors import DeclarationError


def is_component(value: Any) -> bool:
    """Whether the value is an instance of a dataclass."""
    return hasattr(type(value), "__dataclass_fields__")


@lru_cache(maxsize=4096)
def annotations(cls: type) -> Mapping[str, Any]:
    """Field name → resolved annotation; ``Any`` where it cannot be resolved."""
    hints: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        scope = vars(sys.modules[base.__module__]) if base.__module__ in sys.modules else {}
        hints |= {name: resolve_hint(said, scope) for name, said in inspect.get_annotations(base).items()}
    return {f.name: hints.get(f.name, Any) for f in dataclasses.fields(cls)}


def resolve_hint(said: Any, scope: dict[str, Any]) -> Any:
    """An annotation, read in the scope of its module; ``Any`` where it cannot be."""
    try:
        return typing.get_type_hints(types.SimpleNamespace(__annotations__={"it": said}), scope)["it"]
    except Exception:
        return Any


def exact(value: Any) -> Any:
    """Scalars of NumPy and torch (0-d) as the Python number they are; everything else unchanged."""
    if type(value) in (bool, int, float, str) or value is None:
        return value
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):
        return value.item()
    return value


def coerce(value: Any, annotation: Any, place: str) -> Any:
    """The value as its annotation says (an int where a float is due becomes one); DeclarationError if it cannot be."""
    value = exact(value)
    if annotation is Any or isinstance(annotation, TypeVar) or (type(value) is annotation and not is_container(value)):
        return value
    origin = typing.get_origin(annotation)
    if origin in (typing.Union, types.UnionType):
        return _coerce_union(value, typing.get_args(annotation), place)
    if origin is typing.Annotated:
        return coerce(value, typing.get_args(annotation)[0], place)
    if origin is typing.Literal:
        options = typing.get_args(annotation)
        if value in options:
            return value
        raise DeclarationError(f"{place} is {value!r}; it must be one of {', '.join(map(repr, options))}.")
    if annotation in (int, float, bool, str):
        return _coerce_scalar(value, annotation, place)
    kind = origin or annotation
    if is_container(value) and container(value, annotation) is not None:
        kinds = entry_kinds(value, annotation, place)
        if isinstance(value, Mapping):
            return {k: coerce(v, kind, f"{place}.{k}") for (k, v), kind in zip(value.items(), kinds, strict=True)}
        return tuple(coerce(v, k, f"{place}[{i}]") for i, (v, k) in enumerate(zip(value, kinds, strict=True)))
    if isinstance(kind, type):
        return _coerce_kind(value, kind, place)
    return value


def _coerce_union(value: Any, options: tuple[Any, ...], place: str) -> Any:
    if value is None and type(None) in options:
        return None
    if type(value) in options:
        return value
    problem: DeclarationError | None = None
    for option in options:
        try:
            return coerce(value, option, place)
        except DeclarationError as e:
            problem = problem or e
    raise problem or DeclarationError(f"{place} is {value!r}, which fits none of its types.")


def _coerce_scalar(value: Any, annotation: type, place: str) -> Any:
    if annotation is str or annotation is bool:
        fits = isinstance(value, annotation)
    else:
        fits = isinstance(value, int | float) and not isinstance(value, bool)
        fits = fits and (annotation is float or isinstance(value, int) or value.is_integer())
    if not fits:
        raise DeclarationError(f"{place} is {short(value)}; it must be {article(annotation.__name__)}.")
    return annotation(value) if annotation in (int, float) else value


def is_container(value: Any) -> bool:
    """Whether the value is a tuple, a list or a mapping."""
    return isinstance(value, list | tuple | Mapping)


def container(value: Any, annotation: Any) -> Any:
    """The part of an annotation that a tuple, list or mapping fits (``tuple[int]`` of an optional one), or None."""
    origin = typing.get_origin(annotation)
    if origin in (typing.Union, types.UnionType):
        return next((o for o in typing.get_args(annotation) if container(value, o) is not None), None)
    if origin is typing.Annotated:
        return container(value, typing.get_args(annotation)[0])
    kinds = (dict, Mapping) if isinstance(value, Mapping) else (tuple, list, Sequence)
    return annotation if (origin or annotation) in kinds else None


def entry_kinds(value: Sequence[Any] | Mapping[str, Any], annotation: Any, place: str) -> list[Any]:
    """The annotation of each entry of a tuple, list or mapping; DeclarationError when there are too many or too few."""
    args = typing.get_args(annotation)
    if isinstance(value, Mapping):
        return [args[1] if len(args) == 2 else Any] * len(value)
    if not args or args[-1] is Ellipsis or typing.get_origin(annotation) is not tuple:
        return [args[0] if args else Any] * len(value)
    if len(args) != len(value):
        raise DeclarationError(f"{place} has {len(value)} entries; it must have {len(args)}.")
    return list(args)


def _coerce_kind(value: Any, kind: type, place: str) -> Any:
    try:
        fits = isinstance(value, kind)
    except TypeError:  # a Protocol that is not runtime-checkable says nothing
        return value
    if fits:
        return value
    example = getattr(kind, "example", None)
    hint = f", such as {example}" if isinstance(example, str) else ""
    raise DeclarationError(f"{place} is {short(value)}; it must be {article(kind.__name__)}{hint}.")


def article(name: str) -> str:
    """A name with its indefinite article."""
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"


def short(value: Any) -> str:
    """A value in at most 80 characters, as an error shows it."""
    text = repr(value) if not is_component(value) else f"{type(value).__name__}(...)"
    return text if len(text) <= 80 else text[:77] + "..."
