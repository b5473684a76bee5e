"""MLflow says where kept weights lie, and on a server holds those of final trials."""

import dataclasses
from pathlib import Path

import pytest
from mlflow import MlflowClient
from test_keep import Heard, step_of, study, template
from test_tracking import MlflowServer
from toys import go

import dlx
from dlx import checkpoint, optim
from dlx.tracking.client import Experiment
from dlx.tracking.rows import Slots, run_of
from dlx.tracking.weights import Weights


def sent(home, uri, **changes):
    """Runs of a study's trials in MLflow by key, and its client."""
    small = study(**{"seeds": 1, "template": template(steps=2), **changes})
    view = Heard()
    results = go(small, home, tracking_uri=uri, view=view)
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("kept").experiment_id
    runs = client.search_runs([experiment], "tags.`dlx.kind` = 'trial'")
    return results, client, {run.data.tags["dlx.key"]: run for run in runs}, view


@pytest.mark.parametrize("keep", ["final", "best", "none"])
def test_the_homes_own_mlflow_says_where_weights_lie_and_holds_no_second_copy(tmp_path, keep):
    results, client, runs, _ = sent(tmp_path, f"sqlite:///{tmp_path / 'mlflow.db'}", keep=keep)
    assert len(runs) == 2
    for key, run in runs.items():
        assert not client.list_artifacts(run.info.run_id)
        if keep == "none":
            assert not any(name.startswith("dlx.weights") for name in run.data.tags)
            continue
        assert (tmp_path / run.data.tags["dlx.weights"]).is_file()
        name = checkpoint.best(key) if keep == "best" else key
        assert int(run.data.tags["dlx.weights_step"]) == step_of(results, name)


def test_a_run_is_whole_where_mlflow_takes_no_files(tmp_path):
    results = go(study(seeds=1, template=template(steps=2)), tmp_path)
    experiment = Experiment(f"sqlite:///{tmp_path / 'mlflow.db'}", "kept", tmp_path / "artifacts")
    (tmp_path / "artifacts").write_text("a file where a folder should be")
    weights = Weights(results.store, "final", upload=True)
    slots = Slots()
    slots.add(results.store.membership())
    for row in results.store.trials().to_pylist():
        run = run_of(row, {}, slots, lambda cell: {})
        run = dataclasses.replace(run, tags={**run.tags, **weights.tags(row["key"])})
        experiment.send(run, lambda run_id, run=run: weights.attach(experiment, run_id, run))
        weights.sent()
        assert isinstance(weights.problem, OSError)
    assert {run.whole for run in experiment.runs("trial")} == {True} and len(list(experiment.runs("trial"))) == 2


def test_a_tracking_server_holds_the_files_of_final_trials(tmp_path):
    server = MlflowServer(tmp_path)
    server.start()
    try:
        search = dlx.Random(trials=2, parallel=2, top=1, recheck=0)
        rule = optim.EMA(optim.SGD(lr=dlx.loguniform(1e-3, 1.0)), decay=0.8)
        tuned = {"template": template(optimizer=rule, steps=2), "search": search}
        _, client, runs, view = sent(tmp_path / "home", server.uri, keep="best", **tuned)
        assert len(runs) == 3 and view.said == []
        for key, run in runs.items():
            file = tmp_path / "home" / run.data.tags["dlx.weights"]
            listed = [a.path for a in client.list_artifacts(run.info.run_id, "weights")]
            assert listed == ([f"weights/{key}.best.safetensors"] if run.data.tags["dlx.phase"] == "final" else [])
            for path in listed:
                got = client.download_artifacts(run.info.run_id, path, str(tmp_path))
                assert Path(got).read_bytes() == file.read_bytes()
    finally:
        server.kill()
