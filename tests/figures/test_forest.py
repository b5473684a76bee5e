import math

import pytest
from matplotlib.colors import to_hex

from dlx import figures
from dlx.claims.verdict import Verdict
from dlx.errors import DlxError
from dlx.figures.forest import LOOKS, margins, words


def verdict(**changes):
    given = {"name": "v", "claim": "c", "outcome": "supported", "label": "confirmatory", "effect": -0.3, "low": -0.4,
             "high": -0.2, "what": "error of a − b", "margin": 0.0, "test": "t", "p": 0.01, "p_corrected": 0.02,
             "smallest_p": None, "seeds": 5, "searches": 3, "level": 0.95}
    return Verdict(**{**given, **changes})


def test_effects_intervals_and_margins_stand_where_the_verdicts_say(results):
    figure = figures.Forest()(results)
    drawn = {}
    for axes in figure.axes:
        for line in axes.lines:
            drawn.setdefault(axes.get_xlabel(), []).append(line.get_xdata())
    for found in results.verdicts():
        unit = next(u for u in drawn if found.what.startswith(u))
        lines = [[float(v) for v in line] for line in drawn[unit]]
        assert [found.effect] in lines and [found.margin] * 2 in lines
        if math.isfinite(found.low) and math.isfinite(found.high):
            assert [found.low, found.high] in lines


def test_outcomes_differ_in_colour_shape_and_word(results, texts):
    figure = figures.Forest()(results)
    outcomes = [v.outcome for v in results.verdicts()]
    assert {"supported", "refuted"} <= set(outcomes)
    words_drawn = [t.get_text() for t in texts(figure) if t.get_fontweight() == "bold"]
    assert sorted(words_drawn) == sorted(outcomes)
    markers = [line for axes in figure.axes for line in axes.lines if line.get_marker() not in ("None", "")]
    looks = sorted((line.get_marker(), to_hex(line.get_color())) for line in markers)
    assert looks == sorted((LOOKS[o]["marker"], to_hex(LOOKS[o]["color"])) for o in outcomes)


def test_metrics_have_axes_of_their_own(results):
    labels = [axes.get_xlabel() for axes in figures.Forest()(results).axes]
    assert labels[:2] == ["test/error", "train/error"] and len(labels) == 3


def test_words_of_a_verdict():
    assert words(verdict()) == "−0.3 [−0.4, −0.2], p = 0.02 (Holm), 3 searches × 5 seeds"
    assert words(verdict(searches=0, seeds=1, p_corrected=1e-9)) == "−0.3 [−0.4, −0.2], p < 0.0001 (Holm), 1 seed"
    assert words(verdict(effect=None, reasons=("Nothing ran.",))) == "Nothing ran."
    assert words(verdict(low=-math.inf, high=math.inf, p_corrected=None)) == "−0.3 [−∞, ∞], 3 searches × 5 seeds"


def test_an_equivalence_turns_on_both_sides():
    assert margins(verdict(test="TOST, t", margin=0.1)) == [-0.1, 0.1]
    assert margins(verdict(margin=0.1)) == [0.1]


def test_a_study_without_claims_is_refused(searched):
    with pytest.raises(DlxError, match=r"the study valley states no claims; give it claims="):
        figures.Forest()(searched)
