"""Kept weights: the model of a stored trial with its weights, and how many trials have none."""

import contextlib
import difflib
import json
import typing
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from dlx import checkpoint
from dlx.errors import StoreError
from dlx.records import COMPLETED, DIVERGED, PRUNED
from dlx.space import Cell
from dlx.store import Store
from dlx.study import Study
from dlx.training import Training
from dlx.trial import Trial, trial_key

if typing.TYPE_CHECKING:
    import torch

Which = Literal["final", "best"]


def lineage(trial: Any) -> Iterator[Trial]:
    """The trial, its parent, that one's parent and so on."""
    while isinstance(trial, Trial):
        yield trial
        trial = getattr(trial, "parent", None)


def weightless(study: Study, store: Store, statuses: Mapping[str, str]) -> list[str]:
    """A sentence when stored trials have none of the weights that the study keeps."""
    ran = [key for key, status in statuses.items() if status in (COMPLETED, DIVERGED)]
    if study.keep == "none" or not ran:
        return []
    there: set[str] = set()
    with contextlib.suppress(OSError):  # what cannot be listed cannot be loaded either
        there = checkpoint.names(store.folder)
    if not (lacking := sum(_name(key, study.keep) not in there for key in ran)):
        return []
    return [
        f"{lacking:,} of the stored trials have no {study.keep} weights and are not run again for them; to have them, "
        "run the study in another home."
    ]


def _name(key: str, which: str) -> str:
    return checkpoint.best(key) if which == "best" else key


def load_model(study: Study, store: Store, table: pa.Table, key: str, which: Which) -> "torch.nn.Module":
    """What ``Results.load_model`` gives; table: the results'."""
    rows = table.filter(pc.equal(table["key"], key)).select(["cell", "seed", "status"]).to_pylist()
    if not rows:
        raise StoreError(_unknown(study.name, key, table["key"].to_pylist()))
    seed, name = rows[0]["seed"], _name(key, which)
    if not checkpoint.exists(store.folder, name):
        raise StoreError(_absent(key, which, rows[0]["status"]))
    filed, cells = store.membership(), cells_of(study, [row["cell"] for row in rows])
    trial = next((t for cell in cells.values() if (t := trial_of(study, cell, filed, key, seed)) is not None), None)
    if not isinstance(trial, Training):
        what = "of no setting in today's declaration" if trial is None else f"a {type(trial).__name__}"
        raise StoreError(
            f"The trial {key} is {what}, and only a dlx.Training has a model; its state lies in "
            f"{store.folder}/{checkpoint.place(name)}, which safetensors reads."
        )
    state = checkpoint.load(store.folder, name, "put a copy of it there, or run the study in another home")
    return _with_weights(trial, seed, state, f"The weights of the trial {key}")


def _unknown(study: str, key: str, keys: list[str]) -> str:
    near = difflib.get_close_matches(str(key), [k for k in keys if k[:1] == str(key)[:1]], n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else "the column key of their table names all."
    return f"The results of {study} have no trial {key!r}; {hint}"


def _absent(key: str, which: Which, status: str) -> str:
    if status not in (COMPLETED, DIVERGED):
        return f"The trial {key} {'was stopped early' if status == PRUNED else status} and has left no weights."
    return (
        f"There are no {which} weights of the trial {key}: it ran without Study(keep={which!r}), or the file is gone; "
        "a stored trial is not run again, so run the study with it in another home to have them."
    )


def cells_of(study: Study, keys: Collection[str]) -> dict[str, Cell]:
    """The cells of today's declaration that rows are filed under, by these keys of theirs."""
    wanted, found = set(keys), dict[str, Cell]()
    for cell in study.space.cells:
        if len(found) == len(wanted):
            break
        if (name := study.cell_key(cell)) in wanted:
            found[name] = cell
    return found


def trial_of(study: Study, cell: Cell, filed: pa.Table, key: str, seed: int) -> Trial | None:
    """The trial with this key in a cell, or among the parents there; None where today's declaration makes none.

    filed: the membership table.
    """
    return next((t for t in _candidates(study, cell, filed, key) if trial_key(t, seed) == key), None)


def _candidates(study: Study, cell: Cell, filed: pa.Table, key: str) -> Iterator[Trial]:
    """Trials of a cell and their parents, those filed under the key first."""
    texts: list[str | None] = [None]
    if study.space.is_tuned(cell):
        filed = filed.filter(pc.and_(pc.equal(filed["cell"], study.cell_key(cell)), pc.is_valid(filed["params"])))
        own = filed.filter(pc.equal(filed["key"], key))
        texts = list(dict.fromkeys([*own["params"].to_pylist(), *filed["params"].to_pylist()]))
    for text in texts:
        yield from lineage(study.space.trial(cell, json.loads(text) if text else None))


def _with_weights(trial: Training, seed: int, state: "dict[str, torch.Tensor]", what: str) -> "torch.nn.Module":
    """See ``dlx.member.with_weights``; raises StoreError where they do not fit."""
    from dlx.context import Context
    from dlx.member import with_weights

    try:
        return with_weights(trial, Context(seed), state)
    except RuntimeError as e:
        why = " ".join(str(e).split())
        raise StoreError(f"{what} do not fit its model as today's code builds it ({why}).") from e
