"""What holds of every figure on the shelf, on plain, flawed and tuned results."""

import itertools
import json
import time
import xml.etree.ElementTree as ElementTree

import numpy as np
import pyarrow as pa
import pytest
from stored import members

import dlx
from dlx import figures
from dlx.declaration import decode, encode
from dlx.errors import DlxError
from dlx.records import COMPLETED, MEMBERSHIP, Outcome, to_records
from dlx.results import Results
from dlx.store import Store

PLAIN = [
    figures.Curves("width", ("test/error", "train/error"), log_x=True, title="Error by width", y_label="error (units)",
                   points=figures.Points("published", {10.0: 0.5})),
    figures.PhaseDiagram("width", "noise", "test/error", contours=(0.4, 0.6), where={"noise": (0.0, 0.15)}),
    figures.LearningCurves(("train/loss", "val/loss"), log_x=True, log_y=True, title="Loss by step"),
    figures.Scaling("width", "sharpness", title="A law with a title so long that a line of a figure cannot hold it"),
    figures.Dots("width", "test/error", ("noise",), {"0.15": {"10": 0.55, "elsewhere": 0.9}}, title="Error by width"),
    figures.Dots("noise", "test/error", where={"width": 10}, title="Error"),
    figures.Forest(title="What was claimed"),
    figures.Parallel(),
    figures.Importance("test/error"),
    figures.Scatter("test/error", "sharpness", "width", title="Sharpness against error", log_y=True),
]
FLAWED = [
    figures.Curves("width", "test/error"),
    figures.PhaseDiagram("width", "kind", "test/error", log=True, title="Phases"),
    figures.PhaseDiagram("width", "noise", "sharpness", title="Phases"),
    figures.LearningCurves("train/loss", log_x=True),
    figures.LearningCurves("train/loss", colour="kind", title="Curves", x="seconds"),
    figures.Scaling("width", "test/error"),
    figures.Dots("width", "test/error", ("kind", "noise"), log=True, where={"kind": "$"}),
    figures.Forest(),
    figures.Parallel("test/error"),
    figures.Importance("test/error"),
    figures.Scatter("test/error", "sharpness", "kind"),
]
SEARCHED = [
    figures.LearningCurves("val/loss", title="Loss"),
    figures.Parallel(title="Asks"),
    figures.Importance("test/loss"),
    figures.BestAgainstBudget(title="Asks that suffice"),
    figures.Scatter("val/loss", "test/loss"),
]
ALL = [("results", f) for f in PLAIN] + [("flawed", f) for f in FLAWED] + [("searched", f) for f in SEARCHED]
SHELF = {name for name in figures.__all__ if isinstance(getattr(figures, name), type)} - {"Points"}


@pytest.fixture(params=ALL, ids=lambda pair: f"{type(pair[1]).__name__}-{pair[0]}")
def drawn(request):
    which, figure = request.param
    return figure, request.getfixturevalue(which)


def test_every_figure_is_looked_at():
    assert {type(f).__name__ for _, f in ALL} == SHELF


def test_is_legible_at_600_pixels_with_title_and_caption_and_nothing_is_cut_or_overlaps(drawn, texts):
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    function, results = drawn
    figure = function(results)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    width, height = canvas.get_width_height()
    boxes = {text: text.get_window_extent() for text in texts(figure)}
    for text, box in boxes.items():
        assert text.get_fontsize() / 72 * 600 / figure.get_figwidth() >= 11, text
        assert box.x0 >= -1 and box.y0 >= -1 and box.x1 <= width + 1 and box.y1 <= height + 1, text
    if not isinstance(function, figures.Parallel):  # where axes that lie close share names and values
        pairs = itertools.combinations([(text.get_text(), box.shrunk(0.9, 0.9)) for text, box in boxes.items()], 2)
        assert not [(a, b) for (a, box), (b, other) in pairs if box.overlaps(other)]
    said = " ".join(text.get_text() for text in boxes).replace("\n", " ")
    assert figure.get_supxlabel().endswith(".") and getattr(function, "title", "") in said


def test_is_the_same_each_time_and_valid_xml_without_scripts(drawn, tmp_path):
    function, results = drawn
    once, again = (figures.save(function(results), tmp_path / name)[0] for name in ("a", "b"))
    assert once.read_bytes() == again.read_bytes()
    tags = {element.tag.rpartition("}")[2] for element in ElementTree.parse(once).iter()}
    assert "text" in tags and "script" not in tags


def test_is_stored_as_json_and_drawn_again(drawn):
    function, _ = drawn
    assert decode(json.loads(json.dumps(encode(function)))) == function


def test_refuses_empty_results_in_one_sentence(drawn, tmp_path):
    function, results = drawn
    empty = Results.of(results.study, str(tmp_path))
    if isinstance(function, figures.Forest):
        assert function(empty)  # every claim undecided
        return
    with pytest.raises(DlxError, match=r"^The figure .* has nothing to show: .*\.$"):
        function(empty)


def test_hostile_names_are_text(flawed, tmp_path):
    function = figures.LearningCurves("train/loss", colour="kind", where={"width": 16})
    svg = ElementTree.parse(figures.save(function(flawed), tmp_path / "a")[0])
    said = {"".join(element.itertext()).strip() for element in svg.iter() if element.tag.endswith("}text")}
    assert {"kind $x_1$ & <script>alert(1)</script>", "kind $"} <= said
    assert any(text.startswith("kind _hidden, and as long") and text.endswith("…") for text in said)


# ---------------------------------------------------------------- size


@dlx.trial()
def many(ctx, width: int, depth: int):
    return {"test/error": 0.0}


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """10,000 final trials: 1,000 cells by ten seeds, with a curve each."""
    declared = dlx.Study("many", "?", many(width=dlx.grid(*range(1, 101)), depth=dlx.grid(*range(1, 11))), seeds=10)
    rng, steps = np.random.default_rng(0), [2**i for i in range(20)]
    outcomes = []
    for m in members(declared):
        error = float(m.trial.depth / m.trial.width**0.5 * np.exp(0.1 * rng.normal()))
        curve = {"train/loss": (steps, (error + 1 / np.array(steps)).tolist())}
        found = {"test/error": error, "sharpness": 1 / error}
        outcomes.append(Outcome(m.key, m.seed, {}, COMPLETED, 1.0, 0.0, found, curve))
    home = tmp_path_factory.mktemp("large")
    Store("many", str(home)).commit([to_records(outcomes, {})], pa.Table.from_pylist([], MEMBERSHIP))
    return Results.of(declared, str(home))


def test_ten_thousand_trials_are_drawn_in_seconds_and_small(large, tmp_path):
    functions = [
        figures.Curves("width", "test/error"), figures.PhaseDiagram("width", "depth", "test/error"),
        figures.LearningCurves("train/loss", where={"depth": 5, "width": list(range(1, 41))}),
        figures.Scaling("width", "test/error"), figures.Parallel(), figures.Importance("test/error"),
        figures.Scatter("test/error", "sharpness", "width"),
    ]
    assert len(large.table) == 10_000
    start = time.process_time()
    files, problems = figures.draw(functions, large, tmp_path)
    assert time.process_time() - start < 40 and not problems
    assert max(f.stat().st_size for f in files) < 1_000_000
