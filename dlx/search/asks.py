"""What a search asks next.

``ask`` keeps nothing between calls: it replays the history into a fresh Optuna study with a sampler seeded by
H(cell, search, repeat, index), so that a search resumed after a crash asks what it would have asked.
"""

import copy
import hashlib
import importlib
import math
import typing
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from dlx.errors import DeclarationError
from dlx.markers import LogUniform, Marker, RandInt, Range
from dlx.records import COMPLETED, DIVERGED, PRUNED
from dlx.space import Suggest
from dlx.tuning import CMA, GP, QMC, TPE, Objective, Random, Search

if typing.TYPE_CHECKING:
    import optuna

RUNNING = "running"
SIGNIFICANT = 6  # digits of a suggested float: what is stored is what ran
STATES_KEPT = 4_096  # asks of CMA whose optimizer is remembered

Define = Callable[[Suggest], dict[str, Any]]


@dataclass(frozen=True)
class Told:
    """An ask and what became of it: the status of its trial, or ``running`` in the generation of the next ask."""

    params: Mapping[str, Any]
    status: str
    value: float | None = None


def check(search: Search) -> None:
    """Raise DeclarationError when a package that the search needs is missing."""
    if search.requires is None:
        return
    try:
        importlib.import_module(search.requires)
    except ImportError as e:
        raise DeclarationError(
            f"search=dlx.{type(search).__name__}(...) needs the package {search.requires}; run: "
            f"pip install {search.requires}"
        ) from e


def ask(
    search: Search, objective: Objective, cell: str, repeat: int, index: int, history: Sequence[Told], define: Define
) -> dict[str, Any]:
    """Nuisance values of ask ``index`` of a cell's search, given asks 0 to ``index`` − 1.

    ``define``: suggests every nuisance axis of the cell in declared order. Equal arguments give equal values, in
    every process. How asks of the same generation (of ``search.parallel``) ended is not looked at.
    """
    name = f"{cell}\0{search.identity()}\0{repeat}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if isinstance(search, QMC):
            return _point(_seed(name), index, define)
        states = _optimizers(search, objective, name, index, history, define) if isinstance(search, CMA) else []
        return _ask(search, objective, name, index, _visible(search, history, index), states, define)[0]


def _seed(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=4).digest(), "big")


def _visible(search: Search, history: Sequence[Told], index: int) -> list[Told]:
    """What ask ``index`` may know: earlier generations as they ended, earlier asks of its own as running."""
    if isinstance(search, Random):
        return []
    start = index - index % search.parallel
    return [*history[:start], *(Told(t.params, RUNNING) for t in history[start:index])]


# ---------------------------------------------------------------- Optuna


def _ask(
    search: Search, objective: Objective, name: str, index: int, history: Sequence[Told],
    states: Sequence[Mapping[str, Any]], define: Define,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The next values, and the state that the sampler left with them (CMA's optimizer)."""
    import optuna

    _say_errors_only()
    sampler = _sampler(search, _seed(f"{name}\0{index}"), define)
    study = optuna.create_study(direction=objective.direction, sampler=sampler)
    worst = _worst(objective, history)
    for i, told in enumerate(history):
        study.add_trial(_trial(told, worst, states[i] if states else {}, define))
    trial = study.ask()
    params = define(lambda axis, marker, labels: _suggest(trial, axis, marker, labels))
    return params, dict(study.get_trials(deepcopy=False)[-1].system_attrs)


@cache
def _say_errors_only() -> None:
    """Once in a process, for it empties the caches of all loggers."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)


def _sampler(search: Search, seed: int, define: Define) -> "optuna.samplers.BaseSampler":
    from optuna import samplers

    if isinstance(search, TPE):
        conditional = len(_axes(define)) > len(_first(define))
        return samplers.TPESampler(seed=seed, n_startup_trials=search.startup, multivariate=True, group=conditional)
    if isinstance(search, GP):
        return samplers.GPSampler(seed=seed, n_startup_trials=search.startup)
    if isinstance(search, CMA):
        return samplers.CmaEsSampler(seed=seed)
    assert isinstance(search, Random), f"{type(search).__name__} is no search that dlx knows"
    return samplers.RandomSampler(seed=seed)


def _distribution(marker: Marker, labels: tuple[str, ...]) -> "optuna.distributions.BaseDistribution":
    from optuna import distributions

    if labels:
        return distributions.CategoricalDistribution(labels)
    assert isinstance(marker, Range)
    if isinstance(marker, RandInt):
        return distributions.IntDistribution(int(marker.low), int(marker.high) - 1)
    return distributions.FloatDistribution(marker.low, marker.high, log=isinstance(marker, LogUniform))


def _suggest(trial: "optuna.Trial", axis: str, marker: Marker, labels: tuple[str, ...]) -> Any:
    if labels:
        return trial.suggest_categorical(axis, labels)
    assert isinstance(marker, Range)
    if isinstance(marker, RandInt):
        return trial.suggest_int(axis, int(marker.low), int(marker.high) - 1)
    return _rounded(trial.suggest_float(axis, marker.low, marker.high, log=isinstance(marker, LogUniform)), marker)


def _rounded(value: float, marker: Range) -> float:
    """Six significant digits, and still within the bounds."""
    return float(min(max(float(f"{value:.{SIGNIFICANT}g}"), marker.low), marker.high))


def _trial(told: Told, worst: float, state: Mapping[str, Any], define: Define) -> "optuna.trial.FrozenTrial":
    """An earlier ask as Optuna is told of it; what is not finite is told as the worst value, or not at all."""
    from optuna.trial import TrialState, create_trial

    axes = _replayed(told.params, define)
    finite = told.value if _is_finite(told) else None
    value, passed, status = None, {}, TrialState.FAIL
    if told.status == RUNNING:
        status = TrialState.RUNNING
    elif told.status == PRUNED:
        status, passed = TrialState.PRUNED, {} if finite is None else {1: finite}
    elif told.status == COMPLETED and finite is not None:
        status, value = TrialState.COMPLETE, finite
    elif told.status == DIVERGED or (told.status == COMPLETED and told.value is not None):
        status, value = TrialState.COMPLETE, worst
    trial: Any = create_trial(
        state=status, value=value, params={a: told.params[a] for a in axes}, intermediate_values=passed,
        distributions={a: _distribution(*axis) for a, axis in axes.items()}, system_attrs=dict(state),
    )
    trial.__class__ = _past()
    return typing.cast("optuna.trial.FrozenTrial", trial)


@cache
def _past() -> type:
    """Trials that nobody changes: a study copies each that it is told, with all in it, at a fifth of an ask's cost."""
    from optuna.trial import FrozenTrial

    class Past(FrozenTrial):
        def __deepcopy__(self, memo: object) -> "Past":
            return copy.copy(self)

    return Past


def _is_finite(told: Told) -> bool:
    return told.status in (COMPLETED, PRUNED) and told.value is not None and math.isfinite(told.value)


def _worst(objective: Objective, history: Sequence[Told]) -> float:
    """The worst value that any ask reached, 0 when none reached any."""
    reached = [t.value for t in history if t.value is not None and _is_finite(t)]
    return objective.sign * max((objective.sign * v for v in reached), default=0.0)


# ---------------------------------------------------------------- CMA's optimizer, which Optuna keeps in its trials

_states: dict[bytes, dict[str, Any]] = {}


def _optimizers(
    search: Search, objective: Objective, name: str, index: int, history: Sequence[Told], define: Define
) -> list[Mapping[str, Any]]:
    """What the sampler left with each earlier ask, asked again where this process does not remember it."""
    running = [repr((sorted(t.params.items()), RUNNING, None)) for t in history[:index]]
    ended = [repr((sorted(t.params.items()), t.status, t.value)) for t in history[:index]]
    states: list[Mapping[str, Any]] = []
    for i in range(index):
        start = i - i % search.parallel
        known = "\n".join([name, objective.direction, *ended[:start], *running[start:i]])
        mark = hashlib.blake2b(known.encode(), digest_size=16).digest()
        if mark not in _states:
            state = _ask(search, objective, name, i, _visible(search, history, i), states, define)[1]
            if len(_states) >= STATES_KEPT:
                del _states[next(iter(_states))]
            _states[mark] = state
        states.append(_states[mark])
    return states


# ---------------------------------------------------------------- axes of a space that may be conditional

Axes = dict[str, tuple[Marker, tuple[str, ...]]]


def _replayed(params: Mapping[str, Any], define: Define) -> Axes:
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


def _first(define: Define, chosen: Mapping[str, str] | None = None) -> Axes:
    """The axes that exist when each choice is the one given, or its first option."""
    first = _First(chosen or {})
    define(first.suggest)
    return first.axes


def _axes(define: Define) -> Axes:
    """All axes of a space, each option of each choice taken once."""
    found: Axes = {}
    waiting: list[dict[str, str]] = [{}]
    while waiting:
        chosen = waiting.pop(0)
        for axis, (marker, labels) in _first(define, chosen).items():
            if axis not in found:
                found[axis] = marker, labels
                waiting += [{**chosen, axis: label} for label in labels[1:]]
    return found


# ---------------------------------------------------------------- Sobol points


def _point(seed: int, index: int, define: Define) -> dict[str, Any]:
    """The point of this index in one scrambled Sobol sequence with a coordinate for every axis of the space.

    (Optuna's sampler draws its first point at random and reads its place in the sequence from a study's past.)
    """
    import numpy as np
    from scipy.stats import qmc

    axes = list(_axes(define))
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
        return _rounded(marker.low * (marker.high / marker.low) ** share, marker)
    return _rounded(marker.low + share * (marker.high - marker.low), marker)
