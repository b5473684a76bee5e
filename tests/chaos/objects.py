"""A real object store on loopback: OpenStack Swift from PyPI, behind its own S3 interface."""

import getpass
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from chaos.servers import LOOPBACK, Server, free_port

KEY, SECRET = "dlx:chaos", "chaos"
RINGS = ("account", "container", "object")
PROXY = """
[pipeline:main]
pipeline = catch_errors cache s3api tempauth slo proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:cache]
use = egg:swift#memcache
[filter:s3api]
use = egg:swift#s3api
[filter:tempauth]
use = egg:swift#tempauth
user_dlx_chaos = chaos .admin
[filter:slo]
use = egg:swift#slo
"""


def s3_server(folder: Path) -> tuple[str, Server]:
    """OpenStack Swift with its S3 interface, and the address of a bucket there; skips where it is not installed."""
    pytest.importorskip("swift")
    from pyarrow import fs

    ports = {name: free_port() for name in ("proxy", *RINGS)}
    (folder / "devices" / "disk").mkdir(parents=True)
    (folder / "swift.conf").write_text("[swift-hash]\nswift_hash_path_suffix = chaos\n")
    for name, port in ports.items():
        usual = f"[pipeline:main]\npipeline = {name}-server\n[app:{name}-server]\nuse = egg:swift#{name}\n"
        (folder / f"{name}.conf").write_text(
            f"[DEFAULT]\nbind_ip = {LOOPBACK}\nbind_port = {port}\nworkers = 0\nswift_dir = {folder}\n"
            f"devices = {folder}/devices\nmount_check = false\nuser = {getpass.getuser()}\n"
            f"{PROXY if name == 'proxy' else usual}")
    for name in RINGS:
        builder = [str(Path(sys.executable).with_name("swift-ring-builder")), str(folder / f"{name}.builder")]
        for step in (["create", "4", "1", "1"], ["add", f"r1z1-{LOOPBACK}:{ports[name]}/disk", "1"], ["rebalance"]):
            subprocess.run([*builder, *step], check=True, stdout=subprocess.DEVNULL)
    endpoint = f"{LOOPBACK}:{ports['proxy']}"

    def answers() -> bool:
        with suppress(OSError):
            s3 = fs.S3FileSystem(access_key=KEY, secret_key=SECRET, endpoint_override=endpoint, scheme="http",
                                 region="us-east-1", allow_bucket_creation=True, connect_timeout=2)
            s3.create_dir("chaos")
            return True
        return False

    swift = str(Path(sys.executable).with_name("swift"))
    script = "".join(f"{swift}-{name}-server {folder}/{name}.conf & " for name in ports) + "wait"
    uri = f"s3://chaos/home?endpoint_override={endpoint}&scheme=http&region=us-east-1"
    return uri, Server(["sh", "-c", script], folder, answers)
