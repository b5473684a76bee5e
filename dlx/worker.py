"""Runs a pack, anywhere. A failure is a record, and raises nothing; but where the home is gone there is no result."""

import time
import traceback
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from dlx.context import Context, Place
from dlx.device import forget_peak, memory_share, release
from dlx.errors import HomeError
from dlx.pack import Member, Pack, halved
from dlx.partials import EVERY, Partials, Send
from dlx.pruning import Pruned
from dlx.records import COMPLETED, DIVERGED, FAILED, PRUNED, Outcome, Pace, Records, not_finite, to_records, versions
from dlx.trial import Trial, values

if typing.TYPE_CHECKING:
    from dlx.parallel import Group

OnLog = Callable[[int, dict[str, float]], None]
LONGEST_ERROR = 20_000  # characters of a traceback that are kept


class Stopped(BaseException):
    """What ``on_log`` raises when the trial is to end at once, without a row."""


class _Around(NamedTuple):
    """Who hears of a pack while it runs, and the processes that run it together."""

    on_log: OnLog | None
    on_partial: Send | None
    every: float
    group: "Group | None"


def run_pack(
    pack: Pack, device: str = "cpu", on_log: OnLog | None = None, on_partial: Send | None = None, every: float = EVERY,
    group: "Group | None" = None,
) -> Records:
    """Run all members of a pack, together when there are several, and return one row for each.

    on_log: called with step and metrics whenever a member logs; may raise Stopped. on_partial: called, every so many
    seconds, with what is new of a pack that runs for long. group: the processes that train its one member together.
    Raises HomeError where the home cannot be reached.
    """
    forget_peak(device)
    around, rates = _Around(on_log, on_partial, every, group), list[float]()
    records = to_records(_run_together(pack, pack.members, device, around, rates), versions())
    pace = Pace(rates[0], memory_share(pack.resources, device)) if len(rates) == 1 else None
    return replace(records, pace=pace)


def _run_together(
    pack: Pack, members: Sequence[Member], device: str, around: _Around, rates: list[float]
) -> list[Outcome]:
    """Run these members of a pack; when that raises, run each half by itself, until the culprit is alone."""
    contexts = [_context(pack, m, device) for m in members]
    partials = None
    if around.on_partial is not None:
        keys = [m.key for m in members]
        partials = Partials(around.on_partial, dict(zip(keys, contexts, strict=True)), around.every)
    for ctx in contexts:
        ctx.on_log, ctx.partials, ctx.group = around.on_log, partials, around.group
    started, begun = time.time(), time.perf_counter()
    results = _attempted([m.trial for m in members], contexts)
    if isinstance(results, BaseException):
        release(results, device)
        if len(members) > 1:
            del results
            halves = halved(members, [m.cohort for m in members])
            return [outcome for part in halves for outcome in _run_together(pack, part, device, around, rates)]
        results = [results]
    rates += [ctx.rate for ctx in contexts[:1] if ctx.rate is not None]
    run = _Run(pack.source, len(members), started, (time.perf_counter() - begun) / len(members), device)
    return [_outcome(run, m, c, r) for m, c, r in zip(members, contexts, results, strict=True)]


def _attempted(trials: list[Trial], contexts: list[Context]) -> list[object] | BaseException:
    """The results of trials, or what they raised."""
    try:
        return _results(trials, contexts)
    except BaseException as e:  # a trial may well call sys.exit()
        if _is_not_its_own(e):
            raise
        return e


def _is_not_its_own(error: BaseException) -> bool:
    """Whether it is not the trial's: the executor's, the home's, Ctrl-C, or the end of the process, as Ray marks it."""
    return isinstance(error, Stopped | HomeError | KeyboardInterrupt) or hasattr(error, "ray_terminate_msg")


def _context(pack: Pack, member: Member, device: str) -> Context:
    place = Place(pack.folder, member.key, member.parent, member.keep, pack.checkpoint_every, pack.resume,
                  pack.keep_final, pack.keep_best)
    ctx = Context(member.seed, device, place)
    ctx.cohort, ctx.prune = member.cohort, pack.prune
    return ctx


def _results(trials: list[Trial], contexts: list[Context]) -> list[object]:
    if len(trials) == 1 and trials[0].shape() is None:
        result = trials[0].run(contexts[0])
        contexts[0].ended()
        return [result]
    results: list[object] = list(type(trials[0]).run_pack(trials, contexts))
    if len(results) != len(trials):
        raise ValueError(f"run_pack returned {len(results)} results for {len(trials)} trials; it must return one each.")
    return results


@dataclass(frozen=True)
class _Run:
    """What the trials that ran together share; ``seconds``: the share of each."""

    source: str | None
    members: int
    started: float  # seconds since the epoch
    seconds: float
    device: str


def _outcome(run: _Run, member: Member, ctx: Context, result: object) -> Outcome:
    status, error, metrics = COMPLETED, None, {}
    try:
        if isinstance(result, BaseException):
            raise result
        metrics = _metrics(result.metrics if isinstance(result, Pruned) else result)
        if isinstance(result, Pruned):
            status = PRUNED
        elif bad := not_finite(metrics):
            status, error = DIVERGED, f"{', '.join(bad)} is not finite"
    except BaseException as e:
        status, error = FAILED, said(e)
    return Outcome(
        key=member.key, seed=member.seed, values=values(member.trial), status=status, seconds=run.seconds,
        started=run.started, metrics=metrics, history=ctx.history, error=error, members=run.members,
        device=run.device, source=run.source, notes=ctx.notes,
    )


def said(error: BaseException) -> str:
    """Its traceback, without the middle where that is too long: the call is at one end, the reason at the other."""
    text = "".join(traceback.format_exception(error))
    half = LONGEST_ERROR // 2
    return text if len(text) <= LONGEST_ERROR else f"{text[:half]}\n…\n{text[-half:]}"


def _metrics(result: object) -> dict[str, float]:
    if not hasattr(result, "items"):
        raise TypeError(f"run returned {type(result).__name__}; it must return a dict of metric name → number.")
    metrics = {}
    for name, value in result.items():
        try:
            metrics[str(name)] = float(value)
        except (TypeError, ValueError) as e:
            raise TypeError(f"The metric {name!r} is a {type(value).__name__}; it must be one number.") from e
    return metrics
