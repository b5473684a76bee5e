"""Verdicts that a home keeps: read back as they were, and mistrusted where they are no verdicts."""

import json

import pytest
from toys import go, valley

from dlx import claims
from dlx.answers import answer
from dlx.store import Store

CLAIM = claims.Lower("test/loss", {"width": 2}, than={"width": 1})


@pytest.mark.parametrize("change", [{"p": "<script>"}, {"p": {}}, {"reasons": 3}, {"more": 1}])
def test_what_is_no_verdict_is_no_answer(tmp_path, change):
    results = go(valley(claims=[CLAIM]), tmp_path)
    found = answer(Store("valley", str(tmp_path)))
    assert found is not None and found.verdicts == tuple(results.verdicts())
    file = tmp_path / "studies" / "valley" / "verdicts.json"
    content = json.loads(file.read_text())
    content["verdicts"][0] |= change
    file.write_text(json.dumps(content))
    store = Store("valley", str(tmp_path))
    assert answer(store) is None and "verdicts.json is damaged" in store.damaged[0]
