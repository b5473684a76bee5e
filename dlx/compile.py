"""Compile a template: the tree of its nodes, its scientific axes, and what their options are called."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from dlx.canonical import File, public_name, setting_digest
from dlx.coercion import annotations, article, coerce, container, entry_kinds, exact, is_component, is_container
from dlx.errors import DeclarationError
from dlx.markers import Choice, Derived, Grid, Marker, RandInt, Range
from dlx.nodes import Branch, Component, DerivedValue, Items, Leaf, Node, Tuned
from dlx.products import Axis


@dataclasses.dataclass
class _Compiler:
    axes: list[Axis] = dataclasses.field(default_factory=list)
    axis_of: dict[int, int] = dataclasses.field(default_factory=dict)  # id of a grid → its axis
    tuned: dict[int, list[Tuned]] = dataclasses.field(default_factory=dict)  # id of a nuisance marker → its places

    def compile(self, value: Any, annotation: Any, place: str) -> Node:
        value = exact(value)
        if isinstance(value, Marker):
            value.check(place)
            return self._marker(value, annotation, place)
        if is_container(value):
            return self._items(value, annotation, place)
        value = coerce(value, annotation, place)
        if is_component(value) and not isinstance(value, File):
            return self._component(value, place)
        return Leaf(place, value, setting_digest(value, place))

    def _marker(self, marker: Marker, annotation: Any, place: str) -> Node:
        if isinstance(marker, Choice):
            node = self._tuned(marker, annotation, place)
            for label, option in zip(option_labels(marker.options), marker.options, strict=True):
                name = str(label) if str(label) not in node.options else repr(label)
                node.options[name] = self.compile(option, annotation, f"{place}[{label}]")
            return node
        if isinstance(marker, Grid):
            return self._grid(marker, annotation, place)
        if isinstance(marker, Derived):
            return DerivedValue(place, marker, annotation)
        assert isinstance(marker, Range)
        _check_range(marker, annotation, place)
        return self._tuned(marker, annotation, place)

    def _tuned(self, marker: Marker, annotation: Any, place: str) -> Tuned:
        nodes = self.tuned.setdefault(id(marker), [])
        name = nodes[0].name if nodes else place.removeprefix("template.")
        nodes.append(Tuned(place, name, marker, {}, annotation))
        for node in nodes:
            node.tied = len(nodes) > 1
        return nodes[-1]

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
        _check_class(type(value), place)
        hints = annotations(value.__class__)
        children: dict[str, Node] = {}
        before = len(self.axes), len(self.tuned)
        for f in dataclasses.fields(value):
            here, child = f"{place}.{f.name}", getattr(value, f.name)
            if f.metadata.get("keyed", True):
                children[f.name] = self.compile(child, hints[f.name], here)
            else:
                _refuse_markers(child, here)
                children[f.name] = Leaf(here, coerce(child, hints[f.name], here), b"")
        node = Component(place, type(value), children)
        if (len(self.axes), len(self.tuned)) == before and not any(
            isinstance(n, Branch | Tuned | DerivedValue) for n in node.walk()
        ):
            node.constant = node.resolve({}, {}, {})
        return node

    def _items(self, value: Any, annotation: Any, place: str) -> Items:
        fitting = container(value, annotation)
        if fitting is None:
            coerce(value, annotation, place)
        kinds, mapping = entry_kinds(value, fitting, place), isinstance(value, Mapping)
        if mapping:
            setting_digest(dict.fromkeys(value), place)  # refuses keys that are no strings
        named = value.items() if mapping else [(str(i), v) for i, v in enumerate(value)]
        nodes = {
            k: self.compile(v, kind, f"{place}.{k}" if mapping else f"{place}[{k}]")
            for (k, v), kind in zip(named, kinds, strict=True)
        }
        return Items(place, nodes, mapping)


def _check_class(cls: type, place: str) -> None:
    """Refuse classes whose instances do not stay what they are, or are not all in their fields."""
    name = cls.__name__
    undecorated = "__dataclass_fields__" not in vars(cls) and any(
        "ClassVar" not in str(hint) for hint in vars(cls).get("__annotations__", {}).values()
    )
    if undecorated or not cls.__dataclass_params__.frozen:  # type: ignore[attr-defined]
        raise DeclarationError(
            f"{place} is {article(name)}, which is no frozen dataclass; write @dataclass(frozen=True) above its class."
        )
    if computed := [f.name for f in dataclasses.fields(cls) if not f.init]:
        raise DeclarationError(f"{place}.{computed[0]} is declared with init=False; make it a property of {name}.")


def _check_range(marker: Range, annotation: Any, place: str) -> None:
    whole = int(marker.low)
    try:
        coerce(whole, annotation, place)
    except DeclarationError as e:
        expected = str(e).rpartition("; it ")[2] or "must be something else."
        raise DeclarationError(f"{place} is {marker!r}, but {expected}") from e
    if isinstance(marker, RandInt):
        return
    try:
        coerce(whole + 0.5, annotation, place)
    except DeclarationError as e:
        raise DeclarationError(
            f"{place} is {marker!r}, but must be a whole number; write grid(...), choice(...) or randint(...)."
        ) from e


def compile_template(template: Any) -> tuple[Component, list[Axis], list[str]]:
    """The compiled tree of a template, its scientific axes and the names of its nuisance axes."""
    compiler = _Compiler()
    root = compiler._component(template, "template")
    return root, compiler.axes, [nodes[0].name for nodes in compiler.tuned.values()]


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
