"""The tracking server as `serve.sh` starts it, on a real PostgreSQL: closed without credentials, open with them."""

import os
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import requests

import dlx

LOOPBACK = "127.0.0.1"
SCRIPT = Path(__file__).parents[2] / "cluster" / "tracking" / "serve.sh"
ADMIN, RESEARCHER = ("admin", "a password of the admin"), ("researcher", "a password of theirs")


@dlx.trial(version=1)
def halves(ctx, start: float) -> dict[str, float]:
    for step in range(3):
        ctx.log(step, value=start / 2**step)
    return {"value": start / 4}


STUDY = dlx.Study(name="halves", question="Does it halve?", template=halves(start=dlx.grid(1.0, 2.0)), seeds=2)


def environment(database, port):
    return {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "HOME": os.environ["HOME"],
        "PGHOST": database.host, "PGPORT": str(database.port), "PGUSER": database.user, "PGPASSWORD": database.password,
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "5f2b", "MLFLOW_AUTH_ADMIN_PASSWORD": ADMIN[1],
        "MLFLOW_PORT": str(port), "MLFLOW_WORKERS": "1",
    }


@pytest.fixture(scope="module")
def server(postgres, free_port, wait_until, tmp_path_factory):
    """Its address, folder and port; one more user is there."""
    folder, port = tmp_path_factory.mktemp("tracking"), free_port()
    uri = f"http://{LOOPBACK}:{port}"

    def answers():
        with suppress(requests.ConnectionError):
            return requests.get(f"{uri}/health", timeout=5).status_code == 200

    with (folder / "log").open("w") as log:
        process = subprocess.Popen(["bash", str(SCRIPT)], cwd=folder, env=environment(postgres, port), stdout=log,
                                   stderr=log)
    try:
        wait_until(answers, process)
        made = requests.post(f"{uri}/api/2.0/mlflow/users/create", auth=ADMIN, timeout=10,
                             json={"username": RESEARCHER[0], "password": RESEARCHER[1]})
        assert made.status_code == 200, made.text
        yield uri, folder, port
    finally:
        children = psutil.Process(process.pid).children(recursive=True)
        process.terminate()
        process.wait(30)
        left = psutil.wait_procs(children, timeout=10)[1]
        for child in left:
            child.kill()
        assert not left, "SIGTERM ends the script and leaves servers behind"


def test_without_credentials_nothing_is_shown_or_taken(server):
    uri, folder, _ = server
    for auth in (None, ("admin", "password1234"), ("researcher", ADMIN[1])):
        for path in ("experiments/search", "runs/search"):
            answer = requests.post(f"{uri}/api/2.0/mlflow/{path}", json={"max_results": 1}, auth=auth, timeout=10)
            assert answer.status_code == 401
        stored = requests.put(f"{uri}/api/2.0/mlflow-artifacts/artifacts/a.txt", data=b"x", auth=auth, timeout=10)
        assert stored.status_code == 401 and not list(folder.rglob("a.txt"))
    assert requests.get(f"{uri}/", timeout=10).status_code == 401


def test_it_listens_on_loopback_and_answers_to_its_own_names(server):
    uri, _, port = server
    assert socket.create_connection((LOOPBACK, port), 5)
    with pytest.raises(OSError), socket.create_connection(("127.0.0.2", port), 5):
        pass
    stranger = requests.get(f"{uri}/", headers={"Host": "evil.example"}, auth=ADMIN, timeout=10)
    assert stranger.status_code == 403
    crossing = requests.post(f"{uri}/api/2.0/mlflow/experiments/search", json={"max_results": 1}, auth=ADMIN,
                             headers={"Origin": "https://evil.example"}, timeout=10)
    assert crossing.status_code == 403


def test_a_study_is_tracked_with_credentials_and_goes_on_without(server, monkeypatch, tmp_path):
    """Without them the run still stores all, and the next run with them sends what is missing."""
    uri, folder, _ = server
    monkeypatch.setenv("DLX_HOME", str(tmp_path / "home"))
    done = STUDY.run(executor="local", tracking_uri=uri)
    assert len(done.table) == 4 and not done.missing
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", RESEARCHER[0])
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", RESEARCHER[1])
    STUDY.run(executor="local", tracking_uri=uri)
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    [experiment] = [e for e in client.search_experiments() if e.name == "halves"]
    runs = client.search_runs([experiment.experiment_id])
    trials = {r.data.tags["dlx.key"]: r.data.metrics["value"] for r in runs if r.data.tags["dlx.kind"] == "trial"}
    table = done.table.to_pydict()
    assert trials == dict(zip(table["key"], table["value"], strict=True))
    assert experiment.artifact_location.startswith("mlflow-artifacts:")
    reports = list(folder.rglob("report.html"))
    assert len(reports) == 1 and reports[0].is_relative_to(folder / "mlartifacts")


@pytest.mark.parametrize("name", ("MLFLOW_AUTH_ADMIN_PASSWORD", "MLFLOW_FLASK_SERVER_SECRET_KEY", "PGHOST"))
def test_the_server_has_no_default_for_what_is_secret(name, tmp_path):
    given = environment(SimpleNamespace(host=LOOPBACK, port=1, user="mlflow", password="x"), 1)
    del given[name]
    done = subprocess.run(["bash", str(SCRIPT)], cwd=tmp_path, env=given, stderr=subprocess.PIPE, text=True, timeout=60)
    assert done.returncode != 0 and name in done.stderr
