"""Public files: found, downloaded once and whole, or refused in one sentence; never changed nor deleted."""

import hashlib
import io
import os
import pty
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from dlx.data import DataError
from dlx.data.files import PublicFile, read_parquet
from dlx.data.images import ImageFile, fingerprint

CONTENT = np.random.default_rng(0).bytes(3_000_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves CONTENT at /whole, less of it than announced at /short, other bytes at /other; counts requests."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def file(self, path, **more):
        address = f"http://127.0.0.1:{self.server_port}/{path}"
        return PublicFile("set/one.bin", address, **{"size": len(CONTENT), "sha256": SHA256, **more})


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        if self.path == "/absent":
            return self.send_error(404)
        body = {"/short": CONTENT[:1_234_567], "/other": CONTENT[::-1]}.get(self.path, CONTENT)
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        for start in range(0, len(body), 500_000):
            self.wfile.write(body[start : start + 500_000])
            time.sleep(0.05)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with Server() as running:
        yield running
        running.shutdown()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("DLX_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data"


def nobody():
    """An address of this machine at which nothing listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}/one.bin"


def sentence(error):
    text = str(error.value)
    assert "\n" not in text and text.endswith(".")
    return text


def test_a_file_is_downloaded_once(server, folder):
    path = server.file("whole").locate()
    assert path == folder / "set/one.bin" and path.read_bytes() == CONTENT
    assert server.file("whole").locate() == path and server.asked == ["/whole"]
    assert [p.name for p in path.parent.iterdir()] == ["one.bin"] and path.stat().st_mode & 0o777 == 0o644


def test_a_file_without_known_checksum(server, folder):
    assert server.file("other", sha256=None).locate().read_bytes() == CONTENT[::-1]


def test_processes_at_once_download_once(server, folder):
    code = (
        "import sys\nfrom dlx.data.files import PublicFile\n"
        f"print(PublicFile('set/one.bin', {server.file('whole').address!r}, {len(CONTENT)}, {SHA256!r}).locate())"
    )
    running = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(4)]
    assert {process.communicate(timeout=60)[0].strip() for process in running} == {str(folder / "set/one.bin")}
    assert server.asked == ["/whole"] and (folder / "set/one.bin").read_bytes() == CONTENT


def test_a_terminal_shows_progress(server, folder):
    code = (
        "from dlx.data.files import PublicFile\n"
        f"PublicFile('set/one.bin', {server.file('whole').address!r}, {len(CONTENT)}).locate()"
    )
    ours, theirs = pty.openpty()
    done = subprocess.run([sys.executable, "-c", code], stderr=theirs, stdout=subprocess.PIPE, check=True)
    os.close(theirs)
    shown = os.read(ours, 100_000).decode()
    os.close(ours)
    assert "set/one.bin" in shown and "3.0/3.0 MB" in shown and done.stdout == b""


def test_no_terminal_shows_nothing(server, folder, capfd):
    server.file("whole").locate()
    assert capfd.readouterr() == ("", "")


def test_a_truncated_download_is_not_kept(server, folder):
    with pytest.raises(DataError) as error:
        server.file("short").locate()
    assert f"sent 1234567 bytes of set/one.bin where {len(CONTENT)} were expected" in sentence(error)
    assert list((folder / "set").iterdir()) == []


def test_a_wrong_download_is_not_kept(server, folder):
    with pytest.raises(DataError) as error:
        server.file("other").locate()
    found = hashlib.sha256(CONTENT[::-1]).hexdigest()
    assert all(part in sentence(error) for part in ("set/one.bin", found, SHA256, "/other sent it", "not kept"))
    assert list((folder / "set").iterdir()) == []


@pytest.mark.parametrize("present", [CONTENT[:1_000], CONTENT[::-1], b""])
def test_a_damaged_file_is_named_and_left_alone(server, folder, present):
    (folder / "set").mkdir(parents=True)
    (folder / "set/one.bin").write_bytes(present)
    with pytest.raises(DataError) as error:
        server.file("whole").locate()
    found = hashlib.sha256(present).hexdigest()
    for part in (str(folder / "set/one.bin"), found, f"{len(present)} bytes", SHA256, "delete it"):
        assert part in sentence(error)
    assert (folder / "set/one.bin").read_bytes() == present and server.asked == []


def test_offline_and_absent(folder):
    file = PublicFile("set/one.bin", nobody(), 10)
    with pytest.raises(DataError) as error:
        file.locate()
    for part in ("set/one.bin", str(folder), file.address, "Connection refused", "DLX_DATA_DIR"):
        assert part in sentence(error)


def test_a_failed_download_is_not_tried_again_at_once(server, folder):
    for _ in range(20):
        with pytest.raises(DataError, match=r"cannot be downloaded from http://127.0.0.1:\d+/absent \(Not Found\)"):
            server.file("absent").locate()
    assert server.asked == ["/absent"]
    (folder / "set/one.bin").write_bytes(CONTENT)
    assert server.file("absent").locate().read_bytes() == CONTENT


def test_a_folder_that_cannot_be_written(server, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DLX_DATA_DIR", str(tmp_path / "file"))
    with pytest.raises(DataError) as error:
        server.file("whole").locate()
    assert "cannot be written (Not a directory)" in sentence(error) and server.file("whole").address in str(error.value)


def coded(picture, code="PNG"):
    out = io.BytesIO()
    Image.fromarray(picture).save(out, code)
    return out.getvalue()


PICTURES = np.random.default_rng(1).integers(0, 256, (20, 6, 5, 3), dtype=np.uint8)
LABELS = np.arange(20) % 10


def image_file(folder, pictures, labels=LABELS, column="img", **more):
    (folder / "set").mkdir(parents=True, exist_ok=True)
    rows = [None if p is None else {"bytes": p, "path": None} for p in pictures]
    pq.write_table(pa.table({column: rows, "label": labels}), folder / "set/one.parquet")
    file = PublicFile("set/one.parquet", nobody(), 10)
    return ImageFile(file, "img", 20, (3, 6, 5), **{"sha256": None, **more})


def test_pictures_are_decoded_compared_and_kept(folder):
    file = image_file(folder, map(coded, PICTURES))
    arrays = file.arrays()
    assert np.array_equal(arrays["images"], PICTURES.transpose(0, 3, 1, 2)) and np.array_equal(arrays["labels"], LABELS)
    known = replace(file, sha256=fingerprint(arrays["images"], arrays["labels"]))
    assert len(list(folder.glob("*.npz"))) == 1
    for stored in folder.glob("*.npz"):
        stored.unlink()
    assert np.array_equal(known.arrays()["images"], arrays["images"])
    split = file.split((0.5, 0.4, 0.3), (0.2, 0.1, 0.3))
    expected = (PICTURES / 255 - [0.5, 0.4, 0.3]) / [0.2, 0.1, 0.3]
    np.testing.assert_allclose(split.inputs.permute(0, 2, 3, 1), expected, rtol=0, atol=1e-5)


def test_another_file_is_decoded_anew(folder):
    before = image_file(folder, map(coded, PICTURES)).arrays()["images"]
    after = image_file(folder, map(coded, PICTURES[::-1])).arrays()["images"]
    assert np.array_equal(after, before[::-1])


@pytest.mark.parametrize(("pictures", "more", "said"), [
    (lambda: [coded(p, "JPEG") for p in PICTURES], {"otherwise": "do so"}, "pictures that are no PNG; do so"),
    (lambda: [coded(p.transpose(1, 0, 2)) for p in PICTURES], {}, "a picture of 3×5×6, not of (3, 6, 5)"),
    (lambda: [coded(p[..., 0]) for p in PICTURES], {}, "a picture of 1×6×5"),
    (lambda: [coded(p)[:-30] for p in PICTURES], {}, "no picture with a class"),
    (lambda: [*map(coded, PICTURES[1:]), None], {}, "pictures that are no PNG"),
    (lambda: map(coded, PICTURES), {"column": "image"}, "no column img"),
    (lambda: map(coded, PICTURES), {"labels": np.zeros(20, int)}, "not equally many"),
    (lambda: map(coded, PICTURES), {"labels": [*LABELS[1:], -1]}, "no picture with a class"),
    (lambda: map(coded, PICTURES), {"sha256": "ab" * 32}, "other pictures than the published ones"),
])
def test_pictures_that_are_not_what_they_should_be(folder, pictures, more, said):
    file = image_file(folder, list(pictures()), **more)
    with pytest.raises(DataError) as error:
        file.arrays()
    assert said in sentence(error) and str(folder / "set/one.parquet") in str(error.value)
    assert (folder / "set/one.parquet").exists() and not list(folder.glob("*.npz"))


@pytest.mark.parametrize("damage", [lambda whole: whole[:-100], lambda whole: b"no parquet", lambda whole: b""])
def test_a_damaged_parquet_file(folder, damage):
    file = image_file(folder, map(coded, PICTURES))
    path = folder / "set/one.parquet"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError) as error:
        file.arrays()
    assert f"{path} is truncated or no Parquet file ({path.stat().st_size} bytes" in sentence(error)


def test_a_parquet_file_of_other_length(tmp_path):
    pq.write_table(pa.table({"a": [1, 2]}), tmp_path / "a.parquet")
    assert read_parquet(tmp_path / "a.parquet", ["a"], 2)["a"].to_pylist() == [1, 2]
    with pytest.raises(DataError, match="has 2 rows where 3 rows of a were expected"):
        read_parquet(tmp_path / "a.parquet", ["a"], 3)
