"""Public files for tests of data: those beside the repository, or those that DLX_DATA_DIR named when tests began."""

import os
from pathlib import Path

import pytest

FILES = Path(os.environ.get("DLX_DATA_DIR") or Path(__file__).parents[3] / "shared" / "data")
FOLDERS = ("cifar10", "ett", "fashion_mnist", "tinyshakespeare")


@pytest.fixture(scope="session")
def _linked(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    for name in FOLDERS:
        if not (FILES / name).is_dir():
            pytest.skip(f"{FILES} has no {name}; set DLX_DATA_DIR to a folder with the public files")
        (folder / name).symlink_to(FILES / name)
    return folder


@pytest.fixture
def public_files(_linked, monkeypatch):
    """A data folder with the real files, in which decoded pictures are kept for the whole run of tests."""
    monkeypatch.setenv("DLX_DATA_DIR", str(_linked))
    return _linked
