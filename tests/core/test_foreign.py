"""Files of other tools: written by our exports (which are checked against loops), by hand, and broken by hand."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from foils.core.errors import DataError, SpecError
from foils.core.foreign import READABLE, pairs_from, read_listing, resolve
from foils.core.formats import load
from foils.core.pairs import Pairs
from foils.export import Shape, export
from foils.mine import mine
from little import write_jsonl

JUDGED = {
    0: ([0], [(5, 0.5), (6, 0.9), (7, 0.7)]),
    1: ([1, 2], [(8, 0.1), (0, 0.4), (5, 0.3)]),
    2: ([3], [(9, 0.25), (1, 0.25), (6, 0.75)]),
}
FORMATS = [f for f in READABLE if f not in ("pairs", "trec")] + ["jsonl", "pylate"]
FOLDERS = ("ids", "pylate", "tevatron-ids", "nemo")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    corpus = [{"id": f"d{i}", "title": f"Title {i}" if i % 2 else "", "text": f"text of {i}, ünï"} for i in range(10)]
    rows = [
        {"query_id": f"q{q}", "query": f"question {q}?", "positive_id": [f"d{d}" for d in positives]}
        for q, (positives, _) in JUDGED.items()
    ]
    return load(rows, corpus=corpus, cache=tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def pairs():
    rows = [(q, d, 1, 0.95) for q, (positives, _) in JUDGED.items() for d in positives]
    rows += [(q, d, 0, score) for q, (_, negatives) in JUDGED.items() for d, score in negatives]
    query, doc, label, score = zip(*rows, strict=True)
    return Pairs.build(query, doc, label, scores={"dense": score})


def table(pairs, name=None):
    columns = [pairs.query, pairs.doc, pairs.label, *([np.round(pairs[name], 6)] if name else [])]
    return sorted(zip(*(column.tolist() for column in columns), strict=True))


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet", ""])
@pytest.mark.parametrize("scores", [None, "dense"])
@pytest.mark.parametrize("format", FORMATS)
def test_every_export_reads_back(data, pairs, tmp_path, format, scores, suffix):
    if (format in FOLDERS) != (suffix == "") and suffix != "":
        pytest.skip("a folder")
    if format == "pylate" and scores is None:
        pytest.skip("has scores")
    export(pairs, data, format, tmp_path / f"rows{suffix}", scores=scores)
    listing = read_listing(tmp_path / f"rows{suffix}")
    assert listing.layout == {"jsonl": "flag-embedding", "pylate": "ids"}.get(format, format)
    assert listing.scored == (scores is not None)
    back = pairs_from(listing, data)
    if listing.told or format != "labeled-pair":
        assert table(back, "run" if scores else None) == table(pairs, scores)
    else:
        assert table(back, "run")[0][:2] == table(pairs, scores)[0][:2]


@pytest.mark.parametrize("format", FOLDERS)
def test_tables_beside_the_rows_give_the_texts(data, pairs, tmp_path, format):
    export(pairs, data, format, tmp_path / "rows", scores="dense")
    listing = read_listing(tmp_path / "rows")
    used = np.unique(listing.doc)
    texts = dict(zip(listing.documents.id_list(used), listing.documents.texts(used), strict=True))
    assert texts["d1"] == "Title 1 text of 1, ünï"
    assert len(texts) == len(np.unique(pairs.doc))
    assert set(listing.queries.texts(np.unique(listing.asked))) == {f"question {q}?" for q in JUDGED}


def test_nemo_corpus_loads_as_its_reader_loads_it(data, pairs, tmp_path):
    import datasets

    export(pairs, data, "nemo", tmp_path / "rows", scores="dense")
    file = json.loads((tmp_path / "rows" / "train.json").read_text(encoding="utf-8"))
    assert file["corpus"] == {"path": "corpus"}
    folder = tmp_path / "rows" / file["corpus"]["path"]
    about = json.loads((folder / "merlin_metadata.json").read_text())
    assert about == {"class": "TextQADataset", "corpus_id": file["data"][0]["corpus_id"]}
    corpus = datasets.load_dataset(str(folder), cache_dir=str(tmp_path / "hf"))["train"]
    texts = dict(zip(corpus["id"], corpus["text"], strict=True))
    for row in file["data"]:
        assert {"question_id", "question", "corpus_id", "pos_doc", "neg_doc"} == set(row)
        assert all(texts[doc["id"]] and isinstance(doc["score"], float) for doc in row["pos_doc"] + row["neg_doc"])
    assert file["data"][0]["neg_doc"] == [
        {"id": "d6", "score": 0.9},
        {"id": "d7", "score": 0.7},
        {"id": "d5", "score": 0.5},
    ]


def test_tevatron_rows_make_the_texts_that_encoders_see(data, pairs, tmp_path):
    export(pairs, data, "tevatron", tmp_path / "t.jsonl")
    row = json.loads((tmp_path / "t.jsonl").read_text(encoding="utf-8").splitlines()[1])
    assert row["positive_passages"] == [
        {"docid": "d1", "text": "Title 1 text of 1, ünï"},
        {"docid": "d2", "text": "text of 2, ünï"},
    ]
    export(pairs, data, "tevatron-ids", tmp_path / "ids")
    rows = [json.loads(line) for line in (tmp_path / "ids" / "train.jsonl").read_text().splitlines()]
    assert rows[1]["positive_document_ids"] == ["d1", "d2"]
    assert rows[1]["query_text"] == "question 1?"


def test_pylate_lists_have_one_length_and_scores(data, tmp_path):
    ragged = Pairs.build([0, 0, 0, 1, 1], [0, 5, 6, 1, 8], [1, 0, 0, 1, 0], scores={"s": [0.9, 0.1, 0.2, 0.9, 0.3]})
    exported = export(ragged, data, "pylate", scores="score")
    assert exported.tables["train"].to_pylist()[0]["document_ids"] == ["d0", "d6", "d5"]
    assert (exported.rows, len(exported.dropped)) == (1, 1)
    assert export(ragged, data, "pylate", scores="s", shape=Shape(k=1)).rows == 2
    with pytest.raises(SpecError, match="scores='score'"):
        export(ragged, data, "pylate")


@pytest.mark.parametrize(
    ("row", "layout"),
    [
        ({"query": "question 0?", "pos": ["text of 0, ünï"], "neg": ["text of 6, ünï"]}, "flag-embedding"),
        ({"anchor": "Question  0?", "positive": "TEXT of 0, ünï", "negative": "text of 6, ünï"}, "triplet"),
        ({"question": "question 0?", "pos_doc": "text of 0, ünï", "neg_doc": ["text of 6, ünï"]}, "nemo"),
        (
            {"query": "question 0?", "pos_doc": [{"text": "text of 0, ünï"}], "neg_doc": [{"text": "text of 6, ünï"}]},
            "nemo",
        ),
        ({"query_id": "q0", "positive_document_ids": ["d0"], "negative_document_ids": ["d6"]}, "tevatron-ids"),
        ({"query_id": "q0", "document_ids": "['d0', 'd6']", "scores": "[1.0, 0.5]"}, "ids"),
        ({"query": "q0", "positives": ["d0"], "negatives": ["d6"]}, "pairs"),
        ({"qid": "q0", "pos_ids": ["d0"], "neg_ids": ["d6"]}, "pairs"),
        ({"qid": "q0", "pos": ["d0"], "neg": {"bm25": ["d6"], "dense": ["d6"]}}, "pairs"),
        (
            {
                "query_id": "q0",
                "query": "Question 0?",
                "positive_passages": [{"docid": "d0", "title": "", "text": "text of"}],
                "negative_passages": [{"docid": "d6", "title": "", "text": "text of 6, ÜNÏ and more"}],
            },
            "tevatron",
        ),
    ],
)
def test_rows_as_other_tools_write_them(data, tmp_path, row, layout):
    write_jsonl(tmp_path / "rows.jsonl", [row])
    listing = read_listing(tmp_path / "rows.jsonl")
    assert listing.layout == layout
    assert table(pairs_from(listing, data)) == [(0, 0, 1), (0, 6, 0)]


def test_text_without_its_title_is_found_too(data, tmp_path):
    write_jsonl(
        tmp_path / "rows.jsonl",
        [{"query": "question 1?", "pos": ["Title 1 text of 1, ünï"], "neg": ["text of 5, ünï"]}],
    )
    assert table(pairs_from(read_listing(tmp_path / "rows.jsonl"), data)) == [(1, 1, 1), (1, 5, 0)]


def test_a_run_is_all_candidates(data, tmp_path):
    (tmp_path / "a.trec").write_text("q0 Q0 d6 1 0.5 x\nq0 Q0 d0 2 0.25 x\n")
    listing = read_listing(tmp_path / "a.trec")
    assert (listing.layout, listing.told, listing.where(1)) == ("trec", False, (str(tmp_path / "a.trec"), 2))
    assert table(pairs_from(listing, data), "run") == [(0, 0, 0, 0.25), (0, 6, 0, 0.5)]


def test_rows_remember_their_lines_and_nulls_are_nothing(data, tmp_path):
    rows = [{"query": "question 0?", "positive": "text of 0, ünï", "negative_1": None, "negative_2": "text of 6, ünï"}]
    (tmp_path / "r.jsonl").write_text("\n\n" + json.dumps(rows[0]) + "\n")
    listing = read_listing(tmp_path / "r.jsonl")
    assert listing.where(0) == (str(tmp_path / "r.jsonl"), 3)
    assert listing.label.tolist() == [1, 0]
    pq.write_table(
        pa.table({"query": ["a", "b"], "pos": [["x"], ["y"]], "neg": [["z", ""], []]}), tmp_path / "p.parquet"
    )
    listing = read_listing(tmp_path / "p.parquet")
    assert listing.row.tolist() == [0, 0, 0, 1]
    assert listing.documents.texts() == ["x", "z", "", "y"]


def test_pairs_listed_twice_are_one(data, tmp_path):
    row = {
        "query": "question 0?",
        "pos": ["d0"],
        "pos_scores": [1],
        "neg": ["d6", "d6", "d0"],
        "neg_scores": [0.5, 0.75, None],
    }
    write_jsonl(tmp_path / "r.jsonl", [row, row])
    assert table(pairs_from(read_listing(tmp_path / "r.jsonl"), data), "run") == [(0, 0, 1, 1.0), (0, 6, 0, 0.75)]


@pytest.mark.parametrize(
    ("rows", "layout", "message"),
    [
        ([{"query": "a", "passage": "b"}], None, r"no file of negatives that is known. It has: 'query', 'passage'"),
        ([{"query": "a", "positive": "b"}], None, "no file of negatives"),
        (
            [{"query": "a", "pos": ["b"], "neg": ["c"]}],
            "tevatron",
            r"1: is not in the layout 'tevatron'.*flag-embedding",
        ),
        ([{"query": "a", "pos": [["b"]], "neg": ["c"]}], None, r"1: 'pos' holds list .* no document"),
        ([{"query": "a", "pos": ["b"], "neg": ["c"], "neg_scores": []}], None, r"holds 0, but the row lists 1"),
        ([{"query": "a", "pos": ["b"], "neg": ["c"], "neg_scores": ["x"]}], None, "'x', which is no number"),
        ([{"query": 7, "pos": ["b"], "neg": ["c"]}], None, "holds int '7', not text"),
        ([], None, "no rows"),
    ],
)
def test_what_cannot_be_read_says_line_keys_and_remedy(tmp_path, rows, layout, message):
    write_jsonl(tmp_path / "r.jsonl", rows)
    with pytest.raises(DataError, match=message):
        read_listing(tmp_path / "r.jsonl", layout)


def test_unknown_layouts_and_files(tmp_path):
    with pytest.raises(SpecError, match="Did you mean 'tevatron'"):
        read_listing(tmp_path, "tevatrom")
    with pytest.raises(DataError, match="no such file"):
        read_listing(tmp_path / "nothing.jsonl")
    with pytest.raises(DataError, match="no file of negatives in this folder"):
        read_listing(tmp_path)


def test_unknown_documents_are_refused_with_their_line(data, tmp_path):
    rows = [
        {"query": "question 0?", "pos": ["d0"], "neg": ["d6", "who?"]},
        {"query": "new", "pos": ["d0"], "neg": ["d6"]},
    ]
    write_jsonl(tmp_path / "r.jsonl", rows)
    listing = read_listing(tmp_path / "r.jsonl")
    with pytest.raises(DataError, match=r"r.jsonl:1: document 'who\?' is not in .*; 3 of 5 listed"):
        pairs_from(listing, data)
    assert table(pairs_from(listing, data, "drop")) == [(0, 0, 1), (0, 6, 0)]
    write_jsonl(tmp_path / "n.jsonl", rows[1:])
    listing = read_listing(tmp_path / "n.jsonl")
    with pytest.raises(DataError, match="query 'new'"):
        pairs_from(listing, data, "drop")


def test_load_takes_another_tools_file_as_candidates(data, pairs, tmp_path):
    export(pairs, data, "flag-embedding", tmp_path / "rows.jsonl", scores="dense")
    mined = mine(data, f"Load('{tmp_path / 'rows.jsonl'}') >> Top(k=2, by='run')", out=tmp_path / "out").kept(data)
    hardest = {
        q: [d for d, _ in sorted(listed, key=lambda pair: (-pair[1], pair[0]))[:2]] for q, (_, listed) in JUDGED.items()
    }
    kept = sorted(zip(mined.query[mined.label == 0].tolist(), mined.doc[mined.label == 0].tolist(), strict=True))
    assert kept == sorted((q, d) for q, docs in hardest.items() for d in docs)


def test_ids_that_number_something_else_are_not_believed(data, tmp_path):
    rows = [{"id": f"q{q}", "query": f"question {2 - q}?", "pos": ["d0"], "neg": ["d6"]} for q in range(3)]
    write_jsonl(tmp_path / "r.jsonl", rows)
    assert resolve(read_listing(tmp_path / "r.jsonl"), data).query.tolist() == [2, 1, 0]
    rows[0]["id"] = None
    write_jsonl(tmp_path / "n.jsonl", rows)
    assert resolve(read_listing(tmp_path / "n.jsonl"), data).query.tolist() == [2, 1, 0]


def test_tables_in_parts_and_folders(data, pairs, tmp_path):
    export(pairs, data, "ids", tmp_path / "ids", scores="dense")
    expected = table(pairs_from(read_listing(tmp_path / "ids"), data), "run")
    hub = tmp_path / "hub"
    for name in ("train", "queries", "documents"):
        (hub / name).mkdir(parents=True)
        whole = pq.read_table(tmp_path / "ids" / f"{name}.parquet")
        for i in range(2):
            half = whole.slice(i * (len(whole) // 2), len(whole) - len(whole) // 2 if i else len(whole) // 2)
            pq.write_table(half, hub / name / f"{name}-{i:05d}-of-00002.parquet")
    listing = read_listing(hub)
    assert table(pairs_from(listing, data), "run") == expected
    assert listing.where(len(listing.line) - 1) == (str(hub / "train" / "train-00001-of-00002.parquet"), 2)
    assert "question 0?" in listing.queries.texts()


@pytest.mark.parametrize(("format", "corpus"), [("tevatron-ids", "corpus.jsonl"), ("nemo", "corpus/train.parquet")])
def test_ids_can_be_imported_with_their_corpus(data, pairs, tmp_path, format, corpus):
    export(pairs, data, format, tmp_path / "rows")
    rows = next((tmp_path / "rows").glob("train.json*"))
    again = load(rows, corpus=tmp_path / "rows" / corpus, cache=tmp_path / "cache")
    assert len(again.positives("train")) == 4
    assert len(again.given("train")) == 9


def test_a_run_of_the_negatives(data, pairs, tmp_path):
    export(pairs, data, "trec", tmp_path / "a.trec", scores="dense")
    assert (tmp_path / "a.trec").read_text().splitlines()[0] == "q0 Q0 d6 1 0.9 foils"
    back = pairs_from(read_listing(tmp_path / "a.trec"), data)
    assert table(back, "run") == [row for row in table(pairs, "dense") if row[2] == 0]
    assert export(pairs, data, "trec").tables["train"].column("score").to_pylist()[:2] == [1.0, 0.5]
    for format, name in (("trec", "a.jsonl"), ("triplet", "a.trec"), ("trec", "folder")):
        with pytest.raises(SpecError, match="do not go together"):
            export(pairs, data, format, tmp_path / name)
    spaced = load([{"query": "a b", "query_id": "a b", "pos": "c", "neg": "d"}], cache=tmp_path / "cache")
    with pytest.raises(DataError, match="'a b' holds white space"):
        export(Pairs.build([0, 0], [0, 1], [1, 0]), spaced, "trec", tmp_path / "b.trec")
    assert not (tmp_path / "b.trec").exists()


def test_a_saved_dataset_dict(tmp_path, data):
    import datasets

    rows = datasets.Dataset.from_list([{"query": "question 0?", "positive": "d0", "negative": "d6"}])
    datasets.DatasetDict({"train": rows}).save_to_disk(str(tmp_path / "saved"))
    assert table(pairs_from(read_listing(tmp_path / "saved"), data)) == [(0, 0, 1), (0, 6, 0)]
