"""Checks against slow loops, and which drafts they leave alone."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

import foils
from foils.adapters.llm import Access, Function, opened
from foils.core.banding import Bands
from foils.core.errors import ModelError, SpecError
from foils.core.minhash import jaccard, shingle_sets, signatures
from foils.core.spec import full, parse, registry
from foils.core.text import normalised
from foils.writing import (
    Above,
    Below,
    Copied,
    Desk,
    Draft,
    Edit,
    Judged,
    Language,
    Length,
    Options,
    Plausible,
    Repeats,
    write,
)
from foils.writing.corpus_pass import copied, nearest
from foils.writing.drafts import read
from foils.writing.language import language_of

EDIT = (Edit(0, 1, "a", "b"),)


@pytest.fixture
def desk(data, models, cache):
    return Desk(data, "train", 0, cache, encoders=models)


def some(data, count=40, role="negative", **more):
    """Drafts made of two positives each, of all lengths."""
    known = data.positives("train")
    bodies = data.corpus.bodies(known.doc)
    return [
        Draft(
            int(known.query[i]), int(known.doc[i]), "", f"{bodies[i][: 7 * (i % 9)]} {bodies[-i][: 5 * i]}", "x",
            role=role, **more,
        )
        for i in range(count)
    ]  # fmt: skip


def grams(text, n):
    words = re.findall(r"[^\W_]+", normalised(text))
    return {tuple(words[i : i + n]) for i in range(len(words) - n + 1)} or ({tuple(words)} if words else set())


CHECKS = [cls for cls in registry("check").values() if cls.__module__.startswith("foils.")]


def test_text_forms_and_sums():
    check = parse("Length(low=0.3) + Below('judge', margin=0.1)", "check")
    assert parse(repr(check), "check") == parse(full(check), "check") == check
    assert [one.name for one in check.each()] == ["length", "below.judge"]
    assert check.encoders() == ()
    assert [type(one).__name__ for one in parse("Usual()", "check").each()] == [
        "Length",
        "Copied",
        "Language",
        "Repeats",
    ]
    with pytest.raises(SpecError, match="is a stage, not a check"):
        parse("Top(k=3)", "check")


@pytest.mark.parametrize(
    "text",
    ["Length(low=2, high=1)", "Copied(most=1.5)", "Repeats(similarity=0.3)", "Plausible('m', low=-1)", "Judged(at=0)"],
)
def test_bounds(text):
    with pytest.raises(SpecError, match="must be"):
        parse(text, "check")


def test_length_is_a_ratio_of_characters(data, desk):
    drafts = some(data)
    sources = data.corpus.texts(np.array([draft.doc for draft in drafts]))
    expected = [len(draft.text) / len(source) for draft, source in zip(drafts, sources, strict=True)]
    check = Length(low=0.4, high=0.9)
    found = check.measure(drafts, desk)
    assert found.tolist() == pytest.approx(expected)
    assert check.passes(found).tolist() == [0.4 <= value <= 0.9 for value in expected]
    assert 5 < check.passes(found).sum() < 35
    assert np.isnan(check.measure(some(data, role="query"), desk)).all()
    assert not np.isnan(check.measure(some(data, edits=EDIT), desk)).any()
    titled = [Draft(d.query, d.doc, "T" * 10, d.text, "x", role="negative") for d in drafts]
    assert (check.measure(titled, desk) > found).all()


@pytest.mark.parametrize("words", [1, 3, 5])
def test_copied_runs_against_a_loop(data, desk, words):
    drafts = some(data)
    check = Copied(most=0.2, words=words)
    found = check.measure(drafts, desk)
    for draft, value in zip(drafts, found, strict=True):
        own = grams(draft.text, words)
        theirs = grams(data.corpus.texts([draft.doc])[0], words) | grams(data.queries.texts([draft.query])[0], words)
        assert value == pytest.approx(len(own & theirs) / max(1, len(own)))
    assert 0 < check.passes(found).sum() < len(drafts)
    positive = data.corpus.bodies([drafts[0].doc])[0]
    assert check.measure([Draft(drafts[0].query, drafts[0].doc, "", positive, "x", role="negative")], desk)[0] == 1
    assert np.isnan(check.measure(some(data, edits=EDIT), desk)).all(), "an edited text repeats its source by design"
    assert np.isnan(check.measure(some(data, role="positive"), desk)).all()


def words_of(rng, count):
    return " ".join(f"w{n}" for n in rng.integers(0, 4000, count))


@pytest.fixture(scope="module")
def texts():
    """Random documents and, for each tenth, drafts that share more and more with one."""
    rng = np.random.default_rng(0)
    docs = [words_of(rng, int(rng.integers(3, 90))) for _ in range(600)]
    drafts = []
    for i in range(0, 600, 4):
        words = docs[i].split()
        changed = rng.random(len(words)) < rng.choice([0, 0.01, 0.03, 0.08, 0.3])
        drafts.append(" ".join("new" if change else word for word, change in zip(words, changed, strict=True)))
    return docs, [*drafts, "!", "w1"]


class Listed:
    def __init__(self, texts):
        self._texts = texts

    def __len__(self):
        return len(self._texts)

    def texts(self, rows):
        return [self._texts[row] for row in np.asarray(rows).tolist()]


@pytest.mark.parametrize(("similarity", "words"), [(0.8, 5), (0.7, 3), (0.95, 5)])
def test_the_nearest_document_against_brute_force(texts, similarity, words):
    docs, drafts = texts
    mine, theirs = shingle_sets(drafts, words), shingle_sets(docs, words)
    best = np.array([max(jaccard(mine[i], theirs[j]) for j in range(len(docs))) for i in range(len(drafts))])
    told = []
    found = nearest(
        Listed(docs), lambda rows: [drafts[i] for i in rows.tolist()], len(drafts), (similarity, words),
        lambda *done: told.append(done),
    )  # fmt: skip
    near = best >= similarity
    assert 10 < near.sum() < len(drafts) - 10
    np.testing.assert_allclose(found[near], best[near])
    assert (found[~near] < similarity).all()
    assert told[-1] == (600, 600)


def test_bands_find_what_is_alike_and_little_else(texts):
    docs, drafts = texts
    signed = [signatures(shingle_sets(side, 5)) for side in (docs, drafts)]
    pairs = {
        pair
        for found in Bands(signed[1]).near(signed[0], 0.6)
        for pair in zip(*map(np.ndarray.tolist, found), strict=True)
    }
    agree = {
        (i, j)
        for i in range(len(docs))
        for j in np.flatnonzero((signed[0][i] == signed[1]).mean(axis=1) >= 0.8).tolist()
    }
    assert agree <= pairs
    assert all((signed[0][i] == signed[1][j]).mean() >= 0.6 for i, j in pairs)


def test_copies_by_normalised_text(data):
    sought = ["  THE Tides ", data.corpus.texts([7])[0].upper(), "nothing", data.corpus.texts([7])[0] + " "]
    from foils.core.text import keys_of

    found = copied(data.corpus, keys_of(map(normalised, sought)))
    assert found.tolist() == [False, True, False, True]
    assert copied(data.corpus, keys_of([])).tolist() == []


def test_drafts_that_nearly_repeat_a_document_are_rejected_unless_edited(tmp_path):
    rng = np.random.default_rng(3)
    docs = [words_of(rng, 60) for _ in range(30)]
    pairs = [{"query": f"q{i} {words_of(rng, 3)}", "positive": text} for i, text in enumerate(docs)]
    data = foils.load({"train": pairs})
    query = data.queries.id_list(data.query_rows("train"))
    other = " ".join(["fresh", *docs[9].split()[1:]])
    rows = [{"query_id": query[0], "text": other}, {"query_id": query[1], "text": words_of(rng, 60)}]
    path = tmp_path / "d.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    write(data, f"FromFile({str(path)!r})", out=tmp_path / "s")
    table = read(tmp_path / "s").to_pylist()
    assert table[0]["reason"].startswith("repeats: nearly repeats a document: 0.9")
    assert table[0]["check.repeats"] == pytest.approx(55 / 57)
    assert table[1]["reason"] is None
    assert table[1]["check.repeats"] == 0


SAMPLES = {
    "en": "The tide is the rise and fall of the sea that is caused by the moon, which can not be seen from this place.",
    "de": "Die Gezeiten sind das Steigen und Fallen des Meeres, das von dem Mond "
    "verursacht wird und nicht zu sehen ist.",
    "fr": "La marée est une montée des eaux qui est causée par la lune et que "
    "les gens ne peuvent pas voir dans ce lieu.",
    "es": "La marea es una subida del mar que es causada por la luna y que los "
    "hombres pueden ver en las costas del país.",
    "it": "La marea è una salita del mare che è causata dalla luna e non si può "
    "vedere con gli occhi nel porto della città.",
    "pt": "A maré é uma subida do mar que é causada pela lua e não pode ser "
    "vista em um porto das ilhas, mas também existe.",
    "nl": "Het getij is het stijgen en dalen van de zee dat door de maan wordt "
    "veroorzaakt en niet te zien is voor een mens.",
    "sv": "Tidvattnet är en höjning av havet som är orsakad av månen och det kan "
    "inte ses från en båt med ett segel vid natten.",
    "pl": "Pływ jest to podnoszenie się morza, które jest spowodowane przez "
    "księżyc, oraz nie może być widziane od brzegu.",
    "tr": "Gelgit, ay tarafından neden olan ve deniz için çok önemli bir "
    "yükselme olarak bilinen ve her gün olan bir olaydır.",
    "CYRILLIC": "Прилив — это подъём воды",
    "GREEK": "Η παλίρροια είναι η άνοδος",
    "ARABIC": "المد هو ارتفاع مياه البحر",
    "CJK": "潮汐是海水的上升和下降",
}


@pytest.mark.parametrize("language", SAMPLES)
def test_languages(language):
    assert language_of(SAMPLES[language]) == language


def test_language_is_compared_with_the_source(tmp_path, cache):
    data = foils.load(
        {"train": [{"query": "q one", "positive": SAMPLES["en"]}, {"query": "q two", "positive": "HTTP 404"}]}
    )
    desk = Desk(data, "train", 0, cache)
    drafts = [
        Draft(0, 0, "", SAMPLES["de"], "x", role="negative"),
        Draft(0, 0, "", SAMPLES["en"].upper(), "x", role="negative"),
        Draft(0, 0, "", "short", "x", role="negative"),
        Draft(1, 1, "", SAMPLES["de"], "x", role="negative"),
        Draft(None, 0, "", SAMPLES["CJK"], "x", role="query"),
    ]
    found = Language().measure(drafts, desk)
    np.testing.assert_array_equal(found, [0, 1, np.nan, np.nan, 0])


@pytest.mark.parametrize("name", ["judge", "student"])
def test_scores_against_the_positive(data, desk, models, name):
    drafts = [*some(data, 20), *some(data, 20, role="positive"), *some(data, 3, role="query")]
    model = models[name]
    queries = data.queries.texts([draft.query for draft in drafts])
    sides = [draft.text for draft in drafts], data.corpus.texts([draft.doc for draft in drafts])
    if name == "judge":
        mine, theirs = (model.score(queries, side) for side in sides)
    else:
        asked = model.encode(queries, "query")
        mine, theirs = ((asked * model.encode(side, "document")).sum(axis=1) for side in sides)
    gap = mine - theirs
    below, above = Below(name, margin=0.1), Above(name, margin=0.1)
    found = below.measure(drafts, desk)
    np.testing.assert_allclose(found[:20], gap[:20], atol=1e-6)
    assert np.isnan(found[20:]).all()
    assert below.passes(found[:20]).tolist() == (found[:20] < -0.1).tolist()
    found = above.measure(drafts, desk)
    np.testing.assert_allclose(found[20:40], gap[20:40], atol=1e-6)
    assert np.isnan(np.delete(found, range(20, 40))).all()
    assert above.passes(found[20:40]).tolist() == (found[20:40] >= -0.1).tolist()


def test_plausible_against_a_loop(data, desk, models):
    model = models["student"]
    rows = np.flatnonzero(data.same == np.arange(len(data.same)))
    vectors = model.encode(data.corpus.texts(), "document").astype(np.float64)
    usual = []
    for row in rows:
        others = np.flatnonzero(data.same != row)
        usual.append((vectors[others] @ vectors[row]).max())
    drafts = [Draft(0, 0, "", text, "x", role="negative") for text in ("zzz qqq vvv", *data.corpus.texts([3, 50]))]
    near = (model.encode([draft.text for draft in drafts], "document").astype(np.float64) @ vectors.T).max(axis=1)
    check = Plausible("student", low=0.05)
    found = check.measure(drafts, desk)
    assert found.tolist() == pytest.approx([np.mean(np.array(usual) <= value + 1e-6) for value in near], abs=0.02)
    assert check.passes(found).tolist() == [False, True, True]


def test_a_judge_that_sees_known_positives(data, cache):
    """It grades by words in common with the query, as the audit's own judge is asked."""
    known = data.positives("train")
    query, doc = int(known.query[0]), int(known.doc[0])
    asked = []

    def grader(messages):
        text = messages[-1]["content"]
        asked.append(text)
        wanted = set(re.search(r"<query>\n(.*?)\n</query>", text, re.S)[1].split())
        found = re.findall(r'<document id="(\d+)">\n(.*?)\n</document>', text, re.S)
        graded = [{"id": int(i), "reason": "words", "grade": 3 * int(wanted <= set(d.split()))} for i, d in found]
        return {"documents": [one for one in graded if "silence" not in found[one["id"] - 1][1]]}

    words = data.queries.texts([query])[0]
    drafts = [
        Draft(query, doc, "", f"{words} again", "x", role="negative"),
        Draft(query, doc, "", "something else", "x", role="negative"),
        Draft(query, doc, "", f"{words} said", "x", role="positive"),
        Draft(query, doc, "", "silence", "x", role="negative"),
        Draft(None, doc, "", "a query?", "x", role="query"),
    ]
    (client,) = opened([Function(grader)], Access())
    found = Judged().measure(drafts, Desk(data, "train", 0, cache, judge=client))
    np.testing.assert_array_equal(found, [0, 1, 1, 0, np.nan])
    assert data.corpus.texts([doc])[0] in asked[0], "known positives are shown"
    with pytest.raises(SpecError, match="--model"):
        Judged().measure(drafts, Desk(data, "train", 0, cache))


def test_checks_by_model_in_a_run(data, models, tmp_path):
    query = data.queries.id_list(data.query_rows("train")[:2])
    words = data.queries.texts(data.query_rows("train")[:2])
    rows = [{"query_id": query[0], "text": f"{words[0]} indeed"}, {"query_id": query[1], "text": "zzz yyy"}]
    path = tmp_path / "d.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    options = Options(
        checks="Below('ce') + Plausible('bi', low=0.01)", encoders={"ce": models["judge"], "bi": models["student"]}
    )
    made = write(data, f"FromFile({str(path)!r})", out=tmp_path / "s", options=options)
    table = read(tmp_path / "s").to_pylist()
    assert table[0]["reason"].startswith("below.ce: 'ce' scores it +")
    assert table[0]["check.plausible.bi"] is None, "what was rejected is not measured further"
    assert table[1]["reason"].startswith("plausible.bi: further")
    assert made.record["encoders"]["ce"]["pair"] == "overlap/1"
    with pytest.raises(ModelError):
        write(
            data,
            f"FromFile({str(path)!r})",
            out=tmp_path / "t",
            options=Options(checks="Below('x')", encoders={"x": "/no/such"}),
        )
    assert Repeats().name == "repeats"
