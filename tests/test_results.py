"""Results are the wanted rows of today's declaration, and say what a mean would hide."""

import json
import math
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy import stats

import dlx
from dlx.canonical import key
from dlx.errors import DeclarationError, DlxError
from dlx.records import COMPLETED, DIVERGED, FAILED, FINAL, MEMBERSHIP, TUNE, Outcome, to_records
from dlx.results import Results
from dlx.store import Store
from dlx.tuning import FINALS_OF_A_SEARCH


@dataclass(frozen=True)
class Model:
    width: int = 1


@dataclass(frozen=True)
class Fit(dlx.Trial):
    model: Model = Model()
    seed: int = 0
    lr: float = 0.1
    act: object = None


def study(**changes):
    options = {"name": "fit", "question": "?", "template": Fit(Model(dlx.grid(1, 2, 4))), "seeds": 3}
    return dlx.Study(**{**options, **changes})


def tuned(**changes):
    return study(template=Fit(Model(dlx.grid(1, 2)), lr=dlx.loguniform(1e-3, 1.0)), seeds=2,
                 **{"objective": dlx.minimize("val/error"), "search": dlx.Random(trials=3, repeats=2), **changes})


def keep(declared, home, rows):
    """Store rows (key, seed, cell, status, metrics, slot) as a run would."""
    outcomes = [Outcome(k, s, {}, status, 1.0, 0.0, metrics=metrics, history={"loss": ([1, 10], [2.0, float(s)])},
                        error="Traceback\nValueError: bad" if status == FAILED else None)
                for k, s, _, status, metrics, _ in rows]
    membership = [{"key": k, "seed": s, "cell": cell, "phase": FINAL, **slot} for k, s, cell, _, _, slot in rows]
    Store(declared.name, str(home)).commit([to_records(outcomes, {})], pa.Table.from_pylist(membership, MEMBERSHIP))


def fill(declared, home, outcome):
    """Every final trial of cells without nuisance axes; ``outcome(labels, seed)`` gives status and metrics."""
    keep(declared, home, [
        (key(cell.digest, seed), seed, declared.cell_key(cell), *outcome(declared.space.labels(cell), seed), {})
        for cell in declared.space.cells for seed in declared.seed_list
    ])
    return Results.of(declared, str(home))


def well(labels, seed):
    return COMPLETED, {"test/error": labels["model.width"] + 0.1 * seed, "val/error": -labels["model.width"]}


# ---------------------------------------------------------------- rows


def test_rows_have_a_column_for_each_axis_and_metric(tmp_path):
    results = fill(study(), tmp_path, well)
    first = results.table.to_pylist()[0]
    assert results.table.column_names == ["model.width", "cell", "phase", "search", "ask", "seed", "key", "status",
                                          "test/error", "val/error", "seconds", "error"]
    assert (first["model.width"], first["phase"], first["seed"], first["test/error"]) == (1, "final", 0, 1.0)
    assert results.to_pandas().groupby("model.width")["test/error"].mean().loc[4] == pytest.approx(4.1)


def test_only_what_todays_declaration_wants_is_there(tmp_path):
    fill(study(), tmp_path, well)
    for changes, size in (({"seeds": 2}, 6), ({"seeds": (2, 7)}, 3), ({"template.model.width": dlx.grid(4, 8)}, 3)):
        changed = study().with_(changes)
        results = Results.of(changed, str(tmp_path))
        assert len(results.table) == size
        assert results.missing == len(changed.space.cells) * len(changed.seed_list) - size


def test_rows_filed_by_another_declaration_count_when_the_setting_is_the_same(tmp_path):
    fill(study(), tmp_path, well)
    assert len(Results.of(study(template=Fit(Model(2))), str(tmp_path)).table) == 3


def test_an_absent_home_is_empty_and_stays_absent(tmp_path):
    results = Results.of(study(), str(tmp_path / "none"))
    assert len(results.table) == len(results.history()) == 0 and results.missing == 9 and results.metrics == []
    assert set(results.cells()["note"].to_pylist()) == {"nothing stored yet"}
    assert results.best(dlx.minimize("x")) is None
    assert not (tmp_path / "none").exists() and "nothing stored yet" in repr(results)


def test_axes_of_several_kinds_and_with_taken_names(tmp_path):
    declared = study(template=Fit(seed=dlx.grid(1, 2), act=dlx.grid("relu", 3, None)), seeds=1)
    results = fill(declared, tmp_path, lambda labels, seed: (COMPLETED, {"status": 1.0, "template.seed": 2.0}))
    assert results.axes == ["template.seed", "act"]
    assert set(results.table["act"].to_pylist()) == {"relu", "3", None}
    assert results.table["metric.status"].to_pylist() == [1.0] * 6
    assert results.where(act=3).where({"template.seed": [1]}).table["metric.template.seed"].to_pylist() == [2.0]


def test_curves_have_a_row_for_each_value(tmp_path):
    results = fill(study(), tmp_path, well)
    curves = results.where(width=2).history()
    assert curves.column_names == ["model.width", "phase", "seed", "key", "metric", "step", "value"]
    assert len(results.history()) == 18 and curves["step"].to_pylist() == [1, 10] * 3
    assert curves["value"].to_pylist() == [2.0, 0.0, 2.0, 1.0, 2.0, 2.0]


def test_where_names_the_nearest_column(tmp_path):
    results = fill(study(), tmp_path, well)
    assert len(results.where(width=(1, 4), seed=0).table) == 2 and len(results.where(width=9).cells()) == 0
    assert len(results.where(seed=0).cells()) == 3 and len(results.where(width="4").table) == 0
    with pytest.raises(DeclarationError, match=r"no column 'model.wdth'; did you mean 'model.width'\?"):
        results.where({"model.wdth": 1})


def test_tables_are_written_as_they_are(tmp_path):
    results = fill(study(), tmp_path, well)
    results.write(tmp_path / "out" / "a.parquet")
    assert pq.read_table(tmp_path / "out" / "a.parquet").equals(results.table.combine_chunks())
    results.write(tmp_path / "a.csv")
    assert len((tmp_path / "a.csv").read_text().splitlines()) == 10
    with pytest.raises(DlxError, match=r"ends neither in \.csv nor in \.parquet"):
        results.write(tmp_path / "a.xlsx")
    with pytest.raises(DlxError, match="cannot be written"):
        results.write(tmp_path / "a.csv" / "b.csv")


# ---------------------------------------------------------------- cells


def test_cells_have_mean_and_t_interval(tmp_path):
    row = fill(study(), tmp_path, well).cells().to_pylist()[1]
    assert (row["model.width"], row["n"], row["test/error.n"], row["missing"]) == (2, 3, 3, 0)
    assert row["test/error.mean"] == pytest.approx(2.1)
    assert row["test/error.half_width"] == pytest.approx(stats.t.ppf(0.975, 2) * 0.1 / math.sqrt(3))


def test_diverged_and_failed_trials_are_counted(tmp_path):
    def outcome(labels, seed):
        width = labels["model.width"]
        if width == 1:
            return FAILED, {}
        if width == 4 or seed == 0:
            return DIVERGED, {"test/error": 0.9, "test/loss": math.nan}
        return COMPLETED, {"test/error": 0.3, "test/loss": 1.0}

    results = fill(study(objective=dlx.minimize("test/loss")), tmp_path, outcome)
    one, two, four = results.cells().to_pylist()
    assert (one["n"], one["failed"], one["note"], one["test/loss.mean"]) == (0, 3, "all 3 trials failed", None)
    assert (two["n"], two["diverged"], two["test/loss.n"], two["test/loss.mean"], two["note"]) == (3, 1, 2, 1.0, None)
    assert two["test/error.mean"] == pytest.approx(0.5)
    assert (four["note"], four["test/loss.half_width"]) == ("all 3 trials diverged", None)
    assert len(results.failed()) == 3 and results.missing == 0
    assert results.best()["model.width"] == 2 and results.metrics[0] == "test/loss"
    assert math.isnan(results.table["test/loss"].to_pylist()[3]) and results.table["test/loss"].to_pylist()[0] is None


def test_best_needs_an_objective_that_is_there(tmp_path):
    results = fill(study(), tmp_path, well)
    assert results.best(dlx.minimize("test/error"))["model.width"] == 1
    assert results.best(dlx.maximize("test/error"))["model.width"] == 4
    with pytest.raises(DeclarationError, match="the study has no objective"):
        results.best()
    with pytest.raises(DeclarationError, match="no trial returned 'x'; there are test/error, val/error"):
        results.best(dlx.minimize("x"))


# ---------------------------------------------------------------- tuned cells


def tuned_rows(declared, searches=(0, 1), asks=3, status=COMPLETED):
    rows = []
    for at, cell in enumerate(declared.space.cells):
        for search in searches:
            for ask in range(asks):
                slot = {"search": search, "ask": ask, "params": json.dumps({"lr": 0.1 * (ask + 1)})}
                name = f"{at}{search}{ask}"
                error = float(at + abs(ask - 1) + 0.5 * search)
                rows.append((f"tune{name}", 10**9, declared.cell_key(cell), status, {"val/error": error},
                             {"phase": TUNE, **slot}))
                rows += [(f"final{name}{s}", s + FINALS_OF_A_SEARCH * search, declared.cell_key(cell), COMPLETED,
                          {"val/error": error + s}, slot)
                         for s in (0, 1) if ask == 1 and status == COMPLETED]
    return rows


def test_final_trials_are_averaged_by_search(tmp_path):
    declared = tuned()
    keep(declared, tmp_path, tuned_rows(declared))
    results = Results.of(declared, str(tmp_path))
    first = results.cells().to_pylist()[0]
    assert len(results.table) == 2 * (2 * 3 + 2 * 2) and results.missing == 0
    assert (first["n"], first["val/error.mean"]) == (4, 0.75)  # searches: 0.5 and 1.0
    assert first["val/error.half_width"] == pytest.approx(stats.t.ppf(0.975, 1) * np.std([0.5, 1.0], ddof=1) / 2**0.5)
    assert first["param.lr"] == 0.2 and results.best()["param.lr"] == 0.2
    assert results.table.column_names[-1] == "param.lr" and "over 2 searches" in repr(results)


def test_a_smaller_budget_wants_fewer_rows(tmp_path):
    declared = tuned()
    keep(declared, tmp_path, tuned_rows(declared))
    for changes, size in (({"search.repeats": 1}, 10), ({"search.trials": 1}, 4), ({"seeds": 1}, 16)):
        assert len(Results.of(declared.with_(changes), str(tmp_path)).table) == size
    other = declared.with_({"objective": dlx.maximize("val/error")})
    assert len(Results.of(other, str(tmp_path)).table) == 0


def test_tuning_alone_gives_values_and_no_mean(tmp_path):
    declared = tuned()
    keep(declared, tmp_path, [r for r in tuned_rows(declared) if r[5].get("phase") == TUNE])
    results = Results.of(declared, str(tmp_path))
    row = results.cells().to_pylist()[0]
    assert (row["n"], row["val/error.mean"], row["missing"], row["param.lr"]) == (0, None, 4, 0.2)
    assert results.missing == 8


def test_searches_without_a_choice_leave_nothing_missing(tmp_path):
    declared = tuned()
    keep(declared, tmp_path, tuned_rows(declared, status=FAILED))
    results = Results.of(declared, str(tmp_path))
    assert results.missing == 0 and set(results.cells()["note"].to_pylist()) == {"all 6 trials failed"}
    keep(declared, tmp_path, tuned_rows(declared, searches=(0,)))
    assert Results.of(declared, str(tmp_path)).missing == 0
    assert Results.of(declared.with_({"search.trials": 4}), str(tmp_path)).missing == 4


# ---------------------------------------------------------------- engines


def test_only_the_columns_that_results_show_are_read(tmp_path, monkeypatch):
    declared, read, trials = study(), [], Store.trials
    fill(declared, tmp_path, lambda labels, seed: (COMPLETED, {"val/error": 0.5}))
    monkeypatch.setattr(Store, "trials", lambda *given: read.append(trials(*given)) or read[-1])
    assert len(declared.results(str(tmp_path)).table) == 9
    assert {name for table in read for name in table.column_names} == {"key", "metrics", "status", "error", "seconds"}


def test_no_engine_is_imported(tmp_path):
    code = (
        f"import sys\nsys.path.insert(0, {str(Path(__file__).parent)!r})\nfrom test_results import fill, study, well\n"
        f"r = fill(study(), {str(tmp_path)!r}, well); r.cells(); r.history(); repr(r)\n"
        "print([m for m in ('torch', 'ray', 'optuna', 'mlflow', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]", done.stderr
