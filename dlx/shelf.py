"""What all shelves share: a protocol with an example for error messages, and which fields may vary inside a pack."""

import dataclasses
import typing
from collections.abc import Hashable
from typing import Any, Protocol

from dlx.trial import is_component, public_name

if typing.TYPE_CHECKING:
    from abc import ABCMeta as _ProtocolMeta
else:
    _ProtocolMeta = type(Protocol)


_EXAMPLES: dict[type, str] = {}


class Shelf(_ProtocolMeta):
    """Metaclass of a shelf's protocol: ``example`` lives here, for in Python 3.11 an attribute would be a member."""

    def exemplify(cls, example: str) -> None:
        """Say what error messages give as an example of this shelf."""
        _EXAMPLES[cls] = example

    @property
    def example(cls) -> str | None:
        """An example of what lies on this shelf, as a user would write it."""
        return _EXAMPLES.get(cls)


def varies(component: Any) -> tuple[str, ...]:
    """Names of the fields that may differ between members of a pack: what the component declares as ``varies``."""
    return getattr(component, "varies", ())


def shape(value: Any) -> Hashable:
    """What must agree in a value for trials to train together: everything but what varies, None or not apart."""
    if is_component(value):
        fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
        kept = ((name, shape(v)) for name, v in fields.items() if name not in varies(value) or v is None)
        return public_name(type(value)), tuple(kept)
    if isinstance(value, list | tuple):
        return tuple(shape(v) for v in value)
    if isinstance(value, dict):
        return tuple((k, shape(v)) for k, v in sorted(value.items()))
    return type(value).__name__, value


@dataclasses.dataclass(frozen=True)
class Varying:
    """What stands in a component for a field that varies: no number, so that using it by mistake is an error."""

    name: str


def without_hyperparameters(component: Any) -> Any:
    """The component, and its parts, with a ``Varying`` for every field that varies and is not None."""
    changes: dict[str, Any] = {name: Varying(name) for name in varies(component) if _given(component, name)}
    for f in dataclasses.fields(component):
        if is_component(part := getattr(component, f.name)):
            changes[f.name] = without_hyperparameters(part)
    return dataclasses.replace(component, **changes)


def _given(component: Any, name: str) -> bool:
    return getattr(component, name) is not None


def hyperparameters(component: Any) -> dict[str, Any]:
    """The fields that vary, by name, and those of the parts under the name of the field: numbers, to become tensors."""
    found: dict[str, Any] = {name: getattr(component, name) for name in varies(component) if _given(component, name)}
    for f in dataclasses.fields(component):
        if is_component(part := getattr(component, f.name)):
            found[f.name] = hyperparameters(part)
    return found
