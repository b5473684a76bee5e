"""A trial: one setting at one seed, run once; and the key that is made of its values alone."""

import dataclasses
import inspect
import typing
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, ClassVar, Self

from dlx.canonical import digest, key, public_name, setting_digest, values
from dlx.coercion import is_component, resolve_hint
from dlx.errors import DeclarationError

if typing.TYPE_CHECKING:
    from dlx.context import Context

__all__ = ["Trial", "digest", "field", "is_component", "key", "public_name", "setting_digest", "trial", "trial_key",
           "values"]


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
        """Run the trial and return its final metrics, such as ``{"test/loss": 0.1}``; by default as a pack of one."""
        if self.shape() is None:
            raise NotImplementedError(f"{type(self).__name__} defines no run(self, ctx)")
        (result,) = self.run_pack([self], [ctx])
        if isinstance(result, Exception):
            raise result
        return result

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
    if callable(version):
        raise DeclarationError("@dlx.trial has no parentheses; write @dlx.trial() above the function.")

    def decorate(function: Callable[..., Mapping[str, float]]) -> type[Trial]:
        parameters = list(inspect.signature(function).parameters.values())
        if not parameters or parameters[0].name != "ctx":
            raise DeclarationError(f"@dlx.trial: {function.__name__} must take ctx as its first parameter.")
        fields: list[Any] = []
        for p in parameters[1:]:
            if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD):
                raise DeclarationError(
                    f"@dlx.trial: {function.__name__} takes *{p.name}; name each value, so that it can be hashed."
                )
            if hasattr(Trial, p.name):
                raise DeclarationError(
                    f"@dlx.trial: {function.__name__} has a parameter {p.name}, a name that trials use; rename it."
                )
            default = [] if p.default is p.empty else [dataclasses.field(default=p.default)]
            hint = Any if p.annotation is p.empty else resolve_hint(p.annotation, function.__globals__)
            fields.append((p.name, hint, *default))
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


def trial_key(value: Trial, seed: int) -> str:
    """The key of a fully resolved trial at a seed."""
    return key(setting_digest(value), seed)
