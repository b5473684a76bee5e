"""Tables as files: CSV or Parquet, there at once or not at all."""

from pathlib import Path

import pyarrow as pa
from pyarrow import csv

from dlx import parts
from dlx.errors import DlxError
from dlx.files import reason
from dlx.home import Home

ROW_GROUP = 65_536


def write(table: pa.Table, path: str | Path, kind: str | None = None) -> None:
    """Write a table as ``csv`` or ``parquet`` (default: what the path ends in); raises DlxError when that fails."""
    path = Path(path)
    kind = kind or path.suffix.removeprefix(".")
    if kind not in ("csv", "parquet"):
        raise DlxError(f"{path} ends neither in .csv nor in .parquet; name the file so.")
    home = Home(str(path.parent))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if kind == "parquet":
            parts.write(home, home.path(path.name), [table], table.schema, ROW_GROUP)
            return
        with home.writing(home.path(path.name)) as sink:
            csv.write_csv(table, sink)
    except OSError as e:
        raise DlxError(f"{path} cannot be written ({reason(e)}); name another file.") from e
