"""At least a hundred faults drawn at random, with PostgreSQL under MLflow; `make chaos` runs it, in half an hour."""

import random

import pytest
from chaos import faults
from chaos.cluster import surroundings
from chaos.servers import postgres_server
from chaos.site import Run, Site

FAULTS = 100


@pytest.mark.chaos
def test_a_hundred_faults(tmp_path, capsys):
    tried = []
    with surroundings(tmp_path):
        site = Site(tmp_path, postgres=postgres_server())
        try:
            reference = Run(site, "undisturbed", 0.0, cells=40, tracked=False)
            reference.alone()
            undisturbed = reference.rows()
            for number in range(FAULTS):
                if len(tried) < FAULTS:
                    tried += one_study(site, number, undisturbed, capsys)
        finally:
            site.close()
    with capsys.disabled():
        print(f"\n{faults.table(tried)}")


def one_study(site, number, undisturbed, capsys):
    """Faults, one after the other, for as long as a study runs; returns them."""
    run, dice, tried = Run(site, f"disturbed-{number}", 0.16, cells=40), random.Random(number), []
    run.driver.start()
    run.advance(8)
    while run.stored < 0.85 * run.trials:
        fault = dice.choice(faults.possible(run))
        with capsys.disabled():
            print(f"study {number}, {run.stored} of {run.trials} trials: {fault.__doc__}", flush=True)
        fault(run, dice)
        tried.append(fault)
        run.advance(dice.randint(4, 24))
    run.end()
    exact = run.check(undisturbed)
    with capsys.disabled():
        print(f"study {number}: {len(tried)} faults, {exact} of {run.trials} trials equal bit for bit", flush=True)
    return tried
