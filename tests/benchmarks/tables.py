"""Runs benchmarks, and puts what one prints into README.md, between ``<!-- its name -->`` and ``<!-- /its name -->``.

Run as ``python tests/benchmarks/tables.py [NAME ...]``, as in ``sweep training``; without a name all of them run.
"""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
README = HERE.parents[1] / "README.md"


def printed(name: str) -> str:
    """What a benchmark prints, which is shown meanwhile."""
    lines = []
    with subprocess.Popen([sys.executable, HERE / f"bench_{name}.py"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            lines.append(line)
    if process.returncode:
        raise SystemExit(f"bench_{name}.py failed; its table is as it was.")
    return "".join(lines)


def placed(text: str, name: str, table: str) -> str:
    """The text with a table in the place of this name, if it has one."""
    first, last = f"<!-- {name} -->", f"<!-- /{name} -->"
    if first not in text:
        return text
    before, rest = text.split(first)
    _, after = rest.split(last)
    return f"{before}{first}\n\n{table.strip()}\n\n{last}{after}"


def main(names: list[str]) -> None:
    """Run these, one after another."""
    for name in names or sorted(p.stem.removeprefix("bench_") for p in HERE.glob("bench_*.py")):
        table = printed(name)
        README.write_text(placed(README.read_text(), name, table))


if __name__ == "__main__":
    main(sys.argv[1:])
