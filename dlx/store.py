"""The store: what is known of a study, as immutable Parquet parts; the truth that everything else is a view of.

A commit is three parts with one name, in ``history``, ``membership`` and ``trials``, written in that order: the last
one makes it true. A merge is a commit that also names the commits it replaces, so it becomes true in one step as well.
"""

import json
import secrets
import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from dlx import parts
from dlx.documents import Documents
from dlx.errors import StoreError
from dlx.files import UNFINISHED
from dlx.home import FORMAT, Home, check_format, unreadable, unwritable
from dlx.parts import Damaged
from dlx.records import HISTORY, ITEMS, MEMBERSHIP, TRIALS, Records

MOST_PARTS = 256  # above which the driver merges
TABLES = {"history": HISTORY, "membership": MEMBERSHIP, "trials": TRIALS}  # in the order in which a commit writes them


class Store:
    """The stored trials of one study in one home; reading creates nothing.

    ``home``: a path or any address that pyarrow reaches; absent: ``$DLX_HOME``, else ``dlx-home``. Raises StoreError.
    """

    def __init__(self, study: str, home: str | None = None) -> None:
        if not study or study.startswith(".") or any(c in study for c in "/\\\0"):
            raise StoreError(f"The study name {study!r} cannot be a folder's; leave out separators and a leading dot.")
        self.study = study
        self._home = Home(home)
        self.home = self._home.url
        self.folder = self._home.url_of("studies", study)
        self.local_home = Path(self._home.root or "/") if self._home.local else None
        self.damaged: list[str] = []
        self.documents = Documents(self._home, self._path(), lambda name, why: self._note(name, "", why))
        self._bad: set[tuple[str, str]] = set()  # (table, part) that cannot be used
        self._index: dict[str, tuple[pa.Table, frozenset[str]]] = {}  # part → its keys and statuses, what it replaces
        self._visible: list[str] = []  # parts in the order of their commits
        self._status: dict[str, str] = {}
        self._winner: dict[str, str] = {}  # key → the last part that has it
        self._made = False
        self._patience = MOST_PARTS

    # ------------------------------------------------------------ writing

    def create(self) -> None:
        """Make the folders and the format marker; raises StoreError when the home cannot be written or is newer."""
        check_format(self._home)
        try:
            for table in TABLES:
                self._home.make(self._path(table))
            self._mark()
        except (OSError, pa.ArrowException) as e:
            raise unwritable(self._home, e) from e
        self._made = True

    def touch(self) -> None:
        """Raise StoreError where the home, as it was made, cannot be written."""
        try:
            self._mark()
        except (OSError, pa.ArrowException) as e:
            raise unwritable(self._home, e) from e

    def _mark(self) -> None:
        self._home.put(self._home.path("dlx.json"), json.dumps({"format": FORMAT}).encode())

    def commit(self, records: Sequence[Records], membership: pa.Table) -> None:
        """Store finished trials and their slots, all or nothing, of a key given twice the last; raises StoreError."""
        if not self._made:
            self.create()
        self._refresh()
        history, trials = parts.last_records(records)
        content = {"history": history, "membership": parts.conform(membership, MEMBERSHIP), "trials": trials}
        self._write({table: [rows] for table, rows in content.items()})
        self._refresh()
        self._merge_when_due()

    def _write(self, content: Mapping[str, Iterable[pa.Table]], replaces: Sequence[str] = ()) -> None:
        last = max(self._visible, default="")
        name = f"part-{max(time.time_ns(), parts.ordinal(last) + 1):020d}-{secrets.token_hex(4)}.parquet"
        try:
            for table, schema in TABLES.items():
                path = self._path(table, name)
                parts.write(self._home, path, content[table], schema, parts.ROWS[table], replaces)
        except (OSError, pa.ArrowException) as e:
            self._forget(name)
            raise unwritable(self._home, e) from e

    def _forget(self, name: str) -> None:
        """Remove what was written of a commit that failed, as far as that goes; without its trials it is not read."""
        try:
            for table in reversed(TABLES):
                self._home.remove(self._path(table, name))
        except (OSError, pa.ArrowException):
            return

    # ------------------------------------------------------------ merging

    def _merge_when_due(self) -> None:
        """Merge the latest parts when there are many; a merge that fails is tried again after as many commits."""
        bad = {name for _, name in self._bad}  # a merge across one of them would change the order of commits
        clean = list(takewhile(lambda name: name not in bad, reversed(self._visible)))[::-1]
        if len(clean) <= self._patience:
            return
        try:
            self._sweep()
            self._merge(clean[parts.first_worth_merging([len(self._index[name][0]) for name in clean]):])
            self._patience = MOST_PARTS
        except (StoreError, OSError, pa.ArrowException, Damaged):
            self._patience = len(clean) + MOST_PARTS

    def _merge(self, names: list[str]) -> None:
        self._write({table: self._merged(table, names) for table in TABLES}, replaces=names)
        self._refresh()
        self._sweep()

    def _merged(self, table: str, names: list[str]) -> Iterator[pa.Table]:
        pieces = (rows for name in names for rows in self._rows(table, name, TABLES[table]))
        if table != "membership":
            return pieces
        return iter([parts.last_slots(pa.concat_tables([MEMBERSHIP.empty_table(), *pieces]))])

    def _sweep(self) -> None:
        """Delete what a killed driver left: replaced parts, parts without their commit, unfinished files."""
        replaced = self._replaced()
        committed = set(self._home.names(self._path("trials")))
        for table in TABLES:
            for name in self._home.names(self._path(table)):
                if name in replaced or (parts.is_part(name) and name not in committed):
                    self._home.remove(self._path(table, name))
        for path in (self._path(), *map(self._path, TABLES)):
            for name in self._home.names(path):
                if name.endswith(UNFINISHED):
                    self._home.remove(f"{path}/{name}")

    # ------------------------------------------------------------ reading

    def statuses(self) -> dict[str, str]:
        """Key → status of every stored trial."""
        self._refresh()
        return dict(self._status)

    def trials(self, keys: Collection[str] | None = None, columns: Sequence[str] | None = None) -> pa.Table:
        """Stored trials (only of ``keys``, only these ``columns``), one row a key, of the last commit that has it."""
        return self._gather("trials", keys, columns)

    def history(self, keys: Collection[str] | None = None) -> pa.Table:
        """Curves of the stored trials (those of ``keys`` only, when given), one row a key and metric; without items."""
        return self._gather("history", keys, keep=lambda rows: pc.invert(pc.ends_with(rows["metric"], ITEMS)))

    def items(self, keys: Collection[str], metric: str) -> pa.Table:
        """Values of a metric by item, of these trials, in the form of ``history``."""
        return self._gather("history", keys, keep=lambda rows: pc.equal(rows["metric"], f"{metric}{ITEMS}"))

    def membership(self) -> pa.Table:
        """Which trial fills which slot of the study, one row a slot, of the last commit that has it."""
        return parts.last_slots(self._gather("membership", None))

    @property
    def local_folder(self) -> Path | None:
        """The study's folder where the home is on a file system of this machine, else None."""
        return None if self.local_home is None else self.local_home / "studies" / self.study

    @property
    def mirrored(self) -> str | None:
        """What ``mirror`` noted, unless something was committed since."""
        commit, _, mark = (self.documents.text("mirrored") or "").partition(" ")
        self._refresh()
        return mark if mark and commit == max(self._visible, default="") else None

    def mirror(self, mark: str) -> None:
        """Note that what is called ``mark`` shows everything that is stored now; raises StoreError."""
        self.documents.keep("mirrored", f"{max(self._visible, default='')} {mark}")

    def _gather(
        self, table: str, keys: Collection[str] | None, columns: Sequence[str] | None = None,
        keep: Callable[[pa.Table], Any] | None = None,
    ) -> pa.Table:
        """Rows of all commits in their order; begins anew when a part is damaged, or was merged away meanwhile."""
        keys = None if keys is None else set(keys)
        schema = TABLES[table] if columns is None else pa.schema([TABLES[table].field(name) for name in columns])
        while True:
            self._refresh()
            name = ""
            try:
                pieces = [schema.empty_table()]
                for name in self._visible:
                    rows = self._rows(table, name, schema, keys)
                    pieces += rows if keep is None else (piece.filter(keep(piece)) for piece in rows)
                return pa.concat_tables(pieces)
            except FileNotFoundError:
                self._refresh()
                if name in self._visible:
                    self._note(table, name, f"(it is gone){parts.lost(table)}")
            except Damaged:
                continue
            except OSError as e:
                raise unreadable(self._home, e) from e

    def _rows(
        self, table: str, name: str, schema: pa.Schema, keys: Collection[str] | None = None
    ) -> Iterator[pa.Table]:
        """Rows of one part that no later commit supersedes; slots are superseded by ``last_slots`` alone."""
        if (table, name) in self._bad:
            return
        won: list[str] | None = None
        if table != "membership":
            won = [k for k in self._index[name][0]["key"].to_pylist()
                   if self._winner[k] == name and (keys is None or k in keys)]
            if not won:
                return
            if keys is None and len(won) == len(self._index[name][0]):
                won = None
        try:
            yield from parts.read_rows(self._home, self._path(table, name), schema, won)
        except Damaged as e:
            self._note(table, name, f"({e}){parts.lost(table)}")
            raise

    def _refresh(self) -> None:
        """Learn of parts that came or went since the last time; reads only those not seen yet."""
        try:
            check_format(self._home)
            while not self._look():
                continue
        except OSError as e:
            raise e if isinstance(e, StoreError) else unreadable(self._home, e) from e

    def _look(self) -> bool:
        """One pass over the commits; False when a part went away meanwhile."""
        names = self._home.names(self._path("trials"))
        present = {name for name in names if parts.is_part(name) and ("trials", name) not in self._bad}
        for name in self._index.keys() - present:
            del self._index[name]
        for name in sorted(present - self._index.keys()):
            try:
                self._index[name] = parts.read_index(self._home, self._path("trials", name))
            except FileNotFoundError:
                return False
            except Damaged as e:
                self._note("trials", name, f"({e}){parts.lost('trials')}")
        self._count(sorted(self._index.keys() - self._replaced()))
        return True

    def _count(self, visible: list[str]) -> None:
        """Bring key → status up to date, from the new parts alone when the others are as they were."""
        if visible[: len(self._visible)] != self._visible:
            self._status, self._winner, self._visible = {}, {}, []
        for name in visible[len(self._visible):]:
            keys, statuses = (list(map(sys.intern, column.to_pylist())) for column in self._index[name][0].columns)
            self._status.update(zip(keys, statuses, strict=True))
            self._winner.update(dict.fromkeys(keys, name))
        self._visible = visible

    def _replaced(self) -> set[str]:
        return set().union(*(replaces for _, replaces in self._index.values()))

    def _path(self, *names: str) -> str:
        return self._home.path("studies", self.study, *names)

    def _note(self, table: str, name: str, rest: str) -> None:
        self._bad.add((table, name))
        sentence = f"{self._path(table, name).rstrip('/')} is damaged {rest}"
        if sentence not in self.damaged:
            self.damaged.append(sentence)
