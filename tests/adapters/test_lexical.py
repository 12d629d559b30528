import math
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import bm25s
import numpy as np
import pytest
import Stemmer

from foils.adapters import lexical
from foils.adapters.lexical import BM25Index
from foils.core import errors
from foils.core.errors import MissingExtra, SpecError

WORDS = (
    *("river rivers bank banking loans the a to flood floods flooded".split()),  # noqa: SIM905
    *("7 42 Straße café running runner runs and of".split()),  # noqa: SIM905
)
# Lucene's list for English
STOP = set(
    "a an and are as at be but by for if in into is it no not of on or such that the their then there these they this "  # noqa: SIM905
    "to was will with".split()
)


def analyse(text, language):
    words = re.findall(r"\w\w+", text.lower())
    if language is None:
        return words
    stemmer = Stemmer.Stemmer(language)
    return [stemmer.stemWord(word) for word in words if word not in STOP]


def slow_bm25(docs, query, k1, b, language):
    """Lucene's formula, one (token, document) after the other."""
    docs = [analyse(doc, language) for doc in docs]
    average = sum(map(len, docs)) / len(docs)
    scores = []
    for doc in docs:
        score, counts = 0.0, Counter(doc)
        for token in analyse(query, language):
            df = sum(token in other for other in docs)
            if counts[token]:
                idf = math.log(1 + (len(docs) - df + 0.5) / (df + 0.5))
                score += idf * counts[token] / (counts[token] + k1 * (1 - b + b * len(doc) / average))
        scores.append(score)
    return scores


@pytest.fixture(scope="module")
def docs():
    rng = np.random.default_rng(0)
    drawn = [" ".join(rng.choice(WORDS, rng.integers(1, 12))) for _ in range(60)]
    return [*drawn, "", "...", *drawn[:20]]  # two without words, twenty repeated: exact ties


QUERIES = [
    "flooded rivers",
    "Running banks, running!",
    "the of and",
    "",
    "zebra",
    "STRASSE straße Café",
    "42 7 loan",
    "runs",
]


@pytest.mark.parametrize(("k1", "b", "language"), [(0.9, 0.4, "english"), (1.5, 0.75, None), (0.5, 0.0, "english")])
def test_agrees_with_the_formula(texts, docs, tmp_path, k1, b, language):
    index = BM25Index.build(texts(docs), k1=k1, b=b, language=language, cache=tmp_path)
    every = np.arange(len(docs))
    for query in QUERIES:
        wanted = slow_bm25(docs, query, k1, b, language)
        got = index.score([query], np.zeros(len(docs), np.int64), every)
        assert got == pytest.approx(wanted, rel=1e-5)
        assert got.dtype == np.float32


@pytest.mark.parametrize(("k1", "b"), [(0.9, 0.4), (1.5, 0.75)])
def test_agrees_with_bm25s_own_scores_and_search(texts, docs, tmp_path, k1, b):
    theirs = bm25s.BM25(k1=k1, b=b, method="lucene")
    theirs.index([analyse(doc, "english") for doc in docs], show_progress=False)
    index = BM25Index.build(texts(docs), k1=k1, b=b, cache=tmp_path)
    for query in QUERIES:
        tokens = [token for token in analyse(query, "english") if token in theirs.vocab_dict]
        if not tokens:
            continue
        wanted = theirs.get_scores(tokens)
        every = np.arange(len(docs))
        assert index.score([query], np.zeros(len(docs), np.int64), every) == pytest.approx(wanted, rel=1e-5)
        rows, scores = index.search([query], 10)
        _, best = theirs.retrieve([tokens], k=10, show_progress=False)
        found = rows[0] >= 0
        assert scores[0][found] == pytest.approx(best[0][best[0] > 0], rel=1e-5)
        assert wanted[rows[0][found]] == pytest.approx(scores[0][found], rel=1e-5)


def test_search_is_the_sorted_score_with_ties_by_row(texts, docs, tmp_path):
    index = BM25Index.build(texts(docs), cache=tmp_path)
    for k in (1, 3, 10, len(docs), 200):
        rows, scores = index.search(QUERIES, k)
        assert (rows.dtype, scores.dtype, rows.shape) == (np.int32, np.float32, (len(QUERIES), k))
        for i in range(len(QUERIES)):
            every = index.score(QUERIES, np.full(len(docs), i), np.arange(len(docs)))
            best = sorted((-float(score), row) for row, score in enumerate(every) if score > 0)[:k]
            assert rows[i].tolist() == [row for _, row in best] + [-1] * (k - len(best))
            assert scores[i, : len(best)].tolist() == [-score for score, _ in best]
            assert np.isneginf(scores[i, len(best) :]).all()


def test_no_shared_word_is_no_result(texts, docs, tmp_path):
    rows, scores = BM25Index.build(texts(docs), cache=tmp_path).search(["the of and", "", "zebra", "!"], 5)
    assert (rows == -1).all()
    assert np.isneginf(scores).all()


def test_blocks_change_nothing(texts, docs, tmp_path, monkeypatch):
    index = BM25Index.build(texts(docs), cache=tmp_path)
    whole = index.search(QUERIES, 7)
    pairs = np.array([5, 0, 5, 1, 7, 0]), np.array([3, 80, 4, 0, 61, 2])
    scores = index.score(QUERIES, *pairs)
    monkeypatch.setattr(lexical, "_CELLS", 1)
    parts = index.search(QUERIES, 7)
    assert all(a.tobytes() == b.tobytes() for a, b in zip(whole, parts, strict=True))
    assert index.score(QUERIES, *pairs).tobytes() == scores.tobytes()
    single = [index.search([query], 7) for query in QUERIES]
    assert np.concatenate([rows for rows, _ in single]).tobytes() == whole[0].tobytes()


def test_made_once_and_keyed_by_everything(texts, docs, tmp_path):
    source = texts(docs)
    first = BM25Index.build(source, cache=tmp_path).search(QUERIES, 9)
    asked = len(source.asked)
    again = BM25Index.build(source, cache=tmp_path).search(QUERIES, 9)
    assert len(source.asked) == asked  # no text is read again
    assert all(a.tobytes() == b.tobytes() for a, b in zip(first, again, strict=True))
    BM25Index.build(source, k1=1.2, cache=tmp_path)
    BM25Index.build(source, b=0.3, cache=tmp_path)
    BM25Index.build(source, language=None, cache=tmp_path)
    BM25Index.build(texts(docs[:-1]), cache=tmp_path)
    assert len([path for path in tmp_path.iterdir() if not path.name.startswith(".")]) == 5


def test_the_hash_seed_changes_no_byte(tmp_path):
    code = (
        "import sys, pathlib; sys.path.insert(0, sys.argv[2]); from conftest import ListTexts;"
        "from foils.adapters.lexical import BM25Index;"
        "t = ListTexts(f'word{i % 37} other{i % 11} thing{i % 5}' for i in range(300));"
        "BM25Index.build(t, cache=pathlib.Path(sys.argv[1]))"
    )
    kept = []
    for seed in ("1", "2"):
        cache = tmp_path / seed
        here = Path(__file__).parent
        subprocess.run(
            [sys.executable, "-c", code, cache, here], check=True, env={**os.environ, "PYTHONHASHSEED": seed}
        )
        files = sorted(path for path in cache.rglob("*") if path.is_file())
        kept.append({path.relative_to(cache): path.read_bytes() for path in files})
    assert kept[0] == kept[1]


def test_collections_without_a_word_or_a_document(texts, tmp_path):
    for content in (["", "!?", "the"], []):
        index = BM25Index.build(texts(content), cache=tmp_path)
        assert len(index) == len(content)
        rows, _ = index.search(["the river", ""], 4)
        assert rows.tolist() == [[-1] * 4] * 2
        assert index.score(["x"], np.zeros(0, np.int64), np.zeros(0, np.int64)).shape == (0,)


def test_other_languages(texts, tmp_path):
    german = BM25Index.build(texts(["die Häuser am Fluss", "ein Haus", "die"]), language="german", cache=tmp_path)
    assert german.search(["hauses häuser", "die"], 3)[0].tolist() == [[1, 0, -1], [-1, -1, -1]]
    finnish = BM25Index.build(texts(["talossa on kissa", "koira"]), language="finnish", cache=tmp_path)
    assert finnish.search(["talo"], 1)[0].tolist() == [[0]]  # a stemmer, but no stop words
    with pytest.raises(SpecError, match="Did you mean 'english'"):
        BM25Index.build(texts(["x"]), language="englsh", cache=tmp_path)


def test_says_what_to_install(texts, tmp_path, monkeypatch):
    def missing(module, extra):
        if module == "Stemmer":
            raise MissingExtra(module, extra)
        return errors.need(module, extra)

    monkeypatch.setattr(lexical, "need", missing)
    with pytest.raises(MissingExtra, match=r"foils\[bm25\]"):
        BM25Index.build(texts(["a text"]), cache=tmp_path)
    BM25Index.build(texts(["a text"]), language=None, cache=tmp_path)  # needs no stemmer


def test_refuses_rows_that_are_not_there(texts, tmp_path):
    index = BM25Index.build(texts(["one text", "another text"]), cache=tmp_path)
    with pytest.raises(IndexError, match="-1"):
        index.score(["text"], np.array([0]), np.array([-1]))
    with pytest.raises(ValueError, match="k=0"):
        index.search(["text"], 0)
