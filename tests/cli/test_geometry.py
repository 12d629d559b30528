"""What the vectors look like, beside the measures."""

from __future__ import annotations

import json

from foils.evaluate import retrieval
from little import HashEncoder
from shell import foils


def test_the_space_of_each_encoder_is_shown(beir, monkeypatch):
    import sys

    models = {"one": HashEncoder("one"), "other": HashEncoder("other", salt=3)}
    for module in (retrieval, sys.modules["foils.evaluate.space"]):
        monkeypatch.setattr(module, "load_encoder", models.__getitem__)
    asked = ("evaluate", str(beir), "-m", "one", "-m", "other", "-m", "bm25", "--measure", "nDCG@10", "--geometry")
    found = json.loads(foils(*asked, "--json"))
    assert [each["system"] for each in found["geometry"]] == ["one", "other"]
    assert found["geometry"][0]["figures"]["uniformity_documents"] < 0
    shown = foils(*asked)
    assert "effective rank" in shown
    assert max(map(len, shown.splitlines())) <= 80
    assert "geometry" not in json.loads(foils(*asked[:-1], "--json"))
