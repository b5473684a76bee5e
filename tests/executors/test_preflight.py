"""A preflight on a real cluster of two nodes: what is wrong is said per node, before anything starts."""

import itertools
import os
import tempfile
import threading
import time

import pytest
from packs import Packs, pack_of

from dlx.errors import ExecutorError, StoreError
from dlx.executors import tune_preflight
from dlx.executors.tune import Tune
from dlx.executors.tune_preflight import Preflight
from dlx.pack import Resources

SMALL = 100 * 2**20


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    import ray
    from ray.cluster_utils import Cluster

    monkeypatch.chdir(tmp_path)  # so that nodes do not find dlx in the driver's folder
    with tempfile.TemporaryDirectory(prefix="dlxp", ignore_cleanup_errors=True) as scratch:
        monkeypatch.setenv("RAY_TMPDIR", scratch)
        head = {"num_cpus": 0, "include_dashboard": False, "object_store_memory": SMALL}
        cluster = Cluster(initialize_head=True, head_node_args=head, shutdown_at_exit=False)
        try:
            yield cluster
        finally:
            ray.shutdown()
            cluster.shutdown()


@pytest.fixture
def wrong(tmp_path):
    """What the environment of a node that cannot run packs has."""
    other = tmp_path / "site" / "dlx-0.0.1.dist-info"
    other.mkdir(parents=True)
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: dlx\nVersion: 0.0.1\n")
    return {"PYTHONPATH": str(other.parent), "DLX_DATA_DIR": str(tmp_path / "nowhere")}


def test_a_node_is_told_apart_from_one_that_can_run_packs(cluster, tmp_path, trials, wrong):
    home = (tmp_path / "home").as_uri()
    cluster.add_node(num_cpus=1, object_store_memory=SMALL)
    bad = cluster.add_node(num_cpus=1, object_store_memory=SMALL, env_vars=wrong)
    cluster.wait_for_nodes()
    feed = Packs([pack_of(trials.Double(1.0))])
    with pytest.raises(ExecutorError) as raised:
        Tune(cluster.address, folder=home).run(feed)
    first, *lines = str(raised.value).splitlines()
    version = tune_preflight.versions()["dlx"]
    assert "not ready" in first and len(lines) == 2 and not feed.flying
    assert any(f"dlx is 0.0.1, the driver's is {version}" in line for line in lines)
    assert any("DLX_DATA_DIR" in line and "nowhere" in line for line in lines)
    cluster.remove_node(bad)
    Tune(cluster.address, folder=home).run(feed)
    assert [dict(r["metrics"])["y"] for r in feed.rows] == [2.0]
    assert list((tmp_path / "home" / "checkpoints").iterdir()) == []


def test_a_pack_waits_for_a_machine_that_has_what_it_asks_for(cluster, trials):
    cluster.add_node(num_cpus=1, object_store_memory=SMALL)
    cluster.wait_for_nodes()
    feed = Packs([pack_of(trials.Double(1.0)), pack_of(trials.Double(2.0), resources=Resources(cpus=2))])

    def join():
        while not feed.said:
            time.sleep(0.1)
        cluster.add_node(num_cpus=2, object_store_memory=SMALL)

    joining = threading.Thread(target=join, daemon=True)
    joining.start()
    Tune(cluster.address).run(feed)
    joining.join()
    assert sorted(dict(r["metrics"])["y"] for r in feed.rows) == [2.0, 4.0]
    (said,) = feed.said
    assert said.startswith("resources asks for 2 CPUs, 0 GPUs in one pack, but the largest machine")
    assert "waiting for a machine to join" in said


class Steady(Packs):
    """A feed that has four packs at any time until all of a list of conditions have held, one after another."""

    def __init__(self, trial, *until):
        super().__init__([])
        self.trial, self.until, self.seeds = trial, list(until), itertools.count()
        self.tick()

    def tick(self):
        if self.until and self.until[0](self):
            self.until.pop(0)
        if self.until:
            self.queue.extend(pack_of(self.trial, seeds=[next(self.seeds)]) for _ in range(4 - len(self.queue)))

    def on(self, node):
        """How many trials have ended on a node."""
        raylet = node.all_processes["raylet"][0].process.pid
        return sum(dict(row["metrics"])["machine"] == raylet for row in self.rows)


def test_a_node_that_joins_is_used_once_it_can_run_packs(cluster, tmp_path, trials, wrong, monkeypatch):
    monkeypatch.setattr(tune_preflight, "LATER", 1.0)
    first = cluster.add_node(num_cpus=1, object_store_memory=SMALL)
    cluster.wait_for_nodes()
    second, alone = None, 0

    def joins(feed):
        nonlocal second
        if ready := feed.on(first) > 0:
            second = cluster.add_node(wait=False, num_cpus=2, object_store_memory=SMALL,
                                      env_vars={"DLX_DATA_DIR": wrong["DLX_DATA_DIR"]})
        return ready

    def waits(feed):
        nonlocal alone
        assert not feed.on(second)
        if feed.said and not alone:
            alone = feed.on(first) + 20
        return 0 < alone <= feed.on(first)

    def is_mended(feed):
        os.mkdir(wrong["DLX_DATA_DIR"])
        return True

    feed = Steady(trials.Nap(0, 0.05), joins, waits, is_mended, lambda feed: feed.on(second) > 4)
    Tune(cluster.address, folder=(tmp_path / "home").as_uri()).run(feed)
    (said,) = feed.said
    assert said.startswith("A machine has joined and is not used: ") and "DLX_DATA_DIR" in said
    assert not feed.losses and list((tmp_path / "home" / "checkpoints").iterdir()) == []


def test_a_home_that_is_not_the_drivers(tmp_path):
    assert tune_preflight.look()(tmp_path.as_uri(), "0123", tune_preflight.versions())[0].endswith(
        "is not the driver's; mount the same shared folder there, or use s3://.")
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="is, or lies below, a file"):
        Preflight((tmp_path / "file").as_uri()).check()
