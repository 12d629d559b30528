"""Queries made of documents: what asks for what, and what must not be asked."""

import json

import pytest

import foils
from foils.core.errors import DataError, SpecError
from foils.core.weak import write_weak

CORPUS = [
    {"_id": "a", "title": "Salt", "text": "Salt is mined. It was dear in 1802. Rome taxed it."},
    {"_id": "b", "title": "", "text": "Iron rusts. Rust is red."},
    {"_id": "c", "title": "Wood", "text": ""},
    {"_id": "d", "title": "What burns?", "text": "Wood burns"},
]


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "whole"
    (folder / "qrels").mkdir(parents=True)
    (folder / "corpus.jsonl").write_text("\n".join(map(json.dumps, CORPUS)))
    asked = [{"_id": "q", "text": "what  BURNS?"}, {"_id": "r", "text": "iron rusts."}]
    (folder / "queries.jsonl").write_text("\n".join(map(json.dumps, asked)))
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq\td\t1\nr\tb\t1\n")
    return foils.load(folder)


def asked(folder):
    made = foils.load(folder)
    pairs = made.positives("train")
    queries, docs = made.queries.texts(pairs.query), made.corpus.id_list(pairs.doc)
    return dict(zip(docs, queries, strict=True)), dict(zip(made.corpus.id_list(), made.corpus.texts(), strict=True))


def test_titles_ask_for_texts_that_lost_them(data, tmp_path):
    queries, docs = asked(write_weak(data, tmp_path / "weak", "titles"))
    assert queries == {"a": "Salt"}, "no title, no text, and a title that is a test query"
    assert docs["a"] == CORPUS[0]["text"]
    assert set(docs) == {"a", "b", "c", "d"}


def test_a_sentence_asks_for_the_rest(data, tmp_path):
    seen, kept = set(), 0
    for seed in range(60):
        queries, docs = asked(write_weak(data, tmp_path / f"weak{seed}", "sentences", seed))
        assert set(queries) <= {"a", "b"}
        assert queries.get("b") in (None, "Rust is red."), "a test query is never asked"
        sentence = queries["a"]
        seen.add(sentence)
        whole = CORPUS[0]["text"]
        stays = sentence in docs["a"]
        kept += stays
        assert docs["a"] == ("Salt " + whole if stays else "Salt " + " ".join(whole.replace(sentence, "").split()))
    assert seen == {"Salt is mined.", "It was dear in 1802.", "Rome taxed it."}
    assert 1 <= kept <= 15


def test_same_seed_same_bytes(data, tmp_path):
    one, other = (write_weak(data, tmp_path / name, "sentences", 5) for name in ("one", "other"))
    for name in ("corpus.jsonl", "queries.jsonl", "qrels/train.tsv"):
        assert (one / name).read_bytes() == (other / name).read_bytes()


def test_refusals(data, tmp_path):
    with pytest.raises(SpecError, match="'titles' or 'sentences'"):
        write_weak(data, tmp_path / "weak", "abstracts")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    with pytest.raises(DataError, match="not empty"):
        write_weak(data, tmp_path / "full", "titles")
