"""The store: commits, merges, damage, full disks, killed drivers."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import fs

from dlx import parts, store
from dlx.errors import StoreError
from dlx.files import UNFINISHED
from dlx.home import Home, studies
from dlx.records import COMPLETED, FAILED, FINAL, HISTORY, MEMBERSHIP, TRIALS, TUNE, Outcome, Records, to_records
from dlx.store import Store

SENTENCE_LIMIT = 400


def outcome(key: str, value: float = 0.0, status: str = COMPLETED) -> Outcome:
    return Outcome(key, 0, {"lr": value}, status, 0.1, 1.7e9, {"test/loss": value}, {"loss": ([0, 1], [1.0, value])})


def records(*outcomes: Outcome) -> Records:
    return to_records(list(outcomes), {"torch": "2.13.0"})


def slot(key: str, cell: str = "c", phase: str = TUNE, ask: int | None = 0, seed: int = 0) -> dict[str, object]:
    return {"key": key, "seed": seed, "cell": cell, "phase": phase, "search": 0, "ask": ask, "params": "{}"}


def slots(*rows: dict[str, object]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=MEMBERSHIP)


def put(home: Store, key: str, value: float = 0.0, status: str = COMPLETED) -> None:
    home.commit([records(outcome(key, value, status))], slots(slot(key, cell=key)))


def content(found: Store) -> tuple[dict[str, str], dict[str, float], dict[str, list[float]], dict[str, str]]:
    """All that a store says: status, metric and curve of each key, key of each cell."""
    trials, curves, members = found.trials(), found.history(), found.membership()
    assert len(trials) == len(set(trials["key"].to_pylist())) == len(found.statuses())
    return (
        found.statuses(),
        {r["key"]: dict(r["metrics"])["test/loss"] for r in trials.to_pylist()},
        {r["key"]: r["value"] for r in curves.to_pylist()},
        {r["cell"]: r["key"] for r in members.to_pylist()},
    )


def files(home: Path) -> list[Path]:
    return sorted(p for p in home.rglob("*") if p.is_file())


def part(found: Store, table: str, number: int = 0) -> Path:
    return sorted((Path(Home(found.folder).root) / table).glob("part-*"))[number]


# ---------------------------------------------------------------- commits


def test_an_absent_home_is_empty_and_stays_absent(tmp_path: Path) -> None:
    found = Store("a", str(tmp_path / "home"))
    assert found.statuses() == {} and found.documents.names() == []
    assert (found.trials().schema, found.history().schema) == (TRIALS, HISTORY)
    assert found.membership().schema == MEMBERSHIP
    assert studies(str(tmp_path / "home")) == [] and not (tmp_path / "home").exists()


def test_what_is_committed_is_read_by_another_store(tmp_path: Path) -> None:
    put(Store("a study", str(tmp_path)), "k1", 0.5)
    found = Store("a study", tmp_path.as_uri())
    assert content(found) == ({"k1": COMPLETED}, {"k1": 0.5}, {"k1": [1.0, 0.5]}, {"k1": "k1"})
    assert found.local_home == tmp_path and found.folder == tmp_path.as_uri() + "/studies/a%20study"
    assert studies(str(tmp_path)) == ["a study"] and json.loads((tmp_path / "dlx.json").read_text()) == {"format": 1}
    assert found.trials(["k1", "other"]).num_rows == found.history({"k1"}).num_rows == 1
    assert found.trials([]).num_rows == found.history(["other"]).num_rows == 0


def test_the_home_is_the_argument_then_the_variable_then_a_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DLX_HOME", raising=False)
    assert Store("a").local_home == tmp_path / "dlx-home"
    monkeypatch.setenv("DLX_HOME", str(tmp_path / "other"))
    assert Store("a").local_home == tmp_path / "other"
    assert Store("a", str(tmp_path / "third")).local_home == tmp_path / "third"


def test_a_failed_trial_is_superseded_when_it_is_run_again(tmp_path: Path) -> None:
    found, watching = Store("a", str(tmp_path)), Store("a", str(tmp_path))
    put(found, "k", 1.0, FAILED)
    assert watching.statuses() == {"k": FAILED}
    put(found, "k", 2.0)
    assert content(watching) == content(found) == ({"k": COMPLETED}, {"k": 2.0}, {"k": [1.0, 2.0]}, {"k": "k"})


def test_a_key_given_twice_in_one_commit_is_stored_once(tmp_path: Path) -> None:
    found = Store("a", str(tmp_path))
    again = [records(outcome("k", 1.0, FAILED), outcome("l")), records(outcome("k", 2.0)), records(outcome("m", 3.0))]
    found.commit(again, slots())
    assert found.statuses() == {"k": COMPLETED, "l": COMPLETED, "m": COMPLETED}
    assert {r["key"]: r["value"][1] for r in found.history().to_pylist()} == {"k": 2.0, "l": 0.0, "m": 3.0}


def test_the_last_row_of_a_slot_counts_and_the_ask_of_a_final_trial_does_not(tmp_path: Path) -> None:
    found = Store("a", str(tmp_path))
    found.commit([], slots(slot("old", ask=0), slot("other", ask=1), slot("f1", phase=FINAL, ask=3)))
    found.commit([], slots(slot("new", ask=0), slot("f2", phase=FINAL, ask=5), slot("f3", phase=FINAL, seed=1)))
    assert found.membership()["key"].to_pylist() == ["other", "new", "f2", "f3"]


def test_a_commit_without_its_trials_is_no_commit(tmp_path: Path) -> None:
    found = Store("a", str(tmp_path))
    put(found, "k1")
    put(found, "k2")
    part(found, "trials", 1).unlink()
    assert content(Store("a", str(tmp_path)))[0] == {"k1": COMPLETED}
    assert content(found)[3] == {"k1": "k1"}


def test_documents_are_kept_beside_the_trials(tmp_path: Path) -> None:
    cells = pa.table({"cell": ["c"], "width": [4]})
    kept = Store("a", str(tmp_path)).documents
    kept.keep("says.json", "why ü?")
    kept.keep("cells.parquet", cells)
    found = Store("a", str(tmp_path))
    assert found.documents.text("says.json") == "why ü?" and found.documents.names() == ["cells.parquet", "says.json"]
    assert (table := found.documents.table("cells.parquet")) is not None and table.equals(cells)
    assert found.documents.text("none") is None and found.documents.table("none") is None and not found.damaged
    for name in ("says.json", "cells.parquet"):
        (tmp_path / "studies" / "a" / name).write_bytes(b"\xff\x00garbage")
    assert found.documents.text("says.json") is None and found.documents.table("cells.parquet") is None
    assert len(found.damaged) == 2


@pytest.mark.parametrize("name", ["", "a/b", "..", "a\\b", ".hidden"])
def test_a_name_that_is_no_folder_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(StoreError, match="leave out separators"):
        Store(name, str(tmp_path))


ROW = st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 99), st.sampled_from([COMPLETED, FAILED]))
COMMITS = st.lists(st.lists(ROW, max_size=4), max_size=14)


@given(COMMITS, st.integers(1, 5))
@settings(max_examples=25, deadline=None)
def test_reading_gives_the_last_of_each_key_whatever_was_merged(
    tmp_path_factory: pytest.TempPathFactory, commits: list[list[tuple[str, int, str]]], most: int
) -> None:
    home = str(tmp_path_factory.mktemp("home"))
    found, watching = Store("a", home), Store("a", home)
    found._patience = most
    expected: dict[str, tuple[int, str]] = {}
    for commit in commits:
        found.commit([records(outcome(k, v, s)) for k, v, s in commit], slots(*(slot(k, cell=k) for k, _, _ in commit)))
        found._patience = most
        expected.update({k: (v, s) for k, v, s in commit})
        assert watching.statuses() == {k: s for k, (_, s) in expected.items()}
    for reader in (found, watching, Store("a", home)):
        assert content(reader) == (
            {k: s for k, (_, s) in expected.items()}, {k: v for k, (v, _) in expected.items()},
            {k: [1.0, v] for k, (v, _) in expected.items()}, {k: k for k in expected},
        )


def test_a_long_lived_store_reads_each_part_once(tmp_path: Path) -> None:
    found = Store("a", str(tmp_path))
    put(found, "k0")
    assert found.statuses() == {"k0": COMPLETED}
    part(found, "trials").write_bytes(b"garbage that would be noticed")
    put(found, "k1")
    assert found.statuses() == {"k0": COMPLETED, "k1": COMPLETED} and not found.damaged


def test_a_mirror_counts_until_the_next_commit(tmp_path: Path) -> None:
    found = Store("a", str(tmp_path))
    assert found.mirrored is None and found.local_folder == tmp_path / "studies" / "a"
    put(found, "k0")
    found.mirror("sqlite:///a b.db")
    assert Store("a", str(tmp_path)).mirrored == found.mirrored == "sqlite:///a b.db"
    put(found, "k1")
    assert Store("a", str(tmp_path)).mirrored is None and found.mirrored is None


# ---------------------------------------------------------------- merging


def test_merging_keeps_parts_few_and_rewrites_a_row_a_few_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "MOST_PARTS", 8)
    found = Store("a", str(tmp_path))
    written = 0
    for i in range(150):
        before = set((tmp_path / "studies/a/trials").glob("part-*"))
        put(found, f"k{i}", i)
        after = set((tmp_path / "studies/a/trials").glob("part-*"))
        written += sum(pq.read_metadata(p).num_rows for p in after - before) + (not after - before)
        assert len(after) <= 8 and not found.damaged
    assert written < 150 * 8
    assert content(found)[1] == {f"k{i}": i for i in range(150)}


@given(st.lists(st.integers(0, 10_000), min_size=1, max_size=300))
def test_what_is_not_worth_merging_shrinks_geometrically(sizes: list[int]) -> None:
    start = parts.first_worth_merging(sizes)
    assert all(sizes[i] > 2 * sum(sizes[i + 1:]) for i in range(start))
    assert start <= 15


def test_a_driver_killed_at_any_step_of_a_merge_leaves_the_same_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "MOST_PARTS", 3)
    home, steps = tmp_path / "home", []

    def copying(name: str) -> None:
        real = getattr(os, name)

        def step(*args: object, **options: object) -> None:
            shutil.copytree(home, copy := tmp_path / f"step{len(steps)}")
            steps.append(copy)
            real(*args, **options)

        monkeypatch.setattr(os, name, step)

    found = Store("a", str(home))
    for i in range(3):
        put(found, f"k{i}", i)
    put(found, "k0", 7.0)  # merges four into one
    (home / "studies/a/history/part-1-killed.parquet").write_bytes(b"of a driver killed in between")
    (home / "studies/a/trials/.part-1.parquet.12345678.writing").write_bytes(b"of another")
    (home / "studies/a/.cells.parquet.12345678.writing").write_bytes(b"of another")
    for i in range(3, 5):
        put(found, f"k{i}", i)
    before = content(found)
    with monkeypatch.context() as patch:
        monkeypatch = patch
        copying("replace")
        copying("unlink")
        put(found, "k5", 5.0)
    after = content(found)
    assert len(steps) > 9 and len(list((home / "studies/a/trials").iterdir())) == 1
    assert len(list((home / "studies/a/history").iterdir())) == 1
    assert sorted(p.name for p in (home / "studies/a").iterdir()) == ["history", "membership", "trials"]
    for i, copy in enumerate(steps):
        killed = Store("a", str(copy))
        assert content(killed) == (before if i < 3 else after) and not killed.damaged
        put(killed, "k6", 6.0)
        assert content(killed)[1] == {**content(Store("a", str(copy)))[1], "k6": 6.0}
    assert before[1] == {"k0": 7.0, "k1": 1.0, "k2": 2.0, "k3": 3.0, "k4": 4.0}


LOOP = """
import sys
sys.path.insert(0, sys.argv[2])
import test_store as t
from dlx import store
store.MOST_PARTS = 4
found = store.Store("a", sys.argv[1])
for i in range(int(sys.argv[3]), 100_000):
    t.put(found, f"k{i}", i)
    print(i, flush=True)
"""


def test_kill_9_at_any_moment_loses_no_commit_that_returned(tmp_path: Path) -> None:
    done = -1
    for round_ in range(5):
        command = [sys.executable, "-c", LOOP, str(tmp_path), str(Path(__file__).parent), str(done + 1)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            for _ in range(3 + 4 * round_):
                done = int(child.stdout.readline())
            time.sleep(0.002 * round_)  # somewhere inside the next commit
            child.send_signal(signal.SIGKILL)
            done = max([done, *map(int, child.stdout.read().split())])
        found = Store("a", str(tmp_path))
        values = content(found)[1]
        assert values.keys() >= {f"k{i}" for i in range(done + 1)} and len(values) <= done + 2
        assert not found.damaged
        done = len(values) - 1


def test_a_reader_is_not_disturbed_by_merges(tmp_path: Path) -> None:
    command = [sys.executable, "-c", LOOP, str(tmp_path), str(Path(__file__).parent), "0"]
    watching, seen = Store("a", str(tmp_path)), 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        child.stdout.readline()
        for _ in range(30):
            statuses, curves = watching.statuses(), watching.history()
            assert seen <= len(statuses) <= len(curves) <= len(watching.trials()) <= len(watching.membership())
            seen = len(statuses)
        child.kill()
        child.stdout.read()
    assert not watching.damaged and seen > 1


# ---------------------------------------------------------------- damage


@pytest.mark.parametrize("table", ["trials", "history", "membership"])
@pytest.mark.parametrize("how", ["truncated", "garbage", "empty", "flipped"])
def test_a_damaged_part_is_named_and_the_rest_is_read(tmp_path: Path, table: str, how: str) -> None:
    writer = Store("a", str(tmp_path))
    for i in range(3):
        put(writer, f"k{i}", i)
    broken = part(writer, table, 1)
    raw = bytearray(broken.read_bytes())
    if how == "flipped":
        raw[80 if table != "trials" else len(raw) // 4] ^= 0xFF
    broken.write_bytes({"truncated": raw[:-20], "garbage": b"x" * 500, "empty": b"", "flipped": raw}[how])
    found = Store("a", str(tmp_path))
    trials, curves, members = found.trials(), found.history(), found.membership()
    whole = {"trials": trials, "history": curves, "membership": members}[table]
    assert "k1" not in whole["key"].to_pylist() and len(whole) == 2
    assert ("k1" in found.statuses()) is (table != "trials")
    assert len(found.damaged) == 1 and str(broken) in found.damaged[0] and len(found.damaged[0]) < SENTENCE_LIMIT
    put(found, "k1", 5.0)
    assert set(content(found)[1].items()) == {("k0", 0), ("k1", 5), ("k2", 2)} and len(found.damaged) == 1


def test_a_flip_in_any_byte_of_a_trials_part_is_harmless(tmp_path: Path) -> None:
    writer = Store("a", str(tmp_path))
    put(writer, "k0", 1.0)
    put(writer, "k1", 2.0)
    whole = content(writer)
    broken = part(writer, "trials", 1)
    raw = broken.read_bytes()
    for position in range(0, len(raw), 61):
        flipped = bytearray(raw)
        flipped[position] ^= 0xFF
        broken.write_bytes(flipped)
        found = Store("a", str(tmp_path))
        assert content(found) == whole or ("k1" not in found.statuses() and found.damaged)


def test_merges_stop_at_a_damaged_part_and_go_on_after_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "MOST_PARTS", 3)
    found = Store("a", str(tmp_path))
    for i in range(3):
        put(found, f"k{i}", i)
    part(found, "history", 1).write_bytes(b"garbage")
    for i in range(3, 12):
        put(found, f"k{i}", i)
    again = Store("a", str(tmp_path))
    assert content(again)[1] == {f"k{i}": i for i in range(12)}
    assert len(again.damaged) == 1 and len(list((tmp_path / "studies/a/trials").iterdir())) <= 8


def test_a_part_that_is_gone_is_named(tmp_path: Path) -> None:
    found = Store("a", str(tmp_path))
    put(found, "k0")
    put(found, "k1")
    part(found, "history").unlink()
    assert found.history()["key"].to_pylist() == ["k1"] and "it is gone" in found.damaged[0]


def test_unknown_columns_are_dropped_and_absent_ones_are_null(tmp_path: Path) -> None:
    found = Store("a", str(tmp_path))
    put(found, "k0", 3.0)
    old = part(found, "trials")
    table = pq.read_table(old).drop_columns(["device", "members"]).append_column("colour", pa.array(["red"]))
    pq.write_table(table, old)
    (row,) = Store("a", str(tmp_path)).trials().to_pylist()
    assert row["device"] is None and row["members"] is None and "colour" not in row and row["key"] == "k0"
    pq.write_table(table.drop_columns(["key"]), old)
    found = Store("a", str(tmp_path))
    assert found.statuses() == {} and "key or a status is missing" in found.damaged[0]


# ---------------------------------------------------------------- homes that cannot be used


def refused(home: str) -> str:
    with pytest.raises(StoreError) as caught:
        put(Store("a", home), "k")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < SENTENCE_LIMIT
    return str(caught.value)


def test_a_home_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    assert "name a folder in DLX_HOME" in refused(str(tmp_path / "file"))
    assert "name a folder in DLX_HOME" in refused(str(tmp_path / "file" / "below"))
    assert (tmp_path / "file").read_text() == "mine"


def test_a_home_of_a_newer_version_is_refused_for_reading_too(tmp_path: Path) -> None:
    (tmp_path / "dlx.json").write_text('{"format": 2}')
    assert "newer dlx (format 2" in refused(str(tmp_path))
    with pytest.raises(StoreError, match="upgrade dlx"):
        Store("a", str(tmp_path)).statuses()
    with pytest.raises(StoreError, match="upgrade dlx"):
        studies(str(tmp_path))
    (tmp_path / "dlx.json").write_text("[]")
    assert "is damaged" in refused(str(tmp_path))
    assert [p.name for p in files(tmp_path)] == ["dlx.json"]


@pytest.mark.parametrize("address", ["foo://bucket/x", "s3://", "file://not a uri"])
def test_an_address_that_cannot_be_reached_is_refused(address: str) -> None:
    assert "cannot be reached" in refused(address)


@pytest.mark.parametrize("address", ["s3://key:hunter2@bucket/x", "s3://bucket/x?secret_key=hunter2"])
def test_a_password_in_an_address_is_refused_and_not_repeated(address):
    assert "holds a password" in (said := refused(address)) and "hunter2" not in said


def test_an_object_store_that_does_not_answer_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    address = "s3://bucket/home?endpoint_override=127.0.0.1:9&scheme=http&region=us-east-1"
    assert "cannot be read" in refused(address)
    assert Store("a b", address).folder.startswith("s3://bucket/home/studies/a%20b?endpoint_override=")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(place)], capture_output=True)
    if mounted.returncode:
        pytest.skip("a small disk can be mounted by root only")
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.mark.parametrize("most", [6, 256])
def test_a_full_disk_loses_nothing_and_leaves_no_unfinished_file(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(store, "MOST_PARTS", most)
    (small_disk / "ballast").write_bytes(b"x" * 180_000)
    found, stored = Store("a", str(small_disk)), 0
    with pytest.raises(StoreError, match="is full; free some space"):
        for stored in range(5000):
            put(found, f"k{stored}", stored)
    for reader in (found, Store("a", str(small_disk))):
        assert content(reader)[1] == {f"k{i}": i for i in range(stored)} and not reader.damaged
    assert not [p for p in files(small_disk) if p.name.endswith(UNFINISHED)]
    names = [{p.name for p in (small_disk / "studies/a" / table).iterdir()} for table in store.TABLES]
    assert names[0] == names[1] == names[2]
    (small_disk / "ballast").unlink()
    put(found, "later", 1.0)
    assert len(Store("a", str(small_disk)).statuses()) == stored + 1


def test_a_read_only_home_is_read_and_not_written(small_disk: Path) -> None:
    put(Store("a", str(small_disk)), "k")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    assert "cannot be written (Read-only file system)" in refused(str(small_disk))
    assert Store("a", str(small_disk)).statuses() == {"k": COMPLETED}


# ---------------------------------------------------------------- other file systems


def test_a_home_on_a_file_system_that_is_not_this_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "MOST_PARTS", 3)
    found = Store("a", "mock:///home")
    for i in range(10):
        put(found, f"k{i % 6}", i)
    found.documents.keep("cells.parquet", pa.table({"cell": ["c"]}))
    assert content(found)[1] == {"k0": 6, "k1": 7, "k2": 8, "k3": 9, "k4": 4, "k5": 5} and found.local_home is None
    assert found.documents.table("cells.parquet") is not None
    assert isinstance(found._home.fs, fs.FileSystem) and found.folder == "mock:///home/studies/a"
