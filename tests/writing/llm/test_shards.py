"""From an endpoint to a shard, and on: replays, what is cut off, filters, judges, and GPL's labels."""

from __future__ import annotations

import json

import numpy as np
import pytest

import foils
import serving
from foils.adapters.llm import Access, LLMError
from foils.core.errors import SpecError
from foils.core.text import normalised
from foils.writing import Options, write
from foils.writing.drafts import read
from foils.writing.llm import Counterfactual, Paraphrase, Queries, SyNeg
from serving import Server, said


@pytest.fixture
def options(tmp_path):
    def make(url, **changes):
        access = Access(url=url, offline=changes.pop("offline", False))
        return Options(models=changes.pop("models", ["rule"]), access=access, cache=tmp_path / "cache", **changes)

    return make


@pytest.mark.parametrize("author", [SyNeg(k=2), Counterfactual(), Queries(k=2), Paraphrase(of="query")], ids=repr)
def test_a_replay_from_what_is_kept_gives_the_same_files(author, endpoint, options, data, tmp_path):
    server = endpoint(faults=0.3)
    first = write(data, author, out=tmp_path / "a", options=options(server.url, limit=12))
    report, spent = first.record["report"], first.record["spent"]
    assert report["drafts"] == 12 * author.k
    assert report["accepted"] > 0
    assert spent["calls"] > 0
    assert first.record["prompts"] == list(author.prompts())
    again = write(data, author, out=tmp_path / "b", options=options(None, limit=12, offline=True, block=5))
    assert again.record["spent"] == {"calls": 0, "kept": again.record["spent"]["kept"], "tokens": [0, 0]}
    for name in ("drafts.parquet", "corpus.arrow", "queries.arrow", "written.arrow", "qrels.arrow"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert first.collection().fingerprint == again.collection().fingerprint


def test_what_is_cut_off_goes_on(writer, options, data, tmp_path):
    """The endpoint goes down for good after seven replies; what it said is not asked for again."""

    def behave(body, number):
        down = number >= 7 and not back
        return serving.status(401, "gone") if down else serving.raw(json.dumps(writer.answer(body)).encode())

    back = []
    with Server(behave) as server:
        with pytest.raises(LLMError, match="gone"):
            write(data, SyNeg(), out=tmp_path / "a", options=options(server.url, limit=15))
        refused = server.asked - 7
        back.append(True)
        made = write(data, SyNeg(), out=tmp_path / "a", options=options(server.url, limit=15))
        assert server.asked == 15 + refused
    assert made.record["report"]["drafts"] == 15


def test_a_dry_run_asks_nobody(options, data, tmp_path):
    plan = write(data, SyNeg(k=2), out=tmp_path / "a", options=options(None, limit=10, dry_run=True)).record
    assert plan["calls"] == 20
    assert plan["kept"] == 0
    assert not (tmp_path / "a").exists()


def test_written_queries_are_those_that_find_their_document(endpoint, options, data, models, tmp_path):
    """Exactly the queries that no other check rejects and whose rank, sorted by hand, is within k."""
    encoder, k = models["student"], 5
    author = Queries(k=3, round_trip=k, encoder="student")
    made = write(data, author, out=tmp_path / "a", options=options(endpoint().url, limit=60, encoders=models))
    vectors = encoder.encode(data.corpus.texts(), "document")
    seen, expected = set(), []
    drafts = read(tmp_path / "a").to_pylist()
    for draft in drafts:
        scores = vectors @ encoder.encode([draft["text"]], "query")[0]
        order = np.lexsort((np.arange(len(scores)), -scores))[:k]
        doc = data.corpus.rows_of([draft["doc_id"]])[0]
        found = data.same[doc] in data.same[order]
        other = (draft["reason"] or "").split(":")[0] in ("words", "generic", "verbatim", "copy", "schema", "chatter")
        fresh = normalised(draft["text"]) not in seen
        expected.append(bool(found and fresh and not other))
        seen |= {normalised(draft["text"])} if found and not other else set()
    assert [draft["accepted"] for draft in drafts] == expected
    assert 0 < sum(expected) < len(expected)
    assert made.record["report"]["rejected"]["roundtrip.student"] > 0
    assert made.collection().queries.texts()[len(data.queries) :] == [
        draft["text"] for draft, good in zip(drafts, expected, strict=True) if good
    ]


def test_paraphrased_queries_have_the_positives_of_theirs(endpoint, options, data, tmp_path):
    made = write(data, Paraphrase("query"), out=tmp_path / "a", options=options(endpoint().url, limit=30)).collection()
    drafts = [draft for draft in read(tmp_path / "a").to_pylist() if draft["accepted"]]
    assert len(drafts) > 4
    known, written = data.positives("train"), made.qrels("written")
    for draft in drafts:
        query, again = data.queries.rows_of([draft["query_id"]])[0], made.queries.rows_of([draft["id"]])[0]
        assert set(written.doc[written.query == again]) == set(known.doc[known.query == query])


def test_a_judge_rejects_what_it_finds_relevant(writer, options, data, tmp_path):
    """The writer answers what the judge, another model at the same endpoint, finds relevant where 'salt' stands."""

    def behave(body, number):
        if body["model"] == "writer":
            made = writer.answer(body)
            return serving.raw(json.dumps(made).encode())
        judged.append(body["messages"][-1]["content"])
        found = serving_documents(judged[-1])
        grades = [{"id": i, "reason": "-", "grade": 3 if "salt" in text else 0} for i, text in enumerate(found, 1)]
        return said(json.dumps({"documents": grades}))

    judged = []
    with Server(behave) as server:
        how = options(server.url, models=["writer", "judge"], checks="Judged()", limit=20)
        made = write(data, SyNeg(), out=tmp_path / "a", options=how)
    drafts = read(tmp_path / "a").to_pylist()
    assert judged
    assert [draft["accepted"] for draft in drafts] == ["salt" not in draft["text"] for draft in drafts]
    assert 0 < made.record["report"]["rejected"]["judged"] < 20


def serving_documents(prompt):
    return prompt.split("Grade each of the following documents:")[1].split("Grades:")[0].split("<document id=")[1:]


class Contrary:
    """A cross-encoder of log-odds that often prefers the negative."""

    name, scale, fingerprint = "contrary", "logit", "contrary/1"

    def score(self, queries, docs):
        return np.array([len(q) % 5 - sum(map(ord, d)) % 11 for q, d in zip(queries, docs, strict=True)], np.float32)


def test_gpl_labels_are_margins_of_a_cross_encoder_with_their_sign(endpoint, options, data, tmp_path):
    """Mined for written queries and scored: CE(q, p+) - CE(q, p-), below 0 where the negative scores higher."""
    shard = write(data, Queries(k=2), out=tmp_path / "a", options=options(endpoint().url, limit=40)).collection()
    pipeline = "BM25(k=20) >> Top(k=5) >> CrossEncoder('judge')"
    mined = foils.mine(shard, pipeline, split="written", encoders={"judge": Contrary()}, out=tmp_path / "neg")
    pairs = mined.kept(shard)
    asked, told = shard.queries.texts(pairs.query), shard.corpus.texts(pairs.doc)
    scores = Contrary().score(asked, told)
    np.testing.assert_allclose(pairs.scores["judge"], scores)
    assert (pairs.query >= len(data.queries)).all()
    positive = {query: scores[i] for i, query in enumerate(pairs.query.tolist()) if pairs.label[i] == 1}
    negative = np.flatnonzero(pairs.label == 0)
    margins = np.array([positive[pairs.query[i]] - scores[i] for i in negative.tolist()])
    assert (margins < 0).any()
    assert (margins > 0).any()
    source = shard.qrels("written")
    assert set(zip(source.query.tolist(), source.doc.tolist(), strict=True)) <= {
        (q, d)
        for q, d, label in zip(pairs.query.tolist(), pairs.doc.tolist(), pairs.label.tolist(), strict=True)
        if label
    }


def test_stages_on_written_queries(endpoint, options, data, tmp_path):
    """Negatives in E5's manner for queries that were written: a shard on a shard."""
    server = endpoint()
    first = write(data, Queries(k=1), out=tmp_path / "a", options=options(server.url, limit=10)).collection()
    second = write(first, "E5Style(k=2)", out=tmp_path / "b", split="written", options=options(server.url))
    assert second.record["report"]["drafts"] == 2 * len(first.query_rows("written"))
    assert second.record["report"]["accepted"] > 0


def test_ones_own_bound_takes_the_place_of_an_authors(endpoint, options, data, tmp_path):
    url = endpoint().url
    usual = write(data, Queries(), out=tmp_path / "a", options=options(url, limit=20, checks="none")).record
    mine = write(data, Queries(), out=tmp_path / "b", options=options(url, limit=20, checks="Words(least=7)")).record
    assert "Words(least=3)" in usual["checks"]
    assert [text for text in mine["checks"] if text.startswith("Words")] == ["Words(least=7)"]
    assert "words" not in usual["report"]["rejected"]
    assert 0 < mine["report"]["rejected"]["words"] < mine["report"]["drafts"]


@pytest.mark.parametrize("author", ["SyNeg(k=Linear(1, 3))", "Queries(temperature=Cosine(0.0, 1.0))"])
def test_nothing_that_is_written_follows_a_schedule(author, options, data, tmp_path):
    with pytest.raises(SpecError, match="give numbers"):
        write(data, author, out=tmp_path / "a", options=options("http://127.0.0.1:9/v1"))


def test_an_unknown_author_says_where_they_are_listed():
    with pytest.raises(SpecError, match=r"Did you mean 'SyNeg'\? See: foils stages --kind author"):
        foils.parse("SyNegg()", "author")
