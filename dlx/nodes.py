"""The compiled form of a template: a tree of nodes that know their axes and digests and resolve themselves."""

import dataclasses
import itertools
import typing
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

from dlx.canonical import (
    component_header,
    digest,
    keyed_fields,
    left_out,
    mapping_digest,
    sequence_digest,
    setting_digest,
)
from dlx.coercion import coerce
from dlx.errors import DeclarationError
from dlx.markers import Derived, Marker, Range
from dlx.products import Scope, Table, combine

Options = Mapping[int, int]
Params = Mapping[str, Any] | None


class Node:
    """One place in a template."""

    place: str

    def children(self) -> Iterator["Node"]:
        """The nodes right below, in declared order."""
        return iter(())

    def chosen(self, options: Options, params: Params = None) -> Iterator["Node"]:
        """The nodes right below that exist under these options and, where given, nuisance values."""
        return self.children()

    def walk(self) -> Iterator["Node"]:
        """This node and all below."""
        yield self
        for child in self.children():
            yield from child.walk()

    def active(self, options: Options, params: Params = None) -> Iterator["Node"]:
        """This node and all below that exist under these options and, where given, nuisance values."""
        yield self
        for child in self.chosen(options, params):
            yield from child.active(options, params)

    def active_axes(self, options: Options) -> list[int]:
        """Axes that exist under these options, in declared order."""
        return list(dict.fromkeys(n.axis for n in self.active(options) if isinstance(n, Branch)))

    def has_tuned(self, options: Options) -> bool:
        """Whether a nuisance axis exists under these options."""
        return any(isinstance(n, Tuned) for n in self.active(options))

    def ask(self, options: Options, suggest: Any, params: dict[str, Any]) -> None:
        """Fill in a value for every nuisance axis that exists under these options."""
        for child in self.chosen(options):
            if child.is_asked:
                child.ask(options, suggest, params)

    @cached_property
    def is_asked(self) -> bool:
        """Whether there is a nuisance axis here or below, whatever the options."""
        return any(isinstance(node, Tuned) for node in self.walk())

    def table(self, options: Options, scope: Scope) -> Table:
        """Digests over the axes that these options leave open."""
        raise NotImplementedError

    def resolve(self, options: Options, params: Params, derived: Mapping[str, Any]) -> Any:
        """The value at this place."""
        raise NotImplementedError


@dataclasses.dataclass
class Leaf(Node):
    """A scalar, or an unkeyed value that enters as it is."""

    place: str
    value: Any
    digest: bytes

    def table(self, options: Options, scope: Scope) -> Table:
        return Table((), [self.digest])

    def resolve(self, options: Options, params: Params, derived: Mapping[str, Any]) -> Any:
        return self.value


@dataclasses.dataclass
class Component(Node):
    """A dataclass instance."""

    place: str
    cls: type
    fields: dict[str, Node]
    constant: Any = None

    def children(self) -> Iterator[Node]:
        return iter(self.fields.values())

    def table(self, options: Options, scope: Scope) -> Table:
        parts: list[tuple[bytes, Table]] = []
        for f, prefix, _ in keyed_fields(self.cls):
            node = self.fields[f.name]
            table = node.table(options, scope)
            if "absent" in f.metadata:
                table, prefix = _drop_absent(f, node, table, options, scope, prefix), b""
            parts.append((prefix, table))
        return combine(component_header(self.cls), parts, scope)

    def resolve(self, options: Options, params: Params, derived: Mapping[str, Any]) -> Any:
        if self.constant is not None:
            return self.constant
        return self.cls(**{n: c.resolve(options, params, derived) for n, c in self.fields.items()})


@dataclasses.dataclass
class Items(Node):
    """A tuple or a dict."""

    place: str
    nodes: dict[str, Node]
    mapping: bool

    def children(self) -> Iterator[Node]:
        return iter(self.nodes.values())

    def table(self, options: Options, scope: Scope) -> Table:
        names = list(self.nodes)
        tables = [(b"", self.nodes[n].table(options, scope)) for n in names]
        if self.mapping:
            return combine(b"", tables, scope, lambda row: mapping_digest(dict(zip(names, row, strict=True))))
        return combine(b"", tables, scope, sequence_digest)

    def resolve(self, options: Options, params: Params, derived: Mapping[str, Any]) -> Any:
        resolved = {n: c.resolve(options, params, derived) for n, c in self.nodes.items()}
        return resolved if self.mapping else tuple(resolved.values())


@dataclasses.dataclass
class Branch(Node):
    """A scientific axis, with one node for each of its options."""

    place: str
    axis: int
    options: list[Node]

    def children(self) -> Iterator[Node]:
        return iter(self.options)

    def chosen(self, options: Options, params: Params = None) -> Iterator[Node]:
        if self.axis in options:
            yield self.options[options[self.axis]]

    def table(self, options: Options, scope: Scope) -> Table:
        if self.axis in options:
            return self.options[options[self.axis]].table(options, scope)
        return Table((self.axis,), [o.table(options, scope).digests[0] for o in self.options])

    def resolve(self, options: Options, params: Params, derived: Mapping[str, Any]) -> Any:
        return self.options[options[self.axis]].resolve(options, params, derived)


@dataclasses.dataclass
class Tuned(Node):
    """A nuisance axis; ``options`` are the nodes of a choice's options, by label."""

    place: str
    name: str
    marker: Marker
    options: dict[str, Node]
    annotation: Any
    tied: bool = False  # the marker stands at several places, which is part of what is tuned

    def children(self) -> Iterator[Node]:
        return iter(self.options.values())

    def chosen(self, options: Options, params: Params = None) -> Iterator[Node]:
        if self.options and params:
            return iter((self.options[params[self.name]],))
        return self.children()

    def ask(self, options: Options, suggest: Any, params: dict[str, Any]) -> None:
        if self.name not in params:
            params[self.name] = suggest(self.name, self.marker, tuple(self.options))
        if self.options:
            self.options[params[self.name]].ask(options, suggest, params)

    def table(self, options: Options, scope: Scope) -> Table:
        axis = f"M{self.name if self.tied else ''}\0{self.marker.spelled}\0".encode()
        if self.options:
            tables = [(label.encode() + b"\0", node.table(options, scope)) for label, node in self.options.items()]
            return combine(axis, tables, scope)
        marker = typing.cast(Range, self.marker)
        return Table((), [digest(axis + f"{float(marker.low).hex()}\0{float(marker.high).hex()}".encode())])

    def resolve(self, options: Options, params: Params, derived: Mapping[str, Any]) -> Any:
        if params is None:
            return self.marker
        if self.options:
            return self.options[params[self.name]].resolve(options, params, derived)
        return coerce(params[self.name], self.annotation, self.place)


@dataclasses.dataclass
class DerivedValue(Node):
    """A value that follows from the rest of the trial."""

    place: str
    marker: Derived
    annotation: Any

    def table(self, options: Options, scope: Scope) -> Table:
        unknown = digest(b"Mderived\0" + self.marker.name.encode())
        return Table(scope.free, [
            setting_digest(values[self.place], self.place) if self.place in values else unknown
            for values in scope.derived
        ])

    def resolve(self, options: Options, params: Params, derived: Mapping[str, Any]) -> Any:
        return derived.get(self.place, self.marker)


def _drop_absent(
    f: dataclasses.Field[Any], node: Node, table: Table, options: Options, scope: Scope, prefix: bytes
) -> Table:
    """The table of a field that was added later: nothing where it has the value its absence stands for."""
    sizes = [range(len(scope.axes[a].labels)) for a in table.axes]
    parts = []
    for entry, open_options in zip(table.digests, itertools.product(*sizes), strict=True):
        chosen = {**options, **dict(zip(table.axes, open_options, strict=True))}
        parts.append(b"" if left_out(f, node.resolve(chosen, None, scope.derived_at(chosen))) else prefix + entry)
    return Table(table.axes, parts)


def derived_nodes(root: Node, options: Options, params: Params = None) -> list[DerivedValue]:
    """The derived values that exist under these options and, where given, nuisance values, in declared order."""
    return [n for n in root.active(options, params) if isinstance(n, DerivedValue)]


def derive(root: Node, wanted: Sequence[DerivedValue], options: Options, params: Params) -> dict[str, Any]:
    """Derived values by place; without params those that hang on nuisance values are left out."""
    derived: dict[str, Any] = {}
    for node in wanted:
        partial = root.resolve(options, params, derived)
        try:
            derived[node.place] = coerce(node.marker.function(partial), node.annotation, node.place)
        except DeclarationError:
            if params is not None:
                raise
        except Exception as e:
            if params is None:
                continue
            raise DeclarationError(
                f"{node.place}: derived(name={node.marker.name!r}) raised {type(e).__name__}: {e}; it is given the "
                "resolved trial."
            ) from e
    return derived


def resolve(root: Node, options: Options, params: Params) -> Any:
    """The value of the whole tree, derived values filled in."""
    return root.resolve(options, params, derive(root, derived_nodes(root, options, params), options, params))
