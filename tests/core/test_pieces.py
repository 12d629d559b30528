import json

import pytest

import foils
from foils.core.errors import DataError, SpecError
from foils.core.pairs import CANDIDATE
from foils.core.pieces import cut_of, write_pieces
from foils.stages import Context, Siblings

TEXTS = {
    "a": "Salt is mined. It was dear in 1802. Rome taxed it.",
    "b": "Iron rusts. Rust is red.",
    "c": "",
}


@pytest.fixture
def whole(tmp_path):
    folder = tmp_path / "whole"
    (folder / "qrels").mkdir(parents=True)
    corpus = [{"_id": i, "title": i.upper(), "text": t, "metadata": {"source": "s"}} for i, t in TEXTS.items()]
    queries = [
        {"_id": "q0", "text": "when was salt dear", "metadata": {"answers": ["1802"]}},
        {"_id": "q1", "text": "what of iron", "metadata": {"answers": ["no such words"]}},
        {"_id": "q2", "text": "anything else"},
    ]
    (folder / "corpus.jsonl").write_text("\n".join(map(json.dumps, corpus)))
    (folder / "queries.jsonl").write_text("\n".join(map(json.dumps, queries)))
    lines = ["q0\ta\t2", "q0\tb\t0", "q1\tb\t1", "q2\tc\t1", "q2\ta\t1"]
    (folder / "qrels" / "train.tsv").write_text("query-id\tcorpus-id\tscore\n" + "\n".join(lines) + "\n")
    return foils.load(folder)


def judged(data):
    pairs = data.qrels("train")
    ids = zip(data.queries.id_list(pairs.query), data.corpus.id_list(pairs.doc), strict=True)
    return dict(zip(ids, pairs["grade"].tolist(), strict=True))


def test_sentences_know_their_document_and_their_place(whole, tmp_path):
    data = foils.load(write_pieces(whole, tmp_path / "cut", cut_of("sentences")))
    assert data.corpus.id_list() == ["a#0", "a#1", "a#2", "b#0", "b#1", "c#0"]
    assert data.corpus.bodies()[:2] == ["Salt is mined.", "It was dear in 1802."]
    assert data.corpus.titles() == ["A", "A", "A", "B", "B", "C"]
    assert data.corpus.metadata([1]) == [{"source": "s", "parent": "a", "position": 1}]


def test_judgements_go_to_the_pieces_with_the_answer_or_to_all(whole, tmp_path):
    data = foils.load(write_pieces(whole, tmp_path / "cut", cut_of("sentences")))
    assert judged(data) == {
        ("q0", "a#1"): 2,  # the only one with the answer
        ("q0", "b#0"): 0,
        ("q0", "b#1"): 0,
        ("q1", "b#0"): 1,  # no piece has the answer
        ("q1", "b#1"): 1,
        ("q2", "a#0"): 1,  # no answers given
        ("q2", "a#1"): 1,
        ("q2", "a#2"): 1,
        ("q2", "c#0"): 1,
    }


def test_siblings_of_a_sentence(whole, tmp_path):
    data = foils.load(write_pieces(whole, tmp_path / "cut", cut_of("sentences")))
    rows = data.query_rows("train")
    ctx = Context(data, "train", 0, rows, rows, {}, tmp_path)
    found = Siblings(k=5)(data.positives("train").bare(), ctx)
    mine = found.take((found.query == rows[0]) & (found.label == CANDIDATE))
    assert data.corpus.id_list(mine.doc) == ["a#0", "a#2"]


def test_runs_of_words(whole, tmp_path):
    data = foils.load(write_pieces(whole, tmp_path / "cut", cut_of("words:4")))
    assert data.corpus.bodies()[:3] == ["Salt is mined. It", "was dear in 1802.", "Rome taxed it."]
    assert "".join(data.corpus.bodies()[:3]).replace(" ", "") == TEXTS["a"].replace(" ", "")


def test_what_is_cut_already_is_not_cut_again(whole, tmp_path):
    data = foils.load(write_pieces(whole, tmp_path / "cut", cut_of("sentences")))
    with pytest.raises(DataError, match="has a parent already: 'a'"):
        write_pieces(data, tmp_path / "again", cut_of("words:2"))
    assert not (tmp_path / "again").exists()
    with pytest.raises(DataError, match="not empty"):
        write_pieces(whole, tmp_path / "cut", cut_of("sentences"))


@pytest.mark.parametrize("text", ["", "sentence", "words", "words:0", "words:-3", "words:x", "words:²"])
def test_other_ways_of_cutting_are_refused(text):
    with pytest.raises(SpecError, match="use sentences, or words:200"):
        cut_of(text)


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("He said: “No.” Then he left!\nA line\n\nanother", ["He said: “No.”", "Then he left!", "A line", "another"]),
        ("Pi is 3.14 or so. 2 is even.", ["Pi is 3.14 or so.", "2 is even."]),
        ("   ", ["   "]),
        ("Ärger? Öl.", ["Ärger?", "Öl."]),
    ],
)
def test_sentences(text, pieces):
    assert cut_of("sentences")(text) == pieces
