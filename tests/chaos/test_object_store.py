"""A study whose home lies on an object store, which is killed and stands still as everything else of its cluster is."""

import random

import pytest
from chaos import faults
from chaos.cluster import surroundings
from chaos.site import Run, Site
from objects import object_store

LEFT_OUT = (faults.kill_mlflow, faults.freeze_mlflow)  # it is not asked
pytestmark = pytest.mark.chaos


def test_each_fault_with_a_home_on_an_object_store(tmp_path, survived):
    (tmp_path / "swift").mkdir()
    with surroundings(tmp_path), object_store(tmp_path / "swift") as store:
        site = Site(tmp_path, store=store)
        try:
            reference = Run(site, "undisturbed", 0.0, cells=8, home=str(tmp_path / "reference"), tracked=False)
            reference.alone()
            run, dice = Run(site, "objects", 0.5, cells=8, tracked=False), random.Random(11)
            tried = [fault for fault in faults.possible(run) if fault not in LEFT_OUT]
            dice.shuffle(tried)
            run.driver.start()
            for fault in tried:
                faults.strike(run, fault, dice)
            run.end()
            exact = run.check(reference.rows())
            survived += tried
            print(f"{run.name}: {len(tried)} faults, {exact} of {run.trials} trials equal bit for bit", flush=True)
        finally:
            site.close()
