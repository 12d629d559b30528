"""The source of written documents, and that no other source finds them."""

from __future__ import annotations

import numpy as np
import pytest

import foils
from contract.test_stages import TESTED, facts, run, same
from foils.core.errors import DataError, SpecError
from foils.core.pairs import CANDIDATE, POSITIVE
from foils.core.spec import full, parse
from foils.mine import Miner
from foils.stages import BM25, BiEncoder, Context, Dense, PositiveNeighbours, Random, Written
from foils.train.rows import make_rows
from little import make_shard

SOURCES = [stage for stage in TESTED.values() if stage.family == "source"]
INDEXES = ["bits", "lsh", "hnsw", "ivf-flat"]
OTHERS = [stage for stage in TESTED.values() if stage.family != "source" and type(stage).__name__ != "RankPrior"]


@pytest.fixture
def over(shard, models, cache):
    """A context over all training queries of the collection with what was written for it."""

    def make(seed: int = 0, data=shard) -> Context:
        rows = data.query_rows("train")
        return Context(data, "train", seed, rows, rows, models, cache)

    return make


def test_text_form():
    stage = parse("Written(k=2, kinds=['bait'], of='positive')")
    assert parse(repr(stage)) == parse(full(stage)) == stage
    with pytest.raises(SpecError, match="at least 1"):
        Written(k=0)
    with pytest.raises(SpecError, match="at least one"):
        Written(kinds=[])


@pytest.mark.parametrize("source", [*SOURCES, *(Dense("student", k=6, index=kind) for kind in INDEXES)], ids=repr)
def test_no_source_finds_what_was_written(source, context, over, data):
    if isinstance(source, Dense) and source.index != "exact":
        pytest.importorskip("faiss")
    alone, beside = run(source, context()), run(source, over())
    assert beside.doc.max() < len(data.corpus)
    assert facts(alone)["rows"] == facts(beside)["rows"]
    for name, values in facts(alone)["scores"].items():
        other = facts(beside)["scores"][name]
        np.testing.assert_allclose([other[key] for key in values], list(values.values()), rtol=2e-6)


def test_the_texts_are_bait(over, shard, models):
    """Were they searched, they would come first: the test above could fail."""
    ctx = over()
    vectors = ctx.vectors("student", "document")
    best = (ctx.vectors("student", "query") @ vectors.T).argmax(axis=1)
    assert (best >= len(shard.base.corpus)).mean() > 0.9


def test_each_query_gets_its_own(over, shard, data):
    pairs = run(Written(), over())
    found = pairs.take(pairs.label == CANDIDATE)
    assert set(found.doc.tolist()) >= set(range(len(data.corpus), len(data.corpus) + 20))
    texts = zip(shard.queries.texts(found.query), shard.corpus.texts(found.doc), strict=True)
    assert all(text in (f"{query} indeed", f"{query} of course") for query, text in texts)
    assert np.bincount(found.query)[found.queries].tolist() == [2] * len(shard.query_rows("train"))
    assert sorted(set(found.ranks["written"].tolist())) == [1, 2]
    only = run(Written(kinds=["lure"]), over())
    assert all(text.endswith("of course") for text in shard.corpus.texts(only.doc[only.label == CANDIDATE]))


def test_some_of_them_by_ids(over):
    one, two = run(Written(k=1), over()), run(Written(k=1), over(seed=5))
    assert (np.bincount(one.query[one.label == CANDIDATE]) <= 1).all()
    assert len(one) == len(two)
    assert set(one.key.tolist()) != set(two.key.tolist())
    assert same(one, run(Written(k=1), over(), block=1))
    both = run(Written(), over())
    first = both.take((both.label == POSITIVE) | (both.ranks["written"] == 1))
    assert set(first.key.tolist()) == set(one.key.tolist()), "k takes the first of the ranks"


def test_scores_are_completed(over, shard):
    ctx = over()
    pool = run(Dense("student", k=5) + BM25(k=5) + Written(k=1), ctx)
    written = pool.ranks["written"] > 0
    assert written.sum() == len(shard.query_rows("train"))
    assert not np.isnan(pool.scores["student"]).any()
    assert not np.isnan(pool.scores["bm25"]).any()
    queries, docs = shard.queries.texts(pool.query[written]), shard.corpus.texts(pool.doc[written])
    model = ctx.encoders["student"]
    expected = (model.encode(queries, "query") * model.encode(docs, "document")).sum(axis=1)
    np.testing.assert_allclose(pool.scores["student"][written], expected, atol=1e-5)
    assert (pool.scores["bm25"][written] > 0).all()
    after = run(Dense("student", k=5) >> Written(k=1) >> BiEncoder("teacher"), ctx)
    assert not np.isnan(after.scores["student"]).any()
    near = run(PositiveNeighbours("bm25", k=3) + Written(), ctx)
    assert not np.isnan(near.scores["bm25.positive"][near.alive]).any()


def test_bm25_of_texts_that_are_not_in_the_index(over, data):
    index = over().bm25(0.9, 0.4, "english")
    queries = data.queries.texts(np.arange(12))
    at, doc = np.divmod(np.arange(12 * 60), 60)
    expected = index.score(queries, at, doc)
    assert (expected > 0).sum() > 100
    found = index.score_texts(queries, at, data.corpus.texts(doc))
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    longer = [f"{text} unheard of wordings" for text in data.corpus.texts(doc)]
    lower = index.score_texts(queries, at, longer)
    assert (lower[expected > 0] < expected[expected > 0]).all(), "words that no document has count for the length"


def test_positives_become_positives(over, shard, tmp_path):
    ctx = over()
    pairs = run(Written(of="positive") + Dense("student", k=5), ctx)
    promoted = (pairs.label == POSITIVE) & (pairs.ranks["written"] > 0)
    assert promoted.sum() == -(-len(shard.query_rows("train")) // 3)
    assert all(text.endswith(" rightly") for text in shard.corpus.texts(pairs.doc[promoted]))
    assert not np.isnan(pairs.scores["student"][promoted]).any()
    mined = foils.mine(
        shard, "Written(of='positive') + BM25(k=6) >> Top(k=2, by='bm25')", out=tmp_path / "neg", encoders={}
    )
    assert mined.manifest["counts"]["promoted"] == promoted.sum()
    rows = make_rows(shard, "train", queries=shard.query_rows("train"), negatives=mined.kept(shard))
    assert (rows.doc >= len(shard.base.corpus)).sum() == promoted.sum()


def test_mined_kept_and_read_again(shard, tmp_path):
    mined = Miner().mine(
        shard,
        parse("(BM25(k=10) >> Top(k=2)) + Written(k=1)"),
        split="train",
        seed=0,
        encoders={},
        out=tmp_path / "neg",
    )
    kept = mined.kept(mined.collection())
    negative = kept.label == CANDIDATE
    assert np.bincount(kept.query[negative])[kept.queries].tolist() == [3] * len(kept.queries)
    assert (np.bincount(kept.query[negative & (kept.ranks["written"] > 0)])[kept.queries] == 1).all()
    sources = {name for table in mined for name in table["source"].to_pylist() if name != "qrels"}
    assert "written" in sources
    ids = {name for table in mined for name in table["doc"].to_pylist() if name.startswith("written:")}
    assert len(ids) == len(kept.queries)


@pytest.mark.parametrize("stage", OTHERS, ids=lambda stage: type(stage).__name__)
def test_every_other_stage_works_beside_them(stage, over, shard):
    """Filters, samplers and the rest take written candidates as any others."""
    from contract.test_stages import AFTER

    ctx = over()
    pool = BM25(k=8) + Dense("student", k=8) + Random(k=3) + Written()
    pipeline = pool >> AFTER[type(stage).__name__] >> stage if type(stage).__name__ in AFTER else pool >> stage
    out = pipeline(ctx.data.positives("train").bare(), ctx)
    at = out.find(ctx.data.positives("train"))
    assert (out.label[at] == POSITIVE).all()
    assert (out.ranks["written"] > 0).any()


def test_nothing_was_written(context, data, tmp_path, models, cache):
    with pytest.raises(DataError, match=r"no negative was written for 'little'. Write some: foils write"):
        run(Written(), context())
    rows = data.query_rows("train")
    some = make_shard(data, tmp_path / "s", everywhere=False).under  # no positives below
    ctx = Context(some, "train", 0, rows, rows, models, cache)
    with pytest.raises(DataError, match="no positive was written"):
        run(Written(of="positive"), ctx)
    with pytest.raises(DataError, match=r"nothing of kind 'lura'.*'bait', 'lure'. Did you mean 'lure'"):
        run(Written(kinds=["lura"]), ctx)


def test_queries_that_were_written_are_mined_for(shard, models, tmp_path):
    mined = foils.mine(shard, "BM25(k=5) >> Top(k=2)", split="written", out=tmp_path / "neg")
    kept = mined.kept(shard)
    assert kept.queries.min() >= len(shard.base.queries)
    assert kept.doc.max() < len(shard.base.corpus)
