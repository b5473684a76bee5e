"""Trials that several workers of Ray Train's train: real Ray, two processes, gloo."""

import cloudpickle
import pytest
import test_training
import together
from mlflow import MlflowClient
from packs import Packs, pack_of
from test_training import training
from together import Slow, Trouble

import dlx
from dlx import metrics, optim
from dlx.errors import ExecutorError
from dlx.executors.tune import Tune
from dlx.executors.tune_cluster import Cluster
from dlx.live import Quiet
from dlx.pack import Resources
from dlx.snapshot import held

STEPS = 400


@pytest.fixture(scope="module", autouse=True)
def _by_value():
    """Workers cannot import these modules, as they cannot import a study's file."""
    for module in (test_training, together):
        cloudpickle.register_pickle_by_value(module)
    yield
    for module in (test_training, together):
        cloudpickle.unregister_pickle_by_value(module)


@pytest.fixture(scope="module")
def cluster():
    """One Ray of two CPUs for the module; without the watcher of machines that a cloud takes away, to start sooner."""
    with pytest.MonkeyPatch.context() as patch, Cluster(cpus=2) as own:
        patch.setenv("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")
        yield own


def study(marks):
    """A trial of two workers whose second is killed half-way, one whose second raises, and a slow one of one worker."""
    return dlx.Study(
        name="several", question="Do two workers give the numbers of one?",
        template=training(
            steps=STEPS, batch_size=9, optimizer=optim.AdamW(lr=0.01), measure=8, metrics=(metrics.loss(),),
            loss=dlx.grid(Trouble(at=200, rank=1, marks=str(marks)), Trouble(at=20, rank=1), Slow(1.0)),
        ),
        resources=lambda trial: Resources(workers=1 if isinstance(trial.loss, Slow) else 2), checkpoint_every=0.01,
    )


def test_two_workers_give_what_one_process_gives_survive_a_kill_and_record_a_failure(cluster, tmp_path):
    uri, declared = f"sqlite:///{tmp_path}/mlflow.db", study(tmp_path)
    several = declared.run(home=str(tmp_path / "several"), view=Quiet(), tracking_uri=uri)
    alone = declared.run(home=str(tmp_path / "alone"), view=Quiet(), executor="local", tracking_uri="off")
    assert int((tmp_path / "after").read_text()) < STEPS, "the trial began anew instead of going on"
    found, expected = ({row["key"]: row for row in r.table.to_pylist()} for r in (several, alone))
    assert found.keys() == expected.keys() and len(found) == 3
    (failed,) = [key for key, row in found.items() if row["status"] == "failed"]
    assert "ArithmeticError: only in process 1" in found[failed]["error"]
    curves, wanted = ({(h["key"], h["metric"]): h for h in r.history().to_pylist()} for r in (several, alone))
    assert {key for key, _ in curves} == found.keys() - {failed}
    for place, curve in curves.items():
        assert curve["step"] == wanted[place]["step"]
        assert curve["value"] == pytest.approx(wanted[place]["value"], rel=0, abs=1e-10)
    check_tracked(uri, found, failed)
    assert held(several.store.folder).keys() == {failed}, "the state of what ended well is of no more use"
    assert declared.plan(home=str(tmp_path / "several")).missing == 0


def check_tracked(uri, found, failed):
    """MLflow has the trials of the store, with their values."""
    client = MlflowClient(uri)
    (experiment,) = [e for e in client.search_experiments() if e.name == "several"]
    runs = client.search_runs([experiment.experiment_id], "tags.`dlx.kind` = 'trial'")
    assert {run.data.tags["dlx.key"] for run in runs} == found.keys()
    for run in runs:
        row = found[run.data.tags["dlx.key"]]
        assert run.info.status == ("FAILED" if row["key"] == failed else "FINISHED")
        for metric in ("train/loss", "val/loss") if row["key"] != failed else ():
            assert run.data.metrics[metric] == pytest.approx(row[metric], rel=1e-12)


def test_more_workers_than_there_are_places_for_are_refused_at_once(cluster):
    feed = Packs([pack_of(training(), resources=Resources(workers=3))])
    with pytest.raises(ExecutorError, match="3 workers with 1 CPUs, 0 GPUs each, but the cluster has places for 2;"):
        Tune().run(feed)
    assert not feed.flying
