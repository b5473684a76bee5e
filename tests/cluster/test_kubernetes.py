"""Manifests: KubeRay's by their fields, pods and all else by Kubernetes' own schemas, and by rules for all pods."""

import json
from pathlib import Path

import jsonschema
import kubernetes_validate
import pytest
import ray
import yaml

ROOT = Path(__file__).parents[2]
KUBERNETES = "1.32"
CUSTOM = ("kuberay-cluster.yaml", "kuberay-job.yaml")
PLAIN = ("kuberay-namespace.yaml", "tracking/kubernetes.yaml")
SCHEMA = json.loads((Path(__file__).parent / "kuberay.schema.json").read_text())


def documents(name):
    return list(yaml.safe_load_all((ROOT / "cluster" / name).read_text()))


def cluster_spec(manifest):
    return manifest["spec"]["rayClusterSpec"] if manifest["kind"] == "RayJob" else manifest["spec"]


def groups(name):
    [manifest] = documents(name)
    spec = cluster_spec(manifest)
    return [spec["headGroupSpec"], *spec["workerGroupSpecs"]]


def pods(name):
    if name in CUSTOM:
        return [g["template"]["spec"] for g in groups(name)]
    return [d["spec"]["template"]["spec"] for d in documents(name) if d["kind"] in ("Deployment", "StatefulSet")]


def valid(manifest):
    kubernetes_validate.validate(manifest, KUBERNETES, strict=True)


@pytest.mark.parametrize("name", CUSTOM)
def test_kuberay_knows_every_field(name):
    [manifest] = documents(name)
    jsonschema.validate(manifest, SCHEMA)
    for group in groups(name):
        valid({"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "pod"}, "template": group["template"]})


def test_a_misspelt_field_is_found():
    [manifest] = documents("kuberay-cluster.yaml")
    manifest["spec"]["headGroupSpec"]["rayStartParams"]["num-cpus"] = 0  # KubeRay wants text
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(manifest, SCHEMA)
    template = groups("kuberay-cluster.yaml")[0]["template"]
    template["spec"]["containers"][0]["volumeMount"] = []
    with pytest.raises(kubernetes_validate.ValidationError, match="volumeMount"):
        valid({"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "pod"}, "template": template})


@pytest.mark.parametrize("name", PLAIN)
def test_kubernetes_knows_every_field(name):
    for manifest in documents(name):
        valid(manifest)


@pytest.mark.parametrize("name", CUSTOM)
def test_ray_reads_a_head_without_trials_and_a_pool_of_gpus(name):
    """By the reader of Ray's own autoscaler."""
    from ray.autoscaler._private.kuberay.autoscaling_config import _derive_autoscaling_config_from_ray_cr

    [manifest] = documents(name)
    spec = cluster_spec(manifest)
    config = _derive_autoscaling_config_from_ray_cr({"metadata": {"name": "dlx", "namespace": "dlx"}, "spec": spec})
    types = config["available_node_types"]
    head = types.pop(config["head_node_type"])
    assert head["resources"]["CPU"] == 0 and head["resources"]["GPU"] == 0
    assert types and all(t["resources"]["GPU"] == 1 and t["max_workers"] > t["min_workers"] for t in types.values())
    assert spec["rayVersion"] == ray.__version__ and spec["enableInTreeAutoscaling"] is True
    assert spec["authOptions"] == {"mode": "token"}


def test_both_manifests_of_kuberay_start_the_same_cluster():
    [cluster], [job] = (documents(name) for name in CUSTOM)
    assert cluster["spec"] == job["spec"]["rayClusterSpec"]
    assert job["spec"]["entrypoint"].startswith("dlx run ") and "--address auto" in job["spec"]["entrypoint"]


@pytest.mark.parametrize("name", (*CUSTOM, *PLAIN))
def test_no_pod_is_root_or_holds_a_secret(name):
    for pod in pods(name):
        assert pod["securityContext"]["runAsNonRoot"] is True and pod["securityContext"]["runAsUser"] > 0
        for container in pod["containers"]:
            assert container["securityContext"]["allowPrivilegeEscalation"] is False
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            for variable in container.get("env", []):
                secret = any(word in variable["name"] for word in ("PASSWORD", "SECRET", "TOKEN", "KEY"))
                assert not secret or "secretKeyRef" in variable["valueFrom"], variable["name"]
    assert "Secret" not in {d["kind"] for d in documents(name)}


@pytest.mark.parametrize("name", CUSTOM)
def test_only_the_driver_has_the_credentials_of_the_tracking_server(name):
    head, *workers = [g["template"]["spec"]["containers"][0] for g in groups(name)]
    assert [s["secretRef"]["name"] for s in head["envFrom"]] == ["dlx-driver"]
    assert not any("envFrom" in w for w in workers)
    assert all(w["env"] == head["env"] and w["image"] == head["image"] for w in workers)


def test_the_tracking_server_fits_together():
    found = {(d["kind"], d["metadata"]["name"]): d["spec"] for d in documents("tracking/kubernetes.yaml")}
    for name in ("mlflow", "mlflow-database"):
        pod = found["Deployment" if name == "mlflow" else "StatefulSet", name]["template"]
        chosen = [found["Service", name]["selector"], found["NetworkPolicy", name]["podSelector"]["matchLabels"]]
        assert all(s.items() <= pod["metadata"]["labels"].items() for s in chosen)
        [container] = pod["spec"]["containers"]
        assert found["Service", name]["ports"][0]["targetPort"] in [p["name"] for p in container["ports"]]
        mounted = {m["name"] for m in container["volumeMounts"]}
        there = {v["name"] for v in pod["spec"].get("volumes", [])}
        there |= {v["metadata"]["name"] for v in found.get(("StatefulSet", name), {}).get("volumeClaimTemplates", [])}
        assert mounted == there
    [claim] = [v["persistentVolumeClaim"]["claimName"]
               for v in found["Deployment", "mlflow"]["template"]["spec"]["volumes"] if "persistentVolumeClaim" in v]
    assert ("PersistentVolumeClaim", claim) in found
    source = found["NetworkPolicy", "mlflow-database"]["ingress"][0]["from"]
    assert source == [{"podSelector": {"matchLabels": found["Deployment", "mlflow"]["selector"]["matchLabels"]}}]
