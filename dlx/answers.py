"""Answers: the verdicts of each variant of a study, left in the home by runs so that a listing need not judge anew."""

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

from dlx.claims import Verdict
from dlx.declaration import Declaration, variant_file, variants
from dlx.store import Store
from dlx.study import FULL


@dataclasses.dataclass(frozen=True)
class Answer:
    """The verdicts of one variant; ``finals``: how many final trials it has."""

    variant: str
    finals: int
    verdicts: tuple[Verdict, ...]


def keep(store: Store, declaration: Declaration, verdicts: Sequence[Verdict]) -> None:
    """Leave the verdicts of a variant in the home; raises StoreError."""
    finals = int(sum(declaration.grid["finals"].to_pylist()))
    content = {"finals": finals, "verdicts": [dataclasses.asdict(v) for v in verdicts]}
    store.documents.keep(_file(declaration.variant), json.dumps(content, indent=1, ensure_ascii=False))


def answer(store: Store) -> Answer | None:
    """The answer of the largest variant that has one: the full study's, else that of most final trials."""
    found = [one for variant in variants(store) if (one := _read(store, variant)) is not None]
    return max(found, key=lambda one: (one.variant == FULL, one.finals), default=None)


def _read(store: Store, variant: str) -> Answer | None:
    try:
        text = store.documents.text(_file(variant))
        if text is None:
            return None
        content = json.loads(text)
        return Answer(variant, int(content["finals"]), tuple(map(_verdict, content["verdicts"])))
    except (ValueError, TypeError, KeyError) as e:
        store.documents.mistrust(_file(variant), e)
        return None


def _verdict(fields: dict[str, Any]) -> Verdict:
    p = None if fields["p"] is None else float(fields["p"])
    reasons = tuple(map(str, fields["reasons"]))
    return Verdict(**{**fields, "outcome": str(fields["outcome"]), "p": p, "reasons": reasons})


def _file(variant: str) -> str:
    return variant_file("verdicts", variant, "json")
