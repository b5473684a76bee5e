"""Jobs on a real head of Ray with a token: shipped without secrets, detached, started anew, stopped."""

import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack, closing, suppress

import psutil
import pytest
from heads import LOOPBACK, PATIENCE, STUDY, Project, head_of_ray, until

from dlx.store import Store

SECRET = "hunter2-correct-horse"
FIXED = (8265, 10001, 52365)  # ports that a head takes unless it is told otherwise: dashboard, client, agent


@pytest.fixture(scope="module")
def head():
    """A head beside which something else holds the ports that Ray takes by default."""
    with ExitStack() as taken:
        for port in FIXED:
            other = taken.enter_context(closing(socket.socket()))
            try:
                other.bind((LOOPBACK, port))
                other.listen()
            except OSError:
                pass  # another Ray of this machine holds it
        yield taken.enter_context(head_of_ray())


def test_a_job_ships_the_project_without_its_secrets_and_runs_detached(head, tmp_path):
    project = Project(tmp_path, head, "shipped", trials=6, seconds=0.1)
    (project.folder / ".env").write_text(f"TOKEN={SECRET}")
    (project.folder / "deploy.pem").write_text(SECRET)
    (project.folder / "conf").mkdir()
    (project.folder / "conf" / "aws-credentials.ini").write_text(SECRET)
    look = "print('sees', sorted(p.name for p in Path('.').rglob('*')))"
    (project.folder / "nap.py").write_text(project.study.replace("import dlx\n", f"import dlx\n{look}\n"))
    job = project.submit()
    out = project.dlx("watch", "nap.py", "--address", head.address)
    assert f"{job}: succeeded" in out and "6/6 trials" in out
    here, seen, *_ = re.findall(r"sees (\[.*\])", out)  # loaded by watch, and then on the head
    assert "deploy.pem" in here and "helper.py" in seen and not re.search(r"\.env|pem|credentials", seen)
    assert project.stored == 6
    for place in (project.home, head.folder):  # results; what was shipped, and logs
        grep = ["grep", "--recursive", "--files-with-matches", "--text", "--devices=skip", SECRET, str(place)]
        assert subprocess.run(grep, capture_output=True, text=True, check=False, timeout=60).stdout == ""
    assert "nothing runs; 6/6 trials" in project.dlx("watch", "nap.py", "--home", str(project.home), "--once")
    assert "succeeded" in project.dlx("watch", "nap.py", "--address", head.address, "--once")
    refused = project.run("watch", "nap.py", "--address", head.address, RAY_AUTH_TOKEN="0" * 64)
    assert refused.returncode == 2 and "address and token are right" in refused.stderr.splitlines()[-1]
    assert "Traceback" not in refused.stderr


def test_a_driver_that_is_killed_is_started_again_and_nothing_runs_twice(head, tmp_path):
    project = Project(tmp_path, head, "killed", trials=24, seconds=0.5)
    job = project.submit()
    assert "runs there already" in project.dlx("submit", "nap.py", "--address", head.address, "--home",
                                               str(project.home), code=2)
    until(lambda: project.stored >= 3, what="three stored trials")
    (driver,) = project.drivers()
    before = project.keys
    driver.send_signal(signal.SIGKILL)
    out = project.dlx("watch", "nap.py", "--address", head.address)
    assert f"{job}: succeeded" in out and "the driver ended with -9; 4 attempts left" in out
    assert project.stored == 24 and before <= project.keys and "24/24 trials" in out


def test_a_stopped_job_stores_what_runs_and_goes_on_when_it_is_submitted_again(head, tmp_path):
    project = Project(tmp_path, head, "stopped", trials=16, seconds=1.0)
    job = project.submit()
    until(lambda: project.stored >= 2, what="two stored trials")
    assert f"{job} was asked to stop." in project.dlx("stop", "nap.py", "--address", head.address)
    out = project.dlx("watch", "nap.py", "--address", head.address)
    assert f"{job}: stopped" in out and "what runs is finished and stored" in out and "ended with" not in out
    before = project.stored
    assert 2 <= before < 16
    assert "No job" in project.dlx("stop", "nap.py", "--address", head.address)
    again = project.submit()
    assert f"{again}: succeeded" in project.dlx("watch", "nap.py", "--address", head.address)
    assert project.stored == 16


@pytest.mark.parametrize(("words", "said"), [
    ((), "home is 'dlx-home', a folder of this machine"),
    (("--home", "here"), "home is 'here', a folder of this machine"),
    (("--home", "s3://key:pass@bucket/x"), "home holds a password"),
    (("--home", "/srv/x", "--tracking-uri", "http://me:pass@host"), "MLFLOW_TRACKING_URI holds a password"),
    (("--home", "/srv/x", "--attempts", "0"), "attempts is 0"),
    (("--home", "/srv/x", "--set", "template.nunber=1"), "did you mean"),
    (("--home", "/srv/x"), "No cluster at http://127.0.0.1:9 takes jobs"),
    (("--home", "/srv/x", "--address", "127.0.0.1:9"), "such as http://HEAD:8265"),
])
def test_what_cannot_go_on_there_is_refused_here(tmp_path, words, said):
    (tmp_path / "helper.py").write_text("SQUARE = float")
    (tmp_path / "nap.py").write_text(STUDY.format(name="nap", trials=2, seconds=0, marks=str(tmp_path)))
    environment = {k: v for k, v in os.environ.items() if k not in ("DLX_HOME", "MLFLOW_TRACKING_URI")}
    done = subprocess.run(
        [sys.executable, "-m", "dlx.cli", "submit", "nap.py", "--address", "http://127.0.0.1:9", *words], cwd=tmp_path,
        env={**environment, "PYTHONPATH": os.pathsep.join((str(tmp_path), os.environ.get("PYTHONPATH", "")))},
        capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert done.returncode == 2 and said in done.stderr and done.stderr.count("\n") == 1, done.stderr


def test_a_supervisor_whose_job_is_lost_ends_its_driver_and_starts_no_other(tmp_path):
    """Its parent dies, as Ray's process of a job does with its head."""
    naps = STUDY.format(name="orphan", trials=50, seconds=0.3, marks=str(tmp_path))
    (tmp_path / "helper.py").write_text("SQUARE = float")
    (tmp_path / "nap.py").write_text(naps)
    words = [sys.executable, "-m", "dlx.supervise", "3", "run", "nap.py", "--executor", "local", "--home",
             str(tmp_path / "home"), "--tracking-uri", "off"]
    parent = psutil.Popen([sys.executable, "-c", f"import subprocess; subprocess.run({words!r})"], cwd=tmp_path,
                          stderr=subprocess.DEVNULL, start_new_session=True)
    store = Store("orphan", str(tmp_path / "home"))
    until(lambda: list(tmp_path.glob("3-*")), what="three trials")
    family = parent.children(recursive=True)
    parent.kill()
    parent.wait(timeout=60)
    try:
        assert not psutil.wait_procs(family, timeout=PATIENCE)[1]
        ran = len(list(tmp_path.glob("*-*")))
        assert 3 < ran == len(store.statuses()) < 50  # it was asked to end, and stored what ran
    finally:
        for process in family:
            with suppress(psutil.NoSuchProcess):
                process.kill()
