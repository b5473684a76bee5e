"""All studies at once, and the page that is made of them; real processes in a folder of one's own."""

import os
import re
import signal
import subprocess
import sys
import time

import pytest
from command import PROGRAM, dlx

from dlx.store import Store

STUDY = '''
import dlx
from dlx import claims, figures

@dlx.trial(name="{trial}")
def toy(ctx, width: int) -> dict[str, float]:
    {body}
    return {{"test/loss": 1.0 / width + 0.001 * ctx.rng(f"noise {{width}}").normal()}}

STUDY = dlx.Study(
    name="{name}", question="Is {name} | *better* when wide?", template=toy(width=dlx.grid(1, 2)), seeds=5,
    claims=[claims.Lower("test/loss", {{"width": 2}}, than={{"width": 1}}, name="wider")],
    figures=[figures.Curves(x="width", y="test/loss", name="by_width")],
    presets={presets},
)
'''

@pytest.fixture
def here(tmp_path):
    folder = tmp_path / "studies" / "theme"
    folder.mkdir(parents=True)
    for name, body, presets in (("one", "pass", {"quick": {"seeds": 5}}), ("two", "pass", {"quick": {"seeds": 6}}),
                                ("bare", "pass", {}), ("wrong", "raise RuntimeError('no')", {"quick": {"seeds": 5}})):
        (folder / f"{name}.py").write_text(STUDY.format(trial=f"Toy{name}", name=name, body=body, presets=presets))
    return tmp_path


def run_all(here, code):
    return dlx(here, "run", "--all", "--preset", "quick", "--executor", "local", "--tracking-uri", "off", code=code)


def test_all_studies_run_one_after_the_other_and_none_stops_the_others(here):
    out, err = run_all(here, code=4)
    assert out.count("supported    wider") == 2 and "10 trials failed; see dlx show theme/wrong --preset quick" in out
    ended = [line.partition(" ")[0] for line in out.splitlines() if " --preset quick: " in line]
    assert ended == ["theme/one", "theme/two", "theme/wrong"] and "3 studies in " in out
    assert "without a preset 'quick', and so left out: theme/bare." in err
    (here / "studies" / "theme" / "wrong.py").write_text("STUDY = 3")
    out, err = run_all(here, code=2)
    assert out.count("supported    wider") == 2 and "wrong.py declares no study" in err


def test_one_study_or_all(here):
    for words in ((), ("one", "--all"), ("--all", "--set", "seeds=2")):
        assert "Name one study, or write --all" in dlx(here, "run", *words, code=2)[1]


def test_the_catalogue_shows_what_is_stored(here):
    run_all(here, code=4)
    out, _ = dlx(here, "list", "--markdown")
    assert r"Is one \| \*better\* when wide?" in out and "![" not in out
    assert re.search(r"`dlx run two --preset quick`: 12 trials in packs of up to 1, .* of computing\.", out)
    assert re.search(r"- \*\*supported\*\* .*6 seeds", out)
    assert "## theme/bare" not in out and "| theme/bare |" in out
    dlx(here, "run", "bare", "--set", "seeds=9", "--executor", "local", "--tracking-uri", "off")
    assert "`dlx run bare --set '…'`: 18 trials" in dlx(here, "list", "--markdown")[0]
    out, _ = dlx(here, "list", "--out", "page/README.md")
    page = (here / "page" / "README.md").read_text()
    assert not out and "![Is one \\| \\*better\\* when wide?](pictures/one.png)" in page
    assert (here / "page" / "pictures" / "one.png").read_bytes().startswith(b"\x89PNG")
    (here / "file").touch()
    assert "cannot be written" in dlx(here, "list", "--out", "file/README.md", code=2)[1]


@pytest.mark.parametrize("executor", ["local", "ray"])
def test_a_stop_stops_all_and_loses_nothing(here, executor):
    slow = "import time; time.sleep(0.5)"
    for name in ("one", "two"):
        text = STUDY.format(trial=f"Toy{name}", name=name, body=slow, presets={"quick": {"seeds": 5}})
        (here / "studies" / "theme" / f"{name}.py").write_text(text)
    words = ("run", "--all", "--preset", "quick", "--executor", executor, "--tracking-uri", "off")
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *words], cwd=here, env={**os.environ, "DLX_HOME": str(here / "home")},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    ) as process:
        while "one: 2 cells" not in process.stdout.readline():
            pass
        while not (begun := stored(here)):
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        out = process.stdout.read()
    assert process.returncode == 3 and "theme/one: Stopping: what runs is finished and stored" in out
    assert begun <= stored(here) < 20 and "theme/wrong" not in out
    if executor == "local":
        assert "theme/two" not in out
    dlx(here, *words, code=4)
    assert stored(here) == 20


def stored(here):
    """Trials of the studies one and two, each once."""
    keys = [Store(name, str(here / "home")).trials(columns=["key"])["key"].to_pylist() for name in ("one", "two")
            if (here / "home" / "studies" / name).is_dir()]
    assert all(len(set(some)) == len(some) for some in keys)
    return sum(map(len, keys))
