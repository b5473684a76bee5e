import os
import subprocess
import sys

import pytest

from dlx.executors import tune_scratch
from dlx.executors.tune_scratch import Scratch

HOLDING = "from dlx.executors import tune_scratch as t; from pathlib import Path; import sys, time\n" \
          "t.PLACE = Path(sys.argv[1]); s = t.Scratch(); print(s.folder, flush=True); time.sleep(60)"


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setattr(tune_scratch, "PLACE", tmp_path)
    return tmp_path


def aged(folder):
    os.utime(f"{folder}/{tune_scratch.HOLD}", (0, 0))


def test_a_folder_goes_at_the_end_whatever_happened(place):
    with pytest.raises(ValueError, match="no"), Scratch() as folder:
        (folder / "file").touch()
        raise ValueError("no")
    assert not list(place.iterdir())


def test_what_a_killed_process_left_is_removed_by_the_next_and_nothing_else(place):
    other = subprocess.Popen([sys.executable, "-c", HOLDING, str(place)], stdout=subprocess.PIPE, text=True)
    folder = other.stdout.readline().strip()
    aged(folder)
    with Scratch():
        assert os.path.exists(folder)
    other.kill()
    other.communicate()
    (place / "dlx-of-someone-else").mkdir()
    with Scratch() as mine:
        assert not os.path.exists(folder) and mine.exists()
    assert [p.name for p in place.iterdir()] == ["dlx-of-someone-else"]
