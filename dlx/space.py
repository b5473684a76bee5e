"""Compile a template into a space: its axes, its cells, and trials resolved from them.

A template is compiled once into a tree of nodes, each value coerced and digested where it stands, so that a cell
costs one hash: a million cells are planned in seconds without building a million trials.
"""

import bisect
import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, overload

from dlx import nodes
from dlx.coercion import is_component
from dlx.compile import compile_template
from dlx.errors import DeclarationError
from dlx.markers import Marker
from dlx.products import Scope, reorder
from dlx.trial import Trial

Suggest = Callable[[str, Marker, tuple[str, ...]], Any]
MOST_CHECKED = 10_000  # cells resolved and checked before a run; the rest are checked as they are packed


@dataclasses.dataclass(frozen=True)
class Cell:
    """One combination of the scientific axes: ``key`` (32 hexadecimal digits), and the option of each active axis."""

    digest: bytes
    options: Mapping[int, int]

    @property
    def key(self) -> str:
        return self.digest.hex()


@dataclasses.dataclass(frozen=True)
class Regime:
    """Cells that share the options of their structural axes (``fixed``) and cross the ``free`` ones."""

    fixed: Mapping[int, int]
    free: tuple[int, ...]
    sizes: tuple[int, ...]
    digests: list[bytes]

    def cell(self, index: int) -> Cell:
        """The cell at this place of the product, the last axis fastest."""
        options, rest = dict(self.fixed), index
        for axis, size in zip(reversed(self.free), reversed(self.sizes), strict=True):
            rest, options[axis] = divmod(rest, size)
        return Cell(self.digests[index], options)


class Cells(Sequence[Cell]):
    """The cells of a space in declared order, each built when it is looked at."""

    def __init__(self, regimes: Iterable[Regime]) -> None:
        self._regimes = list(regimes)
        self._starts = list(itertools.accumulate((len(r.digests) for r in self._regimes), initial=0))
        self.digests = [d for r in self._regimes for d in r.digests]

    def __len__(self) -> int:
        return len(self.digests)

    @overload
    def __getitem__(self, index: int) -> Cell: ...
    @overload
    def __getitem__(self, index: slice) -> list[Cell]: ...
    def __getitem__(self, index: int | slice) -> Cell | list[Cell]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        position = range(len(self))[index]
        regime = bisect.bisect_right(self._starts, position) - 1
        return self._regimes[regime].cell(position - self._starts[regime])


class Space:
    """The cells of a template, and the trials in them; raises DeclarationError for what cannot be declared."""

    def __init__(self, template: Trial, skip: Callable[[Any], bool] | None = None) -> None:
        if not isinstance(template, Trial) or not is_component(template):
            raise DeclarationError(
                f"template is {type(template).__name__}; it must be a dlx.Training(...) or a frozen dataclass "
                "that derives from dlx.Trial."
            )
        try:
            self.root, self.axes, self.tuned = compile_template(template)
        except RecursionError as e:
            raise DeclarationError("template holds itself, or is nested too deeply; take a level out of it.") from e
        self.skip = skip
        self._decided: dict[tuple[int | None, ...], bool] = {}  # options of the deciding axes → is such a cell tuned?

    # ------------------------------------------------------------ cells

    @cached_property
    def cells(self) -> Sequence[Cell]:
        """All cells in declared order, the last axis fastest; raises when two of them are the same setting."""
        found = Cells(self._regime(fixed) for fixed in self._regimes({}))
        if len(set(found.digests)) < len(found):
            self._refuse_duplicates(found)
        if self.skip is None:
            return found
        if not (kept := [cell for cell in found if not self._skipped(cell)]):
            raise DeclarationError("skip= drops every cell of the grid; let it keep at least one.")
        return kept

    def _regimes(self, fixed: dict[int, int]) -> Iterator[dict[int, int]]:
        """Assignments of the axes on whose options other axes depend."""
        active = self.root.active_axes(fixed)
        structural = next((i for i in active if i not in fixed and self.axes[i].structural), None)
        if structural is None:
            yield fixed
            return
        for option in range(len(self.axes[structural].labels)):
            yield from self._regimes({**fixed, structural: option})

    def _regime(self, fixed: dict[int, int]) -> Regime:
        free = [i for i in self.root.active_axes(fixed) if i not in fixed]
        sizes = [len(self.axes[i].labels) for i in free]
        scope = Scope(self.axes, tuple(free), self._derived(fixed, free))
        digests = reorder(self.root.table(fixed, scope), free, dict(zip(free, sizes, strict=True)))
        return Regime(fixed, tuple(free), tuple(sizes), digests)

    def _derived(self, fixed: Mapping[int, int], free: Sequence[int]) -> list[dict[str, Any]]:
        """The derived values of every combination of the free axes, which depend on the whole of it."""
        found: list[dict[str, Any]] = []
        if wanted := nodes.derived_nodes(self.root, fixed):
            for combination in itertools.product(*(range(len(self.axes[i].labels)) for i in free)):
                options = {**fixed, **dict(zip(free, combination, strict=True))}
                params: nodes.Params = None if self.tuned and self.root.has_tuned(options) else {}
                found.append(nodes.derive(self.root, wanted, options, params))
        return found

    def _skipped(self, cell: Cell) -> bool:
        try:
            return bool(self.skip and self.skip(self.resolve(cell.options, None)))
        except DeclarationError:
            raise
        except Exception as e:
            raise DeclarationError(
                f"skip= raised {type(e).__name__}: {e} on the cell {self.describe(cell)}; it is given the trial with "
                "its grid values in place."
            ) from e

    def _refuse_duplicates(self, cells: Sequence[Cell]) -> None:
        seen: dict[bytes, Cell] = {}
        for cell in cells:
            if (first := seen.setdefault(cell.digest, cell)) is not cell:
                raise DeclarationError(
                    f"The cells ({self.describe(first)}) and ({self.describe(cell)}) resolve to the same setting; "
                    "remove one value from the grid."
                )

    # ------------------------------------------------------------ what a cell is called

    def labels(self, cell: Cell) -> dict[str, Any]:
        """Axis name → value (components by name) of a cell, in declared order."""
        return {self.axes[i].name: self.axes[i].labels[o] for i, o in sorted(cell.options.items())}

    def describe(self, cell: Cell) -> str:
        """A cell in a few words, such as ``model.width=32, optimizer=SGD``; ``the only cell`` without a grid."""
        return ", ".join(f"{name}={value}" for name, value in self.labels(cell).items()) or "the only cell"

    # ------------------------------------------------------------ from a cell to trials

    def is_tuned(self, cell: Cell) -> bool:
        """Whether the cell has nuisance axes."""
        if not self.tuned:
            return False
        chosen = tuple(map(cell.options.get, self._deciding))
        if chosen not in self._decided:
            self._decided[chosen] = self.root.has_tuned(cell.options)
        return self._decided[chosen]

    @cached_property
    def _deciding(self) -> list[int]:
        """The axes on whose options it depends which nuisance axes exist."""
        branches = [node for node in self.root.walk() if isinstance(node, nodes.Branch)]
        inner = (nodes.Branch, nodes.Tuned)
        return sorted({b.axis for b in branches if any(isinstance(n, inner) for o in b.options for n in o.walk())})

    def tuned_axes(self, cell: Cell) -> dict[str, Marker]:
        """Nuisance axes of a cell, those of every option of a choice among them."""
        return {n.name: n.marker for n in self.root.active(cell.options) if isinstance(n, nodes.Tuned)}

    def ask(self, cell: Cell, suggest: Suggest) -> dict[str, Any]:
        """Values for the nuisance axes of a cell, each asked of ``suggest(name, marker, labels)`` in declared order."""
        params: dict[str, Any] = {}
        self.root.ask(cell.options, suggest, params)
        return params

    def resolve(self, options: Mapping[int, int], params: Mapping[str, Any] | None) -> Any:
        """The trial of a cell with its nuisance values; with ``params=None`` nuisance markers stay in place."""
        return nodes.resolve(self.root, options, params)

    def trial(self, cell: Cell, params: Mapping[str, Any] | None = None) -> Trial:
        """The resolved and checked trial of a cell; raises DeclarationError naming the component that refuses."""
        resolved: Trial = self.resolve(cell.options, params or {})
        check_components(resolved, "template")
        return resolved

    def check(self) -> None:
        """Resolve and check the cells that have no nuisance axes (the first ten thousand)."""
        for cell in self.cells[:MOST_CHECKED]:
            if not self.is_tuned(cell):
                self.trial(cell)


def check_components(value: Any, place: str) -> None:
    """Call ``check()`` of every component in a resolved tree, parts first; the error names the place."""
    if is_component(value):
        for f in dataclasses.fields(value):
            check_components(getattr(value, f.name), f"{place}.{f.name}")
        if callable(check := getattr(value, "check", None)):
            try:
                check()
            except DeclarationError as e:
                message = str(e)
                raise e if message.startswith("template") else DeclarationError(f"{place}: {message}") from e
            except Exception as e:
                raise DeclarationError(
                    f"{place}: check() of {type(value).__name__} raised {type(e).__name__}: {e}; correct the values or "
                    "the check."
                ) from e
    elif isinstance(value, list | tuple):
        for i, v in enumerate(value):
            check_components(v, f"{place}[{i}]")
    elif isinstance(value, Mapping):
        for k, v in value.items():
            check_components(v, f"{place}.{k}")

