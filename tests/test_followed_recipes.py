"""Every shipped recipe of one training, mined and trained for a few steps: what it names exists, and it learns."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

import foils
from foils.evaluate import evaluate
from foils.follow import Job, follow
from foils.pipelines import crossing
from foils.recipe import load_recipe, shipped
from foils.train import TrainOptions
from little import HashEncoder, OverlapReranker, make_shard
from train.conftest import make_learnable, make_static

OPTIONS = TrainOptions(batch_size=16, learning_rate=0.05, max_steps=12, dev_share=0)
NAMES = [name for name in shipped() if len(load_recipe(name).phases) == 1]


class Logits(OverlapReranker):
    scale = "logit"


@pytest.fixture(scope="module")
def collection(tmp_path_factory, _own_cache):
    """Queries share their words with documents, so that BM25 finds some; some queries are judged for ``dev``."""
    folder = make_learnable(tmp_path_factory.mktemp("followed") / "words", docs=80, queries=100)
    rows = [json.loads(line) for line in (folder / "queries.jsonl").read_text().splitlines()]
    for row in rows:
        row["text"] = row["text"].replace("q", "d", 2)
    (folder / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    docs = [json.loads(line) for line in (folder / "corpus.jsonl").read_text().splitlines()]
    for number, row in enumerate(docs):
        row["title"] = f"family {number // 4}"
    (folder / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in docs))
    data = foils.load(folder)
    train, dev = data.holdout("train", 0.4)
    return data.subset({"train": ("train", train), "dev": ("train", dev), "test": ("test", data.query_rows("test"))})


@pytest.fixture(scope="module")
def static(tmp_path_factory):
    return str(make_static(tmp_path_factory.mktemp("models") / "static"))


@pytest.fixture(scope="module")
def beside(collection, tmp_path_factory):
    """The collection with texts written for it."""
    return make_shard(collection, tmp_path_factory.mktemp("written") / "shards")


@pytest.mark.parametrize("name", NAMES)
def test_it_is_mined_and_trained(name, collection, beside, static, tmp_path):
    recipe = load_recipe(name)
    collection = beside if recipe.family == "synthetic" else collection
    cross = crossing(recipe.mine)
    others = (each for each in recipe.models() if each != "student")
    encoders = {each: Logits() if each in cross else HashEncoder() for each in others}
    result = follow(recipe, collection, static, out=tmp_path / "run", job=Job(encoders=encoders), options=OPTIONS)
    assert result.run.steps == 12
    assert np.isfinite([entry["loss"] for entry in result.run.record["losses"]]).all()
    if recipe.mine is not None:
        assert result.mined.manifest["counts"]["kept"] > 0
    start, trained = (
        evaluate(collection, model, split="test", measures=("nDCG@10",)).mean("nDCG@10")
        for model in (static, SentenceTransformer(str(result.run.model), device="cpu"))
    )
    assert trained != start
