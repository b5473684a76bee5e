"""A cluster without a machine for packs: its autoscaler starts some for a study that waits, and ends them after it."""

import pytest
from heads import LOOPBACK, Project, head_of_ray, until

TRIALS = 24


@pytest.mark.chaos
def test_a_study_waits_for_the_machines_of_an_autoscaler_which_ends_them_after_it(tmp_path):
    with head_of_ray(cpus=0, scaled=2) as head:
        project = Project(tmp_path, head, "scaled", TRIALS, seconds=1.0)
        until(lambda: "Ray runtime started" in head.said, what="the start of the head")
        out = project.dlx("run", "nap.py", "--home", str(project.home), "--address", f"{LOOPBACK}:{head.port}",
                          "--tracking-uri", "off")
        assert "the largest machine of the cluster has 0 CPUs" in out and "waiting for a machine to join" in out, out
        assert "2 running" in out, out
        assert project.numbers() == list(range(TRIALS))
        assert all(project.runs(number) == 1 for number in range(TRIALS))
        until(lambda: head.raylets() == 1, what="the end of the machines")
