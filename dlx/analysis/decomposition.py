"""The variance of values by factors: a functional ANOVA over cells, with what noise puts into each part taken out.

A value is y = μ(cell) + shared(unit) + ε. Over a uniform choice of cells Var μ is split by Hoeffding (1948) into main
effects, pairs and the rest; Var y is Var μ and the variance of values within a cell.
"""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from dlx.stats import Floats, Integers

MOST_COLUMNS = 250  # of the regression of grids that are not crossed in full; beyond, pairs are left out
ROUNDS, PRECISION = 100, 1e-12  # of alternating projections; in units of the spread of the values
RANK = 1e-9  # smallest eigenvalue that counts, in units of the largest

Term = tuple[str, ...]


@dataclass(frozen=True)
class Parts:
    """Shares of the variance of a value: ``shares`` has one a term, the rest of the cells' means, then noise.

    ``df``: degrees of freedom of each term; ``df_left``: of the rest; ``replicated``: whether noise was seen within
    cells (else the rest is what noise is taken to be, and both stand in one share).
    """

    shares: Floats
    df: Integers
    df_left: int
    replicated: bool


class Design:
    """Factors (name → level of each cell, integers from 0) and the terms made of them: each alone, then pairs."""

    def __init__(self, levels: Mapping[str, Integers], cells: int) -> None:
        self.cells = cells
        self.codes: dict[Term, Integers] = {(name,): _codes(level) for name, level in levels.items()}
        sizes = {term: int(code.max(initial=0)) + 1 for term, code in self.codes.items()}
        self.crossed = np.prod(list(sizes.values()), dtype=float) == cells
        pairs: dict[Term, Integers] = {}
        for (a, left), (b, right) in itertools.combinations(self.codes.items(), 2):
            both = _codes(left * sizes[b] + right)
            if both.max() + 1 > max(sizes[a], sizes[b]):  # else one is nested in the other, and is the pair
                pairs[a + b] = both
        columns = sum(int(code.max()) + 1 for code in [*self.codes.values(), *pairs.values()])
        if self.crossed or columns <= MOST_COLUMNS:
            self.codes |= pairs
        self.terms = list(self.codes)

    def squares(self, values: Floats) -> tuple[Floats, Integers]:
        """Sum of squares and degrees of freedom of each term in the values of cells (cells,)."""
        return self._crossed(values) if self.crossed else self._regressed(values)

    def _crossed(self, values: Floats) -> tuple[Floats, Integers]:
        effects: dict[Term, Floats] = {}
        found, df = [], []
        for term, code in self.codes.items():
            inner = [(m,) for m in term if len(term) > 1]
            left = values - values.mean() - sum(effects[m] for m in inner)
            effects[term] = (np.bincount(code, left) / np.bincount(code))[code]
            found.append(np.sum(effects[term] ** 2))
            df.append(np.prod([self.codes[(m,)].max() for m in term]))
        return np.array(found), np.array(df, dtype=np.int64)

    def _regressed(self, values: Floats) -> tuple[Floats, Integers]:
        """Type II: what a term adds to all terms that do not contain it."""
        products = np.concatenate([[values.sum()], *(np.bincount(c, values) for c in self.codes.values())])
        explained = np.array([[np.sum((products[at] @ root) ** 2) for at, root in fit] for fit in self._fits])
        rank = np.array([[root.shape[1] for _, root in fit] for fit in self._fits])
        return explained[:, 1] - explained[:, 0], rank[:, 1] - rank[:, 0]

    @cached_property
    def _fits(self) -> list[list[tuple[Integers, Floats]]]:
        """By term: the regressions without it and with it, as columns and a root of their pseudo-inverse."""
        codes = [np.zeros(self.cells, dtype=np.int64), *self.codes.values()]  # the intercept first
        ends = np.cumsum([0, *(c.max() + 1 for c in codes)])
        gram = np.vstack([np.hstack([_table(a, b) for b in codes]) for a in codes])
        found = []
        for own, code in enumerate(codes[1:], start=1):
            free = [0, *(i for i, c in enumerate(codes) if i and not _contains(c, code))]
            places = [np.concatenate([np.arange(ends[i], ends[i + 1]) for i in p]) for p in (free, [*free, own])]
            found.append([(at, _root(gram[np.ix_(at, at)])) for at in places])
        return found


def parts(design: Design, cell: Integers, unit: Integers, value: Floats) -> Parts | None:
    """The parts of the variance of values (n,), each of a cell (n,) and of a unit (n,) that all cells share.

    None where noise cannot be told from effects, or a cell has no value.
    """
    count = np.bincount(cell, minlength=design.cells)
    if not count.all() or not design.terms:
        return None
    mean, shared = _additive(cell, unit, value, count)
    squares, df = design.squares(mean)
    total = float(np.sum((mean - mean.mean()) ** 2))
    df_left = design.cells - 1 - int(df.sum())
    free = len(value) - design.cells - len(np.unique(unit)) + 1
    replicated = free > 0
    if replicated:
        error = float(np.sum((value - mean[cell] - shared[unit]) ** 2) / free * np.mean(1 / count))
        within = (np.bincount(cell, value) / count)[cell]
        noise = float(np.sum((value - within) ** 2)) / (len(value) - design.cells)
    elif df_left > 0:
        error = noise = max(total - float(squares.sum()), 0.0) / df_left
    else:
        return None
    found = (squares - df * error) / design.cells
    spread = (total - (design.cells - 1) * error) / design.cells
    whole = spread + noise
    if not whole > 0:
        return None
    shares = np.array([*found, spread - found.sum() if replicated else 0.0, noise]) / whole
    return Parts(shares, df, df_left if replicated else 0, replicated)


def _additive(cell: Integers, unit: Integers, value: Floats, count: Integers) -> tuple[Floats, Floats]:
    """Least-squares effects of cells and units, by alternating projections; at once where every cell has all units."""
    shared, members = np.zeros(int(unit.max()) + 1), np.maximum(np.bincount(unit), 1)
    scale = PRECISION * float(np.ptp(value))
    for _ in range(ROUNDS):
        mean = np.bincount(cell, value - shared[unit]) / count
        step = np.bincount(unit, value - mean[cell] - shared[unit]) / members
        shared += step
        if np.abs(step).max() <= scale:
            break
    return mean, shared


def _codes(levels: Integers) -> Integers:
    return np.asarray(np.unique(levels, return_inverse=True)[1], dtype=np.int64)


def _contains(outer: Integers, inner: Integers) -> bool:
    """Whether the level of the inner term follows from that of the outer."""
    return len(np.unique(outer * (int(inner.max()) + 1) + inner)) == int(outer.max()) + 1


def _table(a: Integers, b: Integers) -> Floats:
    """How many cells have each level of one term (rows) and of another (columns)."""
    width = int(b.max()) + 1
    counts = np.bincount(a * width + b, minlength=(int(a.max()) + 1) * width)
    return counts.reshape(-1, width).astype(np.float64)


def _root(gram: Floats) -> Floats:
    """A matrix whose product with its transpose is the pseudo-inverse of a Gram matrix; a column a rank."""
    eigenvalues, vectors = np.linalg.eigh(gram)
    kept = eigenvalues > RANK * eigenvalues[-1]
    return np.asarray(vectors[:, kept] / np.sqrt(eigenvalues[kept]))
