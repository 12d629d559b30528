"""Readers: every layout gives the same collection; wrong input is an error with file, line and remedy."""

import csv
import gzip
import json
import math
import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from foils.core.errors import DataError, SpecError
from foils.core.formats import load, read_run, write_beir

DOCS = [
    {"_id": "d1", "title": "Foil", "text": "A contrast."},
    {"_id": "d2", "title": "", "text": 'A "sword",\tnot sharp'},
    {"_id": "d3", "text": "Aluminium, thin; größer — 箔", "metadata": {"kind": "metal"}},
    {"_id": "d4", "title": "FOIL", "text": " a   contrast."},
]
QUERIES = [
    {"_id": "q1", "text": "What is a foil?", "metadata": {"answers": ["contrast"]}},
    {"_id": "q2", "text": "thin metal"},
    {"_id": "q3", "text": "what is  a FOIL?"},
    {"_id": "q4", "text": "unanswered"},
]
TRAIN = [("q1", "d1", 2), ("q2", "d3", 1), ("q2", "d2", 0)]
TEST = [("q3", "d2", 1)]


def lines(rows):
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    data = text if isinstance(text, bytes) else text.encode()
    path.write_bytes(gzip.compress(data) if path.name.endswith(".gz") else data)
    return path


def tsv(rows, header="query-id\tcorpus-id\tscore\n"):
    return header + "".join("\t".join(map(str, row)) + "\n" for row in rows)


def beir(folder, *, docs=DOCS, queries=QUERIES, packed="", train=None):
    write(folder / f"corpus.jsonl{packed}", lines(docs))
    write(folder / f"queries.jsonl{packed}", lines(queries))
    write(folder / "qrels" / "train.tsv", tsv(TRAIN) if train is None else train)
    write(folder / "qrels" / "test.tsv", tsv(TEST, header=""))
    return folder


def content(data):
    """Everything that a collection says, by ids and texts."""
    judged = {}
    for split in data.splits:
        pairs = data.qrels(split)
        query, doc = data.queries.id_list(pairs.query), data.corpus.id_list(pairs.doc)
        judged[split] = sorted(zip(query, doc, pairs["grade"].tolist(), strict=True))
    documents = list(zip(data.corpus.id_list(), data.corpus.texts(), data.corpus.metadata(), strict=True))
    return documents, list(zip(data.queries.id_list(), data.queries.texts(), strict=True)), judged


EXPECTED = (
    [
        ("d1", "Foil A contrast.", {}),
        ("d2", 'A "sword",\tnot sharp', {}),
        ("d3", "Aluminium, thin; größer — 箔", {"kind": "metal"}),
        ("d4", "FOIL  a   contrast.", {}),
    ],
    [("q1", "What is a foil?"), ("q2", "thin metal"), ("q4", "unanswered")],
    {
        "test": [("q1", "d2", 1.0)],
        "train": [("q1", "d1", 2.0), ("q2", "d2", 0.0), ("q2", "d3", 1.0)],
    },
)


@pytest.mark.parametrize("packed", ["", ".gz"])
def test_beir_folder(tmp_path, cache, packed):
    data = load(beir(tmp_path / "mini", packed=packed), cache=tmp_path / "cache")
    assert content(data) == EXPECTED
    assert data.name == "mini"
    assert data.queries.metadata([0]) == [{"answers": ["contrast"]}]
    # d4 is d1 in other case and spacing: linked, and a positive too.
    assert data.same.tolist() == [0, 1, 2, 0]
    assert data.positives("train").doc.tolist() == [0, 3, 2]
    report = data.report
    assert (report["merged_queries"], report["linked_documents"], report["queries_without_positives"]) == (1, 1, 1)
    # q3 has the text of q1: the same query in train and test is a leak, and is to be seen.
    assert report["leaks"] == [{"splits": ["test", "train"], "queries": 1, "examples": ["q1"]}]
    assert data.queries.id_list(data.leaks("train", "test")) == ["q1"]
    assert data.queries.rows_of(["q3"]).tolist() == [0]
    assert report["splits"]["train"] == {"queries": 2, "positives": 2, "judged": 3, "given_negatives": 0}


def test_sparse_labels_of_the_same_split_are_no_leak(tmp_path):
    folder = beir(tmp_path / "mini")
    write(folder / "qrels" / "train_sparse.tsv", tsv(TRAIN[:1]))
    data = load(folder, cache=tmp_path / "cache")
    assert data.splits == ("test", "train", "train_sparse")
    assert [leak["splits"] for leak in data.report["leaks"]] == [["test", "train"], ["test", "train_sparse"]]


def test_what_is_written_as_beir_reads_back_the_same(tmp_path):
    data = load(beir(tmp_path / "mini"), cache=tmp_path / "cache")
    again = load(write_beir(data, tmp_path / "written"), cache=tmp_path / "cache")
    assert content(again) == content(data)
    assert (again.corpus.fingerprint, again.queries.fingerprint) == (data.corpus.fingerprint, data.queries.fingerprint)
    assert again.queries.metadata() == data.queries.metadata()
    with pytest.raises(DataError, match="not empty"):
        write_beir(data, tmp_path / "written")


def save_table(path, rows):
    """Rows of texts in the format that the name says."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    full = [{name: row.get(name) for name in names} for row in rows]
    if path.name.endswith(".parquet"):
        pq.write_table(pa.Table.from_pylist(full), path, row_group_size=2)
    elif path.name.endswith(".arrow"):
        table = pa.Table.from_pylist(full)
        with pa.ipc.new_stream(str(path), table.schema) as file:
            file.write_table(table)
    elif path.name.endswith(".json"):
        write(path, json.dumps(full))
    elif ".jsonl" in path.name:
        write(path, lines(rows))
    elif ".tsv" in path.name:
        write(path, "\n".join("\t".join(line) for line in [names, *([r[n] for n in names] for r in full)]))
    else:
        with (tmp := path.with_suffix(".tmp")).open("w", newline="") as file:
            writer = csv.DictWriter(file, names)
            writer.writeheader()
            writer.writerows(full)
        write(path, tmp.read_bytes())
    return path


PAIRS = [
    {"query": "one", "positive": 'the, "first"\nanswer', "negative": "wrong"},
    {"query": "two", "positive": "the second", "negative": "the third"},
    {"query": "ONE", "positive": "the first again", "negative": "the second"},
]
FORMATS = ["jsonl", "jsonl.gz", "json", "csv", "csv.gz", "parquet", "arrow"]


@pytest.mark.parametrize("suffix", FORMATS)
def test_pairs_in_every_file_format_are_the_same_collection(tmp_path, suffix):
    data = load(save_table(tmp_path / f"pairs.{suffix}", PAIRS), cache=tmp_path / "cache")
    assert data.queries.texts() == ["one", "two"]
    texts = data.corpus.texts()
    assert sorted(texts) == sorted({row[name] for row in PAIRS for name in ("positive", "negative")})
    positives = data.positives("train")
    found = {(data.queries.texts([q])[0], texts[d]) for q, d in zip(positives.query, positives.doc, strict=True)}
    assert found == {("one", 'the, "first"\nanswer'), ("one", "the first again"), ("two", "the second")}
    given = data.given("train")
    offered = {(data.queries.texts([q])[0], texts[d]) for q, d in zip(given.query, given.doc, strict=True)}
    assert offered == {("one", "wrong"), ("one", "the second"), ("two", "the third")}
    assert (given.label == 0).all()
    assert data.report["repeated_query_rows"] == 1


def test_ids_from_texts_do_not_depend_on_the_other_rows(tmp_path):
    whole, part = load(PAIRS, cache=tmp_path), load(PAIRS[1:2], cache=tmp_path)
    assert set(part.queries.id_list()) < set(whole.queries.id_list())
    assert set(part.corpus.id_list()) < set(whole.corpus.id_list())
    assert whole.path != part.path


def test_tsv_fields_are_taken_as_they_are(tmp_path):
    rows = [{"query": 'a "quoted', "positive": '"text'}, {"query": "b", "positive": "c"}]
    data = load(save_table(tmp_path / "p.tsv", rows), cache=tmp_path)
    assert data.queries.texts() == ['a "quoted', "b"]
    assert data.corpus.texts() == ['"text', "c"]


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "tsv"])
def test_a_byte_order_mark_and_windows_line_ends_are_no_text(tmp_path, suffix):
    path = save_table(tmp_path / f"p.{suffix}", [{"query": "a", "positive": "b"}, {"query": "c", "positive": "d"}])
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))
    data = load(path, cache=tmp_path)
    assert (data.queries.texts(), data.corpus.texts()) == (["a", "c"], ["b", "d"])


def test_columns_by_number_for_a_file_without_names(tmp_path):
    path = write(tmp_path / "p.tsv", "7\twhat\tthat\n8\twho\tthey\n")
    data = load(path, columns={"query_id": 0, "query": 1, "positive": 2}, cache=tmp_path)
    assert data.queries.id_list() == ["7", "8"]
    assert data.corpus.texts() == ["that", "they"]


@pytest.mark.parametrize(
    "row",
    [
        {"question": "q", "pos": ["a", "b"], "neg": ["n", "m"]},
        {"anchor": "q", "positives": ["a", "b"], "negative_1": "n", "negative_2": "m"},
        {"Query": "q", "Answer": ["a", "b"], "hard_negatives": ["n", None, "m", ""]},
        {
            "query": "q",
            "positive_passages": [{"docid": "1", "title": "", "text": "a"}, {"docid": "2", "text": "b"}],
            "negative_passages": [{"docid": "3", "title": None, "text": "n"}, {"docid": "4", "text": "m"}],
        },
        {
            "question": "q",
            "positive_ctxs": [{"text": "a"}, {"text": "b"}],
            "hard_negative_ctxs": [{"text": "n"}, {"text": "m"}],
        },
        {"frage": "q", "pos": ["a", "b"], "neg": ["n", "m"], "query": None},
    ],
)
def test_the_usual_names_and_shapes(tmp_path, row):
    columns = {"query": "frage"} if "frage" in row else None
    data = load([row], columns=columns, cache=tmp_path)
    assert data.queries.texts() == ["q"]
    assert data.corpus.texts(data.positives("train").doc) == ["a", "b"]
    assert data.corpus.texts(data.given("train").doc) == ["n", "m"]
    if "positive_passages" in row:
        assert data.corpus.id_list() == ["1", "2", "3", "4"]


def test_columns_without_a_role_are_metadata(tmp_path):
    rows = [{"query": "q", "positive": "a", "answers": ["x"], "source": "web", "negative_ctxs": [{"text": "z"}]}]
    data = load(rows, cache=tmp_path)
    assert data.queries.metadata() == [{"answers": ["x"], "source": "web"}]


CORPUS = [{"id": 1, "title": "Foil", "text": "A contrast."}, {"id": 2, "text": "Epee"}, {"id": 3, "text": "epee"}]


@pytest.mark.parametrize(
    ("rows", "positives", "given", "added"),
    [
        ([{"query": "q", "positive": "foil a CONTRAST."}], ["1"], [], 0),  # title and text
        ([{"query": "q", "positive": "a contrast."}], ["1"], [], 0),  # text alone
        ([{"query": "q", "positive": ["1", "2"], "negative": "3"}], ["1", "2", "3"], [], 0),  # 3 has the text of 2
        ([{"query": "q", "positive_id": 1, "negative_ids": [2]}], ["1"], ["2"], 0),
        ([{"query": "q", "positive": "epee", "negative": "sabre"}], ["2", "3"], ["sabre"], 1),
        ([{"query": "q", "positive": 2}], ["2", "3"], [], 0),
        ([{"query": "q", "positive": [{"docid": "1", "text": "whatever"}]}], ["1"], [], 0),
    ],
)
def test_a_separate_corpus(tmp_path, rows, positives, given, added):
    data = load(rows, corpus=CORPUS, cache=tmp_path)
    assert len(data.corpus) == 3 + added
    assert data.corpus.id_list(data.positives("train").doc) == positives
    names = data.corpus.id_list() if not added else [*data.corpus.id_list()[:3], "sabre"]
    assert [names[d] for d in data.given("train").doc] == given
    assert data.report["documents_added_to_the_corpus"] == added


def test_given_negatives_that_are_positives_are_counted_and_left_out(tmp_path):
    rows = [{"query": "q", "positive": "a", "negative": "b"}, {"query": "Q", "positive": "B", "negative": "c"}]
    data = load({"train": rows[:1], "test": rows[1:]}, cache=tmp_path)
    assert data.report["given_negatives_that_are_positives"] == 1
    assert len(data.given("train")) == 0
    assert data.corpus.texts(data.given("test").doc) == ["c"]


def test_grades_and_labels(tmp_path):
    rows = [{"query": "q", "document": text, "label": label} for text, label in (("a", 1), ("b", 0), ("c", 3.0))]
    data = load(rows, cache=tmp_path)
    assert data.qrels("train")["grade"].tolist() == [1, 0, 3]
    assert data.qrels("train").label.tolist() == [1, 0, 1]
    assert data.corpus.texts(data.given("train").doc) == ["b"]
    every = load(rows, columns={"grade": None}, cache=tmp_path)
    assert every.qrels("train").label.tolist() == [1, 1, 1]


def test_splits_from_a_mapping_a_folder_and_a_glob(tmp_path):
    for name in ("train-00000-of-00002", "train-00001-of-00002", "test"):
        write(tmp_path / "f" / f"{name}.jsonl", lines([{"query": name, "positive": f"about {name}"}]))
    write(tmp_path / "f" / "dataset_infos.json", "{}")
    folder = load(tmp_path / "f", cache=tmp_path / "c")
    assert {s: len(folder.query_rows(s)) for s in folder.splits} == {"train": 2, "test": 1}
    mapping = {"dev": str(tmp_path / "f" / "train-*.jsonl"), "test": [tmp_path / "f" / "test.jsonl"]}
    mapped = load(mapping, cache=tmp_path / "c")
    assert {s: len(mapped.query_rows(s)) for s in mapped.splits} == {"dev": 2, "test": 1}
    assert load(f"{tmp_path}/f/*.jsonl", cache=tmp_path / "c").splits == ("train",)


def test_hugging_face_data_sets(tmp_path):
    datasets = pytest.importorskip("datasets")
    train, test = datasets.Dataset.from_list(PAIRS), datasets.Dataset.from_list(PAIRS[1:2])
    expected = content(load({"train": PAIRS, "test": PAIRS[1:2]}, cache=tmp_path))
    both = datasets.DatasetDict(train=train, test=test)
    assert content(load(both, cache=tmp_path)) == expected
    both.save_to_disk(tmp_path / "saved")
    saved = content(load(tmp_path / "saved", cache=tmp_path))
    assert (saved[2], sorted(saved[0])) == (expected[2], sorted(expected[0]))
    train.save_to_disk(tmp_path / "one")
    assert load(tmp_path / "one", cache=tmp_path).splits == ("train",)
    # Rows that were selected or sorted, not the table underneath.
    assert load(train.select([1]), cache=tmp_path).queries.texts() == ["two"]
    with pytest.raises(DataError, match="streamed data set"):
        load(train.to_iterable_dataset(), cache=tmp_path)


def test_a_data_set_by_name_goes_through_the_hub_client(tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hub")
    for name, rows in (("train", PAIRS), ("test", PAIRS[1:2])):
        save_table((tmp_path / f"{name}.parquet"), rows)
    data = load(f"hf:{tmp_path}", cache=tmp_path / "cache")
    assert set(data.splits) == {"train", "test"}
    assert len(data.query_rows("train")) == 2
    monkeypatch.setattr(datasets, "load_dataset", _no_hub)
    with pytest.raises(DataError, match="hf:no-such-owner/no-such-name: the data set cannot be loaded"):
        load("hf:no-such-owner/no-such-name", cache=tmp_path / "cache")


def _no_hub(name, config):
    raise ConnectionError(f"Couldn't reach {name!r} on the Hub")


def test_trec_qrels_with_a_corpus_and_queries(tmp_path):
    trec = write(tmp_path / "dev.qrels.gz", "q1 0 d1 2\nq2 0 d3 1\nq2 0 d2 -1\n")
    data = load(QUERIES, corpus=DOCS, qrels=trec, cache=tmp_path)
    assert data.splits == ("dev",)
    assert data.qrels("dev")["grade"].tolist() == [2, -1, 1]
    assert data.qrels("dev").label.tolist() == [1, 0, 1]
    table = [{"query_id": q, "doc_id": d, "grade": g} for q, d, g in TRAIN]
    other = load(QUERIES, corpus=DOCS, qrels={"train": table, "dev": str(trec)}, cache=tmp_path)
    assert content(other)[2]["train"] == EXPECTED[2]["train"]
    assert other.splits == ("train", "dev")


def test_a_run_becomes_candidates(tmp_path):
    data = load(beir(tmp_path / "mini"), cache=tmp_path / "cache")
    text = "q1 Q0 d2 0 3.5 x\nq1 Q0 d1 1 7 x\nq2 Q0 d1 0 1e-3 x\nq1 Q0 d3 2 3.5 x\nq3 Q0 d2 9 4 x\n"
    run = read_run(write(tmp_path / "a.run.gz", text), data, name="bm25")
    best = {("q1", "d1"): 7.0, ("q1", "d2"): 4.0, ("q1", "d3"): 3.5, ("q2", "d1"): 1e-3}  # q3 is q1
    rows = zip(data.queries.id_list(run.query), data.corpus.id_list(run.doc), run["bm25"].tolist(), strict=True)
    assert {(q, d): pytest.approx(s) for q, d, s in rows} == best
    names = zip(data.queries.id_list(run.query), data.corpus.id_list(run.doc), strict=True)
    ranks = dict(zip(names, run.rank("bm25").tolist(), strict=True))
    assert ranks == {("q1", "d1"): 1, ("q1", "d2"): 2, ("q1", "d3"): 3, ("q2", "d1"): 1}
    assert (run.label == 0).all()
    write(tmp_path / "b.run", "q1 Q0 d1 1 1 x\nq9 Q0 d1 1 1 x\nq1 Q0 d9 1 1 x\n")
    with pytest.raises(DataError, match=r"b\.run:2: query 'q9' is not in the collection; 2 of 3 lines"):
        read_run(tmp_path / "b.run", data)
    assert len(read_run(tmp_path / "b.run", data, on_unknown="drop")) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("q1 Q0 d1 1 nan x\n", r":1: the score 'nan' is no finite number"),
        ("q1 Q0 d1 1 2 x\nq1 Q0 d1 2 -inf x\n", r":2: the score '-inf' is no finite number"),
        ("q1 Q0 d1 1 2 x\nq1 Q0 d1 1\n", r":2: has 4 columns; expected 6"),
        ("q1 0 d1 1\n", r":1: has 4 columns; expected 6: query, Q0"),
        ("", "is empty"),
        ("zz Q0 d1 1 1 x\n", "not in the collection"),
    ],
)
def test_what_is_no_run(tmp_path, data, text, message):
    policy = "drop" if text.startswith("zz") else "error"
    with pytest.raises(DataError, match=message):
        read_run(write(tmp_path / "a.run", text), data, on_unknown=policy)


def test_a_conversion_is_used_again_until_its_source_changes(tmp_path):
    folder = beir(tmp_path / "mini")
    for path in (*folder.rglob("*"), folder):
        path.chmod(0o555 if path.is_dir() else 0o444)
    first = load(folder, cache=tmp_path / "cache")
    made = (first.path / "corpus.arrow").stat().st_mtime_ns
    again = load(folder, cache=tmp_path / "cache")
    assert (again.path, (again.path / "corpus.arrow").stat().st_mtime_ns) == (first.path, made)
    folder.chmod(0o755)
    (folder / "queries.jsonl").chmod(0o644)
    write(folder / "queries.jsonl", lines([*QUERIES, {"_id": "q5", "text": "new"}]))
    changed = load(folder, cache=tmp_path / "cache")
    assert changed.path != first.path
    assert len(changed.queries) == 4
    # The same size, but written later.
    write(folder / "queries.jsonl", lines([*QUERIES, {"_id": "q5", "text": "NEW"}]))
    os.utime(folder / "queries.jsonl", (1, 1))
    later = load(folder, cache=tmp_path / "cache")
    assert later.queries.texts([3]) == ["NEW"]
    dropped = load(folder, cache=tmp_path / "cache", on_unknown="drop")
    assert dropped.path != changed.path
    # What was converted can be opened by its own path.
    assert load(first.path).fingerprint == first.fingerprint


def test_a_failed_import_leaves_nothing(tmp_path):
    folder = beir(tmp_path / "mini", train=tsv([("q1", "d9", 1)]))
    with pytest.raises(DataError):
        load(folder, cache=tmp_path / "cache")
    assert list((tmp_path / "cache" / "collections").iterdir()) == []


WRONG_FOLDERS = {
    "no folder": ({}, r"no such file or folder\. Check the path"),
    "empty folder": ({"README": "x"}, r"no collection in this folder.*corpus\.jsonl"),
    "no queries": ({"corpus.jsonl": lines(DOCS)}, "a corpus but no queries"),
    "no qrels": ({"corpus.jsonl": lines(DOCS), "queries.jsonl": lines(QUERIES)}, "no qrels folder"),
    "no qrels file": ({"qrels/test.tsv": None, "qrels/train.tsv": None, "qrels/x.md": "x"}, "no qrels file in it"),
    "two files": ({"qrels/train.txt": tsv(TRAIN)}, r"two files for the split 'train': train\.tsv and train\.txt"),
    "empty corpus": ({"corpus.jsonl": ""}, r"corpus\.jsonl: there are no documents"),
    "no query": ({"queries.jsonl": "\n"}, "there are no queries"),
    "same id": (
        {"corpus.jsonl": lines([*DOCS, {"_id": "d2", "text": "x"}])},
        r"corpus\.jsonl:5: id 'd2' appears twice; first on line 2.*rename",
    ),
    "same id with blank lines": (
        {"queries.jsonl": "\n\n" + lines(QUERIES) + "\n" + lines([{"_id": "q4", "text": "x"}])},
        r"queries\.jsonl:8: id 'q4' appears twice; first on line 6",
    ),
    "same id as an alias": (
        {"queries.jsonl": lines([*QUERIES, {"_id": "q3", "text": "x"}])},
        r"queries\.jsonl:5: id 'q3' appears twice; first on line 3",
    ),
    "unknown document": (
        {"qrels/train.tsv": tsv([*TRAIN, ("q1", "d9", 1), ("q8", "d1", 1)])},
        r"train\.tsv:5: document 'd9' is not in the collection; 2 of 5 lines.*on_unknown='drop'",
    ),
    "grade": ({"qrels/train.tsv": tsv([*TRAIN, ("q1", "d1", "high")])}, r"train\.tsv:5: the grade 'high' is no finite"),
    "grade in line 1": ({"qrels/train.tsv": "q1\td1\thigh\n"}, r"train\.tsv:1: the grade 'high' is no finite number"),
    "grade NaN": ({"qrels/train.tsv": "q1\td1\tnan\n"}, r"train\.tsv:1: the grade 'nan' is no finite number"),
    "columns": ({"qrels/train.tsv": tsv(TRAIN) + "q1\td1\n"}, r"train\.tsv:5: has 2 columns; expected 3, as the first"),
    "two columns": ({"qrels/train.tsv": "q1\td1\n"}, r":1: has 2 columns; expected 3: query-id.*or 4: query, 0"),
    "no positive": ({"qrels/train.tsv": tsv([("q1", "d1", 0)]), "qrels/test.tsv": tsv([])}, "no query has a positive"),
    "broken UTF-8": (
        {"corpus.jsonl": lines(DOCS).encode() + b'{"_id": "d5", "text": "gr\xfc\xdf"}\n'},
        r"corpus\.jsonl:5: is not UTF-8: byte 0xfc at position 26.*iconv",
    ),
    "surrogate": (
        {"corpus.jsonl": lines(DOCS) + '{"_id": "d5", "text": "\\ud83d"}\n'},
        r"corpus\.jsonl:5: holds half of a surrogate pair",
    ),
    "JSON": ({"queries.jsonl": lines(QUERIES) + '{"_id": "q5", \n'}, r"queries\.jsonl:5: is not JSON.*One JSON object"),
    "array": ({"queries.jsonl": json.dumps(QUERIES)}, r"queries\.jsonl:1: holds a JSON list.*One JSON object"),
    "long array": ({"queries.jsonl": json.dumps(QUERIES, indent=1)}, r"queries\.jsonl:1: is not JSON.*named \.json"),
    "no object": ({"queries.jsonl": lines(QUERIES) + "7\n"}, r"queries\.jsonl:5: holds a JSON int, not an object"),
    "missing field": (
        {"corpus.jsonl": lines([*DOCS, {"_id": "d5", "txt": "x"}])},
        r"corpus\.jsonl:5: has no field 'text'; it has: '_id', 'txt'",
    ),
    "misspelt field": (
        {"corpus.jsonl": lines([{"_id": "d1", "texte": "x"}])},
        r"corpus\.jsonl: no column for the 'text'.*It has: '_id', 'texte'.*mean 'texte'.*columns=\{'text': 'texte'\}",
    ),
    "text is a number": ({"corpus.jsonl": lines([{"_id": "d1", "text": 5}])}, r"corpus\.jsonl:1: 'text' holds int '5'"),
    "id is null": ({"queries.jsonl": lines([{"_id": None, "text": "x"}])}, r":1: '_id' holds None, which is no id"),
    "empty query": ({"queries.jsonl": lines([*QUERIES, {"_id": "q5", "text": " "}])}, r":5: the query is empty"),
    "not gzip": ({"corpus.jsonl": None, "corpus.jsonl.gz": b"plain"}, r"is named \.gz but is not gzip\. Rename"),
    "gzip": ({"corpus.jsonl": gzip.compress(b"{}")}, r"is gzip, but its name does not end in \.gz"),
    "cut short": (
        {"corpus.jsonl": None, "corpus.jsonl.gz": gzip.compress(lines(DOCS).encode())[:-12]},
        r"corpus\.jsonl\.gz: is damaged or cut short",
    ),
    "damaged": (
        {"corpus.jsonl": None, "corpus.jsonl.gz": gzip.compress(lines(DOCS).encode())[:30] + b"x" * 99},
        r"corpus\.jsonl\.gz: is damaged or cut short",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG_FOLDERS)
def test_wrong_folders(tmp_path, case):
    files, message = WRONG_FOLDERS[case]
    folder = tmp_path / "data"
    if case not in ("no folder", "empty folder", "no queries", "no qrels"):
        beir(folder)
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if text is None:
            (folder / name).unlink()
        else:
            (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DataError, match=message) as caught:
        load(folder, cache=tmp_path / "cache")
    assert str(folder) in str(caught.value)
    assert caught.value.remedy


def test_unknown_ids_can_be_dropped_and_are_counted(tmp_path):
    folder = beir(tmp_path / "mini", train=tsv([*TRAIN, ("q1", "d9", 1), ("q8", "d1", 1)]))
    data = load(folder, cache=tmp_path / "cache", on_unknown="drop")
    assert content(data)[2] == EXPECTED[2]
    assert data.report["unknown_qrels"] == 2


WRONG_PAIRS = {
    "misspelt column": ("a.jsonl", lines([{"qeury": "a", "positive": "b"}]), r"'qeury', 'positive'.*mean 'qeury'"),
    "no positive": ("a.jsonl", lines([{"query": "a", "postive": "b"}]), r"for the 'positive'.*mean 'postive'"),
    "no positive in a row": (
        "a.jsonl",
        lines([{"query": "a", "positive": "b"}, {"query": "c", "postive": "d"}]),
        r":2: has no field 'positive'",
    ),
    "empty query": ("a.csv", "query,positive\na,b\n,c\n", r"a\.csv:3: the query is empty"),
    "fields": ("a.csv", "query,positive\na,b,c\n", r"a\.csv:2: has 3 fields, but the first line has 2"),
    "tabs": ("a.tsv", "query\tpositive\na b\n", r"a\.tsv:2: has 1 fields, but the first line has 2.*Tabs"),
    "quote": ("a.csv", 'query,positive\n"a"x",b\n"c', r"a\.csv"),
    "no Parquet": ("a.parquet", "PAR1 is what it says", r"a\.parquet: cannot be read as parquet"),
    "no Arrow": ("a.arrow", "x" * 50, r"a\.arrow: cannot be read as arrow"),
    "suffix": ("a.xlsx", "x", r"'\.xlsx' is not a known table format.*\.parquet"),
    "no JSON array": ("a.json", '{"query": "a"}', r"is not a JSON array of objects.*\.jsonl"),
    "lines in .json": ("a.json", lines(PAIRS), r"is not one JSON value.*name it \.jsonl"),
    "no document": ("a.jsonl", lines([{"query": "a", "positive": [1.5]}]), r":1: 'positive' holds float '1\.5'"),
    "ids without corpus": ("a.jsonl", lines([{"query": "a", "positive_id": "7"}]), r":1: document '7' is not in the c"),
    "grade": ("a.jsonl", lines([{"query": "a", "pos": "b", "label": "yes"}]), r":1: the grade 'yes'.*'grade': None"),
    "two texts of a document": (
        "a.jsonl",
        lines([{"query": "a", "pos": {"id": "1", "text": t}} for t in "xy"]),
        r"a\.jsonl:2: id '1' stands for another text than before",
    ),
    "two texts of a query": (
        "a.jsonl",
        lines([{"query_id": "1", "query": t, "pos": "b"} for t in "xy"]),
        r"a\.jsonl:2: id '1' stands for another text than before",
    ),
    "ids and texts": (
        "a.jsonl",
        lines([{"query": "a", "pos": ["b"], "pos_id": ["1"]}, {"query": "b", "pos": ["c", "d"], "pos_id": ["2"]}]),
        r"a\.jsonl:2: 'pos_id' does not hold one id for each text",
    ),
    "empty": ("a.jsonl", "", "there are no documents"),
    "no pair": ("a.csv", "query,positive\na,\n", "there are no documents"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG_PAIRS)
def test_wrong_pairs(tmp_path, case):
    name, text, message = WRONG_PAIRS[case]
    with pytest.raises(DataError, match=message) as caught:
        load(write(tmp_path / name, text), cache=tmp_path / "cache")
    assert name in str(caught.value)


def test_wrong_arguments(tmp_path):
    path = write(tmp_path / "a.jsonl", lines(PAIRS))
    with pytest.raises(DataError, match=r"no column 'qery' for 'query'.*'query', 'positive'.*Did you mean 'query'"):
        load(path, columns={"query": "qery"}, cache=tmp_path)
    with pytest.raises(SpecError, match=r"'qury'.*Did you mean 'query'"):
        load(path, columns={"qury": "query"}, cache=tmp_path)
    with pytest.raises(DataError, match="no file matches"):
        load(f"{tmp_path}/*.csv", cache=tmp_path)
    with pytest.raises(DataError, match="cannot read rows from int"):
        load(7, cache=tmp_path)
    with pytest.raises(DataError, match="corpus="):
        load(path, qrels=path, cache=tmp_path)
    with pytest.raises(DataError, match="no splits"):
        load({}, cache=tmp_path)
    with pytest.raises(ValueError, match="on_unknown"):
        load(path, on_unknown="ignore", cache=tmp_path)
    with pytest.raises(DataError, match=r"document '9' is not in the corpus"):
        load([{"query": "q", "positive_id": "9"}], corpus=CORPUS, cache=tmp_path)
    with pytest.raises(DataError, match="FOILS_CACHE"):
        load(path, cache=path / "below-a-file")


def test_a_query_without_positives_is_in_no_split(tmp_path):
    rows = [{"query": "a", "positive": "x"}, {"query": "b", "positive": None}, {"query": "c", "positive": []}]
    data = load(rows, cache=tmp_path)
    assert data.report["queries_without_positives"] == 2
    assert data.queries.texts(data.query_rows("train")) == ["a"]


def test_a_column_has_one_role(tmp_path):
    data = load([{"query": "q", "label": "the answer"}], columns={"positive": "label"}, cache=tmp_path)
    assert data.corpus.texts() == ["the answer"]


def test_blocks_do_not_change_the_collection(tmp_path, monkeypatch):
    rows = [{"query": f"query {i % 7}", "pos": [f"doc {i % 5}", f"doc {i}"], "neg": f"doc {i % 11}"} for i in range(60)]
    whole = load(rows, cache=tmp_path / "a")
    monkeypatch.setattr("foils.core.tables.BLOCK_ROWS", 4)
    small = load(rows, cache=tmp_path / "b")
    assert content(small)[2] == content(whole)[2]
    assert sorted(content(small)[0]) == sorted(content(whole)[0])
    assert small.queries.fingerprint == whole.queries.fingerprint


def test_grades_survive_beir_exactly(tmp_path):
    rows = [{"query": "q", "document": f"d{i}", "grade": g} for i, g in enumerate([0.1, 1 / 3, 1e-7, 12345678.0, 2])]
    data = load(rows, cache=tmp_path / "c")
    again = load(write_beir(data, tmp_path / "out"), cache=tmp_path / "c")
    assert sorted(again.qrels("train")["grade"].tolist()) == sorted(data.qrels("train")["grade"].tolist())
    assert not any(math.isnan(grade) for grade in again.qrels("train")["grade"])
