"""The canonical form of a setting: a Merkle digest over its values, each as its annotation says.

A setting is a tree of frozen dataclasses (components), tuples, dicts and scalars. A subtree shared by a million
trials is digested once; a key is the digest of (setting digest, seed).
"""

import dataclasses
import hashlib
import math
import operator
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from dlx.coercion import annotations, article, coerce, exact, is_component, short
from dlx.errors import DeclarationError

DIGEST_BYTES = 16


@dataclasses.dataclass(frozen=True)
class File:
    """A file that enters the key by its content, not by its path."""

    path: str

    def read_bytes(self) -> bytes:
        """The content; raises DeclarationError when the file is absent."""
        try:
            return Path(self.path).read_bytes()
        except OSError as e:
            raise DeclarationError(f"dlx.File: {self.path} is unreadable ({e.strerror}); name an existing file.") from e


def public_name(cls: type) -> str:
    """The name under which a component enters the key: ``public_name`` if the class declares one, else its own."""
    return cls.__dict__.get("public_name") or cls.__name__


def _version(cls: type) -> int:
    version = getattr(cls, "version", 1)
    return version if isinstance(version, int) else 1


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
        try:
            return digest(b"s" + value.encode())
        except UnicodeEncodeError as e:
            raise DeclarationError(f"{place} is {short(value)}, which holds half a character; give whole text.") from e
    raise DeclarationError(f"{place} is {short(value)}, {_refusal(value)}")


def _refusal(value: Any) -> str:
    if isinstance(value, Path):
        return "a path, whose content may change; wrap it as dlx.File(path)."
    if isinstance(value, type):
        return f"a class; give an instance of it, as in {value.__name__}(...)."
    if callable(value):
        return "a function, whose meaning cannot be hashed; give a component or a named value instead."
    if hasattr(value, "read") and hasattr(value, "close"):
        return "an open file; give its path as dlx.File(path)."
    if isinstance(value, set | frozenset):
        return "a set, which has no order; give a tuple."
    kind = article(type(value).__name__)
    return f"and {kind} has no canonical form; use numbers, strings, tuples, dicts or dataclasses."


def sequence_digest(children: Sequence[bytes]) -> bytes:
    """Digest of a tuple or list of digested children."""
    return digest(b"t" + b"".join(children))


def mapping_digest(children: Mapping[str, bytes]) -> bytes:
    """Digest of a dict with string keys."""
    return digest(b"d" + b"".join(digest(b"s" + k.encode()) + children[k] for k in sorted(children)))


def component_header(cls: type) -> bytes:
    """What stands before the fields of a component in its digest: its public name and version."""
    return b"c" + public_name(cls).encode() + b"\0" + str(_version(cls)).encode() + b"\0"


class Keyed(NamedTuple):
    """A field that enters the key, the bytes that stand for its name, and its annotation."""

    field: dataclasses.Field[Any]
    prefix: bytes
    annotation: Any


@lru_cache(maxsize=4096)
def keyed_fields(cls: type) -> Sequence[Keyed]:
    """Fields that enter the key, in the order of their names."""
    hints, fields = annotations(cls), sorted(dataclasses.fields(cls), key=operator.attrgetter("name"))
    return [Keyed(f, field_name_digest(f.name), hints[f.name]) for f in fields if f.metadata.get("keyed", True)]


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
        parts = [component_header(type(value))]
        for f, prefix, annotation in keyed_fields(value.__class__):
            here = f"{place}.{f.name}"
            child = coerce(getattr(value, f.name), annotation, here)
            if not left_out(f, child):
                parts += [prefix, setting_digest(child, here)]
        return digest(b"".join(parts))
    if isinstance(value, list | tuple):
        return sequence_digest([setting_digest(v, f"{place}[{i}]") for i, v in enumerate(value)])
    if isinstance(value, Mapping):
        for k in value:
            if not isinstance(k, str):
                raise DeclarationError(f"{place} has the key {k!r}; keys of a dict must be strings.")
            scalar_digest(k, f"A key of {place}")
        return mapping_digest({k: setting_digest(v, f"{place}.{k}") for k, v in value.items()})
    return scalar_digest(value, place)


def key(setting: bytes, seed: int) -> str:
    """The key of a trial: 32 hexadecimal digits over (digest of its setting, seed)."""
    return hashlib.blake2b(setting + b"%d" % seed, digest_size=DIGEST_BYTES).hexdigest()


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
