"""What tests of chaos share: a site with PostgreSQL under MLflow, and the numbers of a run that nothing disturbs."""

import pytest
from chaos import faults
from chaos.cluster import surroundings
from chaos.servers import postgres_server
from chaos.site import Run, Site


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
    """Its rows, by key."""
    reference = Run(site, "undisturbed", 0.0, tracked=False)
    reference.alone()
    return reference.rows()


@pytest.fixture(scope="session")
def survived():
    """The faults of all studies that ended as they should, printed as a table at the end."""
    survived = []
    yield survived
    if survived:
        print(f"\n{faults.table(survived)}")
