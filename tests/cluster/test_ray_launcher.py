"""The files of Ray's cluster launcher, against its own schema and the rules that all of them follow."""

import copy
from pathlib import Path

import jsonschema
import pytest
import yaml

ROOT = Path(__file__).parents[2]
NAMES = ("ray-aws", "ray-gcp", "ray-onpremise")
CLOUDS = ("ray-aws", "ray-gcp")


def declared(name):
    return yaml.safe_load((ROOT / "cluster" / f"{name}.yaml").read_text())


def prepared(config):
    """A configuration with Ray's defaults, as `ray up` makes it."""
    from ray.autoscaler._private.util import prepare_config, validate_config

    config = prepare_config(copy.deepcopy(config))
    validate_config(config)
    return config


def commands(config):
    return "\n".join([*config["head_start_ray_commands"], *config["worker_start_ray_commands"]])


@pytest.mark.parametrize("name", NAMES)
def test_ray_takes_it(name):
    """Ray's own preparation and validation, which refuse what they do not know."""
    config = prepared(declared(name))
    assert config["cluster_name"] == "dlx" and config["head_node_type"] in config["available_node_types"]
    with pytest.raises(jsonschema.ValidationError, match="idle_minutes"):
        prepared({**declared(name), "idle_minutes": 5})


@pytest.mark.parametrize("name", NAMES)
def test_the_head_runs_no_trials_and_everybody_needs_the_token(name):
    config = prepared(declared(name))
    head, worker = (config[f"{who}_start_ray_commands"][-1] for who in ("head", "worker"))
    assert "--num-cpus=0 --num-gpus=0" in head and "--dashboard-host=127.0.0.1" in head
    assert "--head" in head and "--autoscaling-config=~/ray_bootstrap_config.yaml" in head
    assert "--address=$RAY_HEAD_IP:6379" in worker and "--port=6379" in head
    assert config["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"
    token = "RAY_AUTH_MODE=token"
    assert token in " ".join(config["docker"].get("run_options", [])) or (token in head and token in worker)
    assert "0.0.0.0" not in commands(config)


@pytest.mark.parametrize("name", CLOUDS)
def test_gpus_come_and_go_with_the_work_on_spot_machines(name):
    config = prepared(declared(name))
    types = config["available_node_types"]
    head = types.pop(config["head_node_type"])
    assert head["resources"]["CPU"] == 0 and "GPU" not in head["resources"]
    assert types and all(t["resources"]["GPU"] >= 1 for t in types.values())
    assert all(t["min_workers"] < t["max_workers"] <= config["max_workers"] for t in types.values())
    spot = {"ray-aws": lambda c: c["InstanceMarketOptions"] == {"MarketType": "spot"},
            "ray-gcp": lambda c: c["scheduling"][0]["provisioningModel"] == "SPOT"}[name]
    assert all(spot(t["node_config"]) for t in types.values())
    assert "InstanceMarketOptions" not in head["node_config"] and "scheduling" not in head["node_config"]


def test_machines_of_ones_own_get_the_wheel_that_was_built():
    config = prepared(declared("ray-onpremise"))
    assert config["file_mounts"]["~/.dlx/dist"] == "./dist"  # where `pip wheel` of the README puts it
    assert (ROOT / config["file_mounts"]["~/.dlx/constraints.txt"]).is_file()
    assert "--constraint ~/.dlx/constraints.txt ~/.dlx/dist/dlx-*.whl" in " ".join(config["setup_commands"])
    assert all("~/.dlx/venv/bin/ray " in c or "PATH=~/.dlx/venv/bin:$PATH " in c for c in commands(config).splitlines())
    [workers] = config["available_node_types"].values()
    assert workers["max_workers"] == len(config["provider"]["worker_ips"])
