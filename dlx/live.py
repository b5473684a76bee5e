"""What a person is shown while a study runs: how far it is, in plain lines, or warnings alone when quiet."""

import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol, TextIO

from dlx.plan import duration
from dlx.text import clean

LINE_EVERY = 10.0  # seconds between plain lines


@dataclass(frozen=True)
class Running:
    """A pack of so many trials that has run for some seconds: at ``step`` of ``steps`` (0: unknown), last logged."""

    trials: int
    seconds: float
    step: int
    steps: int = 0
    latest: str = ""


@dataclass
class Progress:
    """How far a run is.

    stored: wanted trials stored before it; done: by it; rate: trials a second; seconds: since it began; packs: those
    that have run longest; failures: why trials failed, and how often.
    """

    cells: int = 0
    cells_done: int = 0
    wanted: int = 0
    stored: int = 0
    done: int = 0
    running: int = 0
    failed: int = 0
    diverged: int = 0
    rate: float = 0.0
    seconds_left: float | None = None
    best: str = ""
    message: str = ""
    seconds: float = 0.0
    packs: tuple[Running, ...] = ()
    failures: tuple[str, ...] = ()


class View(Protocol):
    """What shows the progress of a run."""

    def start(self, name: str, progress: Progress) -> None:
        """The run of the study of this name begins."""

    def update(self, progress: Progress) -> None:
        """Something may have changed; cheap, called often."""

    def say(self, line: str) -> None:
        """A sentence that a person must see."""

    def stop(self) -> None:
        """The run ended; without a start it means nothing."""


def choose(quiet: bool = False, file: TextIO | None = None) -> View:
    """The view that fits: in a notebook its own, else as the file is: live on a terminal, plain lines elsewhere.

    file: where it is shown, None: standard error, or the notebook that this process belongs to.
    """
    from dlx.screens import Live, Notebook

    if file is None and not quiet and in_notebook():
        return Notebook()
    file = file or sys.stderr
    if quiet:
        return Quiet(file)
    return Live(file) if file.isatty() else Plain(file)


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    ipython = sys.modules.get("IPython")
    return getattr(ipython and ipython.get_ipython(), "kernel", None) is not None


class Shield:
    """Several views as one; what cannot be shown ends no run, and keeps no other from being shown."""

    def __init__(self, *views: View) -> None:
        self._views = views

    def start(self, name: str, progress: Progress) -> None:
        """Each view's own, if it works."""
        self._each(lambda view: view.start(name, progress))

    def update(self, progress: Progress) -> None:
        """Each view's own, if it works."""
        self._each(lambda view: view.update(progress))

    def say(self, line: str) -> None:
        """Each view's own, if it works."""
        self._each(lambda view: view.say(line))

    def stop(self) -> None:
        """Each view's own, if it works."""
        self._each(lambda view: view.stop())

    def _each(self, call: Callable[[View], None]) -> None:
        for view in self._views:
            with suppress(Exception):
                call(view)


class Turns:
    """A view that several runs share: it shows the one that started first, and names who says something."""

    def __init__(self, view: View) -> None:
        self.view, self.waiting = view, list["Turn"]()


class Turn:
    """A run's part of a shared view, under its name: it is shown once those that started earlier have stopped."""

    def __init__(self, turns: Turns, name: str) -> None:
        self._turns, self._name = turns, name
        self._shown: tuple[str, Progress] | None = None

    def start(self, name: str, progress: Progress) -> None:
        """Show it now, or when its turn has come."""
        self._shown = name, progress
        self._turns.waiting.append(self)
        if self._turns.waiting[0] is self:
            self._turns.view.start(name, progress)

    def update(self, progress: Progress) -> None:
        """Show it if this is its turn."""
        if self._turns.waiting[:1] == [self]:
            self._turns.view.update(progress)

    def say(self, line: str) -> None:
        """Say it at once, with the name."""
        self._turns.view.say(f"{self._name}: {line}")

    def stop(self) -> None:
        """Leave the view to the next."""
        waiting = self._turns.waiting
        first = waiting[:1] == [self]
        if self in waiting:
            waiting.remove(self)
        if first:
            self._turns.view.stop()
            if waiting and (shown := waiting[0]._shown) is not None:
                self._turns.view.start(*shown)


class Quiet:
    """Says what must be said and nothing else."""

    def __init__(self, file: TextIO | None = None) -> None:
        self._file = file

    def start(self, name: str, progress: Progress) -> None:
        """Shows nothing."""

    def update(self, progress: Progress) -> None:
        """Shows nothing."""

    def say(self, line: str) -> None:
        """Print the sentence."""
        print(clean(line), file=self._file or sys.stderr, flush=True)

    def stop(self) -> None:
        """Shows nothing."""


class Plain(Quiet):
    """One line at the start, one at most every ten seconds, one at the end."""

    def __init__(self, file: TextIO | None = None) -> None:
        super().__init__(file)
        self._last: Progress | None = None
        self._began = self._printed = 0.0

    def start(self, name: str, progress: Progress) -> None:
        """Print what is wanted and what is stored."""
        self._printed = time.monotonic()
        self._began, self._last = self._printed - progress.seconds, progress
        self.say(f"{name}: {progress.cells:,} cells, {progress.wanted:,} trials, {progress.stored:,} of them stored")

    def update(self, progress: Progress) -> None:
        """Print a line when one is due."""
        self._last = progress
        if time.monotonic() - self._printed >= LINE_EVERY:
            self._print(progress)

    def stop(self) -> None:
        """Print how far the run came."""
        if self._last is not None:
            self._print(self._last)
            self._last = None

    def _print(self, progress: Progress) -> None:
        self._printed = time.monotonic()
        self.say(f"{duration(self._printed - self._began):>10}  {summary(progress)}")


def summary(progress: Progress) -> str:
    """The progress in one line: counts that are zero and matter only when they are not are left out."""
    p = progress
    said = [f"{p.stored + p.done:,}/{p.wanted:,} trials", f"{p.cells_done:,}/{p.cells:,} cells"]
    if p.rate:
        said.append(f"{p.rate:.3g}/s")
    said += [f"{count:,} {word}" for count, word in counts(p) if count]
    if p.packs:
        longest = p.packs[0]
        said.append(f"longest at step {longest.step:,}" + (f"/{longest.steps:,}" if longest.steps else ""))
    if p.best:
        said.append(f"best {p.best}")
    if p.seconds_left is not None and p.running:
        said.append(f"{duration(p.seconds_left)} left")
    return ", ".join(said) + (f" ({p.message})" if p.message else "")


def counts(progress: Progress) -> list[tuple[int, str]]:
    """How many trials are in a state, and the word for it."""
    return [(progress.running, "running"), (progress.failed, "failed"), (progress.diverged, "diverged")]
