"""A study that loses a part of its cluster every few seconds ends as if nothing had been."""

import random

import pytest
from chaos import faults
from chaos.cluster import Nodes, surroundings
from chaos.servers import wait_until
from chaos.site import Run, Site

pytestmark = pytest.mark.chaos


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("chaos")
    with surroundings(folder):
        site = Site(folder)
        try:
            yield site
        finally:
            site.close()


@pytest.fixture(scope="module")
def undisturbed(site):
    run = Run(site, "undisturbed", 0.0, tracked=False)
    run.alone()
    return run.rows()


def test_each_fault_once_in_one_run(site, undisturbed):
    run, dice = Run(site, "disturbed", 0.14), random.Random(7)
    tried = [fault for fault in faults.possible(run) if fault not in faults.PAUSES]
    assert len(tried) >= 8
    dice.shuffle(tried)
    run.driver.start()
    for fault in tried:
        run.advance(40)
        fault(run, dice)
    assert run.driver.code is None, "the study ended before the faults did"
    run.end()
    assert run.check(undisturbed) > run.trials / 2
    print(faults.table(tried))


def test_a_node_that_joins_is_used_within_seconds_and_takes_only_what_it_runs_when_it_leaves(site):
    before = site.begun()
    run = Run(site, "joined", 0.05, tracked=False)
    run.driver.start()
    run.advance(50)
    node = site.nodes.add()
    wait_until(lambda: site.begun(node), 10, "a trial on the new node")
    run.advance(50)
    node.all_processes["raylet"][0].process.kill()
    run.end()
    site.nodes.remove(node)
    assert run.trials < site.begun() - before <= run.trials + 4, "of one pack"


def test_after_the_loss_of_the_head_the_same_command_goes_on_elsewhere(site, undisturbed):
    run = Run(site, "headless", 0.05, cells=4)
    run.driver.start()
    run.advance(100)
    before = run.store.trials().to_pylist()
    site.nodes.kill_head()
    assert run.driver.end(seconds=90) != 0
    site.nodes.close()
    site.nodes = Nodes(4)
    run = Run(site, "headless", 0.05, cells=4)
    run.driver.start()
    run.end()
    run.check(undisturbed)  # whose cells are these and more
    after = {row["key"]: row for row in run.store.trials().to_pylist()}
    assert all(after[row["key"]] == row for row in before)
