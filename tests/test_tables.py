"""Tables fit a terminal and show foreign text as it is."""

from dataclasses import dataclass

import dlx
from dlx import tables
from dlx.records import COMPLETED, FAILED, FINAL, MEMBERSHIP, Outcome, to_records
from dlx.results import Results
from dlx.store import Store


@dataclass(frozen=True)
class Toy(dlx.Trial):
    name: str
    depth: int = 1


def results_of(tmp_path, template, metrics, error=None):
    import pyarrow as pa

    study = dlx.Study("toy", "?", template, seeds=2)
    slots = [(c, s, dlx_key(c, s)) for c in study.space.cells for s in (0, 1)]
    outcomes = [Outcome(k, s, {}, FAILED if error else COMPLETED, 1.0, 0.0, metrics=metrics, error=error)
                for _, s, k in slots]
    membership = [{"key": k, "seed": s, "cell": study.cell_key(c), "phase": FINAL} for c, s, k in slots]
    Store("toy", str(tmp_path)).commit([to_records(outcomes, {})], pa.Table.from_pylist(membership, MEMBERSHIP))
    return Results.of(study, str(tmp_path))


def dlx_key(cell, seed):
    from dlx.canonical import key

    return key(cell.digest, seed)


def test_markup_and_escapes_are_text(tmp_path):
    names = dlx.grid("[bold]x[/bold]", "\x1b[31mred", "<script>alert(1)</script>", "[/]")
    text = tables.plain(tables.cells_table(results_of(tmp_path, Toy(names), {"a[b]": 1.0})))
    for name in ("[bold]x[/bold]", "[31mred", "<script>alert(1)</script>", "[/]", "a[b]"):
        assert name in text
    assert "\x1b" not in text


def test_what_does_not_fit_is_named(tmp_path):
    metrics = {f"test/metric_{i}": 0.5 for i in range(9)}
    text = tables.plain(tables.cells_table(results_of(tmp_path, Toy("a", dlx.grid(1, 2)), metrics)))
    assert max(map(len, text.splitlines())) <= 80
    assert "test/metric_0" in text.splitlines()[0] and "Also stored: " in text and "test/metric_8" in text


def test_many_cells_are_cut(tmp_path):
    results = results_of(tmp_path, Toy("a", dlx.grid(*range(70))), {"loss": 1.0})
    assert "20 more cells" in repr(results) and len(repr(results).splitlines()) < 60


def test_intervals_are_written_to_two_digits(tmp_path):
    row = {"n": 3, "e.mean": 0.50291, "e.half_width": 0.0534, "e.n": 3}
    said = [tables._estimate({**row, **changes}, "e") for changes in (
        {}, {"e.half_width": None}, {"e.half_width": 0.0}, {"e.n": 2}, {"e.mean": 1e9, "e.half_width": 2e7},
        {"e.mean": None})]
    assert said == ["0.503 ± 0.053", "0.5029", "0.5029", "0.503 ± 0.053 (n=2)", "1e+09 ± 2e+07", ""]


def test_reasons_are_last_lines_and_counted(tmp_path):
    results = results_of(tmp_path, Toy("a", dlx.grid(1, 2)), {}, "Traceback\n  File x\nValueError: \x1b[2Jno\n")
    assert tables.reasons(results) == [(4, "ValueError:  [2Jno")]
