import ast
import dataclasses
import math
import tomllib
from pathlib import Path

import pytest
from stored import members, stored

import dlx
from dlx import claims, data, figures, losses, models, optim, overrides, wanted
from dlx.pack import Pack, Resources
from dlx.worker import run_pack

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "studies").rglob("*.py"))
RANDOM_FEATURES, DOUBLE_DESCENT = (ROOT / f"studies/phenomena/{n}.py" for n in ("random_features", "double_descent"))
SHARPNESS = ROOT / "studies/optimization/sharpness.py"
SMALL = {"template.steps": 3, "template.dtype": "float64", "template.measure": 2}
SMALLER: dict[str, dict[str, object]] = {  # by file, what else makes a few cells of its quick preset cheap
    "spectral": {
        "template.optimizer[SGD].lr": dlx.grid(0.01, 0.02),
        "template.optimizer[SGD].weight_decay": dlx.grid(0.0, 1e-3, 5e-3),
        "template.optimizer[SpectralPenalty].strength": dlx.grid(0.01),
        "template.model.depth": 1, "template.data.validation": 0.0,
        "skip": lambda t: t.model.width != 64 or t.batch_size > 32 or getattr(t.optimizer, "lr", 0.02) < 0.02,
    },
    "positional_embeddings": {
        "template.data[Picture].name": dlx.grid("camera"), "template.data[Picture].size": 8,
        "template.data[Volume].n": 100, "template.data[Volume].test_samples": 50, "template.model.width": 4,
        "template.model.scale": dlx.grid(0.5), "template.model.activation": dlx.grid("relu"),
    },
    "grokking": {
        "template.data.p": 11, "template.data.share": dlx.grid(0.45, 0.5), "template.model.width": dlx.grid(128),
        "template.optimizer.lr": dlx.grid(0.01, 0.02), "template.optimizer.weight_decay": dlx.grid(0.0, 0.3, 0.5),
    },
    "symmetry": {
        "template.rungs": (32, 64), "template.training.data.n": 80, "template.training.data.test_samples": 100,
        "template.training.data.target": dlx.grid("halves"), "template.training.steps": 3,
        "template.training.dtype": "float64", "template.training.model[MLP].width": dlx.grid(128),
        "skip": lambda t: (type(t.training.optimizer), t.training.data.inputs, t.training.data.basis,
                           getattr(t.training.model, "depth", 0)) not in (
            (optim.SGD, 6, "standard", 1), (optim.SGD, 6, "standard", 2), (optim.Adam, 12, "standard", 1),
            (optim.Adam, 12, "rotated", 1)),
    },
    "rotation_invariance": {"template.samples": 64},
    "double_descent_tuned": {"template.data.n": 400, "template.model.width": dlx.grid(8, 17)},
    "implicit_bias": {
        "template.problem[Logistic].steps": 300, "template.problem[Diagonal].steps": 3,
        "template.problem[Diagonal].dtype": "float64", "template.problem[Diagonal].data.test_samples": 100,
    },
    "forecasting": {
        "template.series": dlx.grid(data.Series(dlx.grid("seasonal"), look_back=48, horizon=24, stride=200)),
        "template.series[Series].kind": dlx.grid("chaotic"),
        "template.method[LSTM].model.anchor": 0.5, "template.method[Transformer].model.anchor": 0.5,
        "template.method[Transformer].model.model": models.Linear(),
    },
    "sensors_vs_policy": {
        "template.task[Cross].environment.view": dlx.grid(3), "template.policy.frames": dlx.grid(2),
        **{f"template.task[{t}].method.{name}": n for t in ("Balance", "Cross")
           for name, n in {"candidates": 8, "generations": 2, "episodes": 1, "finals": 2}.items()},
    },
    "conformal": {
        "template.parent[Digits].data": data.GaussianMixture(n=2_000, validation=0.5, test_samples=1_000),
        "template.parent[Characters].data": data.GroupWords("Z5", length=8, n=6_000, test_samples=1_000),
    },
    "steepest_descent": {"template.data.n": 400, "template.optimizer.norm": dlx.grid(optim.Spectral())},
    "sharpness": {
        "template.data.data.n": 32, "template.metrics[2].iterations": 1, "template.metrics[3].probes": 1,
        "template.optimizer[GradientDescent].lr": dlx.grid(0.6), "template.data.share": dlx.grid(0.0),
        **{f"template.metrics[{i}].below": 9.0 for i in (5, 6, 7)},
    },
    "mode_connectivity": {
        "template.training.steps": 3, "template.training.dtype": "float64", "template.samples": 50,
        "template.training.data": dlx.grid(data.MNIST1D(n=100, validation=0.0, test_samples=50)),
        "template.training.model[MLP].width": dlx.grid(64),
    },
    "charlm_optimizers": {
        "template.data": data.GroupWords("Z5", length=8, n=100, test_samples=20),
        "template.optimizer": optim.AdamW(lr=dlx.loguniform(0.01, 0.1)),
        "template.model": models.Transformer(dim=4, depth=1, heads=1, positions="none", norm="none"),
    },
    "lr_transfer": {
        "template.training.steps": 3, "template.training.dtype": "float64", "template.training.data.n": 400,
        "template.training.data.test_samples": 100,
    },
}


@pytest.fixture(scope="module", params=FILES, ids=lambda path: path.stem)
def study(request):
    return dlx.load(str(request.param))


@pytest.fixture
def small(study, request):
    """Two seeds in a few cells, three steps each, in float64."""
    quick = study.preset("quick")
    known = dict(overrides.places(quick))
    grids = {p: v for p, v in known.items() if hasattr(v, "options")}
    fewer = {path: dlx.grid(*grid.options[:2]) for path, grid in grids.items() if len(grid.options) > 2}
    small = {path: v for path, v in SMALL.items() if path in known} | SMALLER.get(request.node.callspec.id, {})
    return quick.with_({**fewer, "seeds": 2, "claims": (), **small})


def untuned(study):
    """The study with the lowest values of what is tuned."""
    return study.with_({path: v.low for path, v in overrides.places(study) if hasattr(v, "low")})


def finished(study, home):
    """The results of all trials, each run alone; of a tuned study those of two searches of two asks a cell."""
    if not study.space.tuned:
        return stored(study, home)
    search = dataclasses.replace(study.search, trials=2, repeats=2, parallel=2, top=1, recheck=0)
    return study.with_({"search": search}).run(home=str(home), executor="local", tracking_uri="off")


def test_there_are_studies_and_their_names_differ():
    names = [dlx.load(str(path)).name for path in FILES]
    assert names and len(set(names)) == len(names)


def test_a_study_states_its_question_and_answers_with_a_figure(study):
    assert study.question.endswith("?")
    assert study.figures


def test_every_preset_plans_and_resolves(study, tmp_path):
    assert "quick" in study.presets
    for declared in (study, *map(study.preset, study.presets)):
        declared.space.check()
        plan = declared.plan(str(tmp_path))
        assert plan.cells == len(declared.space.cells)
        assert sum(phase.missing for phase in plan.phases.values()) >= plan.cells * len(declared.seed_list)
    assert not any(tmp_path.iterdir())


def test_figures_are_about_cells_that_a_preset_has(study):
    for declared in (study, *map(study.preset, study.presets)):
        for where in filter(None, (getattr(figure, "where", None) for figure in declared.figures)):
            claims.Below("any metric", 0.0, where=where).check_names(wanted.grid(declared))


def test_trains_alone_and_draws_its_figures(small, tmp_path):
    results = finished(small, tmp_path / "home")
    assert set(results.table["status"].to_pylist()) == {"completed"}
    files, problems = figures.draw(small.figures, results, tmp_path / "figures")
    assert not problems
    assert len(files) == len({f.name for f in files}) == 2 * len(small.figures)


def test_trains_packed_as_alone(small, tmp_path):
    shapes = {}
    for member in members(untuned(small)):
        if (shape := member.trial.shape()) is not None:
            shapes.setdefault(shape, []).append(member)
    for together in shapes.values():
        packed = _metrics(run_pack(Pack(tuple(together), Resources(), str(tmp_path))))
        alone = [_metrics(run_pack(Pack((m,), Resources(), str(tmp_path))))[0] for m in together]
        assert packed == [pytest.approx(one, rel=1e-10) for one in alone]


def test_a_study_uses_public_names_only(study):
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module.partition(".")[0] == "dlx":
                assert node.module == "dlx" and {a.name for a in node.names} <= set(dlx.__all__), path
            if isinstance(node, ast.Import):
                assert not any(a.name.startswith("dlx.") for a in node.names), path


def test_every_folder_of_studies_travels_in_the_wheel():
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    themes = {"dlx.library." + ".".join(p.parent.relative_to(ROOT / "studies").parts) for p in FILES}
    own = {".".join(p.parent.relative_to(ROOT).parts) for p in (ROOT / "dlx").rglob("*.py")}
    assert set(packages) == themes | own


def test_random_features_do_worst_with_as_many_features_as_samples(tmp_path):
    study = dlx.load(str(RANDOM_FEATURES)).with_({
        "template.samples": 40, "template.features": dlx.grid(10, 40, 160), "template.label_noise": 0.0,
        "template.test_samples": 1_000, "seeds": 5, "claims": (),
    })
    rows = stored(study, tmp_path).cells().to_pylist()
    below, peak, above = (r["test/log10_squared_error.mean"] for r in rows)
    assert peak > below + math.log10(5) and peak > above + math.log10(5)
    assert rows[2]["train/error.mean"] == 0.0


def test_the_reference_of_double_descent_is_the_published_set_up():
    study = dlx.load(str(DOUBLE_DESCENT)).preset("reference")
    trials = [study.space.trial(c) for c in study.space.cells]
    assert [t.model.width for t in trials] == [9, 16, 47, 300]
    for t in trials:
        assert (t.steps, t.batch_size, t.data.samples(), t.data.test_samples) == (20_000, 100, 4_000, 12_000)
        assert dataclasses.asdict(t.optimizer) == {"lr": 0.01, "momentum": 0.9, "nesterov": False, "weight_decay": 0.0}
        assert (t.data.label_noise, t.model.depth) == (0.15, 2)


def test_the_reference_of_sharpness_is_the_published_net_and_data():
    study = dlx.load(str(SHARPNESS)).preset("reference")
    for trial in map(study.space.trial, study.space.cells):
        assert (trial.model.width, trial.model.depth, trial.model.activation) == (200, 2, "tanh")
        assert (trial.data.samples(), trial.data.share, trial.batch_size) == (5_000, 0.0, None)
        assert trial.loss == losses.MSE()


def _metrics(records):
    return [dict(metrics) for metrics in records.trials["metrics"].to_pylist()]
