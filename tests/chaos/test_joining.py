"""Nodes that come and go while a study runs."""

import pytest
from chaos import faults
from chaos.cluster import surroundings
from chaos.servers import wait_until
from chaos.site import Run, Site


@pytest.mark.chaos
def test_a_node_that_joins_is_used_and_takes_only_what_it_runs_when_it_leaves(tmp_path):
    with surroundings(tmp_path):
        site = Site(tmp_path)
        try:
            run = Run(site, "joined", 0.2, tracked=False)
            run.driver.start()
            run.advance(50)
            node = site.nodes.add()
            wait_until(lambda: site.begun(node), faults.LIMIT, "a trial on the new node")
            run.advance(50)
            there = site.begun(node)
            wait_until(lambda: site.begun(node) > there, faults.LIMIT, "one more")
            node.all_processes["raylet"][0].process.kill()
            run.end()
            site.nodes.remove(node)
            assert run.trials < site.begun() <= run.trials + 4, "of one pack"
        finally:
            site.close()
