"""Oracles: numpy on the whole score matrix, trec_eval's own order (pytrec_eval), and round trips through files."""

import numpy as np
import pytest
import pytrec_eval
from hypothesis import given, settings
from hypothesis import strategies as st

from foils.adapters.callables import CallableEncoder
from foils.core.errors import DataError
from foils.core.pairs import Pairs
from foils.evaluate import ranking as rankings
from foils.evaluate.measures import Judge, parse

TREC = {"nDCG@10": "ndcg_cut_10", "AP": "map", "RR": "recip_rank", "R@5": "recall_5"}


def hashed(texts, kind):
    """Small integers as vectors, so that many scores tie."""
    return np.array([[len(t) % 3, t.count("e") % 3, t.count("w"), 1] for t in texts], np.float32)


def run_of(scores):
    """A run with those scores: one row per query, one column per document."""
    query, doc = np.nonzero(np.isfinite(scores))
    return Pairs.build(query, doc, scores={"run": scores[query, doc]})


def trec_eval(path, qrels):
    with path.open() as file:
        run = pytrec_eval.parse_run(file)
    return pytrec_eval.RelevanceEvaluator(qrels, set(TREC.values())).evaluate(run)


def test_encoder_ranking_equals_a_full_sort(data, tmp_path):
    rows = data.query_rows("test")
    got = rankings.by_encoder(data, CallableEncoder(hashed), rows, 7, tmp_path)
    scores = hashed(data.queries.texts(rows), "query") @ hashed(data.corpus.texts(), "document").T
    for i, row in enumerate(rows):
        best = sorted(range(len(data.corpus)), key=lambda d: (-scores[i, d], d))[:7]
        assert got.doc[got.query == row].tolist() == best
        assert got.ranks["run"][got.query == row].tolist() == list(range(1, 8))


def test_depth_beyond_the_corpus_lists_every_document_once(data, tmp_path):
    got = rankings.by_encoder(data, CallableEncoder(hashed), data.query_rows("test"), 1000, tmp_path)
    assert np.diff(got.starts).tolist() == [len(data.corpus)] * len(data.query_rows("test"))


def test_progress_names_the_work(data, tmp_path):
    told = []
    encoder = CallableEncoder(hashed, name="mine")
    rankings.by_encoder(data, encoder, data.query_rows("test"), 3, tmp_path, lambda *said: told.append(said))
    assert {what for what, _, _ in told} == {"encoding documents with mine", "encoding queries with mine"}
    assert all(0 <= done <= total for _, done, total in told)


def test_bm25_finds_only_documents_that_share_a_word(data, tmp_path):
    got = rankings.by_bm25(data, data.query_rows("test"), 100, tmp_path)
    queries, docs = data.queries.texts(), data.corpus.texts()
    for query, doc in zip(got.query, got.doc, strict=True):
        assert set(queries[query].split()) & set(docs[doc].split())


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_run_file_is_ranked_as_trec_eval_does(data, nested_qrels, tmp_path_factory, seed):
    generator = np.random.default_rng(seed)
    path = tmp_path_factory.mktemp("run") / "a.run"
    rows = data.query_rows("test")
    lines = [
        # Scores tie often, and some differ only beyond float32, which is where trec_eval stops reading.
        f"{query} Q0 d{doc} 0 {generator.integers(0, 4) + generator.choice([0.0, 1e-12])} tag\n"
        for query in data.queries.id_list(rows)
        for doc in generator.choice(40, size=20, replace=False)
    ]
    path.write_text("".join(lines))
    got = Judge(parse(list(TREC)), data.qrels("test"), rows).per_query(rankings.by_run_file(data, path))
    oracle = trec_eval(path, nested_qrels)
    for ours, theirs in TREC.items():
        expected = [oracle[query][theirs] for query in data.queries.id_list(rows)]
        assert got[ours] == pytest.approx(expected, abs=1e-12)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_a_written_run_measures_the_same_in_trec_eval(data, nested_qrels, tmp_path_factory, seed):
    generator = np.random.default_rng(seed)
    path = tmp_path_factory.mktemp("run") / "a.run"
    rows = data.query_rows("test")
    values = np.array(
        [-2.5, -0.0, 0.0, 1e-40, 0.1, 0.1000000015, 3e38], np.float32
    )  # ties, signs, subnormals, extremes
    run = rankings.ordered(run_of(generator.choice(values, size=(len(data.queries), 40))), "run")
    run = run.take(np.isin(run.query, rows))
    rankings.write_run(run, data, path)
    got = Judge(parse(list(TREC)), data.qrels("test"), rows).per_query(run)
    oracle = trec_eval(path, nested_qrels)
    for ours, theirs in TREC.items():
        expected = [oracle[query][theirs] for query in data.queries.id_list(rows)]
        assert got[ours] == pytest.approx(expected, abs=1e-12)
    again = rankings.by_run_file(data, path)
    assert (again.query.tolist(), again.doc.tolist()) == (run.query.tolist(), run.doc.tolist())


def test_scores_without_ties_are_written_unchanged(data, tmp_path):
    run = rankings.ordered(run_of(np.random.default_rng(5).normal(size=(3, 40)).astype(np.float32)), "run")
    rankings.write_run(run, data, tmp_path / "a.run", tag="my system")
    fields = [line.split() for line in (tmp_path / "a.run").read_text().splitlines()]
    np.testing.assert_array_equal(np.array([row[4] for row in fields], np.float32), run.scores["run"])
    assert {row[5] for row in fields} == {"my_system"}
    assert [int(row[3]) for row in fields[:3]] == [1, 2, 3]


def test_own_documents_are_those_with_the_same_id(data):
    own = rankings.own_documents(data, data.query_rows("test"))
    assert (own.query.tolist(), own.doc.tolist()) == ([0, 1], [3, 8])


def test_removed_pairs_leave_no_gap():
    run = rankings.ordered(run_of(np.array([[5, 4, 3, 2], [1, 2, 3, 4]], np.float32)), "run")
    got = rankings.without(run, Pairs.build([0, 1, 7], [1, 3, 2]), depth=2)
    assert got.doc.tolist() == [0, 2, 2, 1]
    assert got.ranks["run"].tolist() == [1, 2, 1, 2]


def test_pairs_without_a_score_have_no_rank():
    with pytest.raises(DataError, match="1 of 2 rows have no score 'run'"):
        rankings.ordered(Pairs.build([0, 0], [1, 2], scores={"run": [1.0, np.nan]}), "run")
