"""Runs that the command line asks for: of one study, or of all that are found."""

import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dlx.budget import Budget
from dlx.chosen import Chosen
from dlx.errors import DeclarationError, DlxError
from dlx.plan import duration
from dlx.printed import say_next, say_results, verdicts_of, warn
from dlx.text import clean, count

if TYPE_CHECKING:
    from dlx.relay import Leg
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
    from dlx import live

    with _how_to_go_on(chosen.command("run", asked.again)):
        results = chosen.study().run(
            home=chosen.home, executor=asked.executor, address=asked.address, max_seconds=asked.max_seconds,
            max_trials=asked.max_trials, max_gpu_hours=asked.max_gpu_hours, retry_failed=asked.retry_failed,
            wait=asked.wait, view=live.choose(asked.quiet), tracking_uri=asked.tracking_uri,
        )
    if not asked.quiet:
        say_results(chosen, results)
        say_next(chosen, results, asked.again)
    return _code(results)


def run_all(preset: str | None, home: str | None, asked: Asked) -> int:
    """Run what is missing of every study that is found here; what one of them refuses does not stop the others.

    Studies without the preset are left out, those with a scheduler of Ray Tune's come last. Returns the largest code.
    """
    from dlx.home import Home
    from dlx.relay import Relay
    from dlx.run import check_executor, executor_for, interrupts

    check_executor(asked.executor, asked.address)
    studies, code = _studies(preset, home)
    began, shared = time.monotonic(), [chosen for chosen in studies if _shares(chosen)]
    heard = _Heard(asked, code)
    relay = Relay(map(heard.leg, shared), executor_for(asked.executor, asked.address, Home(home).url))
    same = [*(("--preset", preset) if preset else ()), *(("--home", home) if home else ())]
    with _how_to_go_on(clean(shlex.join(["dlx", "run", "--all", *same]))), interrupts(relay.interrupt):
        relay.run()
    for chosen in studies:
        if chosen not in shared and not relay.stopped:
            heard.code = max(heard.code, run_one(chosen, asked))
    if not asked.quiet:
        print(f"{count(len(studies), 'study', 'studies')} in {duration(time.monotonic() - began)}")
    return heard.code


class _Heard:
    """What came out of several runs: said as they end, and the largest exit code."""

    def __init__(self, asked: Asked, code: int) -> None:
        from dlx import live

        self.code, self._asked, self._out = code, asked, sys.stdout
        self._view = live.choose(asked.quiet)
        self._turns = live.Turns(self._view)

    def leg(self, chosen: Chosen) -> "Leg":
        """The study's part of a relay."""
        from dlx.live import Turn
        from dlx.relay import Leg
        from dlx.run import prepared

        a = self._asked
        return Leg(
            lambda: prepared(chosen.study(), chosen.home, Budget(a.max_seconds, a.max_trials, a.max_gpu_hours),
                             a.retry_failed, a.wait, Turn(self._turns, chosen.name), a.tracking_uri),
            lambda outcome, seconds: self._hear(chosen, outcome, seconds),
        )

    def _hear(self, chosen: Chosen, outcome: "Results | DlxError", seconds: float) -> None:
        if isinstance(outcome, DlxError):
            self.code = max(self.code, REFUSED)
            warn(f"{chosen.name}: {outcome}")
            return
        self.code = max(self.code, _code(outcome))
        if self._asked.quiet:
            return
        preset = f" --preset {chosen.preset}" if chosen.preset else ""
        for line in (f"{chosen.name}{preset}: {duration(seconds)}", *verdicts_of(chosen, outcome), ""):
            if self._out.isatty():
                self._view.say(line)  # above what it shows
            else:
                print(line, file=self._out, flush=True)


@contextmanager
def _how_to_go_on(command: str) -> Iterator[None]:
    """When it is broken off, say that nothing stored is lost."""
    try:
        yield
    except KeyboardInterrupt:
        warn(f"stopped; what had finished is stored, and this goes on from there: {command}")
        raise


def _shares(chosen: Chosen) -> bool:
    """Whether a study can share workers with others."""
    try:
        return chosen.study().scheduler is None
    except DlxError:
        return True  # it is refused when its turn comes


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
