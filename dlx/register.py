"""The register of claims: which were stated before their trials ran, and with how many seeds each was looked at.

It lies in the home as ``claims.json`` and is written by runs alone. Cells are remembered by a sample, the smallest of
their keys, so that looks at other cells (those of another preset) do not count.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from dlx.store import Store

FILE = "claims.json"
SAMPLE = 16  # cells by which a grid is known again


class Look(NamedTuple):
    """How much verdicts rest on: seeds of each cell, or of each of its searches (0: untuned)."""

    seeds: int
    searches: int


class Register:
    """What a home remembers of claims, by ``dlx.declaration.claim_digest``, about a grid with these cells (keys)."""

    def __init__(self, store: Store, cells: Collection[str]) -> None:
        self._store, self._cells = store, sorted(cells)[:SAMPLE]
        self._known = self._read()

    def _read(self) -> dict[str, dict[str, Any]]:
        try:
            found = dict(json.loads(self._store.documents.text(FILE) or "{}"))
            return {digest: {
                "claim": one["claim"], "stated": bool(one["stated"]),
                "looks": [{**Look(int(look["seeds"]), int(look["searches"]))._asdict(), "cells": list(look["cells"])}
                          for look in one["looks"]],
            } for digest, one in found.items()}
        except (ValueError, TypeError, KeyError) as e:
            self._store.documents.mistrust(FILE, e)
            return {}

    def stated(self, claim: str) -> bool | None:
        """Whether a claim was stated before any of its final trials was stored; None: by no run yet."""
        return self._known.get(claim, {}).get("stated")

    def looks(self, claim: str) -> list[Look]:
        """With how much a claim was looked at in these cells, the fewest seeds first."""
        looks = self._known.get(claim, {}).get("looks", [])
        here = [look for look in looks if set(look["cells"]) & set(self._cells)]
        return sorted({Look(look["seeds"], look["searches"]) for look in here})

    def state(self, claims: Mapping[str, str], stored: bool) -> None:
        """Enter claims (digest → sentence) that are new; stored: whether final trials of this grid are there."""
        if new := claims.keys() - self._known.keys():
            self._known |= {digest: {"claim": claims[digest], "stated": not stored, "looks": []} for digest in new}
            self._write()

    def look(self, claims: Sequence[str], look: Look) -> None:
        """Note that the verdicts of claims were looked at."""
        new = [claim for claim in claims if claim in self._known and look not in self.looks(claim)]
        for claim in new:
            self._known[claim]["looks"].append({**look._asdict(), "cells": self._cells})
        if new:
            self._write()

    def _write(self) -> None:
        self._store.documents.keep(FILE, json.dumps(self._known, indent=1, ensure_ascii=False))
