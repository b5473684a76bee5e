"""Stored trials that run again alone give what is stored; what does not is told from what rounding does."""

import dataclasses
import hashlib
import textwrap
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest
from toys import Stage, Unruly, Valley, go, tuned, valley

import dlx
from dlx import data, models, optim
from dlx.audit import Audit, audit
from dlx.errors import DeclarationError
from dlx.records import MEMBERSHIP, Outcome, to_records
from dlx.store import Store


def contents(home):
    """Path → digest of every file of a home, and every folder."""
    return {str(p.relative_to(home)): hashlib.sha256(p.read_bytes()).hexdigest() if p.is_file() else None
            for p in Path(home).rglob("*")}


def rewrite(study, home, change):
    """Store all trials again as ``change`` makes them of key, metrics and curves."""
    store = Store(study.name, str(home))
    curves = {}
    for row in store.history().to_pylist():
        curves.setdefault(row["key"], {})[row["metric"]] = row["step"], row["value"]
    outcomes = []
    for row in store.trials().to_pylist():
        metrics, history = change(row["key"], dict(row["metrics"]), curves.get(row["key"], {}))
        outcomes.append(Outcome(row["key"], row["seed"], {}, row["status"], 1.0, 0.0, metrics, history))
    store.commit([to_records(outcomes, {})], pa.Table.from_pylist([], MEMBERSHIP))


def small(**changes):
    template = dlx.Training(
        data=data.MNIST1D(n=200, validation=0.2), model=models.MLP(width=dlx.grid(16, 64), depth=2),
        optimizer=optim.SGD(lr=0.1, momentum=0.9), batch_size=40, steps=60, measure=12,
    )
    return dlx.Study(**{"name": "small", "question": "?", "template": template, "seeds": 4, **changes})


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """A tuned study of trials of the user's own, its home, and what an audit of 16 trials says."""
    home, study = tmp_path_factory.mktemp("searched") / "home", tuned()
    go(study, home)
    before = contents(home)
    return study, home, before, audit(study, str(home), 16)


def test_every_phase_and_cell_takes_its_turn(searched):
    *_, found = searched
    assert Counter(one.phase for one in found.trials) == {"final": 6, "recheck": 5, "tune": 5}
    assert Counter(one.labels["width"] for one in found.trials) == {1: 8, 2: 8}


def test_trials_of_ones_own_are_equal_in_every_bit(searched):
    *_, found = searched
    assert found.counts == {"equal": 16} and found.passed
    assert all(one.together == one.steps == 10 and one.worst.difference == 0 for one in found.trials)
    assert all(one.metrics and not one.notes for one in found.trials)


def test_an_audit_leaves_the_home_as_it_was(searched):
    _, home, before, _ = searched
    assert contents(home) == before


def test_the_choice_is_that_of_its_seed(searched):
    study, home, _, found = searched
    keys = {one.key for one in found.trials}
    assert {one.key for one in audit(study, str(home), 16).trials} == keys
    assert {one.key for one in audit(study, str(home), 16, seed=1).trials} != keys
    assert audit(study, str(home), 1).trials[0].phase == "final"
    assert len(keys) == 16 and {one.key for one in audit(study, str(home), 5).trials} < keys


def test_more_trials_than_there_are_run_each_once(searched):
    study, home, *_ = searched
    every = study.results(str(home)).table["key"].unique().to_pylist()
    found = audit(study, str(home), 10_000)
    assert sorted(one.key for one in found.trials) == sorted(every)
    assert found.passed


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    home, study = tmp_path_factory.mktemp("trained") / "home", small(pack=8)
    go(study, home)
    return study, home


def test_members_of_a_pack_give_their_numbers_alone(trained):
    study, home = trained
    found = audit(study, str(home), 8)
    assert {one.members for one in found.trials} == {4}
    assert found.passed and set(found.counts) <= {"equal", "close"}
    assert all({"test/error", "train/loss"} <= {pair.metric for pair in one.metrics} for one in found.trials)


def test_as_many_threads_as_there_are_excuse_no_other_numbers(trained):
    """On more threads sums have another order: bits may differ, and curves begin together all the same."""
    study, home = trained
    found = audit(dataclasses.replace(study, resources=dlx.Resources(cpus=2)), str(home), 4)
    assert found.passed and set(found.counts) <= {"equal", "close", "parted"}


def _better(key, metrics, curves):
    return {**metrics, "test/error": metrics["test/error"] - 0.02}, curves


def _better_throughout(key, metrics, curves):
    steps, values = curves["test/loss"]
    lower = [0.999 * v for v in values]
    return {**metrics, "test/loss": lower[-1]}, {**curves, "test/loss": (steps, lower)}


@pytest.mark.parametrize("change", [_better, _better_throughout])
def test_numbers_that_were_changed_are_found(change, tmp_path):
    study = small(seeds=3).with_({"template.model.width": 16})
    go(study, tmp_path / "home")
    rewrite(study, tmp_path / "home", change)
    found = audit(study, str(tmp_path / "home"), 2)
    assert found.counts == {"different": 2} and not found.passed


def test_failed_trials_are_left_out_and_said(tmp_path):
    study = dlx.Study(name="mixed", question="?", template=Unruly(dlx.grid("fine", "raise", "nan", "text")), seeds=2)
    go(study, tmp_path / "home")
    found = audit(study, str(tmp_path / "home"), 10)
    assert found.left_out == {"failed": 4}
    assert Counter(one.labels["way"] for one in found.trials) == {"fine": 2, "nan": 2}
    assert found.counts == {"equal": 4}  # NaN again is what is stored
    assert "Left out: 4 failed." in str(found)


def test_a_trial_that_raises_now_is_said_with_its_reason(tmp_path):
    marks = tmp_path / "marks"
    marks.mkdir()
    study = dlx.Study(name="once", question="?", template=Unruly("once", str(marks)), seeds=1, retries=1)
    go(study, tmp_path / "home")
    for mark in marks.iterdir():
        mark.unlink()
    found = audit(study, str(tmp_path / "home"))
    assert found.counts == {"failed": 1} and not found.passed
    assert found.trials[0].notes[0] == "RuntimeError: only the first time"


def test_children_start_from_their_parents_checkpoint(tmp_path):
    study = dlx.Study(name="stages", question="?", template=Stage(dlx.grid(1.0, 2.0), parent=Stage(10.0)), seeds=2)
    go(study, tmp_path / "home")
    before = contents(tmp_path / "home")
    found = audit(study, str(tmp_path / "home"))
    assert found.counts == {"equal": 6}
    assert Counter(one.phase for one in found.trials) == {"final": 4, "parent": 2}
    assert contents(tmp_path / "home") == before
    for file in (tmp_path / "home").rglob("*.safetensors"):
        file.unlink()
    found = audit(study, str(tmp_path / "home"))
    assert found.counts == {"unknown": 4, "equal": 2} and not found.passed
    assert found.trials[0].notes == ("its parent left no checkpoint",)


FILE = """
from dataclasses import dataclass
import dlx

@dataclass(frozen=True)
class Cost(dlx.Trial):
    size: int

    def run(self, ctx):
        return {"cost": FACTOR * self.size + ctx.rng("noise").normal()}

STUDY = dlx.Study(name="cost", question="?", template=Cost(dlx.grid(1, 2)), seeds=2)
"""


def test_changed_code_is_named_where_numbers_differ(tmp_path):
    file = tmp_path / "cost.py"
    file.write_text(textwrap.dedent(FILE.replace("FACTOR", "2.0")))
    go(dlx.load(str(file)), tmp_path / "home")
    (tmp_path / "later").mkdir()
    later = tmp_path / "later" / "cost.py"
    later.write_text(textwrap.dedent(FILE.replace("FACTOR", "2.001")))
    found = audit(dlx.load(str(later)), str(tmp_path / "home"))
    assert found.counts == {"different": 4}
    assert all(one.notes == ("its source has changed since it ran",) for one in found.trials)
    assert all(one.worst.difference == pytest.approx(0.001 * one.labels["size"]) for one in found.trials)


def test_other_versions_and_devices_are_named(tmp_path):
    study = valley()
    go(study, tmp_path / "home")
    rewrite(study, tmp_path / "home", lambda key, metrics, curves: (metrics, curves))
    store = Store(study.name, str(tmp_path / "home"))
    rows = [{**row, "device": "cuda", "versions": '{"torch": "1.0"}', "host": "elsewhere"}
            for row in store.trials().to_pylist()]
    records = to_records([], {})
    records = dataclasses.replace(records, trials=pa.RecordBatch.from_pylist(rows, schema=records.trials.schema))
    store.commit([records], pa.Table.from_pylist([], MEMBERSHIP))
    (one,) = audit(study, str(tmp_path / "home"), 1).trials
    host, device, torch = one.notes
    assert host.startswith("host elsewhere → ") and device == "device cuda → cpu" and torch.startswith("torch 1.0 → ")


def test_the_table_is_clean_text_with_the_worst_first(tmp_path):
    study = valley(template=Valley(width=dlx.grid(1, 2), lr=0.1, optimizer="\x1b[31m<b>evil</b>"))
    go(study, tmp_path / "home")
    first = study.results(str(tmp_path / "home")).table["key"][0].as_py()
    rewrite(study, tmp_path / "home", lambda key, metrics, curves: (
        {**metrics, "val/loss": 7.0} if key == first else metrics, curves))
    found = audit(study, str(tmp_path / "home"))
    assert [one.outcome for one in found.trials] == ["different", "equal", "equal", "equal"]
    assert found.trials[0].key == first and found.trials[0].worst.metric == "val/loss"
    text = str(found)
    assert text.index("different") < text.index("equal") and "\x1b" not in text
    assert "1 of 4 different: not the stored numbers" in text
    assert "<b>evil" not in found._repr_html_()


def test_nothing_stored_passes_no_audit(tmp_path):
    found = audit(valley(), str(tmp_path / "home"))
    assert found == Audit("valley", 0, (), {}) and not found.passed
    assert "No stored trial can be run again." in str(found)
    assert not (tmp_path / "home").exists()


def test_an_audit_of_no_trials_is_refused():
    with pytest.raises(DeclarationError, match="trials is 0; an audit runs at least 1"):
        audit(valley(), trials=0)
