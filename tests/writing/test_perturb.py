"""The authors over a collection: what is written, with which draws, and by which model."""

from __future__ import annotations

import numpy as np
import pytest

import foils
from foils.adapters.scores import pair_scores
from foils.core.errors import SpecError
from foils.core.text import shown
from foils.writing import Desk, Identity, Perturb, Views, Wanted
from foils.writing.edits import EDITS, apply
from foils.writing.facets import Facets
from little import HashEncoder

ROWS = [
    {
        "_id": "d0",
        "title": "Oil crisis",
        "text": "The oil crisis began in 1973. It was not 5 percent, and prices rose in Spain.",
    },
    {
        "_id": "d1",
        "title": "Embargo",
        "text": "The embargo was lifted on 12 March 1974. It may have caused the war in France.",
    },
    {
        "_id": "d2",
        "title": "Rome",
        "text": "Rome fell in 476. There was a large wall. Nobody lived in Italy after two years.",
    },
    {"_id": "d3", "title": "Cats", "text": "purr"},
]
QUERIES = [
    ("q0", "When did the oil crisis begin?", ["1973"]),
    ("q1", "When was the embargo lifted?", []),
    ("q2", "When did Rome fall?", ["476"]),
    ("q3", "Cats?", []),
]


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    import json

    folder = tmp_path_factory.mktemp("told")
    (folder / "qrels").mkdir()
    (folder / "corpus.jsonl").write_text("\n".join(map(json.dumps, ROWS)))
    queries = [{"_id": i, "text": text, "metadata": {"answers": answers}} for i, text, answers in QUERIES]
    (folder / "queries.jsonl").write_text("\n".join(map(json.dumps, queries)))
    lines = [f"q{n}\td{n}\t1" for n in range(4)]
    (folder / "qrels" / "train.tsv").write_text("query-id\tcorpus-id\tscore\n" + "\n".join(lines) + "\n")
    return foils.load(folder)


@pytest.fixture
def desk(told, cache):
    return Desk(told, "train", 0, cache, encoders={"student": HashEncoder()})


def pairs(data):
    known = data.positives("train")
    return Wanted(known.query, known.doc)


def written(author, desk, block=100):
    wanted = pairs(desk.data)
    return [d for at in range(0, len(wanted), block) for d in author.write(wanted.take(slice(at, at + block)), desk)]


ALL = f"Perturb(kinds={[kind for kind in EDITS if kind != 'facet']}, k=3)"


@pytest.mark.parametrize(
    "text",
    [
        "Perturb()",
        ALL,
        "Perturb(k=2, reach='region')",
        "Identity(share=1.0, edits=2)",
        "Views(k=3)",
        "Perturb(by='student', k=2)",
    ],
)
def test_drafts_are_edits_of_their_documents_whatever_the_block(told, desk, text):
    author = foils.parse(text, "author")
    drafts = written(author, desk)
    assert drafts
    assert drafts == written(author, desk, 1)
    bodies = told.corpus.bodies()
    for draft in drafts:
        assert apply(bodies[draft.doc], draft.edits) == draft.text != bodies[draft.doc]
        assert draft.query == draft.doc
        assert draft.role is None
        assert draft.doc != 3
    assert len({(d.doc, d.text) for d in drafts}) == len(drafts)


def test_another_seed_another_edit(told, desk, cache):
    other = Desk(told, "train", 1, cache)
    assert [d.text for d in written(Perturb(), desk)] != [d.text for d in written(Perturb(), other)]


def test_several_edits_are_of_different_kinds_first(desk):
    for doc in range(3):
        kinds = [d.kind for d in written(Perturb(k=2, reach="region"), desk) if d.doc == doc]
        assert len(set(kinds)) == len(kinds) == 2


def test_by_takes_the_edit_with_the_highest_score(told, desk):
    encoder = desk.encoders["student"]
    kinds = ("number", "negation", "antonym", "unit")
    best = {d.doc: d for d in written(Perturb(kinds=kinds, by="student", reach="region"), desk)}
    every = written(Perturb(kinds=kinds, k=20, reach="region"), desk)
    query = encoder.encode(told.queries.texts(), "query")
    for doc, chosen in best.items():
        mine = [d for d in every if d.doc == doc]
        vectors = encoder.encode([shown(d.title, d.text) for d in mine], "document")
        at = np.arange(len(mine))
        scores = pair_scores(query, vectors, np.full(len(mine), doc), at)
        assert chosen.made["score"] == pytest.approx(float(scores.max()), abs=1e-4)
    with pytest.raises(SpecError, match="names no model"):
        written(Perturb(by="nobody"), desk)


def test_plausibility_is_recorded(desk):
    assert all(isinstance(d.made["plausibility"], float) for d in written(Perturb(), desk))


def test_identity_takes_its_share(told, desk):
    whole = written(Identity(share=1.0), desk)
    half = written(Identity(share=0.5), desk)
    wanted = pairs(told)
    expected = desk.uniform("identity", wanted) < 0.5
    assert {d.doc for d in half} == {d.doc for d in whole if expected[d.doc]}
    assert all(d.kind == "identity" for d in whole)
    assert Identity.family == Views.family == "positive"


def test_texts_without_a_query(told, desk):
    wanted = Wanted(np.array([-1, -1], np.int32), np.array([0, 1], np.int32))
    drafts = list(Perturb().write(wanted, desk))
    assert [d.query for d in drafts] == [None, None]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Perturb(kinds=['nummer'])", "number"),
        ("Perturb(kinds=[])", "at least one"),
        ("Perturb(k=0)", "at least 1"),
        ("Perturb(kinds=['facet'])", "named for the kind facet"),
        ("Perturb(reach='far')", "reach"),
        ("Identity(share=0.0)", "above 0"),
        ("Views(k=4)", "number of kinds"),
        ("Views(kinds=['blur'])", "span"),
    ],
)
def test_bounds(text, message):
    with pytest.raises(SpecError, match=message):
        foils.parse(text, "author")


def test_facets_share_the_topic_and_not_the_aspect():
    rng = np.random.default_rng(0)
    topics, aspects = np.linalg.qr(rng.normal(size=(16, 12)))[0].T[:4], np.linalg.qr(rng.normal(size=(16, 16)))[0].T[:3]
    topic, aspect = (part.ravel() for part in np.indices((4, 48)))
    aspect = aspect % 3
    vectors = (3 * topics[topic] + aspects[aspect] + 0.01 * rng.normal(size=(192, 16))).astype(np.float32)
    keys = np.arange(192, dtype=np.uint64)
    found = Facets.of(vectors, keys)
    banned = np.array([0, 1, 2], np.int32)
    donors = found.donors(0, banned, 5)
    assert len(donors)
    assert not np.isin(donors, banned).any()
    assert (found.topic[donors] == found.topic[0]).all()
    assert (found.aspect[donors] != found.aspect[0]).all()
    others = np.flatnonzero((found.aspect != found.aspect[0]) & (found.topic != found.topic[0]))
    far = int(others[others > 2][0])
    titled = Facets.of(vectors, keys, ["One" if row in (0, far) else "" for row in range(192)])
    assert titled.donors(0, banned, 5).tolist() == [far, *donors.tolist()][:5]
    again = Facets.of(vectors, keys)
    assert np.array_equal(again.topic, found.topic)


def test_facet_borrows_sentences(data, cache):
    desk = Desk(data, "train", 0, cache, encoders={"student": HashEncoder()})
    author = Perturb(kinds=("facet",), encoder="student")
    assert author.encoders() == ("student",)
    for draft in written(author, desk):
        assert all(edit.after == "" or any(edit.after in text for text in data.corpus.bodies()) for edit in draft.edits)
