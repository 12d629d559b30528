"""The collection value: text sameness, memory mapping, closure, splits. Oracles: slow loops, dicts, properties."""

import json
import os
import pickle
import subprocess
import sys
import unicodedata

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foils.core import noise, texts_writer
from foils.core.cache import cache_root, publish
from foils.core.collection import Collection, strongest
from foils.core.collection_writer import CollectionWriter
from foils.core.errors import DataError
from foils.core.text import FirstSeen, keys_of, normalised
from foils.core.texts import CORPUS_SCHEMA
from foils.core.texts_writer import TextBlock

TEXT = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=30)


def block(ids, texts, titles=None, metadata=None):
    n = len(ids)
    return TextBlock("memory", range(1, n + 1), ids, titles or [""] * n, texts, metadata or [""] * n)


def build(folder, docs, queries, judged, *, size=1_000, titles=None):
    """A collection from texts and {split: [(query, doc, grade)]}, written in blocks of ``size``."""
    folder.mkdir(parents=True)
    writer = CollectionWriter(folder)
    for start in range(0, len(docs), size):
        part = slice(start, start + size)
        ids = [f"d{i}" for i in range(len(docs))][part]
        writer.documents.append(block(ids, docs[part], titles and titles[part]))
    for start in range(0, len(queries), size):
        part = slice(start, start + size)
        writer.queries.append(block([f"q{i}" for i in range(len(queries))][part], queries[part]))
    for split, triples in judged.items():
        query, doc, grade = zip(*triples, strict=True) if triples else ([], [], [])
        rows = writer.queries.row_of([f"q{q}" for q in query])
        writer.judge(split, rows, doc, grade)
    writer.finish("built", "memory")
    return Collection.open(folder)


@settings(max_examples=300, deadline=None)
@given(TEXT)
def test_normalised_is_nfkc_casefold_and_single_blanks(text):
    assert normalised(text) == " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def test_every_white_space_is_collapsed():
    blanks = [c for c in map(chr, range(sys.maxunicode + 1)) if c.isspace()]
    assert len(blanks) > 20
    for blank in blanks:
        assert [normalised(f"{a}{blank}{b}") for a, b in (("x", "y"), ("", "y"), ("é", "y"), ("x ", "y"))] == [
            "x y",
            "y",
            "é y",
            "x y",
        ]


@given(st.lists(TEXT, max_size=20))
def test_keys_are_those_of_the_noise(texts):
    assert keys_of(texts).tolist() == [noise.key_of(text) for text in texts]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(st.integers(0, 40), max_size=30), max_size=12))
def test_first_seen_is_a_dict(batches):
    seen, oracle, position = FirstSeen(), {}, 0
    for batch in batches:
        values = np.arange(position, position + len(batch))
        expected = [oracle.setdefault(key, value) for key, value in zip(batch, values.tolist(), strict=True)]
        assert seen.first(np.array(batch, np.uint64), values).tolist() == expected
        position += len(batch)
    wanted = list(range(50))
    assert seen.find(np.array(wanted, np.uint64)).tolist() == [oracle.get(key, -1) for key in wanted]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 2)), max_size=30))
def test_strongest_keeps_the_highest_grade_in_order(triples):
    query, doc, grade = (np.array([t[i] for t in triples], np.int64) for i in range(3))
    kept = strongest(query, doc, grade)
    best = {}
    for q, d, g in triples:
        best[q, d] = max(g, best.get((q, d), g))
    assert [(query[i], doc[i], grade[i]) for i in kept] == [(*key, best[key]) for key in sorted(best)]


@pytest.mark.parametrize("batch_rows", [1, 7, 10_000])
def test_texts_by_row_across_batches(tmp_path, monkeypatch, batch_rows):
    monkeypatch.setattr(texts_writer, "BATCH_ROWS", batch_rows)
    docs = [f"text {i}" if i % 5 else "" for i in range(40)]
    titles = [f"title {i}" if i % 3 else "" for i in range(40)]
    data = build(tmp_path / "c", docs, ["q"], {"train": [(0, 0, 1)]}, size=9, titles=titles)
    shown = [f"{t} {d}" if t and d else t or d for t, d in zip(titles, docs, strict=True)]
    rows = np.random.default_rng(0).integers(0, 40, 100)
    assert data.corpus.texts() == shown
    assert data.corpus.texts(rows) == [shown[i] for i in rows]
    assert data.corpus.titles(rows) == [titles[i] for i in rows]
    assert data.corpus.id_list([39, 0]) == ["d39", "d0"]
    assert data.corpus.lengths.tolist() == [len(text) for text in shown]
    assert data.corpus.texts([]) == []


@pytest.mark.parametrize("row", [-1, 3])
def test_a_row_that_is_not_there_is_an_error(tmp_path, row):
    data = build(tmp_path / "c", ["a", "b", "c"], ["q"], {"train": [(0, 0, 1)]})
    with pytest.raises(IndexError, match=f"row {row} of 3"):
        data.corpus.texts([0, row])


@pytest.mark.parametrize("size", [1, 3, 100])
def test_ids_resolve_and_unknown_ones_are_minus_one(tmp_path, size):
    queries, judged = ["Same  Text", "other", "same text", "OTHER"], {"train": [(0, 0, 1), (2, 1, 1)]}
    data = build(tmp_path / "c", ["a", "b"], queries, judged, size=size)
    assert data.corpus.rows_of(["d1", "nobody", "d0", "d1"]).tolist() == [1, -1, 0, 1]
    assert data.queries.rows_of(["q0", "q1", "q2", "q3"]).tolist() == [0, 1, 0, 1]
    assert data.queries.texts() == ["Same  Text", "other"]
    assert data.queries.aliases == {"q2": 0, "q3": 1}
    assert data.corpus.rows_of([]).tolist() == []
    assert data.corpus.keys.tolist() == [noise.key_of("d0"), noise.key_of("d1")]
    # Both ids were judged: the positives are united.
    assert list(zip(data.positives("train").query, data.positives("train").doc, strict=True)) == [(0, 0), (0, 1)]


WORDS = ["Fou", "fou", "FOU ", " f o u", "ﬁve", "five", "", "  ", "x"]


@settings(max_examples=60, deadline=None)
@given(
    docs=st.lists(st.sampled_from(WORDS), min_size=1, max_size=25),
    triples=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 24), st.integers(0, 3)), min_size=1, max_size=30),
)
def test_links_and_closure_equal_a_slow_loop(tmp_path_factory, docs, triples):
    triples = [(q, d % len(docs), g) for q, d, g in triples] + [(6, 0, 1)]
    folder = tmp_path_factory.mktemp("closure") / "c"
    data = build(folder, docs, [f"query {i}" for i in range(7)], {"train": triples}, size=4)
    folded = [normalised(text) for text in docs]
    same = [folded.index(text) if text else i for i, text in enumerate(folded)]
    assert data.same.tolist() == same
    assert data.report["linked_documents"] == sum(i != s for i, s in enumerate(same))
    assert data.report["empty_documents"] == folded.count("")
    grades = {}
    for q, d, g in triples:
        grades[q, d] = max(g, grades.get((q, d), 0))
    closed = {}
    for (q, d), g in grades.items():
        for other in range(len(docs)):
            if g > 0 and same[other] == same[d]:
                closed[q, other] = max(g, closed.get((q, other), 0))
    qrels, positives = data.qrels("train"), data.positives("train")
    assert list(zip(qrels.query, qrels.doc, qrels["grade"], strict=True)) == [(*k, grades[k]) for k in sorted(grades)]
    assert qrels.label.tolist() == [int(grades[k] > 0) for k in sorted(grades)]
    rows = list(zip(positives.query, positives.doc, positives["grade"], strict=True))
    assert rows == [(*k, closed[k]) for k in sorted(closed)]
    assert (positives.label == 1).all()
    assert data.query_rows("train").tolist() == sorted({q for q, _ in closed})


def test_the_fingerprint_is_of_the_content_only(tmp_path, monkeypatch):
    docs = ["ab", "c", "d e", "f"]
    judged = {"train": [(0, 0, 1)], "test": [(1, 1, 2)]}
    first = build(tmp_path / "a", docs, ["x", "y"], judged)
    monkeypatch.setattr(texts_writer, "BATCH_ROWS", 2)
    again = build(tmp_path / "b", docs, ["x", "y"], judged, size=1)
    assert (again.fingerprint, again.corpus.fingerprint) == (first.fingerprint, first.corpus.fingerprint)
    others = [
        build(tmp_path / "c", ["a", "bc", "d e", "f"], ["x", "y"], judged),  # the same letters, cut elsewhere
        build(tmp_path / "d", docs[::-1], ["x", "y"], judged),
        build(tmp_path / "e", docs, ["x", "z"], judged),
        build(tmp_path / "f", docs, ["x", "y"], {"train": [(0, 0, 2)], "test": [(1, 1, 2)]}),
        build(tmp_path / "g", docs, ["x", "y"], {"test": [(0, 0, 1)], "train": [(1, 1, 2)]}),
        build(tmp_path / "h", docs, ["x", "y"], judged, titles=["a", "", "", ""]),
    ]
    assert len({first.fingerprint, *(other.fingerprint for other in others)}) == 7
    assert others[0].corpus.fingerprint != first.corpus.fingerprint
    assert others[2].corpus.fingerprint == first.corpus.fingerprint


def test_metadata_counts_in_the_fingerprint(tmp_path):
    prints = []
    for name, metadata in (("a", '{"answers": ["x"]}'), ("b", '{"answers": ["y"]}')):
        (tmp_path / name).mkdir()
        writer = CollectionWriter(tmp_path / name)
        writer.documents.append(block(["d"], ["text"]))
        writer.queries.append(block(["q"], ["query"], metadata=[metadata]))
        writer.judge("train", [0], [0], [1])
        writer.finish("built", "memory")
        data = Collection.open(tmp_path / name)
        assert data.queries.metadata() == [json.loads(metadata)]
        prints.append(data.fingerprint)
    assert prints[0] != prints[1]


def test_holdout_divides_by_id_alone(tmp_path):
    queries = [f"query {i}" for i in range(400)]
    data = build(tmp_path / "all", ["a"], queries, {"train": [(i, 0, 1) for i in range(400)]})
    few = build(tmp_path / "few", ["a"], queries, {"train": [(i, 0, 1) for i in range(0, 400, 3)]})
    train, dev = data.holdout("train", 0.25)
    assert sorted([*train, *dev]) == list(range(400))
    assert 60 < len(dev) < 140
    assert set(few.holdout("train", 0.25)[1]) == set(dev) & set(range(0, 400, 3))
    assert set(data.holdout("train", 0.25, seed=1)[1]) != set(dev)
    assert len(data.holdout("train", 0.0)[1]) == 0
    assert len(data.holdout("train", 1.0)[0]) == 0


def test_a_view_keeps_rows_and_has_its_own_splits(tmp_path):
    data = build(tmp_path / "c", ["a", "A ", "b"], ["x", "y", "z"], {"train": [(0, 0, 1), (1, 2, 1), (2, 1, 1)]})
    view = data.subset({"train": ("train", [2, 0]), "dev": ("train", [1])})
    assert view.splits == ("train", "dev")
    assert view.query_rows("train").tolist() == [0, 2]
    assert view.positives("train").doc.tolist() == [0, 1, 0, 1]
    assert view.qrels("dev").query.tolist() == [1]
    assert view.corpus.fingerprint == data.corpus.fingerprint
    assert view.fingerprint != data.fingerprint
    assert view.fingerprint == data.subset({"train": ("train", [0, 2]), "dev": ("train", [1])}).fingerprint
    other = data.subset({"train": ("train", [0, 1]), "dev": ("train", [1])})
    assert other.fingerprint != view.fingerprint
    inner = view.subset({"one": ("train", [1, 2])})
    assert inner.query_rows("one").tolist() == [2]
    for value in (data, view):
        copy = pickle.loads(pickle.dumps(value))
        assert (copy.splits, copy.fingerprint) == (value.splits, value.fingerprint)
        assert copy.corpus.texts([1]) == ["A "]


def test_an_unknown_split_is_refused_with_a_suggestion(data):
    with pytest.raises(DataError, match=r"no split 'tset'.*'test'.*Did you mean 'test'"):
        data.qrels("tset")


def test_opening_and_reading_some_rows_reads_no_other_text(tmp_path):
    rows, chunks, words = 2_000, 40, "x" * 2_000  # 160 MB of text
    text = pa.array([words] * rows, pa.large_string())
    empty = pa.array([""] * rows, pa.large_string())
    number = pa.array(np.zeros(rows, np.int32))
    path = tmp_path / "corpus.arrow"
    with pa.ipc.new_file(str(path), CORPUS_SCHEMA) as file:
        for c in range(chunks):
            ids = pa.array([f"d{c * rows + i}" for i in range(rows)], pa.large_string())
            keys = pa.array(np.arange(c * rows, (c + 1) * rows, dtype=np.uint64))
            columns = [ids, empty, text, empty, keys, number, number]
            file.write_batch(pa.record_batch(columns, schema=CORPUS_SCHEMA))
    # In a process of its own, because the peak of Arrow's memory is never reset.
    done = subprocess.run([sys.executable, "-c", READ_SOME, str(path)], capture_output=True, text=True, check=True)
    opened, peak = map(int, done.stdout.split())
    assert opened < 1 << 20
    assert peak < 8 << 20


READ_SOME = """
import sys
from pathlib import Path
import numpy as np
import pyarrow as pa
from foils.core.texts import Texts

texts = Texts(Path(sys.argv[1]), "")
column = texts._table.column("text")
assert column.type == pa.large_string() and len(column.chunks) == 40
address = column.chunk(0).buffers()[2].address
proc = Path("/proc/self/maps")
lines = proc.open() if proc.exists() else [f"0-{'f' * 16} {sys.argv[1]}"]
maps = [line.split()[0].split("-") for line in lines if sys.argv[1] in line]
assert any(int(low, 16) <= address < int(high, 16) for low, high in maps), "not the mapped file"
opened = pa.default_memory_pool().max_memory()
wanted = np.random.default_rng(0).integers(0, len(texts), 50)
assert texts.texts(wanted) == ["x" * 2_000] * 50
assert texts.id_list(wanted) == [f"d{i}" for i in wanted]
print(opened, pa.default_memory_pool().max_memory())
"""


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    target = tmp_path / "cache" / "thing"

    def fail(folder):
        (folder / "half").write_text("half")
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        publish(target, fail)
    assert list(target.parent.iterdir()) == []

    def race(folder):
        (folder / "mine").write_text("second")
        target.mkdir()
        (target / "theirs").write_text("first")

    publish(target, race)
    assert [path.name for path in target.parent.iterdir()] == ["thing"]
    assert [path.name for path in target.iterdir()] == ["theirs"]
    publish(target, fail)  # it is there, so nothing is done


def test_what_killed_processes_left_goes_after_a_week(tmp_path):
    old, new, other = (tmp_path / name for name in (".thing.a.partial", ".thing.b.partial", ".another.a.partial"))
    for folder in (old, new, other):
        folder.mkdir()
        (folder / "half").touch()
    for folder in (old, other):
        os.utime(folder, (0, 0))
    publish(tmp_path / "thing", lambda folder: None)
    assert sorted(path.name for path in tmp_path.iterdir()) == [other.name, new.name, "thing"]


def test_the_cache_is_the_argument_then_the_variable_then_home(monkeypatch, tmp_path):
    monkeypatch.setenv("FOILS_CACHE", str(tmp_path / "variable"))
    assert cache_root(tmp_path / "argument") == tmp_path / "argument"
    assert cache_root() == tmp_path / "variable"
    monkeypatch.delenv("FOILS_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_root() == tmp_path / ".cache" / "foils"


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "has no collection.json"), ("{", "not JSON"), ('{"format": 99}', "format 99.*reads format 1")],
)
def test_a_folder_that_is_no_collection(tmp_path, content, message):
    if content is not None:
        (tmp_path / "collection.json").write_text(content)
    with pytest.raises(DataError, match=message):
        Collection.open(tmp_path)
