"""Documents: small texts and tables that stand beside the trials of a study, each there at once or not at all."""

from collections.abc import Callable

import pyarrow as pa

from dlx import parts
from dlx.files import reason
from dlx.home import Home, unreadable, unwritable
from dlx.parts import Damaged


class Documents:
    """The documents in a folder of a home; ``damaged`` is told the name of one that cannot be used, and why."""

    def __init__(self, home: Home, folder: str, damaged: Callable[[str, str], None]) -> None:
        self._home, self._folder, self._damaged = home, folder, damaged

    def keep(self, name: str, content: str | pa.Table) -> None:
        """Write a text, or as Parquet a table; raises StoreError."""
        path = f"{self._folder}/{name}"
        try:
            self._home.make(self._folder)
            if isinstance(content, str):
                self._home.put(path, content.encode())
            else:
                parts.write(self._home, path, [content], content.schema, parts.ROWS["membership"])
        except (OSError, pa.ArrowException) as e:
            raise unwritable(self._home, e) from e

    def text(self, name: str) -> str | None:
        """A text; None where there is none. Raises StoreError when the home cannot be read."""
        try:
            return self._home.read(f"{self._folder}/{name}").decode()
        except FileNotFoundError:
            return None
        except ValueError as e:
            self.mistrust(name, e)
            return None
        except OSError as e:
            raise unreadable(self._home, e) from e

    def table(self, name: str) -> pa.Table | None:
        """A table; None where there is none. Raises StoreError when the home cannot be read."""
        try:
            return parts.read(self._home, f"{self._folder}/{name}")
        except FileNotFoundError:
            return None
        except Damaged as e:
            self.mistrust(name, e)
            return None
        except OSError as e:
            raise unreadable(self._home, e) from e

    def mistrust(self, name: str, error: Exception) -> None:
        """Tell that a document says nothing sensible."""
        self._damaged(name, f"({reason(error)}); run the study again to write it anew.")

    def names(self) -> list[str]:
        """The names of all of them; raises StoreError when the home cannot be read."""
        try:
            return self._home.names(self._folder)
        except OSError as e:
            raise unreadable(self._home, e) from e
