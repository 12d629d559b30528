"""Guard rails: what must never become a negative, and whom nothing must be mined for."""

from __future__ import annotations

import pytest

import foils
from foils.core.errors import DataError
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
