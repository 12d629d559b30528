"""Guard rails: what must never become a negative, and whom nothing must be mined for."""

from __future__ import annotations

import numpy as np
import pytest

import foils
from foils.core.errors import DataError, PipelineError
from foils.mine import Miner
from foils.terminal import mined
from little import write_jsonl

BM25 = foils.parse("BM25(k=3, language=None)")


def collection(folder, queries, qrels, docs=6):
    """Documents d0, d1, …; queries by id; qrels by split as (query, document)."""
    write_jsonl(folder / "corpus.jsonl", [{"_id": f"d{i}", "text": f"word{i} shared text"} for i in range(docs)])
    write_jsonl(folder / "queries.jsonl", [{"_id": name, "text": text} for name, text in queries.items()])
    (folder / "qrels").mkdir()
    for split, rows in qrels.items():
        lines = ["query-id\tcorpus-id\tscore", *(f"{q}\t{d}\t1" for q, d in rows)]
        (folder / "qrels" / f"{split}.tsv").write_text("\n".join(lines) + "\n")
    return foils.load(folder)


QUERIES = {"a": "shared word0", "b": "shared word1", "c": "Shared  WORD1", "d": "shared word2"}


@pytest.fixture
def leaky(tmp_path):
    """Query b of train is asked in test as c; d is asked in dev; train_sparse holds the queries of train again."""
    train = [("a", "d0"), ("b", "d1"), ("d", "d2")]
    return collection(
        tmp_path,
        QUERIES,
        {"train": train, "train_sparse": train[:2], "test": [("c", "d3")], "validation": [("d", "d4")]},
    )


def mine(data, out, split="train", **policy):
    return Miner(**policy).mine(data, BM25, split=split, seed=0, encoders={}, out=out)


def test_queries_of_held_out_splits_are_not_mined_for(leaky, tmp_path):
    store = mine(leaky, tmp_path / "neg")
    assert leaky.queries.id_list(store.pairs(leaky).queries) == ["a"]
    counts = store.manifest["counts"]
    assert (counts["queries"], counts["skipped_leaks"], store.manifest["leaks"]) == (1, 2, "skip")
    kept = mine(leaky, tmp_path / "all", leaks="keep")
    assert kept.manifest["counts"]["queries"] == 3
    assert kept.manifest["counts"]["skipped_leaks"] == 0


def test_how_many_were_left_out_is_shown(leaky, tmp_path, capsys):
    from foils.terminal import console

    console().print(mined(mine(leaky, tmp_path / "neg").manifest, "neg"))
    assert "2 queries were left out" in capsys.readouterr().out


def test_which_splits_are_held_out(leaky):
    assert sorted(leaky.held_out("train")) == ["test", "validation"]
    assert sorted(leaky.held_out("train_sparse")) == ["test", "validation"]
    assert leaky.held_out("test") == ("validation",)
    with pytest.raises(DataError, match="no split 'trian'"):
        leaky.held_out("trian")


def test_a_dev_cut_that_repeats_all_queries_is_refused_with_the_remedy(tmp_path):
    data = collection(tmp_path, {"a": "shared"}, {"train": [("a", "d0")], "dev": [("a", "d0")]})
    with pytest.raises(DataError, match=r"all 1 queries of split 'train'.*\(dev\).*--leaks keep"):
        mine(data, tmp_path / "neg")
    assert mine(data, tmp_path / "neg", leaks="keep").manifest["counts"]["kept"] == 3


def test_candidates_may_be_documents_of_test_queries(leaky, tmp_path):
    # d3 is relevant to a test query only; nobody may know that while mining for train.
    store = mine(leaky, tmp_path / "neg", leaks="keep")
    assert "d3" in leaky.corpus.id_list(store.kept(leaky).doc)


WORDS = [
    f"{first}{last}" for first in ("tar", "lom", "ves", "kin", "dor") for last in ("a", "e", "in", "on", "us", "ik")
]
ARTICLES, CHUNKS = 8, 6


@pytest.fixture(scope="module")
def articles(tmp_path_factory):
    """Articles of six chunks; query i asks for chunk 2 of article i, of which there are a copy and a near-duplicate."""
    rng, folder = np.random.default_rng(3), tmp_path_factory.mktemp("articles")
    docs, queries, qrels = [], [], []
    for article in range(ARTICLES):
        topic = [f"topic{article}"] * 4
        for chunk in range(CHUNKS):
            words = [*topic, *rng.choice(WORDS, 26).tolist()]
            text = " ".join(rng.permutation(words).tolist())
            docs.append(
                {"_id": f"a{article}c{chunk}", "text": text, "metadata": {"parent": f"a{article}", "position": chunk}}
            )
            if chunk == 2:
                queries.append({"_id": f"q{article}", "text": " ".join(text.split()[:9])})
                qrels.append((f"q{article}", f"a{article}c2"))
                docs.append({"_id": f"copy{article}", "text": text.upper().replace(" ", "  ")})
                docs.append({"_id": f"near{article}", "text": " ".join(["today", *text.split()[1:]])})
    write_jsonl(folder / "corpus.jsonl", docs)
    write_jsonl(folder / "queries.jsonl", queries)
    (folder / "qrels").mkdir()
    lines = ["query-id\tcorpus-id\tscore", *(f"{q}\t{d}\t1" for q, d in qrels)]
    (folder / "qrels" / "train.tsv").write_text("\n".join(lines) + "\n")
    return foils.load(folder)


def near(article):
    return {f"copy{article}", f"near{article}", f"a{article}c2"}


def neighbours(article):
    return {f"a{article}c{chunk}" for chunk in (1, 2, 3)} | near(article)


def whole_article(article):
    return {f"a{article}c{chunk}" for chunk in range(CHUNKS)} | near(article)


ALL = "Dense('student', k=100)"
SMALL = "Dense('student', k=5)"


@pytest.mark.parametrize(
    ("text", "out"),
    [
        (f"{ALL} >> Top(k=9)", None),
        (f"{ALL} >> NearPositive()", near),
        (f"{ALL} >> NearPositive(similarity=0.9, by='student')", near),
        (f"{ALL} >> NearPositive() >> Top(k=3)", near),
        (f"({ALL} >> NearPositive() >> Top(k=3)) + BM25(k=100)", near),
        (f"BM25(k=100) + ({ALL} >> NearPositive() >> Uniform(k=3)) + Random(k=60)", near),
        (f"{ALL} >> NearPositive() >> (Top(k=2)) + (Uniform(k=50)) + BM25(k=30)", near),
        (f"{ALL} >> NearPositive() >> BM25(k=30) >> Random(k=60)", near),
        (f"{ALL} >> Apart() >> NearPositive() >> Siblings(k=5) >> Random(k=60)", whole_article),
        (f"({ALL} >> Apart() >> NearPositive() >> Top(k=2)) + Siblings(k=5)", whole_article),
        (f"{ALL} >> Apart(adjacent=1) >> NearPositive()", neighbours),
        (f"{SMALL} >> Apart() >> NearPositive() >> Top(k=5) >> Ensure('deepen')", whole_article),
        (f"{SMALL} >> Apart() >> NearPositive() >> Top(k=5) >> Ensure('random', k=30)", whole_article),
        (f"{SMALL} >> Apart(adjacent=1) >> NearPositive() >> PerParent() >> Top(k=5) >> Ensure('random')", neighbours),
    ],
)
def test_what_is_judged_never_comes_back(text, out, articles, models, tmp_path):
    store = foils.mine(articles, text, encoders=models, out=tmp_path / "neg")
    pairs = store.kept(articles)
    negatives = pairs.take(pairs.label == 0)
    assert len(negatives) >= 2 * ARTICLES
    for article in range(ARTICLES):
        row = articles.queries.rows_of([f"q{article}"])[0]
        found = set(articles.corpus.id_list(negatives.doc[negatives.query == row]))
        # Copies of the positive, by normalised text, are never candidates; the rest is the guard's work.
        assert not found & {f"copy{article}", f"a{article}c2"}
        assert not found & (out(article) if out else set())
        if out is neighbours and "Dense('student', k=100)" in text:
            assert {f"a{article}c{chunk}" for chunk in (0, 4, 5)} <= found


def test_without_a_guard_they_are_the_hardest_negatives(articles, models, tmp_path):
    store = foils.mine(articles, f"{ALL} >> Top(k=9)", encoders=models, out=tmp_path / "neg")
    kept = store.kept(articles)
    queries = articles.queries.id_list(kept.query)
    found = set(zip(queries, articles.corpus.id_list(kept.doc), strict=True))
    assert sum((f"q{article}", f"near{article}") in found for article in range(ARTICLES)) >= ARTICLES - 2


def test_a_missing_parent_is_refused_before_the_search(data, models, tmp_path):
    for stage in ("Apart('article')", "PerParent(parent='article', by='nobody')"):
        with pytest.raises(DataError, match="no document has the metadata key 'article'"):
            foils.mine(data, f"BM25(k=3) >> {stage}", encoders=models, out=tmp_path / "neg")


def test_documents_of_other_splits_are_held_out_only_if_asked(leaky, tmp_path):
    for text, left in (("HeldOut()", {"d1", "d2", "d5"}), ("HeldOut(splits=['test'])", {"d1", "d2", "d4", "d5"})):
        store = foils.mine(leaky, f"Random(k=6) >> {text}", out=tmp_path / text)
        kept = store.kept(leaky)
        assert set(leaky.corpus.id_list(kept.doc[kept.label == 0])) == left
    with pytest.raises(DataError, match="no split 'tset'"):
        foils.mine(leaky, "Random(k=6) >> HeldOut(splits=['tset'])", out=tmp_path / "x")
    with pytest.raises(DataError, match="is the split that is mined"):
        foils.mine(leaky, "Random(k=6) >> HeldOut(splits=['train'])", out=tmp_path / "x")


def test_positive_quantiles_of_saved_scores(data, models, tmp_path):
    fresh = foils.mine(data, "Dense('student', k=20)", encoders=models, out=tmp_path / "a")
    direct = foils.mine(data, "Dense('student', k=20) >> PositiveQuantile(at=0.3)", encoders=models, out=tmp_path / "b")
    again = foils.mine(data, f"Load('{fresh.path}', which='all') >> PositiveQuantile(at=0.3)", out=tmp_path / "c")
    assert set(again.kept(data).key.tolist()) == set(direct.kept(data).key.tolist())
    run = tmp_path / "run.trec"
    run.write_text("q1\tQ0\td9\t1\t2.0\tx\n")
    with pytest.raises(PipelineError, match=r"positives of split 'train' have no score 'run'.*Add a scorer"):
        foils.mine(data, f"Load('{run}') >> PositiveQuantile()", out=tmp_path / "d")
