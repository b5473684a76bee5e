"""A hundred faults at random moments, with PostgreSQL under MLflow: five studies of 380 packs, half an hour or more."""

import random

import pytest
from chaos import faults
from chaos.site import Run

STUDIES, FAULTS = 5, 20  # of each

pytestmark = pytest.mark.chaos


@pytest.mark.parametrize("number", range(STUDIES))
def test_a_study_with_a_fault_every_few_seconds(site, undisturbed, survived, number):
    run, dice = Run(site, f"disturbed-{number}", 0.4), random.Random(number)
    tried = faults.drawn(run, FAULTS, dice)
    run.driver.start()
    for fault in tried:
        faults.strike(run, fault, dice)
    run.end()
    exact = run.check(undisturbed)
    survived += tried
    print(f"{run.name}: {len(tried)} faults, {exact} of {run.trials} trials equal bit for bit", flush=True)
