"""Shards: what is written, kept, rejected and opened again."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from typing import ClassVar

import numpy as np
import pytest

import foils
from foils.core.collection import Collection, find
from foils.core.errors import DataError, SpecError, StoreError
from foils.core.spec import declare
from foils.core.text import normalised
from foils.writing import Author, Desk, Draft, Edit, Options, Role, Wanted, run, write
from foils.writing.drafts import Drafts, read
from killing import Killed, die_at

FREE = Options(checks="none", positives=9)


@declare
class Turned(Author):
    """The words of the positive in another order, and one more: for tests."""

    family: ClassVar[Role] = "negative"
    k: int = 1  # drafts for each row

    def write(self, wanted: Wanted, desk: Desk) -> Iterator[Draft]:
        draws = desk.uniform("shuffled", wanted)
        texts = desk.data.corpus.bodies(wanted.doc)
        for query, doc, text, draw in zip(wanted.query.tolist(), wanted.doc.tolist(), texts, draws, strict=True):
            desk.tally["rows"] += 1
            for number in range(self.k):
                words = text.split()
                at = int(draw * len(words))
                kind = "even" if number % 2 == 0 else "odd"
                yield Draft(query, doc, "", " ".join([*words[at:], *words[:at], str(number)]), kind, made={"at": at})


@declare
class Asks(Author):
    """A question of each document: for tests."""

    family: ClassVar[Role] = "query"

    def write(self, wanted: Wanted, desk: Desk) -> Iterator[Draft]:
        for doc, text in zip(wanted.doc.tolist(), desk.data.corpus.bodies(wanted.doc), strict=True):
            yield Draft(None, doc, "", f"what of {text}?", "ask")


def drafted(tmp_path, *rows):
    path = tmp_path / "drafts.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return f"FromFile({str(path)!r})"


def test_rows_of_the_base_are_the_same_and_what_was_written_follows(data, tmp_path):
    made = write(data, Turned(), out=tmp_path / "shard", options=FREE)
    whole = made.collection()
    n = len(data.corpus)
    assert whole.base.fingerprint == data.fingerprint
    assert whole.corpus.id_list(np.arange(n)) == data.corpus.id_list()
    assert whole.corpus.texts(np.arange(n)) == data.corpus.texts()
    assert len(whole.corpus) - n == made.record["report"]["documents"] == made.record["report"]["accepted"] > 50
    assert whole.same[:n].tolist() == data.same.tolist()
    assert whole.same[n:].tolist() == list(range(n, len(whole.corpus)))
    assert whole.splits == data.splits
    for split in data.splits:
        assert whole.qrels(split).key.tolist() == data.qrels(split).key.tolist()
    links = whole.written
    assert len(links) == made.record["report"]["written"]
    assert (links.doc >= n).all()
    assert (np.diff(links.query) >= 0).all()
    told = whole.corpus.metadata(links.doc[:5])
    assert [one["written"]["query"] for one in told] == data.queries.id_list(links.query[:5])
    assert [one["written"]["source"] for one in told] == data.corpus.id_list(links.source[:5])
    assert whole.corpus.rows_of(whole.corpus.id_list(links.doc)).tolist() == links.doc.tolist()


def test_drafts_that_are_rejected_are_kept_with_the_reason(data, tmp_path):
    query = data.queries.id_list(data.query_rows("train")[:2])
    copy = data.corpus.bodies(data.corpus.rows_of(["d5"]))[0]
    title = data.corpus.titles(data.corpus.rows_of(["d5"]))[0]
    text = " ".join(["one two three four five six seven eight nine ten"])
    author = drafted(
        tmp_path,
        {"query_id": query[0], "text": text},
        {"query_id": query[0], "text": text.upper()},
        {"query_id": query[1], "text": text},
        {"query_id": query[1], "text": f" {copy.upper()}", "title": title},
        {"query_id": query[1], "text": "too short"},
    )
    made = write(data, author, out=tmp_path / "shard")
    table = read(tmp_path / "shard").to_pylist()
    assert [row["reason"] and row["reason"].split(":")[0] for row in table] == [
        None,
        "repeated",
        None,
        "copy",
        "length",
    ]
    assert table[4]["reason"].startswith("length: 0.1")
    assert made.record["report"]["rejected"] == {"copy": 1, "length": 1, "repeated": 1}
    whole = made.collection()
    assert len(whole.corpus) == len(data.corpus) + 1, "one text is one document"
    assert len(whole.written) == 2, "which was written for two queries"
    assert len(read(tmp_path / "shard", rejected=False)) == 2
    assert {row["id"] for row in table} == {whole.corpus.id_list([len(data.corpus)])[0], None}


@pytest.mark.parametrize("block", [1, 7, 1024])
def test_the_block_changes_no_byte(data, tmp_path, block, monkeypatch):
    monkeypatch.setattr(run, "PART", 16)
    write(data, Turned(k=2), out=tmp_path / "a", options=FREE)
    write(data, Turned(k=2), out=tmp_path / "b", options=Options(checks="none", positives=9, block=block))
    for name in ("corpus.arrow", "written.arrow", "drafts.parquet", "queries.arrow", "qrels.arrow"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name


def test_parts_change_no_text(data, tmp_path, monkeypatch):
    write(data, Turned(k=2), out=tmp_path / "a", options=FREE)
    monkeypatch.setattr(run, "PART", 5)
    write(data, Turned(k=2), out=tmp_path / "b", options=FREE)
    a, b = (Collection.open(tmp_path / name) for name in "ab")
    assert a.fingerprint == b.fingerprint
    assert read(a.path).equals(read(b.path))


@pytest.mark.parametrize("number", [1, 3])
def test_a_killed_run_goes_on(data, tmp_path, monkeypatch, number):
    monkeypatch.setattr(run, "PART", 16)
    expected = write(data, Turned(), out=tmp_path / "whole", options=FREE)
    with pytest.MonkeyPatch.context() as patch:
        die_at(patch, Drafts, "write", number, after=True)
        with pytest.raises(Killed):
            write(data, Turned(), out=tmp_path / "shard", options=FREE)
    assert not (tmp_path / "shard").exists()
    with pytest.raises(StoreError, match="unfinished run of another command"):
        write(data, Turned(k=2), out=tmp_path / "shard", options=FREE)
    with pytest.MonkeyPatch.context() as patch:
        die_at(patch, Drafts, "finish", 1)
        with pytest.raises(Killed):
            write(data, Turned(), out=tmp_path / "shard", options=FREE)
    seen = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Turned, "write", lambda *_: seen.append(1))
        made = write(data, Turned(), out=tmp_path / "shard", options=FREE)
    assert not seen, "everything was there already"
    assert made.collection().fingerprint == expected.collection().fingerprint
    assert made.record["tally"] == expected.record["tally"] == {"rows": made.record["report"]["drafts"]}
    assert sorted(p.name for p in (tmp_path / "shard").iterdir()) == sorted(
        p.name for p in (tmp_path / "whole").iterdir()
    )


def test_a_finished_one_is_opened_and_another_one_refused(data, tmp_path):
    first = write(data, Turned(), out=tmp_path / "shard", options=FREE)
    with pytest.MonkeyPatch.context() as patch:
        die_at(patch, Turned, "write", 1)
        again = write(data, Turned(), out=tmp_path / "shard", options=FREE)
    assert again.record["fingerprint"] == first.record["fingerprint"]
    with pytest.raises(StoreError, match="seed 0 instead of 1"):
        write(data, Turned(), out=tmp_path / "shard", seed=1, options=FREE)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").write_text("mine")
    with pytest.raises(StoreError, match="no shard"):
        write(data, Turned(), out=tmp_path / "other", options=FREE)
    replaced = write(data, Turned(), out=tmp_path / "shard", seed=1, options=Options(checks="none", overwrite=True))
    assert replaced.record["fingerprint"] != first.record["fingerprint"]


def test_shards_stack(data, tmp_path):
    lower = write(data, Turned(), out=tmp_path / "a", options=FREE).collection()
    upper = write(lower, Turned(k=2), out=tmp_path / "b", options=FREE).collection()
    n = len(lower.corpus)
    assert upper.corpus.id_list(np.arange(n)) == lower.corpus.id_list()
    assert upper.base.fingerprint == data.fingerprint
    # The first draft of each row is a text that is there already: the same document.
    assert len(upper.corpus) - n == len(lower.corpus) - len(data.corpus)
    assert len(upper.written) == 3 * len(lower.written)
    asked = write(upper, Asks(), out=tmp_path / "c", options=Options(checks="none", limit=20)).collection()
    assert asked.splits == (*data.splits, "written")
    known = asked.positives("written")
    assert (known.query >= len(data.queries)).all()
    assert (known.doc < len(data.corpus)).all()
    assert len(asked.query_rows("written")) == 20
    more = write(asked, Turned(), out=tmp_path / "d", split="written", options=FREE).collection()
    assert set(more.written.query.tolist()) - set(upper.written.query.tolist()) == set(known.query.tolist())
    assert more.positives("written").key.tolist() == known.key.tolist()
    moved = pickle.loads(pickle.dumps(more))
    assert (moved.fingerprint, moved.splits) == (more.fingerprint, more.splits)
    view = more.subset({"train": ("train", data.query_rows("train")[:5]), "more": ("written", known.query[:3])})
    assert view.base.splits == ("train",)
    assert len(view.base.query_rows("train")) == 5
    assert pickle.loads(pickle.dumps(view)).fingerprint == view.fingerprint != more.fingerprint


def test_found_by_fingerprint_and_the_base_from_the_cache(data, beir, tmp_path):
    made = write(data, Turned(), out=tmp_path / "shard", options=FREE).collection()
    assert find(made.fingerprint, made.name).path == made.path
    (tmp_path / "shard").rename(tmp_path / "moved")
    with pytest.raises(DataError, match="not in the cache"):
        find(made.fingerprint, made.name)
    assert foils.load(tmp_path / "moved").fingerprint == made.fingerprint
    assert find(made.fingerprint, made.name).path == tmp_path / "moved"
    header = json.loads((tmp_path / "moved" / "shard.json").read_text())
    header["base"]["path"] = str(tmp_path / "gone")
    (tmp_path / "moved" / "shard.json").write_text(json.dumps(header))
    assert foils.load(tmp_path / "moved").base.fingerprint == data.fingerprint
    header["base"]["fingerprint"] = "0" * 32
    (tmp_path / "moved" / "shard.json").write_text(json.dumps(header))
    with pytest.raises(DataError, match="written for is neither"):
        foils.load(tmp_path / "moved")


def test_a_damaged_shard_is_refused_by_name(data, tmp_path):
    write(data, Turned(), out=tmp_path / "s", options=FREE)
    (tmp_path / "s" / "written.arrow").unlink()
    with pytest.raises(DataError, match=r"incomplete: it has no written.arrow"):
        foils.load(tmp_path / "s")
    (tmp_path / "s" / "shard.json").write_text("{")
    with pytest.raises(DataError, match="not JSON"):
        foils.load(tmp_path / "s")


def test_nothing_is_written_from_what_is_held_out(data, tmp_path):
    made = write(data, Turned(), out=tmp_path / "a", options=FREE)
    held = set(data.positives("test").doc.tolist())
    links = made.collection().written
    assert not held & set(links.source.tolist())
    assert not set(data.query_rows("test").tolist()) & set(links.query.tolist())
    asked = write(data, Asks(), out=tmp_path / "q", options=Options(checks="none")).collection()
    assert not held & set(asked.positives("written").doc.tolist())
    with pytest.raises(SpecError, match=r"held out.*--leaks keep"):
        write(data, Turned(), out=tmp_path / "c", split="test", options=FREE)


def test_a_positive_that_is_shared_with_a_test_query_is_held_out_unless_asked_for(tmp_path):
    pairs = {
        "train": [{"query": "a?", "positive": "shared text"}, {"query": "b?", "positive": "own text"}],
        "test": [{"query": "c?", "positive": "Shared  text"}, {"query": "b?", "positive": "own words"}],
    }
    data = foils.load(pairs)
    with pytest.raises(DataError, match=r"2 are held out.*--leaks keep"):
        write(data, Turned(), out=tmp_path / "a", options=FREE)
    pairs["train"].append({"query": "d?", "positive": "free text"})
    data = foils.load(pairs)
    made = write(data, Turned(), out=tmp_path / "a", options=FREE)
    assert made.record["report"]["skipped"] == 2
    assert data.queries.texts(made.collection().written.query) == ["d?"]
    free = write(data, Turned(), out=tmp_path / "b", options=Options(checks="none", leaks="keep"))
    assert data.queries.texts(free.collection().written.query) == ["a?", "b?", "d?"]


def test_queries_that_are_asked_already_are_no_new_ones(data, tmp_path):
    known = data.queries.texts(data.query_rows("test")[:1])[0]
    path = tmp_path / "queries.jsonl"
    rows = [
        {"doc_id": "d7", "text": known.upper()},
        {"doc_id": "d7", "text": "new?"},
        {"doc_id": "d8", "text": "New?"},
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    options = Options(checks="none", leaks="keep")
    made = write(data, f"FromFile({str(path)!r}, of='query')", out=tmp_path / "s", options=options)
    reasons = [row["reason"] for row in read(tmp_path / "s").to_pylist()]
    assert reasons == ["copy: the text of a query", None, "repeated: written already"]
    assert made.collection().queries.texts([len(data.queries)]) == ["new?"]


def test_a_paraphrase_has_the_positives_of_its_query(data, tmp_path):
    counts = np.bincount(data.positives("train").query)
    row = int(np.flatnonzero(counts > 1)[0])
    path = tmp_path / "queries.jsonl"
    doc = data.positives("train").doc[data.positives("train").query == row]
    path.write_text(json.dumps({"query_id": data.queries.id_list([row])[0], "text": "said again"}))

    @declare
    class Again(Author):
        """Says a query again."""

        family: ClassVar[Role] = "positive"

        def write(self, wanted: Wanted, desk: Desk) -> Iterator[Draft]:
            for query, first in zip(wanted.query.tolist(), wanted.doc.tolist(), strict=True):
                if query == row:
                    yield Draft(query, first, "", "said again", "again", role="query")

    made = write(data, Again(), out=tmp_path / "s", options=FREE).collection()
    assert made.positives("written").doc.tolist() == sorted(doc.tolist())


def test_limits_are_drawn_by_ids(data, tmp_path):
    made = write(data, Turned(), out=tmp_path / "a", options=Options(checks="none", limit=5)).collection()
    assert len(np.unique(made.written.query)) == 5
    assert np.bincount(made.written.query).max() == 1
    other = write(data, Turned(), out=tmp_path / "b", seed=3, options=Options(checks="none", limit=5)).collection()
    assert set(other.written.query.tolist()) != set(made.written.query.tolist())


def test_edits_and_how_it_was_made_are_kept(data, tmp_path):
    @declare
    class Edits(Author):
        """Changes the first word."""

        family: ClassVar[Role] = "negative"

        def write(self, wanted: Wanted, desk: Desk) -> Iterator[Draft]:
            for query, doc in zip(wanted.query.tolist(), wanted.doc.tolist(), strict=True):
                text = desk.data.corpus.bodies([doc])[0]
                word = text.split()[0]
                edit = Edit(0, len(word), word, "Grimly")
                yield Draft(query, doc, "", f"Grimly{text[len(word) :]}", "word", (edit,), {"why": ["ä"]})

    made = write(data, Edits(), out=tmp_path / "s")
    assert made.record["report"]["accepted"] > 10, "an edited text may repeat its source"
    row = read(tmp_path / "s").to_pylist()[0]
    assert row["edits"] == [
        {"start": 0, "end": row["edits"][0]["end"], "before": row["edits"][0]["before"], "after": "Grimly"}
    ]
    assert json.loads(row["made"]) == {"why": ["ä"]}


def test_a_draft_without_text_is_rejected_with_its_fault(data, tmp_path):
    @declare
    class Fails(Author):
        """Gets nothing."""

        family: ClassVar[Role] = "negative"

        def write(self, wanted: Wanted, desk: Desk) -> Iterator[Draft]:
            yield Draft(int(wanted.query[0]), int(wanted.doc[0]), "", "", "x", fault="no JSON")
            yield Draft(int(wanted.query[0]), int(wanted.doc[0]), "", " ", "x")

    made = write(data, Fails(), out=tmp_path / "s")
    assert [row["reason"] for row in read(tmp_path / "s").to_pylist()] == ["schema: no JSON", "schema: empty"]
    whole = made.collection()
    assert (len(whole.corpus), len(whole.written)) == (len(data.corpus), 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"limit": 0}, "at least 1"),
        ({"checks": "Longth()"}, "Did you mean 'Length'"),
        ({"checks": "Length() + Length(high=3)"}, "there twice"),
        ({"checks": "Below('teacher')"}, "the models given are: none"),
        ({"leaks": "drop"}, "'skip' or 'keep'"),
    ],
)
def test_what_cannot_be_is_refused(data, tmp_path, options, message):
    with pytest.raises(SpecError, match=message):
        write(data, Turned(), out=tmp_path / "s", options=Options(**options))
    with pytest.raises(SpecError, match="is a check, not a author"):
        write(data, "Length()", out=tmp_path / "s")
    with pytest.raises(DataError, match="no split"):
        write(data, Turned(), out=tmp_path / "s", split="tran")


def test_ids_are_made_of_the_texts(data, tmp_path):
    made = write(data, Turned(), out=tmp_path / "s", options=FREE).collection()
    n = len(data.corpus)
    texts, ids = made.corpus.texts(np.arange(n, len(made.corpus))), made.corpus.id_list(np.arange(n, len(made.corpus)))
    assert all(name.startswith("written:") for name in ids)
    assert len(set(ids)) == len(ids) == len(set(map(normalised, texts)))
