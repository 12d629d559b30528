"""Checks of written queries against slow loops, and of what language models say around their texts."""

from __future__ import annotations

import numpy as np
import pytest

from foils.core.errors import PipelineError
from foils.writing import Desk, Draft
from foils.writing.llm.checks import Chatter, Generic, RoundTrip, Verbatim, Words, words_of


@pytest.fixture
def desk(data, cache, models):
    return Desk(data, "train", 0, cache, encoders=models)


def query(text, doc=0):
    return Draft(None, doc, "", text, "gpl", role="query")


def values(check, desk, *drafts):
    return check.measure(drafts, desk).tolist()


def written(data):
    """For each of many documents, some of its words, so that some queries find it and some do not."""
    rng = np.random.default_rng(0)
    texts = data.corpus.texts()
    return [query(" ".join(rng.choice(texts[doc].split(), 3)), doc) for doc in range(0, len(texts), 2)]


@pytest.mark.parametrize("k", [1, 3, 10])
def test_round_trip_keeps_exactly_what_finds_its_document(desk, data, models, k):
    """Oracle: sort all inner products; the first document with the text of the source counts."""
    drafts, encoder = written(data), models["student"]
    docs, asked = encoder.encode(data.corpus.texts(), "document"), [draft.text for draft in drafts]
    found = values(RoundTrip(k, "student"), desk, *drafts)
    for draft, vector, value in zip(drafts, encoder.encode(asked, "query"), found, strict=True):
        order = np.lexsort((np.arange(len(docs)), -(docs @ vector)))
        rank = 1 + next(i for i, row in enumerate(order) if data.same[row] == data.same[draft.doc])
        assert value == (rank if rank <= k else k + 1)
    passes = RoundTrip(k, "student").passes(np.array(found))
    assert 0 < passes.sum() < len(drafts)


def test_round_trip_by_bm25(desk, data):
    from foils.adapters.lexical import BM25Index

    drafts = [*written(data)[:40], query("qqq zzz")]
    ranked, _ = BM25Index.build(data.corpus, cache=desk.cache / "bm25").search([d.text for d in drafts], 5)
    expected = [
        next((i for i, row in enumerate(rows, 1) if row >= 0 and data.same[row] == data.same[d.doc]), 6)
        for d, rows in zip(drafts, ranked.tolist(), strict=True)
    ]
    assert values(RoundTrip(5), desk, *drafts) == expected
    assert expected[-1] == 6
    copies = np.flatnonzero(data.same != np.arange(len(data.same)))
    assert len(copies)  # a query from a copy finds the original as well
    own = data.corpus.texts([copies[0]])[0]
    assert values(RoundTrip(1), desk, query(own, int(copies[0]))) == [1]


def test_round_trip_without_its_encoder(desk):
    with pytest.raises(PipelineError, match="--encoder guide=MODEL"):
        RoundTrip(1, "guide").measure([query("a b c")], desk)
    with pytest.raises(PipelineError, match="'judge' is no bi-encoder"):
        RoundTrip(1, "judge").measure([query("a b c")], desk)
    assert RoundTrip(1, "student").encoders() == ("student",)
    assert RoundTrip(1).encoders() == ()


def longest(asked, told):
    """By trying every run."""
    runs = [asked[i:j] for i in range(len(asked)) for j in range(i + 1, len(asked) + 1)]
    inside = [len(run) for run in runs if any(told[i : i + len(run)] == run for i in range(len(told)))]
    return max(inside, default=0)


def test_copied_spans_against_a_slow_loop(desk, data):
    rng = np.random.default_rng(1)
    drafts = []
    for doc in range(30):
        told = words_of(data.corpus.texts([doc])[0])
        start, size = rng.integers(0, 5), rng.integers(0, 8)
        drafts.append(query(" ".join(["where", *told[start : start + size], "does", "it"]), doc))
    expected = []
    for draft in drafts:
        asked, told = words_of(draft.text), words_of(data.corpus.texts([draft.doc])[0])
        run = longest(asked, told)
        expected.append(run / len(asked) if run >= 4 else 0)
    found = values(Verbatim(), desk, *drafts)
    assert found == expected
    assert 0 < Verbatim(0.5).passes(np.array(found)).sum() < len(found)
    assert "66% of it is a span" in Verbatim(0.5).why(0.66)


def test_generic_queries(desk, data):
    """Share of the other documents that have the rarest word, counted by hand."""
    texts = [set(words_of(text)) for text in data.corpus.texts()]
    few = next(w for w in sorted(texts[0]) if sum(w in t for t in texts) == 1 or w == "0")
    common = max(sorted(texts[0]), key=lambda word: sum(word in t for t in texts))
    count = sum(common in text for text in texts)
    found = values(
        Generic(), desk, query(f"{common} {few}"), query(common), query("what is this passage about salt"), query("")
    )
    assert found == [max(0, sum(few in t for t in texts) - 1) / (len(texts) - 1), (count - 1) / (len(texts) - 1), 1, 1]
    assert values(Generic(), desk, query("unheard of zqx")) == [0]
    assert Generic().passes(np.array([0.1, 0.11])).tolist() == [True, False]


def test_words():
    found = Words().measure([query("copper ore"), query("東京 where"), query("how far is it")], None)
    assert found.tolist() == [2, 3, 4]
    assert Words().passes(found).tolist() == [False, True, True]
    assert Words().why(2) == "2 words, fewer than 3"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("Sure! Salt is mined.", True),
        ("Here is a document about salt.", True),
        ("As an AI I know little of salt.", True),
        ("This does not answer the query, but salt is mined.", True),
        ("A hard negative about salt.", True),
        ("Salt is mined. It is surely white, and here it is.", False),
        ("The answer to the question of salt is not known.", False),
    ],
)
def test_chatter(text, fault):
    draft = Draft(0, 0, "", text, "syneg", role="negative")
    assert Chatter().measure([draft], None).tolist() == [float(fault)]
    assert Chatter().passes(np.array([float(fault)])).tolist() == [not fault]


def test_only_queries_are_measured(desk):
    negative = Draft(0, 0, "", "text", "syneg", role="negative")
    for check in (Words(), Generic(), Verbatim(), RoundTrip()):
        assert np.isnan(values(check, desk, negative)).all()
        assert values(check, desk) == []
