"""A study whose cluster loses its head goes on, by the same command, on another."""

import pytest
from chaos.cluster import Nodes
from chaos.site import Run

pytestmark = pytest.mark.chaos


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
