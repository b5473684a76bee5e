"""What the layout promises: layers without circles, one door for each engine, declarations that load no engine."""

import ast
import importlib
import inspect
import subprocess
import sys
from functools import lru_cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import dlx

ROOT = Path(__file__).parents[1]
LAYERS = (  # lowest first; within a layer modules may import each other, without a circle
    "errors stats text allowance",
    "coercion canonical trial markers shelf noise tables notebook",
    "products nodes compile space overrides tuning pruning",
    "files checkpoint snapshot context records partials pack device worker",
    "losses data models optim metrics control claims",
    "precision fixed training member loop programs stacking vectorise replay recording rewrite pbt best ladder "
    "parallel across",
    "study",
    "home parts documents store lease provenance register",
    "tracking",
    "axes search protocol memory agenda pilot packer plan budget",
    "executors",
    "wanted exports kept cells finals items results declaration figures analysis "
    "verdicts answers audit rerun discrepancy",
    "report",
    "live screens beacon monitor watch ledger flights driver conclusion run relay",
    "loading chosen listing catalogue printed runs supervise submission cli",
)
LAYER_OF = {name: i for i, names in enumerate(LAYERS) for name in names.split()}
FACADES = {"dlx", "dlx.study", "dlx.claims.base"}  # whose functions call upwards: ``study.run()``
TORCH_INSIDE = {f"dlx.{name}" for name in ("across", "recording", "replay", "rewrite", "stacking", "vectorise")} | {
    f"dlx.models.{name}" for name in (
        "attention", "batchnorm", "blocks", "continuing", "dropout", "encoder", "kernels", "layers", "recurrence",
        "stateless",
    )}  # a module that is itself imported inside functions only
SHELVES = ("losses", "data", "models", "optim", "metrics", "control")
DOORS = {
    "ray": "executors.tune executors.jobs", "optuna": "search", "mlflow": "tracking",
    "pyarrow.parquet": "parts data.files",
    "pyarrow.dataset": "parts", "typer": "cli",
}
ENGINES = ("torch", "ray", "optuna", "mlflow", "matplotlib", "sklearn")  # (pyarrow loads pandas with its first array)
LONGEST_FILE, LONGEST_FUNCTION = 300, 40


@lru_cache
def modules():
    """Module name → its syntax tree."""
    found = {}
    for path in sorted((ROOT / "dlx").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(p for p in parts if p != "__init__")] = ast.parse(path.read_text())
    return found


def imports(name, lazy=True):
    """What a module imports, ``TYPE_CHECKING`` apart; ``lazy``: inside functions as well."""
    return set(_imports(modules()[name], lazy))


def _imports(node, lazy):
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, "imports are absolute"
        for alias in node.names:
            full = f"{node.module}.{alias.name}"
            yield full if full in modules() or full in DOORS else node.module
    elif not isinstance(node, ast.FunctionDef) or lazy:
        checking = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for child in node.orelse if checking else ast.iter_child_nodes(node):
            yield from _imports(child, lazy)


def own(names):
    return {n for n in names if n.partition(".")[0] == "dlx"}


def layer(name):
    return LAYER_OF.get(name.split(".")[1], len(LAYERS))


def test_every_module_has_a_layer():
    parts = {name.split(".")[1] for name in modules() if name != "dlx"}
    assert parts == set(LAYER_OF), "put new modules into a layer of this test"


@pytest.mark.parametrize("name", [n for n in modules() if n != "dlx"])
def test_lower_layers_never_import_higher_ones(name):
    for other in own(imports(name, lazy=name not in FACADES)) - {"dlx"}:
        assert layer(other) <= layer(name), f"{name} imports {other}"


def test_there_are_no_circles():
    graph = {name: own(imports(name, lazy=False)) - {name} for name in modules() if name != "dlx"}
    list(TopologicalSorter(graph).static_order())  # raises CycleError, naming the circle


@pytest.mark.parametrize("shelf", SHELVES)
def test_shelves_know_nothing_of_packs_studies_and_engines(shelf):
    for name in (n for n in modules() if n.split(".")[1:2] == [shelf]):
        allowed = {"dlx.errors", "dlx.shelf", "dlx.noise", "dlx.trial", f"dlx.{shelf}"}
        assert {".".join(n.split(".")[:2]) for n in own(imports(name))} <= allowed, name


@pytest.mark.parametrize("engine", DOORS)
def test_each_engine_has_one_door(engine):
    using = {n for n in modules() if any(i == engine or i.startswith(f"{engine}.") for i in imports(n))}
    doors = tuple(f"dlx.{door}" for door in DOORS[engine].split())
    assert all(n.startswith(doors) for n in using)


def test_torch_is_imported_inside_functions_only():
    for name in modules().keys() - TORCH_INSIDE:
        at_once = imports(name, lazy=False)
        assert not any(i.partition(".")[0] == "torch" for i in at_once) and not at_once & TORCH_INSIDE, name


def test_declaring_and_reporting_load_no_engine():
    code = (
        "import sys, dlx, dlx.results, dlx.study, dlx.figures, dlx.cli\n"
        "dlx.load('double_descent').space.check()\n"
        f"print([m for m in {ENGINES} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_public_names_are_documented():
    for name in dlx.__all__:
        public = getattr(dlx, name)
        assert inspect.getdoc(public), name
        for inner in getattr(public, "__all__", ()):
            assert inspect.getdoc(getattr(public, inner)), f"{name}.{inner}"
    for name in modules():
        assert importlib.import_module(name).__doc__, name


def test_files_and_functions_are_short():
    long = {str(p): n for p in (ROOT / "dlx").rglob("*.py") if (n := len(p.read_text().splitlines())) > LONGEST_FILE}
    for name, tree in modules().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and (n := _lines(node)) > LONGEST_FUNCTION:
                long[f"{name}.{node.name}"] = n
    assert not long


def _lines(function):
    """Lines of a function's body, its docstring apart."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return body[-1].end_lineno - body[0].lineno + 1 if body else 0


def test_the_top_level_is_tidy():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a clone")
    top = {line.partition("/")[0] for line in listed.stdout.splitlines()}
    allowed = {"pyproject.toml", "README.md", "Makefile", "constraints.txt", "CHANGELOG.md", "LICENSE",
               "dlx", "studies", "cluster", "tests"}
    assert {name for name in top if not name.startswith(".")} <= allowed
