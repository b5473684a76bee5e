"""A trial: one setting at one seed, run once; and the key that is made of its values alone.

A setting is a tree of frozen dataclasses (components), tuples, dicts and scalars. Its digest is a Merkle digest,
so that a subtree shared by a million trials is digested once; a key is the digest of (setting digest, seed).
"""

import dataclasses
import hashlib
import inspect
import math
import operator
import types
import typing
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

from dlx.errors import DeclarationError

if typing.TYPE_CHECKING:
    from dlx.context import Context

DIGEST_BYTES = 16
T = TypeVar("T")


def field(default: Any = dataclasses.MISSING, *, absent: Any = dataclasses.MISSING, keyed: bool = True) -> Any:
    """A dataclass field of a component that says how it enters the key.

    ``absent``: the value that keys of before this field existed stand for (the field is left out of the key when it
    equals it). ``keyed=False``: the field observes and does not influence (metrics), so it is no part of the key.
    """
    metadata = {"keyed": keyed} if absent is dataclasses.MISSING else {"keyed": keyed, "absent": absent}
    return dataclasses.field(default=default, metadata=metadata)


class Trial:
    """Base of whatever can be run once: subclass it as a frozen dataclass and write ``run``.

    ``version``: raise it when ``run`` changes meaning, and stored results no longer count.
    """

    version: ClassVar[int] = 1

    def run(self, ctx: "Context") -> Mapping[str, float]:
        """Run the trial and return its final metrics, such as ``{"test/loss": 0.1}``."""
        raise NotImplementedError(f"{type(self).__name__} defines no run(self, ctx)")

    def check(self) -> None:
        """Raise DeclarationError when the values cannot be run together; called after resolving."""

    def shape(self) -> Hashable | None:
        """What trials must agree in to train as one pack; None: the trial always runs alone."""
        return None

    @classmethod
    def run_pack(
        cls, trials: Sequence[Self], contexts: Sequence["Context"]
    ) -> Sequence[Mapping[str, float] | Exception]:
        """Run trials of equal ``shape()`` together; one result, or the exception of that member, for each."""
        raise NotImplementedError(f"{cls.__name__} has a shape() and so must define run_pack")


def trial(version: int = 1, name: str | None = None) -> Callable[[Callable[..., Mapping[str, float]]], Any]:
    """Make a trial of a plain function whose first parameter is ``ctx`` and whose others are the values."""

    def decorate(function: Callable[..., Mapping[str, float]]) -> type[Trial]:
        parameters = list(inspect.signature(function).parameters.values())
        if not parameters or parameters[0].name != "ctx":
            raise DeclarationError(f"@dlx.trial: {function.__name__} must take ctx as its first parameter.")
        hints = typing.get_type_hints(function)
        fields: list[Any] = []
        for p in parameters[1:]:
            if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD):
                raise DeclarationError(
                    f"@dlx.trial: {function.__name__} takes *{p.name}; name each value, so that it can be hashed."
                )
            default = [] if p.default is p.empty else [dataclasses.field(default=p.default)]
            fields.append((p.name, hints.get(p.name, Any), *default))
        names = [f[0] for f in fields]

        def run(self: Trial, ctx: "Context") -> Mapping[str, float]:
            return function(ctx, **{n: getattr(self, n) for n in names})

        namespace = {"run": run, "version": version, "__doc__": function.__doc__, "__module__": function.__module__}
        made = dataclasses.make_dataclass(name or function.__name__, fields, bases=(Trial,), frozen=True,
                                          namespace=namespace)
        made.__module__ = function.__module__
        made.__qualname__ = function.__qualname__
        return made

    return decorate


@dataclasses.dataclass(frozen=True)
class File:
    """A file that enters the key by its content, not by its path."""

    path: str

    def read_bytes(self) -> bytes:
        """The content; raises DeclarationError when the file is absent."""
        try:
            return Path(self.path).read_bytes()
        except OSError as e:
            raise DeclarationError(f"dlx.File: {self.path} cannot be read ({e.strerror}); name an existing file.") from e


def is_component(value: Any) -> bool:
    """Whether the value is an instance of a dataclass."""
    return dataclasses.is_dataclass(value) and not isinstance(value, type)


def public_name(cls: type) -> str:
    """The name under which a component enters the key: ``public_name`` if the class declares one, else its own."""
    return cls.__dict__.get("public_name") or cls.__name__


def _version(cls: type) -> int:
    version = getattr(cls, "version", 1)
    return version if isinstance(version, int) else 1


@lru_cache(maxsize=4096)
def annotations(cls: type) -> Mapping[str, Any]:
    """Field name → resolved annotation; ``Any`` where it cannot be resolved."""
    try:
        hints = typing.get_type_hints(cls)
    except Exception:
        hints = {}
    return {f.name: hints.get(f.name, Any) for f in dataclasses.fields(cls)}


# ---------------------------------------------------------------- coercion


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
    if annotation is Any or isinstance(annotation, TypeVar):
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
    if kind in (tuple, list, Sequence) and isinstance(value, list | tuple):
        return _coerce_sequence(value, typing.get_args(annotation), place)
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
    wrong = DeclarationError(f"{place} is {_short(value)}; it must be {_article(annotation.__name__)}.")
    if annotation is str or annotation is bool:
        if isinstance(value, annotation):
            return value
        raise wrong
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise wrong
    if annotation is float:
        return float(value)
    if isinstance(value, float) and not value.is_integer():
        raise wrong
    return int(value)


def _coerce_sequence(value: Sequence[Any], args: tuple[Any, ...], place: str) -> tuple[Any, ...]:
    if not args or args[-1] is Ellipsis or len(args) == 1:
        kinds = [args[0] if args else Any] * len(value)
    elif len(args) == len(value):
        kinds = list(args)
    else:
        raise DeclarationError(f"{place} has {len(value)} entries; it must have {len(args)}.")
    return tuple(coerce(v, k, f"{place}[{i}]") for i, (v, k) in enumerate(zip(value, kinds, strict=True)))


def _coerce_kind(value: Any, kind: type, place: str) -> Any:
    try:
        fits = isinstance(value, kind)
    except TypeError:  # a Protocol that is not runtime-checkable says nothing
        return value
    if fits:
        return value
    example = getattr(kind, "example", None)
    hint = f", such as {example}" if isinstance(example, str) else ""
    raise DeclarationError(f"{place} is {_short(value)}; it must be {_article(kind.__name__)}{hint}.")


def _article(name: str) -> str:
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"


def _short(value: Any) -> str:
    text = repr(value) if not is_component(value) else f"{_article(type(value).__name__)}"
    return text if len(text) <= 80 else text[:77] + "..."


# ---------------------------------------------------------------- canonical form and digests


def digest(payload: bytes) -> bytes:
    """blake2b-128 of a payload."""
    return hashlib.blake2b(payload, digest_size=DIGEST_BYTES).digest()


def scalar_digest(value: Any, place: str) -> bytes:
    """Digest of None, bool, int, float (by ``float.hex``; −0.0 as 0.0; NaN refused) or str."""
    if value is None:
        return digest(b"n")
    if isinstance(value, bool):
        return digest(b"b1" if value else b"b0")
    if isinstance(value, int):
        return digest(b"i%d" % value)
    if isinstance(value, float):
        if math.isnan(value):
            raise DeclarationError(f"{place} is NaN, which equals nothing; give a number.")
        return digest(b"f" + (value + 0.0).hex().encode())
    if isinstance(value, str):
        return digest(b"s" + value.encode())
    raise DeclarationError(f"{place} is {_short(value)}, {_refusal(value)}")


def _refusal(value: Any) -> str:
    if isinstance(value, Path):
        return "a path, whose content may change; wrap it as dlx.File(path)."
    if callable(value):
        return "a function, whose meaning cannot be hashed; give a component or a named value instead."
    if hasattr(value, "read") and hasattr(value, "close"):
        return "an open file; give its path as dlx.File(path)."
    if isinstance(value, set | frozenset):
        return "a set, which has no order; give a tuple."
    return f"and a {type(value).__name__} has no canonical form; use numbers, strings, tuples, dicts or dataclasses."


def sequence_digest(children: Sequence[bytes]) -> bytes:
    """Digest of a tuple or list of digested children."""
    return digest(b"t" + b"".join(children))


def mapping_digest(children: Mapping[str, bytes]) -> bytes:
    """Digest of a dict with string keys."""
    return digest(b"d" + b"".join(digest(b"s" + k.encode()) + children[k] for k in sorted(children)))


def component_header(cls: type) -> bytes:
    """What stands before the fields of a component in its digest: its public name and version."""
    return b"c" + public_name(cls).encode() + b"\0" + str(_version(cls)).encode() + b"\0"


def keyed_fields(cls: type) -> Iterator[dataclasses.Field[Any]]:
    """Fields that enter the key, in the order of their names."""
    for f in sorted(dataclasses.fields(cls), key=operator.attrgetter("name")):
        if f.metadata.get("keyed", True):
            yield f


def left_out(f: dataclasses.Field[Any], value: Any) -> bool:
    """Whether a field was added later and has the value that its absence stands for."""
    return "absent" in f.metadata and value == f.metadata["absent"]


def field_name_digest(name: str) -> bytes:
    """The eight bytes that stand for a field's name in its component's digest."""
    return hashlib.blake2b(name.encode(), digest_size=8).digest()


def setting_digest(value: Any, place: str = "trial") -> bytes:
    """Merkle digest (16 bytes) of a value with all its parts; raises DeclarationError for what cannot be hashed."""
    value = exact(value)
    if isinstance(value, File):
        return digest(b"F" + value.read_bytes())
    if is_component(value):
        hints = annotations(type(value))
        parts = [component_header(type(value))]
        for f in keyed_fields(type(value)):
            here = f"{place}.{f.name}"
            child = coerce(getattr(value, f.name), hints[f.name], here)
            if not left_out(f, child):
                parts += [field_name_digest(f.name), setting_digest(child, here)]
        return digest(b"".join(parts))
    if isinstance(value, list | tuple):
        return sequence_digest([setting_digest(v, f"{place}[{i}]") for i, v in enumerate(value)])
    if isinstance(value, Mapping):
        for k in value:
            if not isinstance(k, str):
                raise DeclarationError(f"{place} has the key {k!r}; keys of a dict must be strings.")
        return mapping_digest({k: setting_digest(v, f"{place}.{k}") for k, v in value.items()})
    return scalar_digest(value, place)


def key(setting: bytes, seed: int) -> str:
    """The key of a trial: 32 hexadecimal digits over (digest of its setting, seed)."""
    return hashlib.blake2b(setting + b"%d" % seed, digest_size=DIGEST_BYTES).hexdigest()


def trial_key(value: Trial, seed: int) -> str:
    """The key of a fully resolved trial at a seed."""
    return key(setting_digest(value), seed)


def values(setting: Any, prefix: str = "") -> dict[str, Any]:
    """A resolved setting as flat ``path → scalar`` pairs, components by their public names."""
    setting = exact(setting)
    flat: dict[str, Any] = {}
    if is_component(setting):
        flat[prefix or "trial"] = public_name(type(setting))
        items = [(f.name, getattr(setting, f.name)) for f in dataclasses.fields(setting)
                 if f.metadata.get("keyed", True)]
    elif isinstance(setting, Mapping):
        items = list(setting.items())
    elif isinstance(setting, list | tuple) and any(is_component(v) for v in setting):
        items = [(str(i), v) for i, v in enumerate(setting)]
    else:
        return {prefix: list(setting) if isinstance(setting, tuple) else setting}
    for name, child in items:
        flat.update(values(child, f"{prefix}.{name}" if prefix else name))
    return flat
