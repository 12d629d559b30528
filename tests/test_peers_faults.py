"""The silent faults of released miners, one test each: not ours, or found by `foils check` in a file that has it.

S1 to S7 sentence-transformers, S8 to S10 FlagEmbedding, S11 contrastors, S12 ms-swift, S13 NeMo Automodel, S14
teraflop, S15 Tevatron, S16 ANCE, S17 PyHealth.
"""

import hashlib
import logging
import os
import random
import subprocess
import sys

import numpy as np
import pytest

import foils
from foils.core.errors import DataError
from foils.core.formats import load
from foils.core.pairs import CANDIDATE, POSITIVE
from foils.core.thresholds import ceiling
from foils.export import Shape, export
from foils.mine import Miner
from little import HashEncoder, OverlapReranker, write_jsonl


def negatives(mined, data):
    kept = mined.kept(data)
    return set(kept.take(kept.label == CANDIDATE).key.tolist())


def found(path, data=None):
    return {finding.code for finding in foils.check(path, data).findings if finding.count}


@pytest.fixture
def collection(tmp_path):
    """Of ten topics with four documents each; the query on a topic has two positives."""
    corpus = [{"id": f"d{i}", "text": f"topic{i % 10} fact{i} detail{i % 7}"} for i in range(40)]
    rows = [{"query": f"topic{t} please", "positive_id": [f"d{t}", f"d{t + 10}"]} for t in range(10)]
    return load(rows, corpus=corpus, cache=tmp_path / "cache")


def test_s01_new_weights_in_the_same_folder_are_encoded_again(data, tmp_path):
    def mine(encoder, out, cache):
        miner = Miner(cache=tmp_path / cache)
        stage = foils.parse("Dense('student', k=5)")
        return negatives(miner.mine(data, stage, split="train", seed=0, encoders={"student": encoder}, out=out), data)

    old, new = HashEncoder("base", salt=0), HashEncoder("base", salt=1)
    before = mine(old, tmp_path / "a", "cache")
    after = mine(new, tmp_path / "b", "cache")
    assert new.calls > 0
    assert after != before
    assert after == mine(HashEncoder("base", salt=1), tmp_path / "c", "fresh")


def test_s02_a_cross_encoder_without_a_bound_still_decides(data, tmp_path):
    class Counting(OverlapReranker):
        fingerprint, pairs = "overlap/negated", 0

        def score(self, queries, docs):
            self.pairs += len(queries)
            return -super().score(queries, docs)

    judge = Counting()
    mined = foils.mine(
        data, "BM25(k=20) >> CrossEncoder('judge') >> Top(k=2)", encoders={"judge": judge}, out=tmp_path / "a"
    )
    pairs = mined.pairs(data)
    assert judge.pairs >= len(pairs)
    plain = foils.mine(data, "BM25(k=20) >> Top(k=2)", out=tmp_path / "b")
    assert negatives(mined, data) != negatives(plain, data)
    for query in pairs.queries[:10].tolist():
        here = pairs.take((pairs.query == query) & (pairs.label == CANDIDATE))
        assert here["judge"][here.dropped == 0].min() >= here["judge"][here.dropped != 0].max()


def test_s03_a_misspelt_column_is_refused(tmp_path):
    rows = [{"id": 1, "anchr": "a question", "positive": "an answer"}]
    with pytest.raises(DataError, match="Did you mean 'anchr'"):
        load(rows, cache=tmp_path)
    with pytest.raises(DataError, match="no column 'anchor' for 'query'"):
        load(rows, columns={"query": "anchor"}, cache=tmp_path)


def test_s04_a_copy_in_other_case_and_spacing_is_no_negative(data, models, tmp_path):
    copy, original = data.corpus.rows_of(["copy-of-d3", "d3"]).tolist()
    mined = foils.mine(data, "BM25(k=300) + Dense('student', k=300)", encoders=models, out=tmp_path / "a")
    pairs = mined.kept(data)
    asks = pairs.query[(pairs.label == POSITIVE) & (pairs.doc == original)]
    assert len(asks)
    assert not (np.isin(pairs.query, asks) & np.isin(pairs.doc, [copy, original]) & (pairs.label == CANDIDATE)).any()
    write_jsonl(tmp_path / "r.jsonl", [{"query": "q", "positive": "The  Answer.", "negative": "the answer."}])
    assert found(tmp_path / "r.jsonl") == {"positive-among-negatives"}


def test_s05_draws_depend_on_the_seed_and_on_nothing_else(data, tmp_path):
    def draw(seed, out):
        random.seed(seed + int(out))
        np.random.seed(int(out))
        return negatives(foils.mine(data, "BM25(k=20) >> Uniform(k=3)", seed=seed, out=tmp_path / out), data)

    assert draw(0, "1") == draw(0, "2") != draw(1, "3")


def test_s06_what_a_tuple_leaves_out_is_counted_and_told(data, tmp_path, caplog):
    mined = foils.mine(data, "BM25(k=6) >> Between(lo=3.0) >> Top(k=4)", out=tmp_path / "a")
    short = sum(n for kept, n in mined.manifest["counts"]["kept_per_query"].items() if 0 < int(kept) < 4)
    assert short
    with caplog.at_level(logging.WARNING):
        written = export(mined, data, "n-tuple", shape=Shape(k=4))
    dropped = sum(count for reason, count in written.dropped.items() if "fewer than 4 negatives" in reason)
    assert dropped >= short
    assert "fewer than 4 negatives" in caplog.text


def test_s07_a_rank_window_counts_raw_ranks_wherever_it_stands(data, models, tmp_path):
    def mine(pipeline, out):
        return negatives(foils.mine(data, pipeline, encoders=models, out=tmp_path / out), data)

    window, margin = "Ranks(lo=4, by='student')", "PositiveAware(margin=0.2, by='student')"
    after = mine(f"Dense('student', k=20) >> {margin} >> {window}", "a")
    before = mine(f"Dense('student', k=20) >> {window} >> {margin}", "b")
    assert after == before
    pairs = foils.Negatives.open(tmp_path / "a").kept(data)
    assert pairs.ranks["student"][pairs.label == CANDIDATE].min() >= 4


def test_s08_a_query_on_two_rows_has_both_positives(tmp_path):
    corpus = [{"id": f"d{i}", "text": f"shared words and number {i}"} for i in range(6)]
    rows = [{"query": "shared words", "positive": "d0"}, {"query": "Shared  words", "positive": "d1"}]
    data = load(rows, corpus=corpus, cache=tmp_path / "cache")
    kept = foils.mine(data, "BM25(k=6)", out=tmp_path / "a").kept(data)
    assert kept.doc[kept.label == CANDIDATE].tolist() == [2, 3, 4, 5]
    rows = [{"query": "q", "pos": ["a"], "neg": ["b"]}, {"query": "q", "pos": ["b"], "neg": ["c"]}]
    write_jsonl(tmp_path / "r.jsonl", rows)
    assert found(tmp_path / "r.jsonl") == {"sibling-positive"}


def test_s09_short_lists_stay_short_and_hold_nothing_twice(collection, tmp_path):
    mined = foils.mine(collection, "BM25(k=40) >> Ranks(lo=3) >> Top(k=10)", out=tmp_path / "a")
    kept = mined.kept(collection)
    sizes = np.bincount(kept.query[kept.label == CANDIDATE], minlength=10)
    assert sizes.max() < 10  # two documents of the topic are left, and no filler joins them
    assert len(np.unique(kept.key)) == len(kept)
    counts = mined.manifest["counts"]
    assert sum(n for size, n in counts["kept_per_query"].items() if int(size) < counts["wanted_per_query"]) == 10
    write_jsonl(tmp_path / "r.jsonl", [{"query": "q", "pos": ["a"], "neg": ["b", "c", "b"]}])
    assert found(tmp_path / "r.jsonl") == {"duplicate-negative"}


def test_s10_the_hash_seed_of_python_changes_no_byte(beir, tmp_path):
    code = (
        "import sys, foils; "
        "foils.mine(foils.load(sys.argv[1]), 'BM25(k=20) + Random(k=5) >> Uniform(k=4)', seed=3, out=sys.argv[2])"
    )
    digests = set()
    for seed in ("1", "2"):
        out, cache = tmp_path / seed / "neg", str(tmp_path / seed / "cache")
        environment = {**os.environ, "PYTHONHASHSEED": seed, "FOILS_CACHE": cache}
        subprocess.run([sys.executable, "-c", code, str(beir), str(out)], check=True, env=environment)
        parts = sorted((out / "parts").iterdir())
        digests.add(hashlib.sha256(b"".join(part.read_bytes() for part in parts)).hexdigest())
    assert len(digests) == 1


def test_s11_the_positive_is_removed_and_given_negatives_stay(tmp_path):
    rows = [
        {"query": f"number {i}", "positive": f"the positive number {i}", "negatives": [f"given {i} a", f"given {i} b"]}
        for i in range(5)
    ]
    data = load(rows, cache=tmp_path / "cache")
    mined = foils.mine(data, "Load('given') + BM25(k=20)", out=tmp_path / "a").kept(data)
    for query, texts in enumerate(rows):
        docs = mined.doc[(mined.query == query) & (mined.label == CANDIDATE)]
        listed = data.corpus.texts(docs)
        assert texts["positive"] not in listed
        assert set(texts["negatives"]) <= set(listed)
    write_jsonl(tmp_path / "r.jsonl", [{**rows[0], "negatives": [rows[0]["positive"], "other"]}])
    assert found(tmp_path / "r.jsonl") == {"positive-among-negatives"}


def test_s12_nothing_is_padded_with_the_positive(collection, tmp_path):
    mined = foils.mine(collection, "BM25(k=40) >> Top(k=10)", out=tmp_path / "a")
    rows = export(mined, collection, "n-tuple", shape=Shape(k=10, short="null")).tables["train"].to_pylist()
    assert any(row["negative_10"] is None for row in rows)
    for row in rows:
        listed = [row[f"negative_{i}"] for i in range(1, 11)]
        assert row["positive"] not in listed
    write_jsonl(tmp_path / "r.jsonl", [{"query": "q", "pos": ["a"], "neg": ["b", "a", "a"]}])
    assert found(tmp_path / "r.jsonl") == {"positive-among-negatives", "duplicate-negative"}


def test_s13_filtered_documents_are_gone_and_margins_know_signs(data, models, tmp_path):
    mined = foils.mine(
        data, "Dense('student', k=30) >> PositiveAware(by='student') >> Top(k=20)", encoders=models, out=tmp_path / "a"
    )
    rows = export(mined, data, "nemo", scores="student").tables["train"].to_pylist()
    assert all(np.isfinite(doc["score"]) for row in rows for doc in row["neg_doc"])
    assert len({row["question_id"] for row in rows}) == len(rows)
    assert ceiling(np.array([-10.0]), 0.05, "relative").tolist() == [-10.5]  # below, on either side of 0
    lonely = Miner(without_positives="keep").mine(
        data, foils.parse("BM25(k=300)"), split="train", seed=0, encoders={}, out=tmp_path / "b"
    )
    kept = lonely.kept(data)
    query = data.queries.rows_of(["lonely"])[0]
    assert not (kept.label[kept.query == query] == POSITIVE).any()
    docs = {"pos_doc": [{"id": "a", "score": 1}], "neg_doc": [{"id": "b", "score": float("-inf")}]}
    write_jsonl(tmp_path / "r.jsonl", [{"question_id": 1, "question": "q", **docs}])
    assert found(tmp_path / "r.jsonl") == {"bad-score"}
    write_jsonl(tmp_path / "n.jsonl", [{"query": "q", "pos": [], "neg": ["b"]}])
    assert found(tmp_path / "n.jsonl") == {"no-positive"}


def test_s14_uneven_blocks_do_not_show(data, models, tmp_path):
    stage = foils.parse("Dense('student', k=9) >> Uniform(k=3)")
    made = [
        Miner(block=block).mine(data, stage, split="train", seed=0, encoders=models, out=tmp_path / str(block))
        for block in (1, 44, 1024)  # 45 queries: 45 blocks, 44 and a single one, one
    ]
    parts = [[part.read_bytes() for part in mined.parts()] for mined in made]
    assert parts[0] == parts[1] == parts[2]


def test_s15_asking_for_more_than_there_is_pads_with_nothing(collection, tmp_path):
    mined = foils.mine(
        collection, "Dense('student', k=1000)", encoders={"student": HashEncoder()}, out=tmp_path / "a"
    ).kept(collection)
    assert len(np.unique(mined.key)) == len(mined) == 10 * len(collection.corpus)
    assert np.bincount(mined.doc).tolist() == [10] * len(collection.corpus)  # the last document is not special


def test_s16_no_positive_of_a_query_is_its_negative(data, collection, models, tmp_path):
    for name, of, pipeline in (
        ("a", data, "Dense('student', k=300) + BM25(k=300) + Random(k=200)"),
        ("b", collection, "Dense('student', k=40) + Random(k=20)"),
    ):
        mined = foils.mine(of, pipeline, encoders=models, out=tmp_path / name)
        known = set(of.positives("train").key.tolist())
        assert not negatives(mined, of) & known
    rows = [{"query": f"topic{t} please", "positive_id": [f"d{t}"], "negative_id": [f"d{t + 10}"]} for t in range(10)]
    write_jsonl(tmp_path / "r.jsonl", rows)
    assert foils.check(tmp_path / "r.jsonl", collection)["sibling-positive"].count == 10


def test_s17_bm25_compares_with_the_query_and_knows_all_positives(tmp_path):
    corpus = [
        {"id": "p", "text": "violin concerto"},
        {"id": "like-the-positive", "text": "violin concerto sonata"},
        {"id": "like-the-query", "text": "glacier moves slowly"},
        {"id": "p2", "text": "glacier erosion"},
    ]
    rows = [{"query": "how does a glacier move", "positive": ["p", "p2"]}]
    data = load(rows, corpus=corpus, cache=tmp_path / "cache")
    kept = foils.mine(data, "BM25(k=4)", out=tmp_path / "a").kept(data)
    assert data.corpus.id_list(kept.doc[kept.label == CANDIDATE]) == ["like-the-query"]
