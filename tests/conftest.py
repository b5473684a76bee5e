"""Every test has a home and a data folder of its own, reaches nothing beyond this machine and reports to nobody."""

import os
import socket

import psutil
import pytest
from hypothesis import settings

QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "RAY_USAGE_STATS_ENABLED": "0"}
os.environ.update(QUIET)
os.environ.pop("MLFLOW_TRACKING_URI", None)

settings.register_profile("dlx", deadline=None)
settings.load_profile("dlx")

_connect = socket.socket.connect


@pytest.fixture(scope="session", autouse=True)
def _data_folder(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DLX_DATA_DIR", str(tmp_path_factory.mktemp("data")))
        yield


@pytest.fixture(autouse=True)
def _home(tmp_path, monkeypatch):
    monkeypatch.setenv("DLX_HOME", str(tmp_path / "home"))


@pytest.fixture(scope="session", autouse=True)
def _this_machine_only():
    own = {"localhost", "::1", "0.0.0.0", socket.gethostname(), *_addresses()}

    def connect(self, address):
        remote = self.family in (socket.AF_INET, socket.AF_INET6) and self.type == socket.SOCK_STREAM
        if remote and address[0] not in own and not address[0].startswith("127."):
            raise OSError(f"a test wants to reach {address[0]}, and tests stay on this machine")
        return _connect(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", connect)
        yield


def _addresses():
    return [one.address for several in psutil.net_if_addrs().values() for one in several]
