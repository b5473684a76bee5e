"""Runs a pack, anywhere. A worker never raises: a failure is a record."""

import time
import traceback
from collections.abc import Callable

from dlx.context import Context, Place
from dlx.pack import Member, Pack
from dlx.records import COMPLETED, DIVERGED, FAILED, Outcome, Records, not_finite, to_records, versions
from dlx.trial import values

LONGEST_ERROR = 20_000  # characters of a traceback that are kept


def run_pack(
    pack: Pack, device: str = "cpu", on_log: Callable[[int, dict[str, float]], None] | None = None
) -> Records:
    """Run all members of a pack, together when there are several, and return one row for each.

    on_log: called with step and metrics whenever a member logs.
    """
    contexts = [_context(pack, m, device) for m in pack.members]
    for ctx in contexts:
        ctx.on_log = on_log
    started, begun = time.time(), time.perf_counter()
    results = _results(pack, contexts)
    seconds = (time.perf_counter() - begun) / len(pack.members)
    outcomes = [
        _outcome(pack, m, c, r, started, seconds, device)
        for m, c, r in zip(pack.members, contexts, results, strict=True)
    ]
    return to_records(outcomes, versions())


def _context(pack: Pack, member: Member, device: str) -> Context:
    return Context(member.seed, device, Place(pack.folder, member.key, member.parent, member.keep))


def _results(pack: Pack, contexts: list[Context]) -> list[object]:
    trials = [m.trial for m in pack.members]
    try:
        if len(trials) == 1 and trials[0].shape() is None:
            return [trials[0].run(contexts[0])]
        return list(type(trials[0]).run_pack(trials, contexts))
    except Exception as e:
        return [e] * len(trials)


def _outcome(
    pack: Pack, member: Member, ctx: Context, result: object, started: float, seconds: float, device: str
) -> Outcome:
    status, error, metrics = COMPLETED, None, {}
    try:
        if isinstance(result, Exception):
            raise result
        metrics = _metrics(result)
        if bad := not_finite(metrics):
            status, error = DIVERGED, f"{', '.join(bad)} is not finite"
    except Exception as e:
        status, error = FAILED, "".join(traceback.format_exception(e))[-LONGEST_ERROR:]
    return Outcome(
        key=member.key, seed=member.seed, values=values(member.trial), status=status, seconds=seconds,
        started=started, metrics=metrics, history=ctx.history, error=error, members=len(pack.members),
        device=device, source=pack.source,
    )


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
