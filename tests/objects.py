"""A real object store on loopback: OpenStack Swift from PyPI, whole in one process, behind its own interface of S3.

``python objects.py FOLDER`` serves what the folder says.
"""

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

LOOPBACK = "127.0.0.1"
KEY, SECRET = "dlx:test", "hunter2"
BUCKET = "bucket"
PARTS = ("account", "container", "object", "proxy")
PROXY = """
[pipeline:main]
pipeline = catch_errors s3api tempauth slo proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:s3api]
use = egg:swift#s3api
[filter:tempauth]
use = egg:swift#tempauth
user_dlx_test = hunter2 .admin
[filter:slo]
use = egg:swift#slo
"""
SERVER = """
[pipeline:main]
pipeline = {name}-server
[app:{name}-server]
use = egg:swift#{name}
container_update_timeout = 60
"""  # a listing has what was written, as those of S3 do, also where the machine is busy


class ObjectStore:
    """Swift with a bucket, which can be killed, frozen and started again on the same port."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        ports = dict(zip(PARTS, free_ports(len(PARTS)), strict=True))
        (folder / "devices" / "disk").mkdir(parents=True)
        (folder / "ports.json").write_text(json.dumps(ports))
        (folder / "swift.conf").write_text("[swift-hash]\nswift_hash_path_suffix = dlx\n")
        for name, port in ports.items():
            (folder / f"{name}.conf").write_text(
                f"[DEFAULT]\nbind_ip = {LOOPBACK}\nbind_port = {port}\nswift_dir = {folder}\n"
                f"devices = {folder}/devices\nmount_check = false\nlog_level = ERROR\n"
                f"{PROXY if name == 'proxy' else SERVER.format(name=name)}")
        self.endpoint = f"{LOOPBACK}:{ports['proxy']}"
        self._process: subprocess.Popen[bytes] | None = None

    def address(self, bucket: str = BUCKET, folder: str = "home") -> str:
        """Of a folder in a bucket, for ``--home``."""
        return f"s3://{bucket}/{folder}?endpoint_override={self.endpoint}&scheme=http&region=us-east-1"

    def start(self) -> None:
        """Start it; returns when the bucket is there."""
        from pyarrow import fs

        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen([sys.executable, __file__, str(self.folder)], stdin=subprocess.DEVNULL,
                                             stdout=log, stderr=log, start_new_session=True)
        end = time.monotonic() + 120
        while True:
            assert self._process.poll() is None and time.monotonic() < end, (self.folder / "server.log").read_text()
            with suppress(OSError):
                socket.create_connection(self.endpoint.split(":"), timeout=1).close()
                s3 = fs.S3FileSystem(access_key=KEY, secret_key=SECRET, endpoint_override=self.endpoint, scheme="http",
                                     region="us-east-1", allow_bucket_creation=True)
                return s3.create_dir(BUCKET)
            time.sleep(0.2)

    def signal(self, sign: signal.Signals) -> None:
        """Send a signal to it."""
        assert self._process is not None
        self._process.send_signal(sign)

    def kill(self) -> None:
        """Kill -9, if it runs."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(timeout=60)
            self._process = None


def free_ports(count: int) -> list[int]:
    """Ports that nobody holds now, all different."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind((LOOPBACK, 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


@contextmanager
def object_store(folder: Path) -> Iterator[ObjectStore]:
    """A store that answers, and whose credentials are in the environment; skips where Swift is not installed."""
    pytest.importorskip("swift", reason="Swift is not installed: pip install 'dlx[test]'")
    store = ObjectStore(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", KEY)
        patch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        try:
            store.start()
            yield store
        finally:
            store.kill()


def serve(folder: Path) -> None:
    """Serve until killed."""
    import eventlet

    eventlet.monkey_patch()
    from eventlet import wsgi
    from swift.common.ring import RingBuilder
    from swift.common.utils import set_swift_dir
    from swift.common.wsgi import loadapp

    set_swift_dir(str(folder))
    ports = json.loads((folder / "ports.json").read_text())
    for name in PARTS[:-1]:
        ring = RingBuilder(part_power=4, replicas=1, min_part_hours=1)
        ring.add_dev({"region": 1, "zone": 1, "ip": LOOPBACK, "port": ports[name], "device": "disk", "weight": 1.0,
                      "replication_ip": LOOPBACK, "replication_port": ports[name], "meta": ""})
        ring.rebalance()
        ring.get_ring().save(str(folder / f"{name}.ring.gz"))
    serving = [
        eventlet.spawn(wsgi.server, eventlet.listen((LOOPBACK, port)), loadapp(str(folder / f"{name}.conf")),
                       log_output=False)
        for name, port in ports.items()]
    for one in serving:
        one.wait()


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
