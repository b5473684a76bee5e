"""The protocol: what keeps a claim undecided, what makes it exploratory or descriptive, and the correction."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
from claims import truths
from scipy import stats
from toys import go

import dlx
from dlx.claims import Higher, Lower, Sooner, Trend
from dlx.declaration import Declaration, claim_digest
from dlx.records import FAILED
from dlx.register import Look, Register
from dlx.results import Results
from dlx.stats import holm, spend
from dlx.store import Store
from dlx.verdicts import judge

A, B = {"arm": "a"}, {"arm": "b"}
CLAIM = Lower("test/loss", A, B)
BETTER = {"a": 1.0, "b": 2.0, "c": 2.0}


def truth(labels, seed):
    return {"test/loss": BETTER[labels["arm"]] + 0.1 * truths.noise(labels["arm"], seed)}


def tuned_truth(labels, params, seed, phase, search):
    loss = BETTER[labels["arm"]] + 0.1 * (np.log10(params["lr"]) + 1) ** 2
    return {"val/loss": loss + 0.05 * truths.noise(seed), "test/loss": loss + 0.05 * truths.noise("test", seed)}


def only(results):
    (verdict,) = results.verdicts()
    return verdict


# ---------------------------------------------------------------- undecided


def test_nothing_is_said_of_trials_that_are_missing(tmp_path):
    truths.fill(truths.study([CLAIM], 5, arm="ab"), tmp_path, truth)
    more = only(Results.of(truths.study([CLAIM], 8, arm="ab"), str(tmp_path)))
    assert (more.outcome, more.effect, more.low, more.p) == ("undecided", None, None, None)
    assert more.reasons[0] == "6 of 16 final trials are missing; run the study."
    before = only(Results.of(truths.study([CLAIM], 5, arm="ab"), str(tmp_path / "none")))
    assert before.outcome == "undecided" and before.label == "confirmatory"
    elsewhere = truths.study([dataclasses.replace(CLAIM, where={"x": 1.0})], 5, arm="ab", x=(1.0, 2.0))
    found = only(truths.fill(elsewhere, tmp_path / "part", lambda labels, seed: truth(labels, seed)))
    assert found.outcome == "supported"


def test_failed_trials_hold_a_claim_up(tmp_path):
    results = truths.fill(truths.study([CLAIM, Lower("test/loss", A, {"arm": "c"})], 5, arm="abc"), tmp_path, truth)
    at = results.table["arm"].to_pylist().index("b")
    status = results.table["status"].to_pylist()
    status[at] = FAILED
    place = results.table.column_names.index("status")
    results.table = results.table.set_column(place, "status", [status])
    first, second = results.verdicts()
    assert first.outcome == "undecided" and first.effect is None
    assert "1 of 10 final trials failed; correct what they raise" in first.reasons[0]
    assert second.outcome == "supported"


def test_three_searches_are_needed_where_arms_are_tuned(tmp_path):
    for repeats, outcome in ((2, "undecided"), (3, "supported")):
        home = tmp_path / str(repeats)
        found = only(truths.search(truths.tuned([CLAIM], trials=8, repeats=repeats, arm="ab"), home, tuned_truth))
        assert (found.outcome, found.searches, found.seeds) == (outcome, repeats, 5)
    short = Results.of(truths.tuned([CLAIM], trials=8, repeats=2, arm="ab"), str(tmp_path / "2"))
    assert "there are 2; give search= repeats=3 or more" in only(short).reasons[0]


def test_an_optimum_at_a_bound_holds_a_claim_up(tmp_path):
    def edge(labels, params, seed, phase, search):
        loss = BETTER[labels["arm"]] + (params["lr"] if labels["arm"] == "b" else (np.log10(params["lr"]) + 1) ** 2)
        return {"val/loss": loss, "test/loss": loss + 0.01 * truths.noise(seed)}

    claims = [CLAIM, Lower("test/loss", A, {"arm": "c"})]
    results = truths.search(truths.tuned(claims, trials=64, arm="abc"), tmp_path, edge)
    held, free = results.verdicts()
    assert held.outcome == "undecided" and any("lr" in r and "bound" in r for r in held.reasons), held.reasons
    assert held.p is None and free.outcome == "supported"


def test_a_metric_that_nobody_returned_is_named(tmp_path):
    claims = [CLAIM, Lower("test/los", A, B)]
    first, second = truths.fill(truths.study(claims, 5, arm="ab"), tmp_path, truth).verdicts()
    assert first.outcome == "supported" and second.outcome == "undecided"
    assert "test/los" in second.reasons[0] and "did you mean 'test/loss'" in second.reasons[0]

    def sometimes(labels, seed):
        return truth(labels, seed) if seed else {"other": 1.0}

    found = only(truths.fill(truths.study([CLAIM], 5, arm="ab"), tmp_path / "some", sometimes))
    assert found.outcome == "undecided" and found.reasons[0].startswith("2 of 10 final trials returned no test/loss")

    def later(labels, seed):
        return {**truth(labels, seed), **({"crossing/fit": 3.0} if seed else {})}

    claim = Lower("crossing/fit", A, B)
    found = only(truths.fill(truths.study([claim], 5, arm="ab"), tmp_path / "later", later))
    assert "2 of 10 final trials returned no crossing/fit; train longer" in found.reasons[0]


def test_tests_that_do_not_fit_say_so(tmp_path):
    claims = [Lower("test/loss", A, B, test="trimmed"), Lower("test/loss", A, B, test="exact")]
    for seeds, outcomes in ((5, ("undecided", "undecided")), (12, ("supported", "supported")),
                            (25, ("supported", "undecided"))):
        results = truths.fill(truths.study(claims, seeds, arm="ab"), tmp_path / str(seeds), truth)
        found = results.verdicts()
        assert tuple(v.outcome for v in found) == outcomes
        if seeds == 5:
            assert "does not fit 5 draws" in found[0].reasons[0] and found[1].smallest_p == 2 / 2**5
            assert "The smallest p that 5 draws can reach is 0.062" in found[1].reasons[0]


# ---------------------------------------------------------------- diverged


def test_diverged_trials_count_as_the_worst_of_the_study(tmp_path):
    def diverges(labels, seed):
        found = truth(labels, seed)
        return None if labels["arm"] == "a" and seed < 2 else found | {"acc": found["test/loss"]}

    claims = [Higher("test/loss", A, B), Lower("test/loss", A, B), Lower("acc", A, B, worst="low")]
    results = truths.fill(truths.study(claims, 6, arm="ab"), tmp_path, diverges)
    values = results.finals("test/loss").value.reshape(2, 6)
    worst, best = np.nanmax(values), np.nanmin(values)
    found = results.verdicts()
    for verdict, counted in zip(found, (worst, worst, best), strict=True):
        filled = np.where(np.isnan(values[0]), counted, values[0])
        assert verdict.effect == pytest.approx(filled.mean() - values[1].mean())
        assert verdict.reasons[-1].startswith("2 diverged final trials count as the worst")


def test_a_cell_where_everything_diverged_is_the_worst(tmp_path):
    def all_of_b(labels, seed):
        return None if labels["arm"] == "b" else truth(labels, seed)

    assert only(truths.fill(truths.study([CLAIM], 6, arm="ab"), tmp_path, all_of_b)).outcome == "supported"
    nothing = only(truths.fill(truths.study([CLAIM], 6, arm="ab"), tmp_path / "all", lambda labels, seed: None))
    assert nothing.outcome == "undecided" and "correct what makes them diverge" in nothing.reasons[0]


def test_a_search_in_which_every_ask_diverged_is_the_worst(tmp_path):
    def barren(labels, params, seed, phase, search):
        return None if labels["arm"] == "b" else tuned_truth(labels, params, seed, phase, search)

    claims = [CLAIM, Sooner("test/loss", 1.0, A, B)]
    study = truths.tuned(claims, trials=8, arm="abc")

    def curves(*place):
        found = barren(*place)
        return found and (found, ([1, 2, 3], [3.0, 2.0, 0.5]))

    results = truths.search(study, tmp_path, curves)
    first, second = results.verdicts()
    assert "3 searches in which every ask diverged count as the worst test/loss" in first.reasons[-1]
    assert first.outcome == "supported" and results.missing == 0
    assert (second.outcome, second.smallest_p) == ("undecided", pytest.approx(0.1)) and second.effect > 0


# ---------------------------------------------------------------- corrected, spent, labelled


def test_p_are_corrected_over_the_claims_of_the_study(tmp_path):
    close = {"a": 1.0, "b": 1.14, "c": 1.0}

    def near(labels, seed):
        return {"test/loss": close[labels["arm"]] + 0.1 * truths.noise(labels["arm"], seed, 8)}

    claims = [Lower("test/loss", A, B), Lower("test/loss", A, {"arm": "c"}), Lower("test/loss", {"arm": "c"}, B)]
    results = truths.fill(truths.study(claims, 6, arm="abc"), tmp_path, near)
    found = results.verdicts()
    assert [v.p_corrected for v in found] == pytest.approx(holm(np.array([v.p for v in found])).tolist())
    assert [v.outcome == "supported" for v in found] == [v.p_corrected <= 0.05 for v in found]
    later = judge(results, [*claims, Lower("test/loss", A, {"arm": "c"}, by=0.05)])
    assert later[3].p > min(v.p for v in found)
    assert [v.p_corrected for v in later[:3]] == [v.p_corrected for v in found]  # what comes later changes nothing
    assert later[3].label == "exploratory" and later[3].p_corrected >= later[3].p


def test_one_claim_alone_is_still_one_of_the_study(tmp_path):
    claims = [CLAIM, Higher("test/loss", B, A, by=0.9)]
    results = truths.fill(truths.study(claims, 6, arm="ab"), tmp_path, truth)
    assert [claim.check(results) for claim in claims] == results.verdicts()
    new = Higher("test/loss", B, A).check(results)
    assert (new.outcome, new.label) == ("supported", "exploratory")


def test_a_claim_stated_after_its_trials_ran_explores(tmp_path):
    truths.fill(truths.study(seeds=5, arm="ab"), tmp_path, truth)
    study = truths.study([CLAIM], 5, arm="ab")
    found = only(Results.of(study, str(tmp_path)))
    assert (found.outcome, found.label) == ("supported", "exploratory") and "not stated before" in found.reasons[0]
    store = Results.of(study, str(tmp_path)).store
    Register(store, []).state({claim_digest(CLAIM): str(CLAIM)}, stored=True)
    assert only(Results.of(study, str(tmp_path))).label == "exploratory"


def test_more_seeds_after_a_look_explore_unless_the_look_was_declared(tmp_path):
    for looks, label in (((), "exploratory"), ((5, 10), "confirmatory"), ((5, 20), "exploratory")):
        home = tmp_path / str(looks)
        results = truths.fill(dataclasses.replace(truths.study([CLAIM], 5, arm="ab"), looks=looks), home, truth)
        assert only(results).label == "confirmatory"
        results.register.look([claim_digest(CLAIM)], Look(5, 0))
        assert only(results).label == "confirmatory"
        more = only(truths.fill(dataclasses.replace(truths.study([CLAIM], 10, arm="ab"), looks=looks), home, truth))
        assert (more.outcome, more.label) == ("supported", label)
        if looks == (5, 10):
            assert more.level == pytest.approx(1 - spend(looks, 10))
        elif not looks:
            assert "declare looks=(5, 10)" in more.reasons[0]


def test_looks_share_alpha(tmp_path):
    study = dataclasses.replace(truths.study([CLAIM], 5, arm="ab"), looks=(5, 20))

    def near(labels, seed):
        return {"test/loss": (labels["arm"] == "b") * 1.3 + truths.noise(labels["arm"], seed)}

    found = only(truths.fill(study, tmp_path, near))
    plain = only(truths.fill(truths.study([CLAIM], 5, arm="ab"), tmp_path / "plain", near))
    assert found.level == 1 - spend((5, 20), 5) and found.low < plain.low and found.high > plain.high


def test_fewer_than_five_seeds_describe(tmp_path):
    three = only(truths.fill(truths.study([CLAIM], 3, arm="ab"), tmp_path, truth))
    assert (three.outcome, three.label) == ("supported", "descriptive") and "3 seeds describe" in three.reasons[-1]
    one = only(truths.fill(truths.study([CLAIM], 1, arm="ab"), tmp_path / "one", truth))
    assert (one.outcome, one.label, one.p) == ("undecided", "descriptive", None) and "no interval" in one.reasons[0]
    modest = dataclasses.replace(CLAIM, label="descriptive")
    assert only(truths.fill(truths.study([modest], 6, arm="ab"), tmp_path / "modest", truth)).label == "descriptive"


# ---------------------------------------------------------------- through a run


@dataclasses.dataclass(frozen=True)
class Valley(dlx.Trial):
    """A noisy parabola in log lr."""

    lr: float

    def run(self, ctx):
        loss = 1.0 + (np.log10(self.lr) + 1) ** 2
        return {f"{split}/loss": loss * (1 + 0.1 * ctx.rng(split).normal()) for split in ("val", "test")}


def test_a_study_that_ran_has_verdicts_and_so_has_a_copy_of_its_home(tmp_path):
    better, worse = {"lr": 0.1}, {"lr": 0.01}
    claims = (Lower("test/loss", better, worse), Lower("test/loss", better, worse, by=5.0),
              Trend("test/loss", "lr", slope=(None, 0.0)))
    template = Valley(lr=dlx.grid(0.01, 0.05, 0.1))
    results = go(dlx.Study(name="valley", question="?", template=template, seeds=5, claims=claims), tmp_path / "home")
    found = results.verdicts()
    assert [v.outcome for v in found] == ["supported", "refuted", "supported"]
    assert {(v.label, v.searches, v.seeds) for v in found} == {("confirmatory", 0, 5)}
    assert json.loads(json.dumps([dataclasses.asdict(v) for v in found])) and str(found).count("\n") == 2
    shutil.move(tmp_path / "home", tmp_path / "copy")
    declared = Declaration.stored(Store("valley", str(tmp_path / "copy")))
    assert Results.of(declared, str(tmp_path / "copy")).verdicts() == found


@dataclasses.dataclass(frozen=True)
class Free:
    lr: float


@dataclasses.dataclass(frozen=True)
class Fixed:
    lr: float = 0.01


@dataclasses.dataclass(frozen=True)
class Ruled(dlx.Trial):
    """Its learning rate is tuned under one rule and fixed under the other."""

    rule: Free | Fixed

    def run(self, ctx):
        return Valley(self.rule.lr).run(ctx)


def test_a_tuned_arm_against_a_fixed_one_is_two_independent_samples(tmp_path):
    claim = Lower("test/loss", {"rule": "Free"}, {"rule": "Fixed"})
    study = dlx.Study(
        name="half", question="?", template=Ruled(dlx.grid(Free(lr=dlx.loguniform(1e-3, 10.0)), Fixed())), seeds=6,
        claims=[claim], objective=dlx.minimize("val/loss"), search=dlx.Random(trials=8, repeats=3, top=2, recheck=1),
    )
    results = go(study, tmp_path)
    values = results.finals("test/loss").value
    (verdict,) = results.verdicts()
    known = stats.ttest_ind(values[:18].reshape(3, 6).mean(axis=1), values[18:], equal_var=False)
    assert verdict.p == pytest.approx(known.pvalue) and (verdict.test, verdict.outcome) == ("Welch", "supported")
    assert (verdict.searches, verdict.seeds, verdict.label) == (3, 6, "confirmatory")
