"""A comparison on a collection with written texts: arms may use them, measurements do not know them."""

from __future__ import annotations

import json

from foils.study import StudyOptions, compare
from little import make_shard
from study.conftest import QUICK

OPTIONS = StudyOptions(seeds=1, budget=4, train=QUICK, rounds=200)
MIXED = {"name": "mixed", "mine": "Random(k=2) + Written(k=1)"}


def result(study, arm):
    return json.loads((study.out / "arms" / arm / "0" / "result.json").read_text())


def test_the_same_training_measures_the_same(words, start_path, tmp_path, here):
    shard = make_shard(words, tmp_path / "shards")
    alone = compare(words, ["in-batch"], start_path, out=tmp_path / "alone", options=OPTIONS)
    beside = compare(shard, ["in-batch", MIXED], start_path, out=tmp_path / "beside", options=OPTIONS)
    for arm in ("start", "in-batch"):
        for measure in alone.record["measures"]:
            assert beside[arm]["scores"][measure]["per_seed"] == alone[arm]["scores"][measure]["per_seed"]
    plain, mixed = result(beside, "in-batch"), result(beside, "mixed")
    assert plain["curve"] == result(alone, "in-batch")["curve"], "every look at dev"
    assert mixed["curve"][0] == plain["curve"][0]
    assert mixed["curve"][-1] != plain["curve"][-1]
    assert mixed["negatives"] == 3 * len(words.query_rows("train"))
    assert beside.record["data"] == shard.fingerprint
