"""What all claims share: names that are checked when a study is declared, and how final trials are measured."""

import json
import math
import sys
from abc import abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

import numpy as np
import pyarrow as pa

from dlx.claims.arms import Arm, Grid, said
from dlx.claims.draws import Draws, Worst
from dlx.claims.finding import Finding, Part
from dlx.claims.items import BY_ITEM, ItemDraws
from dlx.claims.verdict import Label, Verdict
from dlx.errors import DeclarationError, DlxError
from dlx.stats import LEVEL, Estimate, Floats, block_bootstrap, item_bootstrap, one_sample, sign_flip, trimmed, welch
from dlx.text import nearest
from dlx.tuning import Objective

if TYPE_CHECKING:
    from dlx.results import Results

Test = Literal["t", "exact", "trimmed"]
TESTS: Mapping[str, Callable[[Floats, float, float], Estimate]] = {
    "t": one_sample, "exact": sign_flip, "trimmed": trimmed,
}
NOT_AXES = ("cell", "tuned", "finals")  # other columns of ``results.grid``


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A statement over the final trials of a study, made before they run; every field is a literal of JSON.

    ``name``: of its line in a table of verdicts; ``where``: the cells that it is about, as ``results.where`` takes
    them; ``because``: why its metric is not the objective's on the test split; ``worst``: which end of the metric a
    diverged trial is counted at, None: by the objective where it is the same metric, else ``high``; ``label``: the
    most that its verdict may be called.
    """

    name: str = ""
    where: Mapping[str, Any] | None = None
    because: str = ""
    worst: Worst | None = None
    label: Label = "confirmatory"
    tests: ClassVar[tuple[str, ...]] = get_args(Test)

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            object.__setattr__(self, name, _literal(value, f"{type(self).__name__}.{name}"))

    def __str__(self) -> str:
        about = f" where {said(self.where)}" if self.where else ""
        test = getattr(self, "test", "t")
        how = BY_ITEM.get(test, f"{test} test")
        return f"{self.sentence}{about}{'' if test == 't' else f' ({how})'}"

    @property
    def title(self) -> str:
        """What it is called in a table."""
        return self.name or str(self)

    @property
    @abstractmethod
    def metrics(self) -> tuple[str, ...]:
        """The metrics that it is about."""

    @property
    @abstractmethod
    def sentence(self) -> str:
        """What it says, without ``where``."""

    @abstractmethod
    def arms(self, grid: Grid) -> list[Arm]:
        """The cells that it compares; raises DeclarationError for conditions that mean none."""

    @abstractmethod
    def parts(self, results: "Results", arms: Sequence[Arm], level: float) -> tuple[list[Part], tuple[str, ...]]:
        """What is tested, and notes on what was counted how; raises DlxError with the fix where nothing can be."""

    def check_fields(self) -> None:
        """Raise DeclarationError for a value that is out of range."""
        for name, known in (("worst", get_args(Worst)), ("label", get_args(Label)), ("test", self.tests)):
            value = getattr(self, name, None)
            if value is not None and value not in known:
                raise DeclarationError(f"{name} is {value!r}; it must be {' or '.join(map(repr, known))}.")
        for name in self.metrics:
            if not isinstance(name, str) or not name:
                raise DeclarationError(f"its metric is {name!r}; name one, such as 'test/error'.")
        for name, text in (("name", self.name), ("because", self.because)):
            if not isinstance(text, str):
                raise DeclarationError(f"{name} is {text!r}; give a text.")
        check_conditions("where", self.where or {})

    # ------------------------------------------------------------ when the study is declared

    def check_names(
        self, grid: pa.Table, metrics: Sequence[str] | None = None, objective: Objective | None = None,
        nuisance: Collection[str] = (),
    ) -> None:
        """Raise DeclarationError, with the nearest match, for what the study does not have or cannot be asked.

        grid: a row a cell, as ``results.grid``; metrics: what its trials return, None when only a run can tell;
        nuisance: names of tuned axes.
        """
        called = self.name or type(self).__name__
        try:
            self.check_fields()
            called = self.title
            for name in self.metrics:
                if metrics is not None and name not in metrics:
                    raise DeclarationError(f"no trial returns {name!r}; {nearest(name, metrics)}")
            arms = self.arms(Grid(grid, [n for n in grid.column_names if n not in NOT_AXES], nuisance))
            if any(arm.tuned for arm in arms) and not self.because:
                self._check_objective(objective)
        except DeclarationError as e:
            raise DeclarationError(f"The claim {called!r} cannot be made: {e}") from None

    def _check_objective(self, objective: Objective | None) -> None:
        """Tuned cells are judged by what they were tuned for, on data that the tuning did not see."""
        if objective is None:
            return
        split, _, tail = objective.metric.rpartition("/")
        wanted = f"test/{tail}" if split else objective.metric
        for name in self.metrics:
            if split and name == objective.metric:
                fix = f"claim {wanted!r}" if name != wanted else f"tune for 'val/{tail}'"
                why = f"{name} chose the values of the tuned cells, and flatters them; {fix}"
            elif name != wanted:
                why = f"the cells were tuned for {objective.metric}, not for {name}; claim {wanted!r}"
            else:
                continue
            raise DeclarationError(f"{why}, or say in because= why this is meant.")

    # ------------------------------------------------------------ when results are there

    def measure(self, results: "Results", level: float = LEVEL) -> Finding:
        """The effects, intervals at ``level`` and raw p of all its parts; nothing is corrected or withheld here."""
        arms = self.arms(Grid(results.grid, results.axes))
        rows = np.unique(np.concatenate([arm.rows for arm in arms]))
        search = results.declaration.search
        searches = search.repeats if search and any(arm.tuned for arm in arms) else 0
        size = (rows, len(results.declaration.seeds), searches, not all(arm.tuned for arm in arms))
        try:
            parts, notes = self.parts(results, arms, level)
        except DlxError as e:
            return Finding(*size, problem=str(e))
        return Finding(*size, tuple(parts), notes)

    def check(self, results: "Results") -> Verdict:
        """What the results say of this claim: as one of the study's when it is, else beside them, as exploratory."""
        from dlx.verdicts import judge

        claims = results.declaration.claims
        place = claims.index(self) if self in claims else len(claims)
        return judge(results, claims if place < len(claims) else [*claims, self])[place]

    def draws(self, results: "Results", metric: str, arms: Sequence[Arm]) -> Draws:
        """Final values of a metric in the cells of some arms; by item where the test resamples these."""
        objective, worst = results.declaration.objective, self.worst
        if worst is None:
            worst = "low" if objective is not None and objective.is_of(metric) and objective.sign < 0 else "high"
        kind = ItemDraws if getattr(self, "test", "t") in BY_ITEM else Draws
        return kind(results, metric, worst, np.unique(np.concatenate([arm.rows for arm in arms])))


def check_all(
    claims: Sequence[Claim], grid: pa.Table, metrics: Sequence[str] | None = None,
    objective: Objective | None = None, nuisance: Collection[str] = (),
) -> None:
    """Raise DeclarationError for a claim that the study cannot answer, and for two that are called the same."""
    for i, claim in enumerate(claims):
        if not isinstance(claim, Claim):
            raise DeclarationError(f"claims[{i}] is {claim!r}; give a claim, such as dlx.claims.Lower(...).")
        claim.check_names(grid, metrics, objective, nuisance)
    titles = [claim.title for claim in claims]
    if twice := next((title for title in titles if titles.count(title) > 1), None):
        raise DeclarationError(f"Two claims are called {twice!r}; give one of them another name=.")


# ---------------------------------------------------------------- measuring


def location(values: Floats, null: float, test: str, level: float, block: int | None = None) -> Estimate:
    """Where independent draws (n,), or (n, items), lie, by one of the tests; raises DlxError for too few or too many.

    block: windows of a block bootstrap's, None: chosen by the data.
    """
    if test in BY_ITEM:
        return _by_item(values, null, test, level, block)
    try:
        return TESTS[test](values, null, level)
    except ValueError as e:
        raise DlxError(f"test={test!r} does not fit {len(values)} draws; give more seeds, or test='t'. ({e})") from e


def _by_item(values: Floats, null: float, test: str, level: float, block: int | None) -> Estimate:
    if test == "items":
        return item_bootstrap(values, null, level)
    try:
        return block_bootstrap(values, block, null, level)
    except ValueError as e:
        raise DlxError(f"block does not fit the test set: {e}") from e


def sample(draws: Draws, a: Arm, b: Arm) -> tuple[Floats] | tuple[Floats, Floats]:
    """Differences a − b of units that both have; where one arm is tuned and the other not, two independent samples."""
    (units_a, values_a), (units_b, values_b) = draws.of(a), draws.of(b)
    if a.tuned != b.tuned:
        return values_a, values_b
    _, in_a, in_b = np.intersect1d(units_a, units_b, return_indices=True)
    return (values_a[in_a] - values_b[in_b],)


def difference(
    draws: Draws, a: Arm, b: Arm, null: float, test: str, level: float, block: int | None = None
) -> Estimate:
    """a − b: of pairs that share a unit, else of independent samples (Welch 1947)."""
    found = sample(draws, a, b)
    return welch(*found, null, level) if len(found) == 2 else location(*found, null, test, level, block)


def paired(draws: Draws, arms: Sequence[Arm]) -> Floats:
    """Values (units, arms) of the units that all arms have."""
    found = [dict(zip(*(part.tolist() for part in draws.of(arm)), strict=True)) for arm in arms]
    shared = sorted(set(found[0]).intersection(*found[1:]))
    return np.array([[values[unit] for values in found] for unit in shared]).reshape(len(shared), len(arms))


def same_kind(arms: Sequence[Arm], claim: str) -> None:
    """Raise DeclarationError where some arms are tuned and some not, so that no unit is common to all."""
    if len({arm.tuned for arm in arms}) > 1:
        raise DeclarationError(f"a {claim} takes cells that are all tuned, or none; narrow it by where=.")


# ---------------------------------------------------------------- fields


def check_number(name: str, value: Any, least: float = -math.inf) -> None:
    """Raise DeclarationError for what is no finite number, or is below ``least``."""
    number = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
    if not number or value < least:
        raise DeclarationError(f"{name} is {value!r}; give a number{f' of at least {least:g}' if number else ''}.")


def check_conditions(name: str, value: Any) -> None:
    """Raise DeclarationError for what is no mapping of axes to values."""
    if not isinstance(value, Mapping) or not all(isinstance(axis, str) for axis in value):
        raise DeclarationError(f"{name} is {value!r}; give values by axis, such as {{'optimizer': 'SGD'}}.")


def _literal(value: Any, place: str) -> Any:
    """The value with tuples for lists; raises DeclarationError for what JSON does not have."""
    if isinstance(value, Mapping):
        return {key: _literal(inner, place) for key, inner in value.items()}
    if isinstance(value, list | tuple | range):
        return tuple(_literal(inner, place) for inner in value)
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        raise DeclarationError(
            f"{place} is {value!r}; a claim is kept as JSON, give finite numbers, texts and lists of them."
        ) from None
    return value
