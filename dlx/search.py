"""What a search asks next, and how much each nuisance axis matters to it: the one door to Optuna.

``ask`` keeps nothing between calls: it replays the history into a fresh Optuna study with a sampler seeded by
H(cell, search, repeat, index), so that a search resumed after a crash asks what it would have asked.
"""

import copy
import hashlib
import importlib
import math
import typing
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from dlx.axes import Define, axes_of, first, point, replayed, rounded
from dlx.errors import DeclarationError
from dlx.markers import LogUniform, Marker, RandInt, Range
from dlx.records import COMPLETED, DIVERGED, PRUNED
from dlx.tuning import CMA, GP, QMC, TPE, Objective, Random, Search

if typing.TYPE_CHECKING:
    import optuna

    from dlx.declaration import Nuisance

RUNNING = "running"
TOP, FEWEST = 0.1, 5  # Optuna's share of best asks, and how many these should be at least (its documentation)
STATES_KEPT = 4_096  # asks of CMA whose optimizer is remembered


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
            return point(_seed(name), index, define)
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
        conditional = len(axes_of(define)) > len(first(define))
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
    return _between(marker.low, marker.high, isinstance(marker, RandInt), isinstance(marker, LogUniform))


def _between(low: float, high: float, whole: bool, log: bool) -> "optuna.distributions.BaseDistribution":
    from optuna import distributions

    if whole:
        return distributions.IntDistribution(int(low), int(high) - 1)
    return distributions.FloatDistribution(low, high, log=log)


def _suggest(trial: "optuna.Trial", axis: str, marker: Marker, labels: tuple[str, ...]) -> Any:
    if labels:
        return trial.suggest_categorical(axis, labels)
    assert isinstance(marker, Range)
    if isinstance(marker, RandInt):
        return trial.suggest_int(axis, int(marker.low), int(marker.high) - 1)
    return rounded(trial.suggest_float(axis, marker.low, marker.high, log=isinstance(marker, LogUniform)), marker)


def _trial(told: Told, worst: float, state: Mapping[str, Any], define: Define) -> "optuna.trial.FrozenTrial":
    """An earlier ask as Optuna is told of it; what is not finite is told as the worst value, or not at all."""
    from optuna.trial import TrialState, create_trial

    axes = replayed(told.params, define)
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


# ---------------------------------------------------------------- what mattered


def importances(
    asks: Sequence[Mapping[str, Any]], scores: Sequence[float], axes: Mapping[str, "Nuisance"]
) -> dict[str, float]:
    """Shares, 1 in sum, of the axes in what sets the best tenth of asks (at least five) apart from the others.

    PED-ANOVA (Watanabe et al. 2023, arXiv:2304.10255), the default of ``optuna.importance``. asks: nuisance values,
    without the axes that an ask lacks; scores: smaller is better, all finite; axes: of whatever is asked for.
    """
    import optuna
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
    from optuna.trial import create_trial

    _say_errors_only()
    known = {name: _distribution_of(axis, [a[name] for a in asks if name in a]) for name, axis in axes.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        study = optuna.create_study()
        study.add_trials([
            create_trial(value=score, params=dict(ask), distributions={name: known[name] for name in ask})
            for ask, score in zip(asks, scores, strict=True)
        ])
        evaluator = PedAnovaImportanceEvaluator(target_quantile=max(TOP, min(FEWEST / len(asks), 0.5)))
        return get_param_importances(study, evaluator=evaluator)


def _distribution_of(axis: "Nuisance", values: Sequence[Any]) -> "optuna.distributions.BaseDistribution":
    from optuna import distributions

    if axis.low is None or axis.high is None:
        return distributions.CategoricalDistribution(list(dict.fromkeys(values)))
    return _between(axis.low, axis.high, axis.kind == "randint", axis.kind == "loguniform")
