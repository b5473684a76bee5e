"""How long a person waits before anything runs: imports and commands, beside what Python and the engines take.

Run as ``python tests/benchmarks/bench_start.py [repeats]``; prints a Markdown table of medians.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

STUDY = """
import dlx

@dlx.trial(version=1)
def square(ctx, x: int):
    return {"loss": float(x * x)}

STUDY = dlx.Study("square", "How large is a square?", square(x=dlx.grid(*range(20))), seeds=5)
"""


def seconds(command: list[str], folder: str) -> float:
    """Wall time of a command that must succeed."""
    begun = time.perf_counter()
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return time.perf_counter() - begun


def main() -> None:
    """Measure and print."""
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    dlx = str(Path(sys.executable).with_name("dlx"))
    with tempfile.TemporaryDirectory() as folder:
        os.environ["DLX_HOME"] = f"{folder}/home"
        Path(folder, "square.py").write_text(STUDY)
        seconds([dlx, "run", "square.py"], folder)
        commands = {
            "Python alone": [sys.executable, "-c", "pass"],
            "`import dlx`": [sys.executable, "-c", "import dlx"],
            "declaring and planning a study of 100 trials": [dlx, "plan", "square.py"],
            "`dlx run` with its 100 trials stored": [dlx, "run", "square.py"],
            "for comparison: `import ray.tune, optuna, mlflow, torch`":
                [sys.executable, "-c", "import ray.tune, optuna, mlflow, torch"],
        }
        print("| what | s | times Python's own start |\n|---|---|---|")
        medians = {what: statistics.median(seconds(c, folder) for _ in range(repeats)) for what, c in commands.items()}
        for what, median in medians.items():
            print(f"| {what} | {median:.2f} | {median / medians['Python alone']:.3g} |")


if __name__ == "__main__":
    main()
