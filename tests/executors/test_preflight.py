"""A preflight on a real cluster of two nodes: what is wrong is said per node, before anything starts."""

import tempfile
import threading
import time

import pytest
from packs import Packs, pack_of

from dlx.errors import ExecutorError, StoreError
from dlx.executors import tune_preflight
from dlx.executors.tune import Tune
from dlx.pack import Resources


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    import ray
    from ray.cluster_utils import Cluster

    monkeypatch.chdir(tmp_path)  # so that nodes do not find dlx in the driver's folder
    with tempfile.TemporaryDirectory(prefix="dlxp", ignore_cleanup_errors=True) as scratch:
        head = {"num_cpus": 0, "include_dashboard": False, "object_store_memory": 100 * 2**20, "temp_dir": scratch}
        cluster = Cluster(initialize_head=True, head_node_args=head, shutdown_at_exit=False)
        try:
            yield cluster
        finally:
            ray.shutdown()
            cluster.shutdown()


def test_a_node_is_told_apart_from_one_that_can_run_packs(cluster, tmp_path, trials):
    home = (tmp_path / "home").as_uri()
    other = tmp_path / "site" / "dlx-0.0.1.dist-info"
    other.mkdir(parents=True)
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: dlx\nVersion: 0.0.1\n")
    small = 100 * 2**20
    cluster.add_node(num_cpus=1, object_store_memory=small)
    bad = cluster.add_node(num_cpus=1, object_store_memory=small, env_vars={
        "PYTHONPATH": str(other.parent), "DLX_DATA_DIR": str(tmp_path / "nowhere")})
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
    cluster.add_node(num_cpus=1, object_store_memory=100 * 2**20)
    cluster.wait_for_nodes()
    feed = Packs([pack_of(trials.Double(1.0)), pack_of(trials.Double(2.0), resources=Resources(cpus=2))])

    def join():
        while not feed.said:
            time.sleep(0.1)
        cluster.add_node(num_cpus=2, object_store_memory=100 * 2**20)

    joining = threading.Thread(target=join, daemon=True)
    joining.start()
    Tune(cluster.address).run(feed)
    joining.join()
    assert sorted(dict(r["metrics"])["y"] for r in feed.rows) == [2.0, 4.0]
    (said,) = feed.said
    assert said.startswith("resources asks for 2 CPUs, 0 GPUs in one pack, but the largest machine")
    assert "waiting for a machine to join" in said


def test_a_home_that_is_not_the_drivers(tmp_path):
    assert tune_preflight.look()(tmp_path.as_uri(), "0123", tune_preflight.versions())[0].endswith(
        "is not the driver's; mount the same shared folder there, or use s3://.")
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="is, or lies below, a file"):
        tune_preflight.check((tmp_path / "file").as_uri())
