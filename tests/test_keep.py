"""Kept weights give the very metrics that were recorded: after the last step, or where the objective was best."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pytest
import torch
from stored import members
from toys import Stage, go

import dlx
from dlx import checkpoint, data, losses, metrics, models, optim
from dlx.context import Context, Place
from dlx.errors import DeclarationError, StoreError
from dlx.live import Quiet
from dlx.pruning import Halving
from dlx.snapshot import Snapshots, held
from dlx.training import Training
from dlx.worker import Stopped

LOSS = dlx.minimize("val/loss")


def template(**changes):
    """It fits the noise in few samples, so that it is best before the end."""
    given = {
        "data": data.GaussianMixture(n=60, inputs=6, classes=3, separation=1.0, test_samples=50),
        "model": models.MLP(8, 1, norm="batch"), "optimizer": optim.EMA(optim.SGD(lr=dlx.grid(0.3, 0.1)), decay=0.8),
        "steps": 120, "batch_size": 10, "dtype": "float64", "measure": 30, "metrics": (metrics.loss(), metrics.error()),
    }
    return Training(**{**given, **changes})


WHOLE = template(model=models.MLP(16, 2, norm="batch", dropout=0.1),
                 optimizer=optim.EMA(optim.SGD(lr=dlx.grid(0.3, 0.1), momentum=0.9), decay=0.8))


def study(**changes):
    given = {"name": "kept", "question": "?", "template": template(), "objective": LOSS, "seeds": 2, "keep": "final"}
    return dlx.Study(**{**given, **changes})


def trial_of(results, row):
    (cell,) = (c for c in results.study.space.cells if results.study.cell_key(c) == row["cell"])
    return results.study.space.trial(cell)


def measured(module, trial, seed):
    """What a loaded model scores, by plain PyTorch."""
    assert not module.training
    found = {}
    for name, split in trial.data.load(Context(seed)).items():
        inputs, targets = split.take(split.rows)
        with torch.no_grad():
            outputs = module(inputs.to(getattr(torch, trial.dtype)))
        found[f"{name}/loss"] = float(torch.nn.functional.cross_entropy(outputs, targets))
        found[f"{name}/error"] = float((outputs.argmax(1) != targets).double().mean())
    return found


def curves(results, key):
    """Metric → steps and values of one trial."""
    table = results.history().filter(pc.equal(results.history()["key"], key)).to_pylist()
    return {m: {r["step"]: r["value"] for r in table if r["metric"] == m} for m in {r["metric"] for r in table}}


def best_step(curve, sign=1):
    return min((s for s, v in curve.items() if np.isfinite(v)), key=lambda s: (sign * curve[s], s))


def step_of(results, name):
    return int(checkpoint.about(results.store.folder, name)["step"])


# ---------------------------------------------------------------- the numbers


def test_final_weights_of_a_pack_give_the_recorded_metrics(tmp_path):
    results = go(study(template=WHOLE), tmp_path)
    rows = results.table.to_pylist()
    assert len(rows) == 4 and set(results.store.trials()["members"].to_pylist()) == {4}
    state = torch.get_rng_state()
    for row in rows:
        module = results.load_model(row["key"])
        found = measured(module, trial_of(results, row), row["seed"])
        assert found == pytest.approx({name: row[name] for name in found}, rel=0, abs=1e-12)
        assert step_of(results, row["key"]) == 120 and all(p.requires_grad for p in module.parameters())
        assert int(module.state_dict()[next(n for n in module.state_dict() if "num_batches" in n)]) == 120
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("objective", [LOSS, dlx.maximize("test/loss"), dlx.minimize("val/error")])
def test_best_weights_of_a_pack_are_those_of_the_best_step(tmp_path, objective):
    results = go(study(keep="best", objective=objective, template=WHOLE), tmp_path)
    steps = set()
    for row in results.table.to_pylist():
        curve = curves(results, row["key"])
        at = best_step(curve[objective.metric], objective.sign)
        found = measured(results.load_model(row["key"]), trial_of(results, row), row["seed"])
        assert found == pytest.approx({name: curve[name][at] for name in found}, rel=0, abs=1e-12)
        assert step_of(results, checkpoint.best(row["key"])) == at
        with pytest.raises(StoreError, match="There are no final weights"):
            results.load_model(row["key"], "final")
        steps.add(at)
    assert min(steps) < 120 and len(steps) > 1


def test_the_objective_may_be_measured_of_weights(tmp_path):
    results = go(study(keep="best", objective=dlx.minimize("weights/weight_norm"), seeds=1,
                       template=template(metrics=(metrics.loss(), metrics.weight_norm()))), tmp_path)
    for row in results.table.to_pylist():
        curve = curves(results, row["key"])
        at = best_step(curve["weights/weight_norm"])
        assert step_of(results, checkpoint.best(row["key"])) == at
        found = measured(results.load_model(row["key"]), trial_of(results, row), row["seed"])
        assert found == pytest.approx({name: curve[name][at] for name in ("train/loss", "val/loss", "test/loss")} | {
            name: found[name] for name in found if name.endswith("error")}, rel=0, abs=1e-12)


@pytest.mark.parametrize("keep", ["final", "best"])
def test_what_diverges_keeps_its_last_finite_best_or_its_end(tmp_path, keep):
    wild = template(optimizer=optim.SGD(lr=dlx.grid(1e300, 1e10)), model=models.Linear(), loss=losses.MSE(),
                    data=data.TeacherStudent(), metrics=(metrics.loss(),))
    results = go(study(keep=keep, template=wild, seeds=1), tmp_path)
    assert results.table["status"].to_pylist() == ["diverged"] * 2
    for row in results.table.to_pylist():
        curve, name = curves(results, row["key"])["val/loss"], row["key"]
        finite = [s for s, v in curve.items() if np.isfinite(v)]
        at = best_step(curve) if keep == "best" and finite else 120
        assert step_of(results, checkpoint.best(name) if keep == "best" else name) == at
        weight = next(iter(results.load_model(name).parameters()))
        assert bool(weight.isfinite().all()) == (at < 120)


class Gate(torch.nn.Module):
    """What it computes depends on values, so that it trains one member after the other."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.layer = torch.nn.Linear(inputs, outputs)

    def forward(self, x):
        return self.layer(x) if self.layer.weight.sum() > -1e9 else x


@dataclasses.dataclass(frozen=True)
class Gated:
    def build(self, of):
        return Gate(of.inputs, of.outputs)


@pytest.mark.parametrize("changes", [
    {"model": Gated()}, {"model": models.RandomFeatures(9, "fourier"), "dtype": "bfloat16"},
    {"model": models.GaussianKernelNet(7, 2.0, trained=False), "dtype": "float32"},
], ids=["one by one", "random features in bfloat16", "fixed kernels"])
def test_weights_of_other_models_and_kinds_of_numbers(tmp_path, changes):
    declared = study(keep="best", seeds=1, template=template(optimizer=optim.SGD(dlx.grid(0.3, 0.05)), **changes))
    results = go(declared, tmp_path)
    for row in results.table.to_pylist():
        curve = curves(results, row["key"])
        at, trial = best_step(curve["val/loss"]), trial_of(results, row)
        module = results.load_model(row["key"])
        assert step_of(results, checkpoint.best(row["key"])) == at
        assert {p.dtype for p in module.parameters()} == {getattr(torch, trial.dtype)}
        near = {"float64": 1e-12, "float32": 1e-5, "bfloat16": 0.05}[trial.dtype]
        found = measured(module, trial, row["seed"])
        assert found["val/loss"] == pytest.approx(curve["val/loss"][at], rel=0, abs=near)


def test_the_choice_of_a_search_and_what_it_stopped_early(tmp_path):
    search = dlx.Random(trials=4, parallel=4, top=1, recheck=0, prune=Halving(eta=2.0, min_steps=10))
    rate = dlx.loguniform(1e-3, 1.0)
    tuned = study(template=template(optimizer=optim.EMA(optim.SGD(lr=rate), decay=0.8)), search=search)
    results = go(tuned, tmp_path)
    rows = {status: results.table.filter(pc.equal(results.table["status"], status)).to_pylist()
            for status in ("completed", "pruned")}
    assert len(rows["pruned"]) == 3 and checkpoint.names(results.store.folder) == {r["key"] for r in rows["completed"]}
    with pytest.raises(StoreError, match="was stopped early and has left no weights"):
        results.load_model(rows["pruned"][0]["key"])
    for row in rows["completed"]:
        trial = template(optimizer=optim.EMA(optim.SGD(lr=row["param.optimizer.inner.lr"]), decay=0.8))
        assert measured(results.load_model(row["key"]), trial, row["seed"])["val/loss"] == pytest.approx(
            row["val/loss"], rel=0, abs=1e-12)


def test_children_start_from_the_final_state_of_what_keeps_its_best(tmp_path):
    plain = models.MLP(8, 1)  # whose child with a learning rate of 0 measures what it was given
    branch = template(optimizer=optim.SGD(lr=0.0), steps=1, model=plain,
                      parent=template(optimizer=optim.SGD(lr=dlx.grid(0.5, 0.2)), model=plain))
    results = go(study(keep="best", template=branch, seeds=1), tmp_path)
    by_phase = {phase: results.table.filter(pc.equal(results.table["phase"], phase)).to_pylist()
                for phase in ("parent", "final")}
    assert len(by_phase["parent"]) == len(by_phase["final"]) == 2
    for parent, child in zip(*(by_phase[p] for p in ("parent", "final")), strict=True):
        curve = curves(results, parent["key"])
        ended = results.load_model(parent["key"], "final")
        assert child["val/loss"] == pytest.approx(parent["val/loss"], rel=0, abs=1e-12)
        trial = trial_of(results, parent).parent
        assert measured(ended, trial, parent["seed"])["val/loss"] == pytest.approx(parent["val/loss"], abs=1e-12)
        at = best_step(curve["val/loss"])
        assert at < 120 and measured(results.load_model(parent["key"]), trial, parent["seed"])["val/loss"] == (
            pytest.approx(curve["val/loss"][at], rel=0, abs=1e-12))


# ---------------------------------------------------------------- interrupted


def contexts(folder, **place):
    return [Context(i, place=Place(folder, f"k{i}", **{"every": 0.0, "keep_best": LOSS, **place})) for i in range(3)]


def trials():
    return [template(optimizer=optim.EMA(optim.SGD(lr), decay=0.8)) for lr in (0.4, 0.1, 0.2)]


def interrupted(folder, at, **place):
    """Ends a pack when it logs this step, as a kill would."""
    begun = contexts(folder, **place)

    def stop(step, _):
        if step >= at:
            raise Stopped

    begun[0].on_log = stop
    with pytest.raises(Stopped):
        Training.run_pack(trials(), begun)
    assert held(folder).keys() == {"k0", "k1", "k2"}


def files(folder):
    return {p.name: p.read_bytes() for p in Path(folder, "checkpoints").glob("*.safetensors")}


@pytest.mark.parametrize("at", [3, 40, 120])
def test_a_pack_killed_half_way_keeps_the_very_same_best(tmp_path, at):
    calm, disturbed = tmp_path / "calm", tmp_path / "disturbed"
    Training.run_pack(trials(), contexts(calm.as_uri()))
    interrupted(disturbed.as_uri(), at)
    assert not files(disturbed)
    again = contexts(disturbed.as_uri())
    heard = []
    again[0].on_log = lambda step, _: heard.append(step)
    Training.run_pack(trials(), again)
    assert min(heard) > 1 and len(files(calm)) == 3 and files(disturbed) == files(calm)
    assert min(int(checkpoint.about(calm.as_uri(), f"k{i}.best")["step"]) for i in range(3)) < 40


@pytest.mark.parametrize("before", [{"keep_best": None}, {"keep_best": dlx.maximize("val/loss")}])
def test_a_snapshot_that_lacks_this_best_is_not_gone_on_from(tmp_path, before):
    calm, disturbed = tmp_path / "calm", tmp_path / "disturbed"
    Training.run_pack(trials(), contexts(calm.as_uri()))
    interrupted(disturbed.as_uri(), 60, **before)
    again = contexts(disturbed.as_uri())
    Training.run_pack(trials(), again)
    assert files(disturbed) == files(calm)
    assert "does not fit the code, or the keep=, of today" in again[0].notes[0]


def test_a_snapshot_with_a_best_serves_a_pack_that_keeps_none(tmp_path):
    interrupted(tmp_path.as_uri(), 60)
    again = contexts(tmp_path.as_uri(), keep_best=None)
    step = Snapshots(tmp_path.as_uri(), ["k0", "k1", "k2"]).find().step
    heard = []
    again[0].on_log = lambda at, _: heard.append(at)
    assert Training.run_pack(trials(), again) == Training.run_pack(trials(), [Context(i) for i in range(3)])
    assert min(heard) > step and not files(tmp_path) and not again[0].notes


# ---------------------------------------------------------------- what is refused, and said


@pytest.mark.parametrize(("changes", "said"), [
    ({"keep": "last"}, "keep is 'last'; it must be 'none', 'final' or 'best'."),
    ({"keep": "best", "objective": None}, "the study has no objective to be best by"),
    ({"keep": "best", "template": Stage(1.0)}, "Stage is no dlx.Training"),
])
def test_what_cannot_be_kept_is_refused(changes, said):
    with pytest.raises(DeclarationError, match=said):
        study(**changes)


def test_every_error_of_load_model_is_one_sentence(tmp_path):
    results = go(study(seeds=1, template=template(steps=2)), tmp_path)
    key, other = results.table["key"].to_pylist()
    typed = key[:-3] + "xyz"
    for wrong, said in ((typed, f"did you mean '{key}'"), ("?", "the column key of their table"), ("", "no trial ''")):
        with pytest.raises(StoreError, match=said):
            results.load_model(wrong)
    file = tmp_path / "studies" / "kept" / "checkpoints" / f"{key}.safetensors"
    whole = file.read_bytes()
    for damaged in (whole[:-9], whole[:20], b""):
        file.write_bytes(damaged)
        with pytest.raises(StoreError, match=r"is damaged \(.*\); put a copy of it there"):
            results.load_model(key)
    checkpoint.save(results.store.folder, key, {"other": torch.zeros(1)})
    with pytest.raises(StoreError, match=f"The weights of the trial {key} do not fit its model as today's code builds"):
        results.load_model(key)
    file.unlink()
    with pytest.raises(StoreError, match=r"no final weights of the trial .*Study\(keep='final'\), or the file is gone"):
        results.load_model(key)
    with pytest.raises(StoreError, match=r"no best weights of the trial .*Study\(keep='best'\)"):
        results.load_model(key, "best")
    assert results.load_model(other) is not results.load_model(other)


def test_states_of_other_trials_are_kept_and_are_no_models(tmp_path):
    staged = dlx.Study(name="staged", question="?", template=Stage(dlx.grid(1.0, 2.0)), keep="final")
    results = go(staged, tmp_path)
    for row in results.table.to_pylist():
        assert float(checkpoint.load(results.store.folder, row["key"])["total"]) == row["total"]
        with pytest.raises(StoreError, match=r"is a Stage, and only a dlx.Training has a model.*\.safetensors"):
            results.load_model(row["key"])


class Heard(Quiet):
    def __init__(self):
        self.said = []

    def say(self, sentence):
        self.said.append(sentence)


def test_a_finished_study_that_is_to_keep_weights_says_so_and_runs_nothing(tmp_path):
    small = {"seeds": 1, "template": template(steps=2)}
    go(study(keep="none", **small), tmp_path)
    view = Heard()
    results = go(study(**small), tmp_path, view=view)
    assert view.said == ["2 of the stored trials have no final weights and are not run again for them; to have them, "
                         "run the study in another home."]
    assert not checkpoint.names(results.store.folder)
    go(study(**small).with_({"seeds": 2}), tmp_path, view=(view := Heard()))
    assert view.said[0].startswith("2 of") and len(checkpoint.names(results.store.folder)) == 2
    go(study(keep="none", **small), tmp_path, view=(view := Heard()))
    assert view.said == []


@pytest.mark.parametrize("keep", ["final", "best"])
def test_trials_count_where_their_weights_cannot_be_written(tmp_path, keep):
    blocked = study(keep=keep, template=template(steps=2))
    for member in members(blocked):
        name = checkpoint.best(member.key) if keep == "best" else member.key
        (tmp_path / "studies" / "kept" / checkpoint.place(name) / "a folder where a file should be").mkdir(parents=True)
    results = go(blocked, tmp_path, view=(view := Heard()))
    assert results.table["status"].to_pylist() == ["completed"] * 4
    (said,) = view.said
    assert said.startswith("Weights cannot be written (") and "the trials count without them" in said
    go(blocked, tmp_path, view=(view := Heard()))
    assert view.said[0].startswith(f"4 of the stored trials have no {keep} weights")


def test_keeping_changes_no_key_and_no_number(tmp_path):
    tables = [go(study(keep=keep), tmp_path / keep).table.drop_columns(["seconds"])
              for keep in ("none", "final", "best")]
    assert tables[0].equals(tables[1]) and tables[0].equals(tables[2])


def test_loading_results_loads_no_torch_until_a_model_is_wanted(tmp_path):
    go(study(seeds=1, template=template(steps=2)), tmp_path)
    code = ("import sys; sys.path.insert(0, sys.argv[1]); import test_keep_declared as d, json\n"
            "r = d.STUDY.results(sys.argv[2]); keys = r.table['key'].to_pylist(); before = 'torch' in sys.modules\n"
            "r.load_model(keys[0]); print(json.dumps([before, 'torch' in sys.modules, 'ray' in sys.modules]))")
    (tmp_path / "test_keep_declared.py").write_text(
        "import dlx\nfrom dlx import data, metrics, models, optim\n"
        "STUDY = dlx.Study(name='kept', question='?', objective=dlx.minimize('val/loss'), keep='final', template="
        "dlx.Training(data=data.GaussianMixture(n=60, inputs=6, classes=3, separation=1.0, test_samples=50),\n"
        "    model=models.MLP(8, 1, norm='batch'), steps=2, batch_size=10, dtype='float64',\n"
        "    optimizer=optim.EMA(optim.SGD(lr=dlx.grid(0.3, 0.1)), decay=0.8)))\n")
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path), str(tmp_path)], capture_output=True, text=True)
    assert json.loads(done.stdout or "null") == [False, True, False], done.stderr
