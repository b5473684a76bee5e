"""The compiled form of a template: a tree of nodes that know their axes, their digests and how to resolve themselves."""

import dataclasses
import itertools
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from dlx.errors import DeclarationError
from dlx.markers import Choice, Derived, Grid, LogUniform, Marker, Range, Uniform
from dlx.trial import (
    annotations,
    coerce,
    component_header,
    digest,
    exact,
    field_name_digest,
    is_component,
    left_out,
    mapping_digest,
    public_name,
    sequence_digest,
    setting_digest,
)

Options = Mapping[int, int]
Params = Mapping[str, Any] | None


@dataclasses.dataclass
class Axis:
    """A scientific axis: its name (the first place it stands at, less ``template.``) and the labels of its options."""

    name: str
    labels: list[Any]
    structural: bool = False  # an option holds axes of its own


@dataclasses.dataclass(frozen=True)
class Scope:
    """What digesting needs to know beside the tree: all axes, and derived values by place."""

    axes: Sequence[Axis]
    derived: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Table:
    """Digests of a node over the product of the axes it depends on, the last axis fastest."""

    axes: tuple[int, ...]
    digests: list[bytes]


class Node:
    """One place in a template."""

    place: str

    def children(self) -> Iterator["Node"]:
        """The nodes right below, in declared order."""
        return iter(())

    def chosen(self, options: Options) -> Iterator["Node"]:
        """The nodes right below that exist under these options."""
        return self.children()

    def walk(self) -> Iterator["Node"]:
        """This node and all below."""
        yield self
        for child in self.children():
            yield from child.walk()

    def active(self, options: Options) -> Iterator["Node"]:
        """This node and all below that exist under these options."""
        yield self
        for child in self.chosen(options):
            yield from child.active(options)

    def active_axes(self, options: Options) -> list[int]:
        """Axes that exist under these options, in declared order."""
        return list(dict.fromkeys(n.axis for n in self.active(options) if isinstance(n, Branch)))

    def has_tuned(self, options: Options) -> bool:
        """Whether a nuisance axis exists under these options."""
        return any(isinstance(n, Tuned) for n in self.active(options))

    def ask(self, options: Options, suggest: Any, params: dict[str, Any]) -> None:
        """Fill in a value for every nuisance axis that exists under these options."""
        for child in self.chosen(options):
            child.ask(options, suggest, params)

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
        fields = {f.name: f for f in dataclasses.fields(self.cls)}
        parts: list[tuple[bytes, Table]] = []
        for name in sorted(self.fields):
            if not fields[name].metadata.get("keyed", True):
                continue
            node, prefix = self.fields[name], field_name_digest(name)
            table = node.table(options, scope)
            if "absent" in fields[name].metadata:
                table, prefix = _drop_absent(fields[name], node, table, options, scope, prefix), b""
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

    def chosen(self, options: Options) -> Iterator[Node]:
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

    def children(self) -> Iterator[Node]:
        return iter(self.options.values())

    def ask(self, options: Options, suggest: Any, params: dict[str, Any]) -> None:
        if self.name not in params:
            params[self.name] = suggest(self.name, self.marker, tuple(self.options))
        if self.options:
            self.options[params[self.name]].ask(options, suggest, params)

    def table(self, options: Options, scope: Scope) -> Table:
        if self.options:
            tables = [(label.encode() + b"\0", node.table(options, scope)) for label, node in self.options.items()]
            return combine(b"Mchoice\0", tables, scope)
        marker = typing.cast(Range, self.marker)
        bounds = f"M{marker.spelled}\0{float(marker.low).hex()}\0{float(marker.high).hex()}"
        return Table((), [digest(bounds.encode())])

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
        if self.place in scope.derived:
            return Table((), [setting_digest(scope.derived[self.place], self.place)])
        return Table((), [digest(b"Mderived\0" + self.marker.name.encode())])

    def resolve(self, options: Options, params: Params, derived: Mapping[str, Any]) -> Any:
        return derived.get(self.place, self.marker)


# ---------------------------------------------------------------- digests over products of axes


def combine(
    header: bytes,
    parts: Sequence[tuple[bytes, Table]],
    scope: Scope,
    join: Callable[[Sequence[bytes]], bytes] | None = None,
) -> Table:
    """One table out of those of the parts, over the union of their axes."""
    axes = tuple(dict.fromkeys(a for _, t in parts for a in t.axes))
    sizes = {a: len(scope.axes[a].labels) for a in axes}
    columns = [[prefix + d for d in reorder(t, list(axes), sizes)] for prefix, t in parts]
    if join is None:
        rows = zip(*columns, strict=True) if columns else [()]
        return Table(axes, [digest(header + b"".join(row)) for row in rows])
    return Table(axes, [join(row) for row in (zip(*columns, strict=True) if columns else [()])])


def reorder(table: Table, axes: list[int], sizes: Mapping[int, int]) -> list[bytes]:
    """The digests of a table laid out over a longer list of axes, the last one fastest."""
    if list(table.axes) == axes:
        return table.digests
    own = [sizes[a] for a in table.axes]
    index = np.arange(len(table.digests)).reshape(own)
    index = index.transpose([table.axes.index(a) for a in axes if a in table.axes])
    index = index.reshape([sizes[a] if a in table.axes else 1 for a in axes])
    full = np.broadcast_to(index, [sizes[a] for a in axes]).ravel().tolist()
    return [table.digests[i] for i in full]


def _drop_absent(
    f: dataclasses.Field[Any], node: Node, table: Table, options: Options, scope: Scope, prefix: bytes
) -> Table:
    """The table of a field that was added later: nothing where it has the value its absence stands for."""
    sizes = [range(len(scope.axes[a].labels)) for a in table.axes]
    parts = []
    for entry, open_options in zip(table.digests, itertools.product(*sizes), strict=True):
        chosen = {**options, **dict(zip(table.axes, open_options, strict=True))}
        parts.append(b"" if left_out(f, node.resolve(chosen, None, {})) else prefix + entry)
    return Table(table.axes, parts)


# ---------------------------------------------------------------- resolving


def derive(root: Node, options: Options, params: Params) -> dict[str, Any]:
    """Derived values by place, in declared order; without params those that hang on nuisance values are left out."""
    derived: dict[str, Any] = {}
    for node in [n for n in root.active(options) if isinstance(n, DerivedValue)]:
        partial = root.resolve(options, params, derived)
        try:
            value = node.marker.function(partial)
        except Exception as e:
            if params is None:
                continue
            raise DeclarationError(
                f"{node.place}: derived(name={node.marker.name!r}) raised {type(e).__name__}: {e}; it is given the "
                "resolved trial."
            ) from e
        derived[node.place] = coerce(value, node.annotation, node.place)
    return derived


def resolve(root: Node, options: Options, params: Params) -> Any:
    """The value of the whole tree, derived values filled in."""
    return root.resolve(options, params, derive(root, options, params))


# ---------------------------------------------------------------- compiling


@dataclasses.dataclass
class _Compiler:
    axes: list[Axis] = dataclasses.field(default_factory=list)
    axis_of: dict[int, int] = dataclasses.field(default_factory=dict)  # id of a grid → its axis
    tuned: dict[int, str] = dataclasses.field(default_factory=dict)  # id of a nuisance marker → its name

    def compile(self, value: Any, annotation: Any, place: str) -> Node:
        value = exact(value)
        if isinstance(value, Marker):
            value.check(place)
            return self._marker(value, annotation, place)
        value = coerce(value, annotation, place)
        if is_component(value):
            return self._component(value, place)
        if isinstance(value, list | tuple):
            return self._items({str(i): v for i, v in enumerate(value)}, annotation, place, mapping=False)
        if isinstance(value, Mapping):
            setting_digest({k: None for k in value}, place)  # refuses keys that are no strings
            return self._items(dict(value), annotation, place, mapping=True)
        return Leaf(place, value, setting_digest(value, place))

    def _marker(self, marker: Marker, annotation: Any, place: str) -> Node:
        if isinstance(marker, Choice):
            name = self.tuned.setdefault(id(marker), place.removeprefix("template."))
            labels = option_labels(marker.options)
            options = {str(label): self.compile(o, annotation, f"{place}[{label}]")
                       for label, o in zip(labels, marker.options, strict=True)}
            return Tuned(place, name, marker, options, annotation)
        if isinstance(marker, Grid):
            return self._grid(marker, annotation, place)
        if isinstance(marker, Derived):
            return DerivedValue(place, marker, annotation)
        if annotation is int and isinstance(marker, Uniform | LogUniform):
            raise DeclarationError(
                f"{place} is {marker!r}, but must be a whole number; write grid(...), choice(...) or randint(...)."
            )
        coerce(marker.low if isinstance(marker, Range) else marker, annotation, place)
        name = self.tuned.setdefault(id(marker), place.removeprefix("template."))
        return Tuned(place, name, marker, {}, annotation)

    def _grid(self, marker: Grid, annotation: Any, place: str) -> Branch:
        labels = option_labels(marker.options)
        if id(marker) not in self.axis_of:
            self.axis_of[id(marker)] = len(self.axes)
            self.axes.append(Axis(place.removeprefix("template."), labels))
        axis = self.axis_of[id(marker)]
        options = [self.compile(o, annotation, f"{place}[{label}]")
                   for label, o in zip(labels, marker.options, strict=True)]
        if any(isinstance(n, Branch | DerivedValue) for o in options for n in o.walk()):
            self.axes[axis].structural = True
        return Branch(place, axis, options)

    def _component(self, value: Any, place: str) -> Component:
        hints, children = annotations(type(value)), {}
        before = len(self.axes), len(self.tuned)
        for f in dataclasses.fields(value):
            here, child = f"{place}.{f.name}", getattr(value, f.name)
            if f.metadata.get("keyed", True):
                children[f.name] = self.compile(child, hints[f.name], here)
            else:
                _refuse_markers(child, here)
                children[f.name] = Leaf(here, child, b"")
        node = Component(place, type(value), children)
        if (len(self.axes), len(self.tuned)) == before and not any(
            isinstance(n, Branch | Tuned | DerivedValue) for n in node.walk()
        ):
            node.constant = node.resolve({}, {}, {})
        return node

    def _items(self, values: dict[str, Any], annotation: Any, place: str, mapping: bool) -> Items:
        args = [a for a in typing.get_args(annotation) if a is not Ellipsis]
        if mapping:
            kinds = [args[1] if len(args) == 2 else Any] * len(values)
            places = [f"{place}.{k}" for k in values]
        else:
            kinds = args if len(args) == len(values) else [args[0] if len(args) == 1 else Any] * len(values)
            places = [f"{place}[{k}]" for k in values]
        nodes = {k: self.compile(v, kind, p) for (k, v), kind, p in zip(values.items(), kinds, places, strict=True)}
        return Items(place, nodes, mapping)


def compile_template(template: Any) -> tuple[Component, list[Axis], list[str]]:
    """The compiled tree of a template, its scientific axes and the names of its nuisance axes."""
    compiler = _Compiler()
    root = compiler._component(template, "template")
    return root, compiler.axes, list(compiler.tuned.values())


def option_labels(options: Sequence[Any]) -> list[Any]:
    """What options are called: scalars as they are, components by name, told apart by the fields that differ."""
    plain = [public_name(type(o)) if is_component(o) else _plain(o) for o in options]
    if len(set(map(repr, plain))) == len(plain):
        return plain
    labels = [_full_label(o, [p for p in options if type(p) is type(o)]) for o in options]
    seen: dict[str, int] = {}
    for i, label in enumerate(labels):
        seen[str(label)] = seen.get(str(label), 0) + 1
        if seen[str(label)] > 1:
            labels[i] = f"{label}#{seen[str(label)]}"
    return labels


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return repr(value)


def _full_label(option: Any, alike: Sequence[Any]) -> Any:
    if not is_component(option):
        return _plain(option)
    told = []
    for f in dataclasses.fields(option):
        shown = [repr(getattr(o, f.name)) for o in alike]
        if len(set(shown)) > 1:
            told.append(f"{f.name}={getattr(option, f.name)!r}")
    name = public_name(type(option))
    return f"{name}({', '.join(told)})" if told else name


def _refuse_markers(value: Any, place: str) -> None:
    if isinstance(value, Marker):
        raise DeclarationError(f"{place} is {value!r}, but is no part of the key and takes no marker; give a value.")
    if is_component(value):
        for f in dataclasses.fields(value):
            _refuse_markers(getattr(value, f.name), f"{place}.{f.name}")
    elif isinstance(value, list | tuple):
        for i, v in enumerate(value):
            _refuse_markers(v, f"{place}[{i}]")
