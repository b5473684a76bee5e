"""MLflow's own UI in a real browser, on a finished study: what a person sees who opens the link of ``dlx ui``."""

import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import NamedTuple

import pytest
from test_tracking import free_port, wait_until
from toys import go

import dlx
from dlx import claims, data, models, optim
from dlx.results import Results

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
if CHROMIUM is None:
    pytest.skip("there is no Chromium here: apt-get install chromium", allow_module_level=True)
sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed: pip install playwright")

PATIENCE = 30_000  # milliseconds for anything to appear
QUESTION = "Does <b>width</b> lower the error of a small MLP on MNIST-1D?"
HARMLESS = ("users/current", "ResizeObserver")  # MLflow's own: no such user without logins, and a note of Chromium's

STUDY = dlx.Study(
    name="width-and-rate", question=QUESTION,
    template=dlx.Training(
        data=data.MNIST1D(n=400), model=models.MLP(width=dlx.grid(4, 32), depth=1),
        optimizer=optim.SGD(lr=dlx.grid(0.05, 0.5)), batch_size=50, steps=60,
    ),
    seeds=5, objective=dlx.minimize("val/error"),
    claims=[claims.Lower("test/error", {"width": 32}, than={"width": 4}, where={"lr": 0.5})],
)


class Finished(NamedTuple):
    """A study that ran, and the link to it that the UI says."""

    results: Results
    link: str


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Finished]:
    home = tmp_path_factory.mktemp("ui")
    results = go(STUDY, home, tracking_uri=f"sqlite:///{home / 'mlflow.db'}")
    options = f"{str(home)!r}, port={free_port()}, say=lambda line: print(line, flush=True)"
    script = f"from dlx.tracking.ui import ui; ui({options})"
    server = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        yield Finished(results, server.stdout.readline().partition(": ")[2].strip())
    finally:
        server.send_signal(signal.SIGTERM)
        try:
            server.wait(30)
        finally:
            server.kill()
            server.communicate()


@pytest.fixture(scope="module")
def browser() -> Iterator["sync_api.Browser"]:
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def page(browser: "sync_api.Browser", finished: Finished) -> Iterator["sync_api.Page"]:
    """The page that the link opens, with its cells; nothing that it does afterwards may go wrong in it."""
    opened, wrong = browser.new_page(viewport={"width": 1500, "height": 950}), []
    opened.set_default_timeout(PATIENCE)
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on("response", lambda answer: answer.status < 400 or wrong.append(f"{answer.status} {answer.url}"))
    opened.goto(finished.link)
    opened.get_by_role("link", name=re.compile("width=")).first.wait_for()
    yield opened
    opened.close()
    assert not [w for w in wrong if not any(h in w for h in HARMLESS)]


def view(page: "sync_api.Page", name: str) -> None:
    """Choose one of the saved views."""
    page.locator("[data-component-id='mlflow.experiment_page.saved_views.trigger']").click()
    page.get_by_text(name, exact=True).click()


def test_the_link_shows_the_cells_best_first_with_axes_and_intervals(page: "sync_api.Page", finished: Finished) -> None:
    cells = sorted(finished.results.cells().to_pylist(), key=lambda c: c["test/error.mean"])
    best_first = [f"width={c['model.width']} lr={c['optimizer.lr']}" for c in cells]
    sync_api.expect(page.get_by_role("link", name=re.compile("^width="))).to_have_text(best_first)
    headers = page.locator(".ag-header").get_by_role("columnheader").all()
    by_place = {h.bounding_box()["x"]: h.inner_text().strip() for h in headers}  # the last is below the others
    assert [by_place[x] for x in sorted(by_place)][1:] == [
        "Run Name", "Created", "model.width", "optimizer.lr", "test/error", "test/error_low", "test/error_high",
    ]
    best = page.get_by_role("gridcell", name=f"{cells[0]['test/error.mean']:.9f}"[:7])
    assert best.count() == 1


def test_the_description_shows_question_and_verdict_as_text(page: "sync_api.Page", finished: Finished) -> None:
    page.get_by_text(QUESTION).wait_for()
    page.locator("[data-component-id='mlflow.experiment.metadata_editor.expand_button']").click()
    (verdict,) = finished.results.verdicts()
    page.get_by_role("listitem").filter(has_text=f"{verdict.outcome} {verdict.claim}").wait_for()


def test_mean_curves_are_drawn_with_and_without_intervals(page: "sync_api.Page", finished: Finished) -> None:
    page.goto(finished.link.replace("dlx-cells", "dlx-curves&compareRunsMode=CHART"))
    page.get_by_text("Means of cells", exact=True).wait_for()
    traces = page.locator(".js-plotly-plot")
    wait_until(lambda: 8 in drawn(traces), 30)  # four cells, each twice: MLflow draws the one pointed at again
    page.get_by_text("with 95 % intervals").scroll_into_view_if_needed()
    page.mouse.move(1000, 700)
    page.mouse.wheel(0, 600)
    wait_until(lambda: 24 in drawn(traces), 30)


def drawn(charts: "sync_api.Locator") -> set[int]:
    """How many lines the charts have."""
    return {chart.locator(".scatterlayer .trace").count() for chart in charts.all()}


def test_trials_group_by_cell_and_a_run_draws_its_curves(page: "sync_api.Page") -> None:
    view(page, "4 All trials")
    page.get_by_role("button", name="Group by").click()
    page.get_by_role("menuitemcheckbox", name="dlx.cell", exact=True).click()
    sync_api.expect(page.get_by_text(re.compile("^Group: width="))).to_have_count(4)
    page.get_by_role("link", name=re.compile("seed=")).first.click()
    page.get_by_role("heading", name=re.compile("width=.* seed=")).wait_for()
    page.get_by_role("tab", name="Model metrics").click()
    page.locator(".js-plotly-plot .scatterlayer .trace").first.wait_for()


def test_the_report_opens_in_the_artifact_pane(page: "sync_api.Page", finished: Finished) -> None:
    page.locator("[data-component-id='mlflow.experiment.metadata_editor.expand_button']").click()
    with page.expect_popup() as opened:
        page.get_by_role("link", name="Report").click()
    report = opened.value.frame_locator("iframe")
    report.get_by_role("heading", name=QUESTION).wait_for()
    (verdict,) = finished.results.verdicts()
    report.get_by_text(verdict.claim).first.wait_for()
    opened.value.get_by_text("results.parquet").wait_for()
