"""Views: plain lines are few and stable, the live one fits a terminal, no name is obeyed."""

import io

import pytest
from rich.console import Console

from dlx import live
from dlx.live import Progress
from dlx.screens import Live


class Screen(io.StringIO):
    def isatty(self):
        return True


def progress(**changes):
    return Progress(**{"cells": 1200, "cells_done": 4, "wanted": 6000, "stored": 20, "done": 30, "running": 8,
                       "rate": 3.14159, "seconds_left": 125.0, "best": "val/error 0.1234", **changes})


def test_the_view_fits_where_it_is_shown():
    assert type(live.choose(file=io.StringIO())) is live.Plain
    assert type(live.choose(file=Screen())) is Live
    assert type(live.choose(quiet=True, file=Screen())) is live.Quiet


def test_plain_lines_are_few(monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(live.time, "monotonic", lambda: clock[0])
    file = io.StringIO()
    view = live.Plain(file)
    view.start("toy", progress(done=0))
    for _ in range(100):
        clock[0] += 0.25
        view.update(progress(failed=2))
    view.stop()
    assert file.getvalue().splitlines() == [
        "toy: 1,200 cells, 6,000 trials, 20 of them stored",
        *(f"{after:>10}  50/6,000 trials, 4/1,200 cells, 3.14/s, 8 running, 2 failed, best val/error 0.1234, "
          "2 min 5 s left" for after in ("10 s", "20 s", "25 s")),
    ]


@pytest.mark.parametrize("kind", [live.Plain, live.Quiet, Live])
def test_stop_without_start_and_sentences_at_any_time(kind):
    file = Screen()
    view = kind(file)
    view.stop()
    view.say("careful [red] \x1b[2J now")
    assert file.getvalue() == "careful [red]  [2J now\n"


def test_quiet_says_what_it_is_told_to_say():
    file = io.StringIO()
    view = live.Quiet(file)
    view.start("toy", progress())
    view.update(progress())
    view.say("MLflow is away.")
    view.stop()
    assert file.getvalue() == "MLflow is away.\n"


@pytest.mark.parametrize("width", [80, 40])
def test_the_live_view_shows_everything_and_fits(width):
    file = io.StringIO()
    view = Live(console=Console(file=file, width=width, force_terminal=True, color_system=None))
    view.start("[b]toy[/b]\x1b[2J", progress())
    view.say("a sentence [x]")
    view.update(progress(failed=3, diverged=1, message="waiting for [GPU]"))
    view.stop()
    shown = file.getvalue()
    last = shown[shown.rindex("[b]toy[/b]"):]
    for text in ("4/1,200", "50/6,000", "3.14 trials/s", "8 running", "3 failed", "1 diverged", "val/error 0.1234",
                 "2 min 5 s left", "waiting for [GPU]"):
        assert text in last.replace("\n", " ") or width == 40, text
    assert "a sentence [x]" in shown and "toy[/b]\x1b[2J" not in shown


def test_a_line_leaves_out_what_is_not_known():
    assert live.summary(Progress(cells=1, wanted=2)) == "0/2 trials, 0/1 cells"
