"""A study that loses a part of its cluster every few seconds ends as if nothing had been: each kind of fault once."""

import random
import warnings

import pytest
from chaos import faults
from chaos.cluster import surroundings
from chaos.servers import postgres_server
from chaos.site import Run, Site

CELLS = 8  # 152 packs
LEFT_OUT = (faults.preempt_driver, faults.cut_raylet)  # much like others, and long


@pytest.fixture
def site(tmp_path):
    with surroundings(tmp_path):
        site = Site(tmp_path, postgres=database())
        try:
            yield site
        finally:
            site.close()


def database():
    """PostgreSQL for MLflow where it is installed."""
    try:
        return postgres_server()
    except pytest.skip.Exception as e:
        warnings.warn(f"MLflow keeps its tables in SQLite, and nobody kills PostgreSQL: {e}", stacklevel=2)
        return None


def test_each_fault_once_in_one_run(site, tmp_path):
    reference = Run(site, "undisturbed", 0.0, cells=CELLS, home=str(tmp_path / "reference"), tracked=False)
    reference.begin_alone()
    run, dice = Run(site, "disturbed", 0.5, cells=CELLS), random.Random(7)
    kinds = [fault for fault in faults.possible(run) if fault not in LEFT_OUT]
    assert len(kinds) >= 8
    dice.shuffle(kinds)
    run.driver.start()
    for fault in kinds:
        faults.strike(run, fault, dice)
    run.end()
    reference.end()
    assert run.check(reference.rows()) > 0
