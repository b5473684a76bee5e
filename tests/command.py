"""The command line in a folder of one's own."""

import os
import subprocess
import sys

PROGRAM = """# without the studies of dlx itself
import dlx.loading, dlx.cli, pathlib
dlx.loading.roots = lambda: [pathlib.Path.cwd() / 'studies']
dlx.cli.main()
"""


def dlx(here, *words, code=0):
    """What the command prints on its two streams; code: how it is to end."""
    environment = {**os.environ, "DLX_HOME": str(here / "home"), "COLUMNS": "120"}
    done = subprocess.run([sys.executable, "-c", PROGRAM, *words], cwd=here, env=environment, capture_output=True,
                          text=True, check=False, timeout=300)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout, done.stderr
