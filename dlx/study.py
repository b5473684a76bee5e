"""A study: the whole declaration of a question, from template to figures."""

import dataclasses
import re
import typing
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, Literal, Self, get_args

from dlx import overrides
from dlx.canonical import digest
from dlx.coercion import coerce
from dlx.errors import DeclarationError
from dlx.pack import Resources
from dlx.parallel import check_workers
from dlx.pruning import Prune
from dlx.space import MOST_CHECKED, Cell, Space
from dlx.training import Training
from dlx.trial import Trial
from dlx.tuning import FINALS_OF_A_SEARCH, TUNING_SEEDS, Objective, Search, check_whole

if typing.TYPE_CHECKING:
    from dlx.claims import Claim
    from dlx.plan import Plan
    from dlx.results import Results

ONE_CPU = Resources()
FULL, CUSTOM = "full", "custom"  # variants of a study beside its presets
Keep = Literal["none", "final", "best"]
NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9 ._-]{0,98}[A-Za-z0-9_-])?")


@dataclasses.dataclass(frozen=True)
class Study:
    """A question, a template with markers, and how its trials are tuned, repeated, run and looked at.

    ``seeds``: how many seeds (or which ones) every cell gets. ``skip``: drops the cells for which it returns true.
    ``resources``: what one pack occupies, or a function of the trial. ``pack``: most trials that train together; None:
    as many as are fastest and fit into memory, found out on the packs that run.
    ``checkpoint_every``: seconds between states half-way, from which a pack whose worker died goes on.
    ``keep``: which weights of a trial are kept, for ``results.load_model``: ``final`` ones, or those of the measured
    step where the objective was ``best``; none of trials that were stopped early.
    ``retries``: how often a trial that raises is tried again. ``presets``: name → overrides by path.
    ``scheduler``: a scheduler of Ray Tune's, such as ``ASHAScheduler``, for trials that log steps; they then run alone,
    and where there is a search only its asks may be stopped.
    ``claims``: what is expected, stated before it runs; each gets a verdict. ``looks``: the numbers of seeds at which
    verdicts are looked at before all are run, declared so that the chance of error is spent over them.
    ``notes``: what a reader of its report should know, in paragraphs; the docstring of its file when left out.
    ``variant``: ``full``, the name of the preset that was applied, or ``custom``.
    Raises DeclarationError, naming the place and the fix, for what cannot be run.
    """

    name: str
    question: str
    template: Trial
    objective: Objective | None = None
    search: Search | None = None
    seeds: int | Sequence[int] = 1
    figures: Sequence[Callable[["Results"], Any]] = ()
    presets: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    skip: Callable[[Any], bool] | None = None
    resources: Resources | Callable[[Any], Resources] = ONE_CPU
    pack: int | None = None
    checkpoint_every: float = 300.0
    keep: Keep = "none"
    retries: int = 0
    scheduler: Any = None
    claims: Sequence["Claim"] = ()
    looks: Sequence[int] = ()
    notes: str = ""
    variant: str = FULL

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not NAME.fullmatch(self.name):
            raise DeclarationError(
                f"name is {self.name!r}; a study's name has letters, digits, spaces, '.', '_' and '-' only, begins "
                "with a letter or digit, ends with no space or '.' and is at most 100 characters long."
            )
        self._check_kinds()
        self._check_seeds()
        self._check_tuning()
        self._check_keep()
        self._check_claims()

    def _check_kinds(self) -> None:
        coerce(self.question, str, "question")
        coerce(self.notes, str, "notes")
        check_whole("retries", self.retries, 0)
        if self.pack is not None:
            check_whole("pack", self.pack, 1)
        if not coerce(self.checkpoint_every, float, "checkpoint_every") > 0:
            raise DeclarationError(f"checkpoint_every is {self.checkpoint_every}; give seconds, more than 0.")
        if not isinstance(self.presets, Mapping):
            raise DeclarationError(f"presets is {self.presets!r}; it must be a dict of name → overrides.")
        for name, changes in self.presets.items():
            if not isinstance(changes, Mapping):
                raise DeclarationError(f"presets[{name!r}] is {changes!r}; it must be a dict of path → value.")
        if not isinstance(self.figures, Sequence) or not all(map(callable, self.figures)):
            raise DeclarationError(f"figures is {self.figures!r}; it must be a list of functions of the results.")
        self._check_figures()
        if self.skip is not None and not callable(self.skip):
            raise DeclarationError(f"skip is {self.skip!r}; it must be a function of the trial.")
        if isinstance(self.resources, Resources):
            self._occupied(self.template, self.resources)
        elif not callable(self.resources):
            raise DeclarationError(
                f"resources is {self.resources!r}; write dlx.Resources(cpus=2), or a function of the trial."
            )

    def _check_figures(self) -> None:
        if len(self.figures) > 1:
            from dlx.figures import name_of

            names = [name_of(figure) for figure in self.figures]
            if twice := next((name for name in names if names.count(name) > 1), None):
                raise DeclarationError(f"Two figures are called {twice!r}; give one of them another name=.")

    def _check_seeds(self) -> None:
        seeds = self.seed_list
        whole = all(isinstance(s, int) and not isinstance(s, bool) and 0 <= s < TUNING_SEEDS for s in seeds)
        if not seeds or not whole or len(set(seeds)) < len(seeds):
            raise DeclarationError(
                f"seeds is {self.seeds!r}; give a number of seeds, or different whole numbers from 0 to 10⁹ − 1."
            )

    def _check_tuning(self) -> None:
        if self.search is not None:
            if not isinstance(self.search, Search):
                raise DeclarationError(f"search is {self.search!r}; it must be a search, such as dlx.TPE(trials=16).")
            self.search.check()
            packed = self.scheduler is None and isinstance(self.template, Training)
            if self.search.prune is not None and not packed:
                raise DeclarationError(
                    "search.prune stops trials inside packs of dlx.Training; for other trials, which run alone, "
                    "give the study scheduler=, and no prune=."
                )
        if self.objective is not None:
            if not isinstance(self.objective, Objective):
                raise DeclarationError(f"objective is {self.objective!r}; write dlx.minimize('val/loss').")
            self.objective.check()
            watch = self.template.watch if isinstance(self.template, Training) else None
            split = self.objective.metric.partition("/")[0]
            if self.search is not None and self.search.prune is not None and watch is not None and split not in watch:
                raise DeclarationError(
                    f"search.prune judges by {self.objective.metric}, which is not measured on the way; "
                    f"add {split!r} to template.watch."
                )
        if not (tuned := self.space.tuned):
            return
        if self.search is not None and self.search.repeats > 1 and max(self.seed_list) >= FINALS_OF_A_SEARCH:
            raise DeclarationError(
                f"seeds holds {max(self.seed_list)}; with several searches, each of which has seeds of its own, give "
                "numbers below 10⁶."
            )
        missing = [n for n in ("objective", "search") if getattr(self, n) is None]
        if missing:
            example = {"objective": "objective=dlx.minimize('val/loss')", "search": "search=dlx.TPE(trials=16)"}
            raise DeclarationError(
                f"template.{tuned[0]} must be tuned, but the study has no {' and no '.join(missing)}; give "
                f"{' and '.join(example[n] for n in missing)}, or a fixed value or grid there."
            )
        if self.search is not None and self.search.ranges:
            for cell in self.space.cells[:MOST_CHECKED]:
                if self.space.is_tuned(cell):
                    self.search.check_axes(self.space.tuned_axes(cell), self.space.describe(cell))

    def _check_keep(self) -> None:
        if self.keep not in get_args(Keep):
            raise DeclarationError(f"keep is {self.keep!r}; it must be 'none', 'final' or 'best'.")
        if self.keep == "best" and self.objective is None:
            raise DeclarationError(
                "keep is 'best', but the study has no objective to be best by; give "
                "objective=dlx.minimize('val/loss'), or keep='final'."
            )
        if self.keep == "best" and not isinstance(self.template, Training):
            raise DeclarationError(
                f"keep is 'best', but {type(self.template).__name__} is no dlx.Training, whose steps are measured; "
                "give keep='final' and call ctx.save(state) in its run."
            )

    def _check_claims(self) -> None:
        looks = self.looks
        if not isinstance(looks, Sequence) or not all(type(n) is int and n > 1 for n in looks) or (
                list(looks) != sorted(set(looks))):
            raise DeclarationError(f"looks is {self.looks!r}; give numbers of seeds of at least 2, in rising order.")
        if not isinstance(self.claims, Sequence):
            raise DeclarationError(f"claims is {self.claims!r}; it must be a list of claims, as dlx.claims has them.")
        if self.claims:
            from dlx import claims, wanted

            try:
                claims.check_all(self.claims, wanted.grid(self), self.metric_names, self.objective, self.space.tuned)
            except DeclarationError as e:
                if self.variant != CUSTOM:
                    raise
                raise DeclarationError(f"{e} To go without claims, set claims=() as well.") from e

    @cached_property
    def metric_names(self) -> tuple[str, ...] | None:
        """Names of what trials return, where the declaration says them; None for trials of the user's own."""
        return self.template.metric_names() if isinstance(self.template, Training) else None

    @cached_property
    def space(self) -> Space:
        """The compiled template: its axes and cells."""
        return Space(self.template, self.skip)

    @cached_property
    def seed_list(self) -> tuple[int, ...]:
        """The seeds that every cell gets."""
        if isinstance(self.seeds, int) and not isinstance(self.seeds, bool):
            return tuple(range(self.seeds))
        return tuple(self.seeds) if isinstance(self.seeds, Sequence | range) else ()

    @cached_property
    def prune(self) -> Prune | None:
        """How asks are stopped early inside a pack."""
        if self.search is None or self.search.prune is None or self.objective is None:
            return None
        return Prune(self.search.prune, self.objective.metric, self.objective.sign)

    def cell_key(self, cell: Cell) -> str:
        """What rows of a cell are filed under: its setting, and for a tuned cell also the search and the objective."""
        if not self.space.is_tuned(cell):
            return cell.key
        assert self.search is not None and self.objective is not None
        protocol = f"{self.search.identity()}\0{self.objective.direction} {self.objective.metric}"
        return digest(cell.digest + protocol.encode()).hex()

    def resources_of(self, trial: Trial) -> Resources:
        """What a pack with this trial occupies."""
        if isinstance(self.resources, Resources):
            several = self.resources.workers > 1 or self.resources.gpus > 1
            return self._occupied(trial, self.resources) if several else self.resources
        try:
            given = self.resources(trial)
        except Exception as e:
            raise DeclarationError(
                f"resources= raised {type(e).__name__}: {e}; it is given a resolved trial and must give dlx.Resources."
            ) from e
        if not isinstance(given, Resources):
            raise DeclarationError(f"resources= gave {given!r} for a trial; it must give dlx.Resources(...).")
        return self._occupied(trial, given)

    def _occupied(self, trial: Trial, given: Resources) -> Resources:
        """What is occupied for these resources; raises DeclarationError for what cannot be, or not by this trial."""
        given.check()
        if isinstance(trial, Training):
            given = given.a_gpu_each()
        if given.workers > 1:
            prune = self.search.prune if isinstance(self.search, Search) else None
            stopping = {"search.prune": prune, "scheduler": self.scheduler}
            check_workers(trial, given.workers, [name for name, value in stopping.items() if value is not None])
        return given

    def with_(self, changes: Mapping[str, Any]) -> Self:
        """The study with other values by path: ``study.with_({"template.model.width": dlx.grid(4, 8)})``.

        A component among the options of a grid is named in brackets: ``template.optimizer[SGD].lr``.
        Raises DeclarationError with the nearest match for a path that does not exist.
        """
        return overrides.apply(self, changes, variant=CUSTOM)

    def preset(self, name: str) -> Self:
        """The study with the overrides of one of its presets; raises DeclarationError for an unknown one."""
        if name not in self.presets:
            known = ", ".join(self.presets) or "none"
            raise DeclarationError(f"The study {self.name} has no preset {name!r}; it has: {known}.")
        return overrides.apply(self, self.presets[name], variant=name)

    def _repr_html_(self) -> str:
        from dlx.notebook import study_html

        return study_html(self)

    def plan(self, home: str | None = None) -> "Plan":
        """Cells, trials by phase, packs, stored and missing; nothing is started, written or deleted."""
        from dlx.plan import make_plan
        from dlx.store import Store

        return make_plan(self, Store(self.name, home))

    def run(self, **options: Any) -> "Results":
        """Run what is missing and return the results; see ``dlx.run.run`` for the options."""
        from dlx.run import run

        return run(self, **options)

    def results(self, home: str | None = None) -> "Results":
        """What is stored of this study's wanted trials; starts nothing."""
        from dlx.results import Results

        return Results.of(self, home)
