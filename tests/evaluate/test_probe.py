"""The source probe: against scikit-learn, at chance where there is nothing, and no text on both sides of a fold."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import foils
from foils.core.errors import DataError
from foils.core.pairs import Pairs
from foils.evaluate.linear import FOLDS, PENALTY, _folds, separate
from foils.evaluate.probe import draw, groups, members, tell_apart
from little import HashEncoder
from shell import foils as command


@pytest.fixture(scope="session")
def data(beir, _own_cache):
    """The little collection that all but the neighbours of this file use."""
    return foils.load(beir)


def kinds(n, dim=8, shift=0.0, seed=0):
    """Vectors of two kinds, half of each, that lie so far apart; pairs of them are groups."""
    rng = np.random.default_rng(seed)
    one = np.arange(n) % 2 == 0
    return rng.standard_normal((n, dim)) + shift * one[:, None], one, np.arange(n) // 2


def test_as_scikit_learn_has_it():
    x, one, group = kinds(300, shift=0.3)
    found = separate(x, one, group)
    fold, score = _folds(group), np.zeros(300)
    for number in range(FOLDS):
        held = fold == number
        assert not set(group[held]) & set(group[~held])
        model = make_pipeline(StandardScaler(), LogisticRegression(C=PENALTY, class_weight="balanced"))
        score[held] = model.fit(x[~held], one[~held]).decision_function(x[held])
    assert found["accuracy"].value == pytest.approx(balanced_accuracy_score(one, score > 0))
    auc = [roc_auc_score(one[fold == number], score[fold == number]) for number in range(FOLDS)]
    assert found["auc"].value == pytest.approx(np.mean(auc))
    assert found["accuracy"].low < found["accuracy"].value < found["accuracy"].high
    assert np.bincount(fold).tolist() == [60] * FOLDS


def test_chance_where_there_is_nothing_and_all_where_there_is_everything():
    nothing = [separate(*kinds(400, seed=seed), seed=seed) for seed in range(10)]
    for name in ("accuracy", "auc"):
        assert np.mean([one[name].value for one in nothing]) == pytest.approx(0.5, abs=0.02)
        inside = [one[name].low <= 0.5 <= one[name].high for one in nothing]
        assert sum(inside) >= 8, "most intervals hold what is true"
    clear = separate(*kinds(400, shift=4.0))
    assert clear["accuracy"].value > 0.98
    assert clear["auc"].value > 0.999
    assert clear["auc"].low > 0.99


def test_what_is_grouped_cannot_be_remembered():
    """Eight copies of a vector, all of one kind: alone they would be told by heart."""
    rng = np.random.default_rng(1)
    group = np.repeat(np.arange(100), 8)
    x, one = rng.standard_normal((100, 150))[group], (np.arange(100) % 2 == 0)[group]
    assert separate(x, one, rng.permutation(800))["accuracy"].value > 0.8
    assert separate(x, one, group)["accuracy"].value < 0.65


def test_too_little():
    with pytest.raises(DataError, match="takes 10 of each"):
        separate(*kinds(18))
    x, one, group = kinds(80)
    with pytest.raises(DataError, match=r"in 4 groups: .* in 5 groups at least"):
        separate(x, one, group % 4)
    with pytest.raises(DataError, match="all vectors of a kind are in one group"):
        separate(x[:60], np.arange(60) < 12, np.concatenate([np.zeros(12, int), np.arange(1, 49)]))


def pool(data, seed=0, sources=("one", "other")):
    """Random negatives, each found by one of two sources or by both, by chance."""
    rng = np.random.default_rng(seed)
    rows = data.query_rows("train")
    query = np.repeat(rows, 8)
    doc = np.concatenate([rng.choice(len(data.corpus), 8, replace=False) for _ in rows])
    which = rng.integers(0, 3, len(query))
    ranks = {name: np.where((which == i) | (which == 2), 1, 0).astype(np.int32) for i, name in enumerate(sources)}
    return Pairs.build(query, doc, ranks=ranks)


def test_what_is_drawn(data):
    pairs = pool(data)
    one, other = (pairs.ranks[name] > 0 for name in ("one", "other"))
    rows = draw(data, pairs, one, other, 2000, 0)
    assert one[rows].sum() == other[rows].sum() == len(rows) / 2
    assert len(np.unique(data.same[pairs.doc[rows]])) == len(rows), "of each document one"
    alone = np.unique(data.same[pairs.doc[one ^ other]])
    assert len(rows) > 0.7 * len(alone), "hardly more is left out than balance asks for"
    few = draw(data, pairs, one, other, 40, 0)
    assert len(few) == 40
    assert np.bincount(pairs.query[few][one[few]]).max() == 1, "of each query as few as possible"
    assert few.tolist() != draw(data, pairs, one, other, 40, 1).tolist()
    turned = pairs.take(np.lexsort((-pairs.doc, pairs.query)))
    again = draw(data, turned, turned.ranks["one"] > 0, turned.ranks["other"] > 0, 40, 0)
    assert set(turned.key[again].tolist()) == set(pairs.key[few].tolist()), "whatever the order of the rows"
    same = draw(data, pairs, one, one, 40, 0)
    assert not len(same)


def test_texts_of_one_origin_stay_together(shard):
    links = shard.written
    rows = np.flatnonzero(links.role == 0)
    query, doc, source = links.query[rows], links.doc[rows], shard.same[links.source[rows]]
    found = groups(shard, query, doc)
    for i in range(len(rows)):
        for j in range(i):
            if query[i] == query[j] or source[i] == source[j]:
                assert found[i] == found[j]
    assert len(np.unique(found)) > 5
    mined = groups(shard, query, np.zeros(len(query), np.int32))
    assert len(np.unique(mined)) == len(np.unique(query))


def encode_with(data, model):
    texts = {"query": data.queries, "document": data.corpus}
    return lambda rows, kind: model.encode(texts[kind].texts(rows), kind)


def test_identical_sources_are_a_guess_and_a_marked_one_is_not(data):
    values = []
    for seed in range(8):
        told = tell_apart(data, pool(data, seed), ("one", "other"), encode_with(data, HashEncoder()), seed=seed)
        values.append(told.accuracy.value)
        assert not told.alarming
    assert np.mean(values) == pytest.approx(0.5, abs=0.04)

    pairs = pool(data)
    marked = set(data.same[pairs.doc[(pairs.ranks["one"] > 0) & ~(pairs.ranks["other"] > 0)]].tolist())

    def encode(rows, kind):
        vectors = encode_with(data, HashEncoder())(rows, kind)
        if kind == "document":
            vectors[:, 0] += [0.9 * (row in marked) for row in data.same[rows].tolist()]
        return vectors

    one_only = pairs.take(~((pairs.ranks["other"] > 0) & np.isin(data.same[pairs.doc], list(marked))))
    told = tell_apart(data, one_only, ("one", "others"), encode)
    assert told.alarming
    assert told.auc.value > 0.95
    difference = tell_apart(data, one_only, ("one", "other"), encode, of="difference")
    assert difference.accuracy.value != told.accuracy.value


def test_sources_by_rank():
    pairs = Pairs.build([0, 0, 1], [1, 2, 1], [1, 0, 0], ranks={"b": [0, 1, 0], "a": [1, 2, 3], "none": [0, 0, 0]})
    assert {name: rows.tolist() for name, rows in members(pairs).items()} == {
        "a": [True, True, True],
        "b": [False, True, False],
    }


@pytest.fixture(scope="module")
def mined(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("probe") / "neg"
    pipeline = "BM25(k=20) + Dense('student', k=20) + Random(k=12) >> Uniform(k=12)"
    return foils.mine(data, pipeline, out=out, encoders={"student": HashEncoder()})


def test_of_negatives_on_disk(mined, data):
    found = foils.probe(mined, HashEncoder("other", 12, 1))
    assert [row.one for row in found.rows] + [name.split(" - ")[0] for name in found.left] == [
        "bm25",
        "random",
        "student",
    ]
    assert all(row.other == "others" for row in found.rows)
    assert found.to_dict() == foils.probe(mined.path, HashEncoder("other", 12, 1), data=data).to_dict()
    two = foils.probe(mined, HashEncoder(), sources=["random", "bm25"], of="difference")
    assert [(row.one, row.other) for row in two.rows] == [("random", "bm25")]
    assert two.highest == two.rows[0].accuracy.value


def test_the_command(mined, monkeypatch):
    monkeypatch.setattr(sys.modules["foils.evaluate.probe"], "load_encoder", lambda name: HashEncoder(name))
    asked = ("probe", str(mined.path), "-m", "here", "--sources", "random, bm25")
    said = json.loads(command(*asked, "--json"))
    assert said["comparisons"][0]["each"] >= 10
    assert said["comparisons"][0]["accuracy"].keys() == {"value", "low", "high"}
    assert "random" in command(*asked)
    command(*asked, "--fail-above", "0.5", check=int(said["comparisons"][0]["accuracy"]["value"] > 0.5))
    command(*asked, "--fail-above", "1.0")
    refused = command("probe", str(mined.path), "-m", "here", "--sources", "random,bm52", check=1)
    assert "no negative is of source 'bm52'" in refused
    assert "bm25" in refused
    refused = command("probe", str(mined.path), "-m", "here", "--sources", "random", check=1)
    assert "one source only" in refused
