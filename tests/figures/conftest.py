"""Results that figures are drawn from: a small grid, one with flaws and hostile names, a tuned one; and their texts."""

import math

import pytest
from stored import stored
from toys import Valley, go, tuned

import dlx
from dlx import claims

WIDTHS, NOISES, SEEDS = (1, 10, 100), (0.0, 0.15), 4
STEPS = (0, 1, 10, 100)
HOSTILE = ("$x_1$ & <script>alert(1)</script>", "_hidden, and as long as a description of a component may become", "$")


@dlx.trial()
def measured(ctx, width: int, noise: float):
    own = ctx.rng(f"{width} {noise}").normal()
    error = 0.5 + noise - 0.1 * math.log10(width) + 0.01 * ctx.seed + 0.002 * own
    for step in STEPS:
        ctx.log(step, {"train/loss": error + 1 / (1 + step), "val/loss": error + 2 / (1 + step)})
    return {"test/error": error, "train/error": error / 2, "sharpness": width**-0.5 * math.exp(0.1 * own)}


def study(**more):
    template = measured(width=dlx.grid(*WIDTHS), noise=dlx.grid(*NOISES))
    stated = [claims.Lower("test/error", {"width": 100}, than={"width": 1}, by=0.1),
              claims.Higher("train/error", {"width": 100}, than={"width": 1}),
              claims.Equivalent("test/error", {"noise": 0.0}, {"noise": 0.15}, margin=0.2),
              claims.Trend("sharpness", over="width", slope=(-0.6, -0.4), log=True)]
    declared = {"name": "figured", "question": "?", "template": template, "seeds": SEEDS, "claims": stated}
    return dlx.Study(**{**declared, **more})


@dlx.trial()
def unruly(ctx, width: int, kind: str, noise: float):
    """Fails at width 2 with noise, diverges at width 4 always and at width 8 once."""
    if noise and width == 2:
        raise ValueError("<script>")
    lost = width == 4 or (width == 8 and ctx.seed == 1)
    error = (1 + noise) / width + 0.01 * ctx.rng(kind).normal()
    for step in STEPS:
        ctx.log(step, {"train/loss": math.nan if lost and step > 1 else error + 1 / (1 + step)})
    return {"test/error": math.nan if lost else error, "sharpness": width + 0.1 * ctx.rng("s").normal()}


@pytest.fixture(scope="session")
def results(tmp_path_factory):
    return stored(study(), tmp_path_factory.mktemp("plain"))


@pytest.fixture(scope="session")
def flawed(tmp_path_factory):
    """Failed, diverged and missing trials, and hostile names."""
    template = unruly(width=dlx.grid(1, 2, 4, 8, 16), kind=dlx.grid(*HOSTILE), noise=dlx.grid(0.0, 0.5))
    arms = {"kind": HOSTILE[0]}, {"kind": HOSTILE[1]}
    stated = [claims.Lower("test/error", arms[0], than=arms[1], where={"width": 16}, name=HOSTILE[0])]
    declared = dlx.Study("flawed", "?", template, seeds=3, claims=stated)
    return stored(declared, tmp_path_factory.mktemp("flawed"), skip=2)


@pytest.fixture(scope="session")
def searched(tmp_path_factory):
    """Tuned by three searches a cell, of eight asks each."""
    template = Valley(width=dlx.grid(1, 2), lr=dlx.loguniform(1e-4, 1.0), optimizer=dlx.grid("sgd", "muon"))
    declared = tuned(template=template, search=dlx.TPE(trials=8, repeats=3, top=2, recheck=1))
    return go(declared, tmp_path_factory.mktemp("searched"))


@pytest.fixture(scope="session")
def texts():
    """Texts of a figure that are drawn: all but invisible ones and those of ticks beyond the ends of their axis."""
    def found(figure):
        from matplotlib.text import Text

        beyond = set()
        for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
            low, high = sorted(axis.get_view_interval())
            for tick in [*axis.get_major_ticks(), *axis.get_minor_ticks()]:
                if not (axis.axes.axison and low <= tick.get_loc() <= high):
                    beyond |= {tick.label1, tick.label2}
        return [t for t in figure.findobj(Text) if t.get_text().strip() and t.get_visible() and t not in beyond]

    return found


@pytest.fixture(scope="session")
def ends():
    """The lower and upper end of a band, or of an error bar, at a place."""
    def found(collection, place):
        corners = [v for path in collection.get_paths() for v in path.vertices]
        at = [y for x, y in corners if x == pytest.approx(place)]
        return min(at), max(at)

    return found
