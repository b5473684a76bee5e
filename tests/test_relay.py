"""Several studies on one executor: what each brings is what it brings alone, and none waits for or stops the others."""

import os

import pytest
from command import dlx

from dlx.store import Store

STUDY = '''
import os, time
import dlx

@dlx.trial(name="{trial}")
def toy(ctx, width: int, lr: float) -> dict[str, float]:
    time.sleep(0.2)
    return {{"val/loss": (lr - 0.1 * width) ** 2 + 0.001 * ctx.rng("noise").normal(), "pid": float(os.getpid())}}

STUDY = dlx.Study(
    name="{name}", question="Does {name} run?", template=toy(width=dlx.grid(1, 2), lr={lr}), seeds=4,
    objective=dlx.minimize("val/loss"), presets={{"quick": {{"seeds": 3}}}}, {more}
)
'''
SEARCH = "search=dlx.TPE(trials=4, repeats=1, parallel=2, top=1, recheck=0)"
TUNED = ("dlx.loguniform(0.01, 1.0)", SEARCH)
ALONE = ("0.1", "")
NO_SUCH_MACHINE = ("0.1", "resources=dlx.Resources(gpus=7)")


@pytest.fixture
def here(tmp_path):
    folder = tmp_path / "studies" / "theme"
    folder.mkdir(parents=True)
    studies = {"a-fixed": ALONE, "b-tuned": TUNED, "c-refused": NO_SUCH_MACHINE, "d-tuned": TUNED, "e-fixed": ALONE}
    for name, (lr, more) in studies.items():
        trial, text = name.title().replace("-", ""), STUDY
        (folder / f"{name[0]}.py").write_text(text.format(trial=trial, name=name, lr=lr, more=more))
    return tmp_path


def rows(here, name, home="home"):
    table = Store(name, str(here / home)).trials(columns=["key", "status", "metrics"])
    assert len(set(table["key"].to_pylist())) == len(table)
    return {row["key"]: dict(row["metrics"]) for row in table.to_pylist()}


def test_a_relay_brings_what_each_study_brings_alone_and_its_workers_stay(here):
    out, err = dlx(here, "run", "--all", "--preset", "quick", "--tracking-uri", "off", code=2)
    assert "theme/c: resources asks for 1 CPUs, 7 GPUs in one pack" in err and "5 studies in " in out
    workers = set()
    for letter, name in zip("abde", ("a-fixed", "b-tuned", "d-tuned", "e-fixed"), strict=True):
        assert f"theme/{letter} --preset quick: " in out
        dlx(here, "run", f"theme/{letter}", "--preset", "quick", "--executor", "local", "--tracking-uri", "off",
            "--home", str(here / "alone"))
        found, alone = rows(here, name), rows(here, name, "alone")
        workers |= {metrics.pop("pid") for metrics in found.values()}
        assert found == {key: {"val/loss": metrics["val/loss"]} for key, metrics in alone.items()} != {}
    assert len(workers) <= os.cpu_count() and not rows(here, "c-refused")
    _, err = dlx(here, "run", "--all", "--preset", "quick", "--tracking-uri", "off", code=2)
    assert err.count(" cells, 6 trials, ") == 1  # nothing else was begun
