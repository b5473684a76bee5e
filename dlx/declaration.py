"""A declaration: what a study says, without its file; the home keeps it, so that a copy can be listed and reported.

Figures and claims of dlx's shelves are written as the names of their classes with their fields, and read back by
looking these up there; nothing that is read is run.
"""

import dataclasses
import importlib
import json
import sys
import urllib.parse
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from dlx import wanted
from dlx.canonical import digest
from dlx.coercion import is_component
from dlx.markers import Grid, Marker, Range
from dlx.space import MOST_CHECKED
from dlx.store import Store
from dlx.study import FULL, Study
from dlx.tuning import Objective

if TYPE_CHECKING:
    from dlx.claims import Claim
    from dlx.provenance import Provenance

CLASS = "class"  # names the class of an encoded component
SHELVES = "dlx.claims", "dlx.figures"


@dataclasses.dataclass(frozen=True)
class Nuisance:
    """What a nuisance axis may be: a ``kind`` of marker with bounds, or with options (components by name)."""

    kind: str
    low: float | None = None
    high: float | None = None
    options: tuple[Any, ...] = ()


@dataclasses.dataclass(frozen=True)
class SearchPlan:
    """How each cell is tuned: ``repeats`` independent searches of ``trials`` asks, see ``dlx.tuning.Search``."""

    algorithm: str
    identity: str
    trials: int
    repeats: int
    top: int
    recheck: int


@dataclasses.dataclass(frozen=True)
class Declaration:
    """What a study says: its question, cells, searches, seeds, claims and figures.

    ``variant``: ``full``, the name of a preset, or ``custom``; ``axes``: name → labels; ``nuisance``: name → what it
    may be; ``metrics``: names of what its trials return, None where only a run can tell; ``origin``: what it was last
    run with, such as ``command``, ``commit``, ``versions.torch``; ``grid``: a row a cell, see ``dlx.wanted.grid``;
    ``notes``: paragraphs for its reader.
    """

    name: str
    question: str
    variant: str
    presets: tuple[str, ...]
    axes: Mapping[str, Sequence[Any]]
    nuisance: Mapping[str, Nuisance]
    objective: Objective | None
    search: SearchPlan | None
    seeds: tuple[int, ...]
    looks: tuple[int, ...]
    metrics: tuple[str, ...] | None
    scheduled: bool
    claims: tuple["Claim", ...]
    figures: tuple[Any, ...]
    grid: pa.Table = dataclasses.field(compare=False)
    origin: Mapping[str, str] = dataclasses.field(default_factory=dict, compare=False)
    notes: str = ""

    @classmethod
    def of(cls, study: Study) -> "Declaration":
        """What a study says."""
        space, search = study.space, study.search if study.space.tuned else None
        return cls(
            name=study.name, question=study.question, variant=study.variant, presets=tuple(study.presets),
            axes={a.name: tuple(a.labels) for a in space.axes}, nuisance=_nuisance(study), objective=study.objective,
            search=None if search is None else SearchPlan(
                search.algorithm, search.identity(), search.trials, search.repeats, search.top, search.recheck),
            seeds=study.seed_list, looks=tuple(study.looks), metrics=study.metric_names,
            scheduled=study.scheduler is not None, claims=tuple(study.claims), figures=tuple(study.figures),
            grid=wanted.grid(study), notes=study.notes,
        )

    @property
    def tuned(self) -> bool:
        """Whether any cell is tuned."""
        return self.search is not None

    def to_json(self) -> dict[str, Any]:
        """All but the grid, as JSON has it; figures that are functions of the user's own are left out."""
        known = [f for f in self.figures if _is_shelved(f)]
        plain = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name not in ("grid", "figures")}
        return dict(json.loads(json.dumps(encode({**plain, "figures": known}), default=str)))

    @classmethod
    def stored(cls, store: Store, variant: str = FULL) -> "Declaration | None":
        """What a study said when its variant was last run in this home; None where that is not known."""
        from dlx.claims import check_all

        found, grid = _text(store, variant), store.documents.table(variant_file("cells", variant, "parquet"))
        if found is None or grid is None:
            return None
        try:
            read = {name: _read(name, value) for name, value in found.items() if name != "cells"}
            said = cls(**read, grid=grid)
            check_all(said.claims, grid, said.metrics, said.objective, said.nuisance)
            return said
        except (TypeError, ValueError, KeyError, AttributeError) as e:
            store.documents.mistrust(variant_file("declaration", variant, "json"), e)
            return None

    def keep(self, store: Store, provenance: "Provenance | None" = None) -> None:
        """Leave it in the home where it says something new; provenance: of the run that now begins."""
        before = _text(store, self.variant) or {}
        cells = digest("\0".join([*self.grid.column_names, *self.grid["cell"].to_pylist()]).encode()).hex()
        made_with = origin(provenance) if provenance else before.get("origin", {})
        now = {**self.to_json(), "cells": cells, "origin": made_with}
        if now["cells"] != before.get("cells"):
            store.documents.keep(variant_file("cells", self.variant, "parquet"), self.grid)
        if now != before:
            text = json.dumps(now, indent=1, ensure_ascii=False)
            store.documents.keep(variant_file("declaration", self.variant, "json"), text)


def variants(store: Store) -> list[str]:
    """The variants of a study that were run in a home, the full one first."""
    files = [n for n in store.documents.names() if n.startswith("declaration") and n.endswith(".json")]
    quoted = (n.removeprefix("declaration").removesuffix(".json").removeprefix("-") for n in files)
    return sorted((urllib.parse.unquote(q) or FULL for q in quoted), key=lambda v: (v != FULL, v))


def variant_file(kind: str, variant: str, suffix: str) -> str:
    """What a document of one variant of a study is called."""
    return f"{kind}{'' if variant == FULL else '-' + urllib.parse.quote(variant, safe='')}.{suffix}"


def _text(store: Store, variant: str) -> dict[str, Any] | None:
    name = variant_file("declaration", variant, "json")
    try:
        text = store.documents.text(name)
        return None if text is None else dict(json.loads(text))
    except (ValueError, TypeError) as e:
        store.documents.mistrust(name, e)
        return None


def origin(provenance: "Provenance") -> dict[str, str]:
    """Provenance as one flat table of texts, the diff left out."""
    flat: dict[str, str] = {}
    for f in dataclasses.fields(provenance):
        value = getattr(provenance, f.name)
        if isinstance(value, Mapping):
            flat |= {f"{f.name}.{name}": str(inner) for name, inner in value.items()}
        elif f.name != "diff" and value is not None:
            flat[f.name] = str(value).lower() if isinstance(value, bool) else str(value)
    return flat


def _nuisance(study: Study) -> dict[str, Nuisance]:
    found: dict[str, Nuisance] = {}
    if study.space.tuned:
        for cell in study.space.cells[:MOST_CHECKED]:
            for name, marker in study.space.tuned_axes(cell).items():
                if name not in found:
                    found[name] = _bounds(marker)
    return found


def _bounds(marker: Marker) -> Nuisance:
    if isinstance(marker, Range):
        return Nuisance(marker.spelled, float(marker.low), float(marker.high))
    options = marker.options if isinstance(marker, Grid) else ()
    plain = (bool, int, float, str, type(None))
    return Nuisance(marker.spelled, options=tuple(o if isinstance(o, plain) else type(o).__name__ for o in options))


def claim_digest(claim: "Claim") -> str:
    """Under which a claim is known in the register: of all that it says."""
    return digest(json.dumps(encode(claim), sort_keys=True).encode()).hex()


# ---------------------------------------------------------------- JSON


def encode(value: Any) -> Any:
    """A value of literals and shelved components as JSON has it."""
    if is_component(value):
        fields = {f.name: encode(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {CLASS: type(value).__name__, **fields} if _is_shelved(value) else fields
    if isinstance(value, Mapping):
        return {str(k): encode(v) for k, v in value.items()} if all(isinstance(k, str) for k in value) else {
            CLASS: "pairs", "pairs": [[k, encode(v)] for k, v in value.items()]}
    return [encode(v) for v in value] if isinstance(value, list | tuple) else value


def decode(value: Any) -> Any:
    """What ``encode`` wrote; raises KeyError for a class that no shelf has."""
    if isinstance(value, list):
        return tuple(decode(v) for v in value)
    if not isinstance(value, dict):
        return value
    inner = {name: decode(v) for name, v in value.items() if name != CLASS}
    if (name := value.get(CLASS)) is None:
        return inner
    return dict(inner["pairs"]) if name == "pairs" else _shelved(name)(**inner)


def _shelved(name: str) -> Any:
    for shelf in map(importlib.import_module, SHELVES):
        if name in shelf.__all__ and dataclasses.is_dataclass(found := getattr(shelf, name)):
            return found
    raise KeyError(f"no shelf has a {name}")


def _is_shelved(value: Any) -> bool:
    """Whether its class lies on a shelf, which then is loaded, and not just being loaded by another thread."""
    name, loaded = type(value).__name__, [sys.modules[shelf] for shelf in SHELVES if shelf in sys.modules]
    return any(name in getattr(shelf, "__all__", ()) and getattr(shelf, name) is type(value) for shelf in loaded)


def _read(name: str, value: Any) -> Any:
    """A field of a declaration out of its JSON."""
    found = decode(value)
    if found is None:
        return None
    if name == "nuisance":
        return {axis: Nuisance(**fields) for axis, fields in found.items()}
    kinds = {"objective": Objective, "search": SearchPlan}
    return kinds[name](**found) if name in kinds else found
