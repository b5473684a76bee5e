"""A hundred faults at random moments, with PostgreSQL under MLflow: five studies of 380 packs, half an hour or more."""

import random

import pytest
from chaos import faults
from chaos.cluster import surroundings
from chaos.servers import postgres_server
from chaos.site import Run, Site

STUDIES, FAULTS = 5, 20  # of each

pytestmark = pytest.mark.chaos


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("chaos")
    with surroundings(folder):
        site = Site(folder, postgres=postgres_server())
        try:
            yield site
        finally:
            site.close()


@pytest.fixture(scope="module")
def undisturbed(site):
    reference = Run(site, "undisturbed", 0.0, tracked=False)
    reference.alone()
    return reference.rows()


@pytest.fixture(scope="module")
def survived():
    """The faults of all studies that ended as they should."""
    survived = []
    yield survived
    print(f"\n{faults.table(survived)}")


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
