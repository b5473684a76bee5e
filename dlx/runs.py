"""Runs that the command line asks for: of one study, or of every study one after the other."""

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dlx.chosen import Chosen
from dlx.errors import DeclarationError, DlxError
from dlx.printed import say_next, say_results, say_verdicts, warn

if TYPE_CHECKING:
    from dlx.results import Results

REFUSED, MISSING, FAILED = 2, 3, 4  # exit codes; 0: every wanted trial is stored and none failed


@dataclass(frozen=True)
class Asked:
    """How a run is asked for on the command line, see ``dlx.run.run``."""

    executor: str
    address: str | None
    max_seconds: float | None
    max_trials: int | None
    max_gpu_hours: float | None
    retry_failed: bool
    wait: bool
    tracking_uri: str | None
    quiet: bool

    @property
    def again(self) -> dict[str, Any]:
        """What is repeated where the next command is said."""
        return {"executor": None if self.executor == "ray" else self.executor, "address": self.address,
                "tracking_uri": self.tracking_uri}


def run_one(chosen: Chosen, asked: Asked) -> int:
    """Run what is missing of a study, say what came out; returns the exit code."""
    results = _results(chosen, asked)
    if not asked.quiet:
        say_results(chosen, results)
        say_next(chosen, results, asked.again)
    return _code(results)


def run_all(preset: str | None, home: str | None, asked: Asked) -> int:
    """Run what is missing of every study that is found here; what one of them refuses does not stop the others.

    Studies without the preset are left out. Returns the largest exit code.
    """
    from dlx.driver import INTERRUPTED

    studies, code = _studies(preset, home)
    with _one_ray(studies, asked):
        for chosen in studies:
            began = time.monotonic()
            if not asked.quiet:
                print(f"{chosen.name}" + (f" --preset {preset}" if preset else ""))
            try:
                results = _results(chosen, asked)
            except DlxError as e:
                warn(str(e))
                code = max(code, REFUSED)
                continue
            code = max(code, _code(results))
            if not asked.quiet:
                say_verdicts(chosen, results)
                print(f"{time.monotonic() - began:.0f} s\n")
            if results.stopped == INTERRUPTED:
                break
    return code


def _results(chosen: Chosen, asked: Asked) -> "Results":
    from dlx import live

    try:
        return chosen.study().run(
            home=chosen.home, executor=asked.executor, address=asked.address, max_seconds=asked.max_seconds,
            max_trials=asked.max_trials, max_gpu_hours=asked.max_gpu_hours, retry_failed=asked.retry_failed,
            wait=asked.wait, view=live.choose(asked.quiet), tracking_uri=asked.tracking_uri,
        )
    except KeyboardInterrupt:
        warn(f"stopped; what had finished is stored, and this goes on from there: "
             f"{chosen.command('run', asked.again)}")
        raise


def _code(results: "Results") -> int:
    return MISSING if results.missing else FAILED if len(results.failed()) else 0


def _studies(preset: str | None, home: str | None) -> tuple[list[Chosen], int]:
    """Every study with this preset; and the exit code that files which cannot be loaded lead to."""
    from dlx.loading import find_all

    found = find_all()
    broken = [one.problem for one in found if one.problem]
    lacking = [one.name for one in found if one.study is not None and preset and preset not in one.study.presets]
    warn(*broken)
    if lacking:
        warn(f"without a preset {preset!r}, and so left out: {', '.join(lacking)}.")
    chosen = [Chosen(one.name, preset, home=home) for one in found if one.study is not None and one.name not in lacking]
    if not chosen and not broken:
        raise DeclarationError("There is nothing to run: no study file is found here that has such a preset.")
    return chosen, REFUSED if broken else 0


def _one_ray(studies: Sequence[Chosen], asked: Asked) -> AbstractContextManager[object]:
    """One Ray for all of the studies, when anything of them is missing."""
    if asked.executor != "ray" or not any(_is_missing(chosen) for chosen in studies):
        return nullcontext()
    from dlx.executors.tune_cluster import Cluster

    return Cluster(asked.address)


def _is_missing(chosen: Chosen) -> bool:
    try:
        return chosen.study().plan(chosen.home).missing > 0
    except DlxError:
        return False
