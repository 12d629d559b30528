"""What was written never enters evaluation, dev looks, or searches in training."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

import foils
from foils.adapters.models import load_encoder
from foils.audit.controls import controls
from foils.audit.population import opened
from foils.core.errors import DataError
from foils.core.pairs import Pairs
from foils.evaluate import evaluate
from foils.evaluate.retrieval import evaluate_all
from foils.evaluate.space import space
from foils.teach.dev import candidates
from foils.teach.options import TeachOptions
from foils.train.contrasts.bringer import Site
from foils.train.contrasts.cache import NegativeCache
from foils.train.contrasts.search import Search
from foils.train.dev import divide, make_dev
from foils.train.options import TrainOptions
from foils.train.rows import make_rows


@pytest.mark.parametrize("system", ["bm25", "student"])
@pytest.mark.parametrize("split", ["train", "test"])
def test_evaluation_is_that_of_the_collection(shard, data, models, system, split):
    model = models.get(system, system)
    alone, beside = (evaluate(one, model, split=split) for one in (data, shard))
    assert alone.per_query.keys() == beside.per_query.keys()
    for name, values in alone.per_query.items():
        np.testing.assert_array_equal(beside.per_query[name], values)
    assert beside.ranking.doc.tolist() == alone.ranking.doc.tolist()
    assert beside.ranking.doc.max() < len(data.corpus)


def test_a_ranking_with_written_documents_is_measured_without_them(shard, data):
    rows = data.query_rows("train")
    query, doc = data.positives("train").query, data.positives("train").doc
    written = shard.written
    both = Pairs.build(
        np.concatenate([query, written.query]),
        np.concatenate([doc, written.doc]),
        scores={"run": np.concatenate([np.ones(len(doc)), np.full(len(written), 9.0)])},
    )
    found = evaluate_all(shard, {"run": both}, split="train", measures=["RR@10"]).scores["run"]
    assert found.per_query["RR@10"].tolist() == [1.0] * len(rows)


def test_a_run_file_with_written_documents_is_refused(shard, data, tmp_path):
    name = shard.corpus.id_list([len(data.corpus)])[0]
    (tmp_path / "a.run").write_text(f"q0 Q0 {name} 1 2.0 x\n")
    with pytest.raises(DataError, match="written:"):
        evaluate(shard, tmp_path / "a.run", split="test")


def test_written_queries_are_not_measured_on(shard, models):
    with pytest.raises(DataError, match="were written, not asked"):
        evaluate(shard, models["student"], split="written")


def test_the_geometry_is_that_of_the_collection(shard, data, models):
    assert (
        space(shard, models["student"], split="train").figures == space(data, models["student"], split="train").figures
    )


def test_dev_looks_search_the_collection_only(shard, data):
    options = TrainOptions(dev_share=0.3, dev_docs=None)
    for one in (data, shard):
        stay, held, source = divide(one, "train", options, 0)
        assert source == "train"
        assert held.max() < len(data.queries)
        dev = make_dev(one, source, held, options)
        assert dev.docs.max() < len(data.corpus)
        assert len(dev.docs) == (data.same == np.arange(len(data.same))).sum()
    stay, held, source = divide(shard, "written", options, 0)
    assert source == "train"
    assert stay.tolist() == shard.query_rows("written").tolist()
    assert len(held)
    assert held.max() < len(data.queries)
    only = shard.subset({"written": ("written", shard.query_rows("written"))})
    stay, held, _ = divide(only, "written", options, 0)
    assert len(stay) == len(only.query_rows("written"))
    assert not len(held), "a written query is never measured on"
    mixed = shard.subset({"train": ("written", shard.query_rows("written"))})
    assert not len(divide(mixed, "train", options, 0)[1])


def test_teachers_are_measured_without_them(shard, data):
    written = shard.written
    known = data.positives("train")
    mined = Pairs.build(
        np.concatenate([known.query, written.query, known.query]),
        np.concatenate([known.doc, written.doc, (known.doc + 7) % 200]),
        np.concatenate([np.ones(len(known)), np.zeros(len(written)), np.zeros(len(known))]),
    )
    rows = make_rows(shard, "train", queries=shard.query_rows("train"), negatives=mined)
    assert rows.negatives.rows.max() >= len(data.corpus), "they are trained on"
    found = candidates(shard, rows, TeachOptions(dev_queries=20, dev_docs=30))
    assert found.doc.max() < len(data.corpus)
    assert found.rows.negatives.rows.max() < len(data.corpus)
    assert len(found.rows.negatives.rows) > 20


def test_search_and_cache_in_training_do_not_find_them(shard, data, models, cache, tmp_path):
    torch = pytest.importorskip("torch")
    from foils.train.carriers.search import Searching
    from foils.train.step import Step

    docs = np.concatenate([load_encoder(models["student"]).encode(shard.corpus.texts(), "document")])
    queries = models["student"].encode(shard.queries.texts(shard.query_rows("train")), "query")
    student = SimpleNamespace(encoder=lambda _: models["student"])
    site = Site(shard, student, None, 0, 1, 0, shard.query_rows("train"), docs, tmp_path / "vectors")
    found = Searching(Search(k=4), site).nearest(queries, 4)
    assert found.max() < len(data.corpus)
    assert (found >= 0).all()
    held = NegativeCache(64, temperature=1.0).open(site)
    asked = []

    def encode(rows, kind):
        asked.extend(rows.tolist())
        return torch.from_numpy(docs[rows])

    some = torch.zeros(1, dtype=torch.long)
    step = Step(
        query=some, doc=some, at=some, target=some, known=some[:, None], queries=torch.zeros(1, docs.shape[1]),
        docs=torch.zeros(1, docs.shape[1]), number=0, encode=encode,
    )  # fmt: skip
    held._fill(step)
    assert len(asked) == 64
    assert max(asked) < len(data.corpus)


def test_controls_of_an_audit_are_documents_of_the_collection(shard, data, tmp_path):
    mined = foils.mine(shard, "BM25(k=5) + Written(k=1)", out=tmp_path / "neg")
    found, whole = opened(mined, None)
    _, doc, positive = controls(found, whole, 50, 0)
    assert doc[~positive].max() < len(data.corpus)


def test_advice_looks_at_the_collection(shard, data):
    alone, beside = (foils.advise(one).to_dict()["look"] for one in (data, shard))
    for name in ("documents", "queries", "searched", "bm25", "copies", "document_words", "unjudged"):
        assert beside[name] == alone[name], name
