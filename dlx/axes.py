"""What can be known of the axes of a search without a sampler: which there are, and Sobol's points over all of them."""

import typing
from collections.abc import Callable, Mapping
from typing import Any

from dlx.markers import LogUniform, Marker, RandInt, Range
from dlx.space import Suggest

SIGNIFICANT = 6  # digits of a suggested float: what is stored is what ran

Define = Callable[[Suggest], dict[str, Any]]
Axes = dict[str, tuple[Marker, tuple[str, ...]]]


def replayed(params: Mapping[str, Any], define: Define) -> Axes:
    """The axes that exist under these values, in declared order."""
    axes: Axes = {}

    def suggest(axis: str, marker: Marker, labels: tuple[str, ...]) -> Any:
        axes[axis] = marker, labels
        return params[axis]

    define(suggest)
    return axes


class _First(dict[str, Any]):
    """Values of which the missing ones are the first option of whatever is asked for."""

    def __init__(self, chosen: Mapping[str, str]) -> None:
        super().__init__(chosen)
        self.axes: Axes = {}

    def suggest(self, axis: str, marker: Marker, labels: tuple[str, ...]) -> Any:
        self.axes[axis] = marker, labels
        return self.setdefault(axis, labels[0] if labels else typing.cast(Range, marker).low)


def first(define: Define, chosen: Mapping[str, str] | None = None) -> Axes:
    """The axes that exist when each choice is the one given, or its first option."""
    first = _First(chosen or {})
    define(first.suggest)
    return first.axes


def axes_of(define: Define) -> Axes:
    """All axes of a space, each option of each choice taken once."""
    found: Axes = {}
    waiting: list[dict[str, str]] = [{}]
    while waiting:
        chosen = waiting.pop(0)
        for axis, (marker, labels) in first(define, chosen).items():
            if axis not in found:
                found[axis] = marker, labels
                waiting += [{**chosen, axis: label} for label in labels[1:]]
    return found


# ---------------------------------------------------------------- values


def rounded(value: float, marker: Range) -> float:
    """Six significant digits, and still within the bounds."""
    return float(min(max(float(f"{value:.{SIGNIFICANT}g}"), marker.low), marker.high))


def point(seed: int, index: int, define: Define) -> dict[str, Any]:
    """The point of this index in one scrambled Sobol sequence with a coordinate for every axis of the space.

    (Optuna's sampler draws its first point at random and reads its place in the sequence from a study's past.)
    """
    import numpy as np
    from scipy.stats import qmc

    axes = list(axes_of(define))
    sequence = qmc.Sobol(len(axes), scramble=True, seed=np.random.default_rng(seed))
    if index:
        sequence.fast_forward(index)
    shares = dict(zip(axes, sequence.random(1)[0].tolist(), strict=True))
    return define(lambda axis, marker, labels: _at(shares[axis], marker, labels))


def _at(share: float, marker: Marker, labels: tuple[str, ...]) -> Any:
    """The value that lies at this share, in [0, 1), of an axis."""
    if labels:
        return labels[int(share * len(labels))]
    assert isinstance(marker, Range)
    if isinstance(marker, RandInt):
        return int(marker.low) + int(share * (int(marker.high) - int(marker.low)))
    if isinstance(marker, LogUniform):
        return rounded(marker.low * (marker.high / marker.low) ** share, marker)
    return rounded(marker.low + share * (marker.high - marker.low), marker)
