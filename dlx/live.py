"""What a person sees while a study runs: a live view on a terminal, plain lines elsewhere, warnings when quiet."""

import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from dlx.plan import duration
from dlx.tables import clean

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live as RichLive

LINE_EVERY = 10.0  # seconds between plain lines
FRAMES = 4  # a second


@dataclass
class Progress:
    """How far a run is. ``stored``: wanted trials stored before it; ``done``: by it; ``rate``: trials a second."""

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
    """The view that fits the file (default: standard error): live on a terminal, plain lines elsewhere."""
    file = file or sys.stderr
    if quiet:
        return Quiet(file)
    return Live(file) if file.isatty() else Plain(file)


class Shield:
    """A view that may break: what cannot be shown ends no run."""

    def __init__(self, view: View) -> None:
        self._view = view

    def start(self, name: str, progress: Progress) -> None:
        """The view's own, if it works."""
        with suppress(Exception):
            self._view.start(name, progress)

    def update(self, progress: Progress) -> None:
        """The view's own, if it works."""
        with suppress(Exception):
            self._view.update(progress)

    def say(self, line: str) -> None:
        """The view's own, if it works."""
        with suppress(Exception):
            self._view.say(line)

    def stop(self) -> None:
        """The view's own, if it works."""
        with suppress(Exception):
            self._view.stop()


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
        self._began = self._printed = time.monotonic()
        self._last = progress
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
    said += [f"{count:,} {word}" for count, word in _counts(p) if count]
    if p.best:
        said.append(f"best {p.best}")
    if p.seconds_left is not None and p.running:
        said.append(f"{duration(p.seconds_left)} left")
    return ", ".join(said) + (f" ({p.message})" if p.message else "")


def _counts(progress: Progress) -> list[tuple[int, str]]:
    return [(progress.running, "running"), (progress.failed, "failed"), (progress.diverged, "diverged")]


class Live:
    """A view that is drawn anew four times a second at the bottom of a terminal."""

    def __init__(self, file: TextIO | None = None, console: "Console | None" = None) -> None:
        from rich.console import Console

        self._console = console or Console(file=file or sys.stderr)
        self._live: RichLive | None = None
        self._name, self._progress, self._began = "", Progress(), 0.0

    def start(self, name: str, progress: Progress) -> None:
        """Open the view."""
        from rich.live import Live as RichLive

        self._name, self._progress, self._began = name, progress, time.monotonic()
        self._live = RichLive(get_renderable=self._render, console=self._console, refresh_per_second=FRAMES)
        self._live.start()

    def update(self, progress: Progress) -> None:
        """Take note; the next frame shows it."""
        self._progress = progress

    def say(self, line: str) -> None:
        """Print the sentence above the view, where it stays."""
        self._console.print(clean(line), markup=False, highlight=False, soft_wrap=True)

    def stop(self) -> None:
        """Leave the last frame standing."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _render(self) -> "RenderableType":
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        p = self._progress
        grid = Table.grid(padding=(0, 2), expand=False)
        for word, done, total in (("cells", p.cells_done, p.cells), ("trials", p.stored + p.done, p.wanted)):
            bar = ProgressBar(total=max(total, 1), completed=done, width=30)
            grid.add_row(Text(word, style="dim"), bar, Text(f"{done:,}/{total:,}"))
        facts: list[Any] = [f"{p.rate:.3g} trials/s", *(f"{n:,} {word}" for n, word in _counts(p))]
        left = "" if p.seconds_left is None else f", {duration(p.seconds_left)} left"
        time_line = Text(f"{duration(time.monotonic() - self._began)}{left}")
        lines: list[RenderableType] = [Text(clean(self._name), style="bold"), grid, Text("   ".join(facts)), time_line]
        lines += [Text(clean(f"best {p.best}"))] if p.best else []
        lines += [Text(clean(p.message), style="yellow")] if p.message else []
        return Group(*lines)
