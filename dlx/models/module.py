"""A module of the user's own as a model."""

import dataclasses
import inspect
import typing
from functools import cache
from typing import Any

from dlx.errors import DeclarationError
from dlx.models.base import Model
from dlx.trial import public_name

if typing.TYPE_CHECKING:
    import torch

    from dlx.data import Dimensions

GIVEN = 2  # parameters that the data give: inputs and outputs
SHAPE = "shape"  # a third one, for classes that take it
TAKEN = ("build", "check", "public_name", "varies", "version")


def Module(cls: Any, /, **arguments: Any) -> Model:
    """A model of any ``torch.nn.Module``: ``Module(MyNet, dim=24)`` is built as ``MyNet(inputs, outputs, dim=24)``.

    inputs: numbers in one sample, or symbols for tokens; outputs: numbers to give for one. The class maps
    (batch, inputs) to (batch, outputs); pictures and series come flat, unless it takes ``shape`` as well: then it is
    given that of one sample, such as (channels, height, width), and maps (batch, *shape). The arguments, with the
    defaults of those that are left out, are fields: they enter the key, under ``Module(MyNet)``, and may be markers.
    ``version`` on the class enters too; ``varies`` names arguments that change parameters and buffers alone, so that
    they may differ inside a pack. Raises DeclarationError for arguments that the class does not take, or needs.
    """
    names = _parameters(cls)
    accepted = {p.name: p for p in names if p.kind is not p.VAR_KEYWORD}
    more = tuple(sorted(arguments.keys() - accepted.keys()))
    if more and len(accepted) == len(names):
        raise DeclarationError(f"{cls.__name__} takes no {more[0]}; it takes {', '.join(accepted) or 'nothing'}.")
    for name, parameter in accepted.items():
        if parameter.default is parameter.empty and name not in arguments:
            raise DeclarationError(f"{cls.__name__} needs {name}; write models.Module({cls.__name__}, {name}=...).")
    return _declaration(cls, more)(**arguments)


def _parameters(cls: type) -> list[inspect.Parameter]:
    """What a class takes beyond inputs and outputs."""
    names = list(inspect.signature(cls).parameters.values())
    if len(names) < GIVEN or any(p.kind in (p.VAR_POSITIONAL, p.KEYWORD_ONLY) for p in names[:GIVEN]):
        raise DeclarationError(f"{cls.__name__} must take (inputs, outputs, ...), since it is called so.")
    for p in names[GIVEN:]:
        if p.kind in (p.VAR_POSITIONAL, p.POSITIONAL_ONLY) or p.name in TAKEN:
            raise DeclarationError(f"{cls.__name__} takes {p}; name each argument, and none of {', '.join(TAKEN)}.")
    return [p for p in names[GIVEN:] if p.name != SHAPE]


@cache
def _declaration(cls: type, more: tuple[str, ...]) -> Any:
    """The frozen dataclass of a module's arguments, ``more`` among them that only its ``**kwargs`` take."""
    fields: list[Any] = [(name, Any, dataclasses.field(kw_only=True)) for name in more]
    for p in _parameters(cls):
        if p.kind is not p.VAR_KEYWORD:
            default = {} if p.default is p.empty else {"default": p.default}
            hint = Any if p.annotation is p.empty else p.annotation
            fields.append((p.name, hint, dataclasses.field(kw_only=True, **default)))

    def build(self: Any, of: "Dimensions") -> "torch.nn.Module":
        if SHAPE in inspect.signature(cls).parameters:
            return cls(of.inputs, of.outputs, shape=of.shape, **_arguments(self))
        module = cls(of.inputs, of.outputs, **_arguments(self))
        if len(of.shape) > 1:
            module.register_forward_pre_hook(_flat)
        return module

    def reduce(self: Any) -> Any:
        return _again, (cls, _arguments(self))

    namespace: dict[str, Any] = {
        "build": build, "__reduce__": reduce, "__doc__": cls.__doc__, "public_name": f"Module({public_name(cls)})",
        "varies": getattr(cls, "varies", ()), "version": getattr(cls, "version", 1),
    }
    try:
        made = dataclasses.make_dataclass(cls.__name__, fields, frozen=True, namespace=namespace)
    except ValueError as e:
        raise DeclarationError(f"{cls.__name__} has a default that can change ({e}); make it a tuple.") from e
    made.__module__ = cls.__module__
    return made


def _flat(module: Any, inputs: "tuple[torch.Tensor]") -> "torch.Tensor":
    """Samples (batch, *shape) as (batch, inputs)."""
    return inputs[0].flatten(1)


def _arguments(declaration: Any) -> dict[str, Any]:
    return {f.name: getattr(declaration, f.name) for f in dataclasses.fields(declaration)}


def _again(cls: type, arguments: dict[str, Any]) -> Model:
    """A declaration out of a pickle, which has no class of its own to look up."""
    return Module(cls, **arguments)
