"""Studies drawn at random: every stored trial has the very numbers that it has alone, however it was packed."""

import json
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from model_cases import CASES, COORDINATES, PICTURES, TOKENS, VECTORS, each, members
from optim_twins import CASES as OPTIMIZERS
from toys import go

import dlx
from dlx import data, losses, metrics, optim
from dlx.context import Context
from dlx.trial import trial_key

CHAOTIC = {"SOAP"}  # its bases are eigenvectors of matrices without full rank, which rounding turns
MIXTURE = data.GaussianMixture(n=30, inputs=6, classes=3, test_samples=9)
SIGNALS = data.MNIST1D(n=30, label_noise=dlx.grid(0.0, 0.4), test_samples=10)
DIGITS = data.Subset(data.Digits(validation=0.02), 20)
PAIRS = data.ModularArithmetic(5, "divide")
DATA = {  # the kinds of samples that models read → data of that kind which need no files
    "vectors": [
        MIXTURE, SIGNALS, replace(MIXTURE, separation=dlx.grid(1.0, 3.0)), data.ModularArithmetic(3, one_hot=True),
        data.Parity(n=30, bits=6, test_samples=9), data.LabelNoise(MIXTURE, dlx.grid(0.1, 0.5)), data.Permuted(SIGNALS),
        data.Shift(MIXTURE, offset=dlx.grid(0.0, 2.0), noise=0.1), data.Subset(MIXTURE, 17),
        data.TeacherStudent(n=30, inputs=6, width=3, outputs=2, noise=dlx.grid(0.0, 0.3), test_samples=9),
    ],
    "pictures": [DIGITS, data.Permuted(DIGITS)],
    "tokens": [PAIRS, data.LabelNoise(PAIRS, dlx.grid(0.0, 0.3))],
    "words": [data.GroupWords("S3", 4, n=30, test_samples=9), data.GroupWords("Z2", 6, n=24, test_samples=5)],
    "coordinates": [data.Picture(size=8), data.TeacherStudent(n=30, inputs=2, outputs=3, test_samples=9)],
}
CHANGES = [data.Noise(0.1), data.Flip(), data.Crop(1), data.Cutout(2)]
DRAWN_ONCE = {"derandomize": True, "deadline": None, "phases": [Phase.generate]}  # a study is slow to make smaller
SCHEDULES = [optim.Constant(), optim.Cosine(0.2), optim.WSD(), optim.StepDecay(), optim.WarmUp(0.3)]


def kind(name):
    """Which data the model of a case reads, None where all such data are files."""
    model, of = CASES[name]
    if of is TOKENS:
        return "words" if each(model) else "tokens"
    return {id(VECTORS): "vectors", id(PICTURES): "pictures", id(COORDINATES): "coordinates"}.get(id(of))


def distinct(options):
    """A grid of options without repetition."""
    return dlx.grid(*(o for i, o in enumerate(options) if o not in options[:i]))


@st.composite
def templates(draw):
    case = draw(st.sampled_from([name for name in CASES if kind(name)]))
    rows = draw(st.sampled_from(DATA[kind(case)]))
    rules = draw(st.lists(st.sampled_from(sorted(OPTIMIZERS.keys() - CHAOTIC)), min_size=1, max_size=2, unique=True))
    scales = (1.0, 0.8) if len(rules) == 1 else (1.0,)
    numbers, symbols = isinstance(rows, data.TeacherStudent | data.Picture), kind(case) in ("tokens", "words")
    changes = st.lists(st.sampled_from(CHANGES), max_size=0 if symbols else 2)
    return dlx.Training(
        data=rows,
        model=distinct(members(CASES[case][0])[: draw(st.integers(1, 2))]),
        optimizer=dlx.grid(*(OPTIMIZERS[name](s)[0] for name in rules for s in scales)),
        steps=draw(st.integers(4, 12)),
        batch_size=draw(st.sampled_from([None, 4, 7])),
        loss=losses.MSE() if numbers else draw(st.sampled_from([losses.CrossEntropy(), losses.MSE()])),
        schedule=draw(st.sampled_from(SCHEDULES)),
        augment=tuple(draw(changes)),
        metrics=(metrics.loss(), metrics.weight_norm(), *([] if numbers else [metrics.error()])),
        measure=draw(st.integers(1, 3)), dtype="float64",
    )


@st.composite
def studies(draw):
    template, more = draw(templates()), {}
    if draw(st.sampled_from([True, True, False])):
        template = replace(template, schedule=optim.WarmUp(dlx.uniform(0.0, 0.9)))
        rule = draw(st.sampled_from([dlx.Halving(2.0, 1), dlx.Halving(1.5, 2), dlx.Median(1, 2), None]))
        search = dlx.TPE(trials=4, repeats=draw(st.integers(1, 2)), parallel=draw(st.sampled_from([4, 2])), top=1,
                         recheck=1, prune=rule)
        more = {"objective": dlx.minimize(draw(st.sampled_from(["val/loss", "train/loss"]))), "search": search}
    return dlx.Study("drawn", "?", template, seeds=2, pack=draw(st.sampled_from([2, 3, 5, 8, 1])), **more)


def check(study, results):
    """Each stored trial beside itself alone; returns how they ended, and the sizes of packs."""
    cells = {study.cell_key(cell): cell for cell in study.space.cells}
    rows = {row["key"]: row for row in results.store.trials().to_pylist()}
    curves = {}
    for row in results.store.history().to_pylist():
        curves.setdefault(row["key"], {})[row["metric"]] = dict(zip(row["step"], row["value"], strict=True))
    seen, prunes = Counter(), study.search is not None and study.search.prune is not None
    for slot in results.store.membership().to_pylist():
        trial, row = study.space.trial(cells[slot["cell"]], json.loads(slot["params"] or "{}")), rows[slot["key"]]
        alone = Context(slot["seed"])
        final = (replace(trial, measure=metrics.Every(1)) if prunes else trial).run(alone)  # at rungs as well
        everything = {name: dict(zip(*curve, strict=True)) for name, curve in alone.history.items()}
        for name, curve in curves[slot["key"]].items():
            expected = {step: everything[name][step] for step in curve}
            assert prunes or expected.keys() == everything[name].keys()
            assert curve == pytest.approx(expected, rel=1e-10, abs=1e-10, nan_ok=True), (name, row["members"], trial)
        assert curves[slot["key"]].keys() == everything.keys()
        if row["status"] != "pruned":
            assert slot["key"] == trial_key(trial, slot["seed"])
            assert dict(row["metrics"]) == pytest.approx(final, rel=1e-10, abs=1e-10, nan_ok=True)
        seen[row["status"]] += 1
        seen["packed"] += row["members"] > 1
    assert seen["failed"] == 0
    return seen


def test_each_trial_of_a_random_study_equals_itself_alone(tmp_path_factory):
    seen = Counter()

    @settings(max_examples=4, **DRAWN_ONCE)
    @given(studies())
    def each_study(study):
        seen.update(check(study, go(study, tmp_path_factory.mktemp("home"))))

    each_study()
    assert seen["packed"] > 20 and seen["pruned"] > 5 and seen["completed"] > 20, seen


@settings(max_examples=1, **DRAWN_ONCE)
@given(studies())
def test_and_so_does_each_that_ray_ran(tmp_path_factory, study):
    check(study, go(study, tmp_path_factory.mktemp("home"), executor="ray"))
