"""Every shipped recipe of several phases from its first to its last, with a tiny transformer, on a small collection."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

import foils
from foils.core.pairs import CANDIDATE, POSITIVE
from foils.core.spec import resolve
from foils.follow import Job, follow
from foils.recipe import load_recipe, shipped, source
from foils.store import Negatives
from foils.teach import TeachOptions
from foils.train import TrainOptions
from little import make_shard
from train.conftest import make_learnable, make_transformer

OPTIONS = TrainOptions(batch_size=8, max_steps=4, dev_share=0.1, dev_docs=30, negatives_per_row=4)
JOB = Job(teach=TeachOptions(max_steps=6, batch_size=4, learning_rate=1e-2, dev_share=0.3, dev_queries=20))


@pytest.fixture(scope="module")
def collection(tmp_path_factory, _own_cache):
    folder = make_learnable(tmp_path_factory.mktemp("phased") / "words", docs=70, queries=90)
    rows = [json.loads(line) for line in (folder / "corpus.jsonl").read_text().splitlines()]
    for row in rows:
        words = row["text"].split()
        row["text"] = " ".join(words[:2]) + "\n" + " ".join(words[2:])
    (folder / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    whole = foils.load(folder)
    # A few queries that nobody judged.
    return whole.subset({"train": ("train", whole.query_rows("train")[:50])})


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(make_transformer(tmp_path_factory.mktemp("bert"), dropout=0.0))


@pytest.fixture(scope="module")
def beside(collection, tmp_path_factory):
    """The collection with texts written for it."""
    return make_shard(collection, tmp_path_factory.mktemp("written") / "shards")


@pytest.mark.parametrize("name", [name for name in shipped() if len(load_recipe(name).phases) > 1])
def test_from_the_first_phase_to_the_last(name, collection, beside, model, tmp_path):
    recipe = load_recipe(name)
    collection = beside if recipe.family == "synthetic" else collection
    job = JOB if any(phase.teach for phase in recipe.phases) else Job()
    result = follow(recipe, collection, model, out=tmp_path / "run", job=job, options=OPTIONS)
    record = result.run.record
    assert [phase["name"] for phase in record["phases"]] == [phase.name for phase in recipe.phases]
    assert np.isfinite([entry["loss"] for entry in record["losses"]]).all()
    assert SentenceTransformer(str(result.run.model), device="cpu").encode("d1 d2").shape == (16,)
    for number, phase in enumerate(recipe.phases, 1):
        folder = tmp_path / "run" / "phases" / f"{number}-{phase.name}"
        if phase.mine is not None:
            mined = Negatives.open(folder / "negatives")
            assert mined.manifest["pipeline"] == repr(resolve(phase.mine, 0.0))
            logits = "scale='logit'" in mined.manifest["pipeline"]
            crossing = {column for column in mined.columns if "teacher" in column and not logits}
            for scores in (mined.pairs(collection).scores[column] for column in crossing):
                assert np.nanmin(scores) >= 0
                assert np.nanmax(scores) <= 1


def test_rocketqa_trusts_the_teacher_within_its_bounds(collection, model, tmp_path):
    text = tmp_path / "own.yaml"
    # A teacher of two steps is sure of nothing; the bounds are put where its scores are.
    text.write_text(
        source("rocketqa").replace("hi=0.1", "hi=0.5").replace("per='positive'", "hi=0.5").replace("at=0.9", "at=0.5")
    )
    result = follow(load_recipe(text), collection, model, out=tmp_path / "run", job=JOB, options=OPTIONS)
    denoised = Negatives.open(tmp_path / "run/phases/3-dual-1/negatives").pairs(collection)
    kept = denoised.alive & (denoised.label == CANDIDATE)
    assert kept.any()
    assert (denoised.scores["teacher"][kept] < 0.5).all()
    more = Negatives.open(tmp_path / "run/phases/4-dual-2/negatives").kept(collection)
    assert set(more.queries) <= set(collection.unjudged)
    assert (more.scores["teacher"][more.label == POSITIVE] > 0.5).all()
    counts = [phase["counts"]["queries"] for phase in result.run.record["phases"] if "counts" in phase]
    assert counts[-1] == counts[-2] + len(np.unique(more.query[more.label == POSITIVE]))


def test_multi_stage_takes_written_queries_where_there_are_some(beside, collection, model, tmp_path):
    runs = {}
    for name, data in (("with", beside), ("without", collection)):
        result = follow(load_recipe("multi-stage"), data, model, out=tmp_path / name, job=Job(), options=OPTIONS)
        runs[name] = result.run.record["phases"]
    first = json.loads((tmp_path / "with/phases/1-weak/run.json").read_text())
    assert first["settings"]["split"] == "written"
    assert not (tmp_path / "with/phases/1-weak-data").exists()
    assert (tmp_path / "without/phases/1-weak-data").exists()
    written = len(beside.query_rows("written"))
    assert 0.8 * written < runs["with"][0]["counts"]["queries"] <= written
    assert json.loads((tmp_path / "with/phases/2-in-batch/run.json").read_text())["settings"]["split"] == "train"
