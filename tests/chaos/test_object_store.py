"""A home on an object store that is killed while a study runs, by a driver that is killed too."""

import signal
import time

import pytest
from chaos.cluster import Driver, surroundings
from chaos.faults import REFUSED
from chaos.servers import wait_until
from chaos.site import Run, Site
from objects import object_store


@pytest.mark.chaos
@pytest.mark.parametrize("executor", ["local", "ray"])
def test_the_same_command_goes_on_once_the_store_is_back(tmp_path, executor):
    with surroundings(tmp_path), object_store(tmp_path / "swift") as store:
        home, site = store.address(), Site(tmp_path, nodes=2)
        try:
            reference = Run(site, "undisturbed", 0.0, cells=4, tracked=False)
            reference.alone()
            run = Run(site, "objects", 0.05, cells=4, home=home)
            if executor == "local":
                run.driver = Driver([*run.command, "--executor", "local"], run.driver.log)
            lose(run, store)
            run.end()
            run.check(reference.rows())
        finally:
            site.close()


def lose(run, store):
    """The store twice, then the driver, whose heartbeat the next one waits out."""
    run.driver.start()
    for _ in range(2):
        further(run, 30)
        store.kill()
        time.sleep(3)
        store.start()
    further(run, 30)
    run.driver.end(signal.SIGKILL)
    run.driver.start()


def further(run, trials):
    """Until so many more are stored; the command again when the driver has given up."""
    goal = run.stored + trials

    def arrived():
        if run.driver.code is not None:
            assert run.driver.code == REFUSED and "cannot be" in run.driver.said, run.driver.said[-5000:]
            run.driver.start()
        return run.stored >= goal

    wait_until(arrived, 150, f"{goal} stored trials")
