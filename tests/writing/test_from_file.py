"""Drafts of another tool's file: which rows go with which pairs, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest

import foils
from foils.core.errors import DataError, SpecError
from foils.writing import Author, Desk, FromFile, Wanted


@pytest.fixture
def desk(data, cache):
    return Desk(data, "train", 0, cache)


def pairs(data):
    known = data.positives("train")
    return Wanted(known.query, known.doc)


def saved(tmp_path, *rows):
    path = tmp_path / "drafts.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return FromFile(str(path))


def drafts(author, desk, wanted, block=10_000):
    return [d for at in range(0, len(wanted), block) for d in author.write(wanted.take(slice(at, at + block)), desk)]


def test_text_form():
    author = foils.parse("FromFile('a.jsonl', of='query')", "author")
    assert isinstance(author, Author)
    assert (author.writes, repr(author)) == ("query", "FromFile('a.jsonl', of='query')")
    with pytest.raises(SpecError, match="negative, positive, query"):
        foils.parse("FromFile('a', of='foil')", "author")


def test_rows_go_to_their_pairs_whatever_the_block(data, desk, tmp_path):
    wanted = pairs(data)
    query, doc = data.queries.id_list(wanted.query), data.corpus.id_list(wanted.doc)
    author = saved(
        tmp_path,
        {"query_id": query[5], "doc_id": doc[5], "text": "first", "kind": "salt"},
        {"query_id": query[2], "text": "no document: the first positive", "title": "T"},
        {"query_id": query[5], "doc_id": doc[5], "text": "second"},
        {"query_id": query[5], "doc_id": doc[5], "text": "another role", "role": "positive"},
    )
    first = int(data.positives("train").doc[np.searchsorted(data.positives("train").query, wanted.query[2])])
    expected = [
        (int(wanted.query[2]), first, "T", "no document: the first positive", "file"),
        (int(wanted.query[5]), int(wanted.doc[5]), "", "first", "salt"),
        (int(wanted.query[5]), int(wanted.doc[5]), "", "second", "file"),
    ]
    for block in (1, 4, 1000):
        made = drafts(author, desk, wanted, block)
        assert [(d.query, d.doc, d.title, d.text, d.kind) for d in made] == expected


def test_queries_of_documents(data, desk, tmp_path):
    path = tmp_path / "queries.jsonl"
    path.write_text(json.dumps({"doc_id": "d7", "text": "what is seven?"}))
    row = data.corpus.rows_of(["d7"])
    wanted = Wanted(np.full(1, -1, np.int32), row)
    (made,) = FromFile(str(path), of="query").write(wanted, desk)
    assert (made.query, made.doc, made.text) == (None, int(row[0]), "what is seven?")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"query_id": "q1", "text": ""}, "1: no 'text'"),
        ({"text": "x"}, "1: no 'query_id'"),
        ({"query_id": "nobody", "text": "x"}, "unknown query_id 'nobody'"),
        ({"query_id": "q1", "doc_id": "nothing", "text": "x"}, "unknown doc_id 'nothing'"),
        ({"query_id": "q1", "text": "x", "role": "positive"}, "no row is for 'negative'"),
    ],
)
def test_unusable_rows_are_named(data, desk, tmp_path, row, message):
    with pytest.raises(DataError, match=message):
        drafts(saved(tmp_path, row), desk, pairs(data))


def test_unknown_columns_are_refused(data, desk, tmp_path):
    with pytest.raises(SpecError, match="Did you mean 'query_id'"):
        drafts(saved(tmp_path, {"queryid": "q1", "text": "x"}), desk, pairs(data))


def test_no_file(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        FromFile(str(tmp_path / "none.jsonl")).inputs()
