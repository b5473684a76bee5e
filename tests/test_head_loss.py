"""A cluster whose head is lost: all of it ends by itself, and the study goes on when it is submitted to a new one."""

import subprocess
import sys
from contextlib import contextmanager

from heads import PATIENCE, Project, head_of_ray, until

TRIALS = 30


def test_a_study_whose_head_was_killed_carries_on_from_the_store(tmp_path):
    with head_of_ray(cpus=1) as lost:
        lost.add_node()
        project = Project(tmp_path, lost, "lost", TRIALS, seconds=0.4)
        project.submit()
        with watching(project) as watcher:
            until(lambda: project.stored >= 4, what="four stored trials")
            (driver,) = project.drivers()
            lost.gcs().kill()
            _, said = watcher.communicate(timeout=PATIENCE)
        assert watcher.returncode == 2 and "submit the study again" in said.splitlines()[-1], said
        until(lambda: not alive(lost), what="the end of the cluster, its driver and its workers")
        assert not driver.is_running()
        before = project.keys
        assert 4 <= len(before) < TRIALS
    ran = {number: project.runs(number) for number in project.numbers()}
    assert set(ran.values()) == {1}
    with head_of_ray(cpus=1) as new:
        project.head = new
        job = project.submit()
        out = project.dlx("watch", "nap.py", "--address", new.address)
        assert f"{job}: succeeded" in out and f"{TRIALS}/{TRIALS} trials" in out
    assert before < project.keys and project.numbers() == list(range(TRIALS))
    assert {number: project.runs(number) for number in ran} == ran  # what was stored did not run again


def alive(head):
    """What of a cluster is alive, Ray's agents apart, which try for a minute to tell the dead head that a node died."""
    return [process for process in head.processes() if "Agent" not in process.name()]


@contextmanager
def watching(project):
    """``dlx watch`` beside what happens."""
    command = [sys.executable, "-m", "dlx.cli", "watch", "nap.py", "--address", project.head.address]
    watcher = subprocess.Popen(command, cwd=project.folder, env=project.head.environment, stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield watcher
    finally:
        watcher.kill()
        watcher.communicate(timeout=PATIENCE)
