"""Progress in a notebook: a real kernel runs studies, and its outputs are looked at."""

import os
import signal
import sys
import threading
import time

import pytest

nbclient = pytest.importorskip("nbclient", reason="nbclient and ipykernel are not installed")
pytest.importorskip("ipykernel", reason="ipykernel is not installed")
nbformat = pytest.importorskip("nbformat")

FIRST = """
import os, sys, time
sys.path[:0] = {path!r}
import dlx
from dlx import live
from dlx.run import run
from toys import Slow

def go(study, **options):
    return run(study, home={home!r}, tracking_uri="off", view=live.choose(), **options)
"""
RUNS = """
os.makedirs({home!r} + "/marks", exist_ok=True)
study = dlx.Study("slow", "?", Slow(dlx.grid(*range(6)), {home!r} + "/marks", 0.3))
results = go(study, executor={executor!r})
"""
FAILS = """
@dlx.trial(version=1)
def sour(ctx: dlx.Context, number: int) -> dict[str, float]:
    raise ValueError("<script>alert(1)</script>")

failing = go(dlx.Study("sour", "?", sour(number=dlx.grid(1, 2))), executor="local", max_trials=1)
"""
LONG = """
open({home!r} + "/kernel", "w").write(str(os.getpid()))
study = dlx.Study("long", "?", Slow(dlx.grid(*range(1000)), {home!r} + "/marks", 0.2))
results = go(study, executor="local")
print(0 < len(results.table) < 1000, results.missing > 900)
"""


def cells(tmp_path, *sources, **values):
    values = {"path": sys.path, "home": str(tmp_path), **values}
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(s.format(**values)) for s in (FIRST, *sources)])


def executed(notebook, tmp_path):
    """Every message that updates an output of the last cell, beside the outputs in the end."""
    updates = []

    class Client(nbclient.NotebookClient):
        def process_message(self, msg, cell, cell_index):
            if msg["msg_type"] == "update_display_data" and cell_index == len(notebook.cells) - 1:
                updates.append(msg["content"]["data"]["text/plain"])
            return super().process_message(msg, cell, cell_index)

    client = Client(notebook, timeout=180, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    return updates, notebook.cells[-1].outputs


@pytest.mark.parametrize("executor", ["local", "ray"])
def test_progress_is_one_output_that_is_drawn_anew(tmp_path, executor):
    updates, outputs = executed(cells(tmp_path, RUNS, executor=executor), tmp_path)
    shown = [o.data for o in outputs if o.output_type == "display_data"]
    said = [o.text for o in outputs if o.output_type == "stream" and "ipywidgets" not in o.text]  # which may be missing
    assert len(shown) == 1 and not said
    assert "6/6" in shown[0]["text/plain"] and "slow" in shown[0]["text/plain"]
    assert shown[0]["text/html"].startswith("<pre>") and "6/6" in shown[0]["text/html"]
    between = [text for text in updates if "6/6" not in text]
    assert between and len(set(updates)) > 1, "it moved while the study ran"


def test_sentences_are_outputs_of_their_own(tmp_path):
    _, outputs = executed(cells(tmp_path, FAILS), tmp_path)
    texts, pages = zip(*((o.data["text/plain"], o.data["text/html"]) for o in outputs), strict=True)
    assert "1 × ValueError: <script>alert(1)</script>" in texts[0] and "1 failed" in texts[0]
    assert texts[1].startswith("Stopped before the end: ")
    assert "&lt;script&gt;alert(1)" in pages[0] and not any("<script" in page for page in pages)


def test_the_interrupt_button_stops_gracefully(tmp_path):
    (tmp_path / "marks").mkdir()

    def press():
        while not list((tmp_path / "marks").iterdir()):
            time.sleep(0.1)
        os.kill(int((tmp_path / "kernel").read_text()), signal.SIGINT)  # as the button does

    threading.Thread(target=press, daemon=True).start()
    _, outputs = executed(cells(tmp_path, LONG), tmp_path)
    texts = [o.get("text") or o.get("data", {}).get("text/plain", "") for o in outputs]
    assert any("Stopping: what runs is finished" in t for t in texts)
    assert any(t.startswith("True True") for t in texts)
