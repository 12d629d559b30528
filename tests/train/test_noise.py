"""Wrong positives in a collection that can be learnt: they are found, and training with their weights is better off."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import foils
from foils.adapters import exact
from foils.adapters.models import load_encoder
from foils.core.pairs import POSITIVE
from foils.follow import follow
from foils.recipe import load_recipe
from foils.stages import MixtureNoise, Random
from foils.train import TrainOptions, TrainSpec, train
from foils.train.dev import make_dev, measures
from train.conftest import make_learnable

OPTIONS = TrainOptions(batch_size=16, learning_rate=0.1, dev_share=0)


@pytest.fixture(scope="module")
def noisy(tmp_path_factory, _own_cache):
    """The same collection with four in ten training positives drawn at random, and which queries those are of."""
    folder = tmp_path_factory.mktemp("noisy") / "words"
    make_learnable(folder, docs=200, queries=1200)
    path, rng = folder / "qrels" / "train.tsv", np.random.default_rng(0)
    head, *lines = path.read_text().splitlines()
    wrong = set()
    for i, line in enumerate(lines):
        query, doc, grade = line.split("\t")
        if i % 5 < 2:
            other = f"d{rng.integers(200)}"
            wrong |= {query} - ({query} if other == doc else set())
            lines[i] = "\t".join((query, other, grade))
    path.write_text("\n".join([head, *lines]) + "\n")
    data = foils.load(folder)
    return data, np.array([name in wrong for name in data.queries.ids.to_pylist()])


@pytest.fixture(scope="module")
def warm(noisy, static_path, tmp_path_factory):
    """A few epochs of plain training."""
    out = tmp_path_factory.mktemp("warm") / "run"
    return train(noisy[0], TrainSpec(), str(static_path), out=out, options=replace(OPTIONS, epochs=3)).model


def ndcg(data, model):
    encoder = load_encoder(str(model))
    every = make_dev(data, "test", data.query_rows("test"), TrainOptions(dev_queries=10_000, dev_docs=10_000))
    asked = encoder.encode(data.queries.texts(every.queries), "query")
    found, _ = exact.search(asked, encoder.encode(data.corpus.texts(every.docs), "document"), 10)
    return measures(every.docs[found], every.relevant)["nDCG@10"]


def test_errors_are_found(noisy, warm, tmp_path):
    data, wrong = noisy
    pipeline = Random(k=2) >> MixtureNoise("student")
    kept = foils.mine(data, pipeline, encoders={"student": load_encoder(str(warm))}, out=tmp_path / "noisy").kept(data)
    positive = kept.take(kept.label == POSITIVE)
    doubted, errors = positive["weight"] == 0, wrong[positive.query]
    assert 0.3 < errors.mean() < 0.5
    assert doubted[errors].mean() > 0.8
    assert doubted[~errors].mean() < 0.1


def test_the_recipe_learns_in_spite_of_errors(noisy, warm, tmp_path):
    data, _ = noisy
    options = replace(OPTIONS, epochs=3)
    result = follow(load_recipe("npc"), data, str(warm), out=tmp_path / "npc", options=options)
    plain = train(data, TrainSpec(), str(warm), out=tmp_path / "plain", options=options)
    assert ndcg(data, result.run.model) > ndcg(data, plain.model) + 0.03
