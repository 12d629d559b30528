"""The look against slow counts, each rule on figures made for it, and the command on collections."""

from __future__ import annotations

import importlib
import json
import shlex
import shutil
from dataclasses import replace

import numpy as np
import pytest

import foils
from foils.adapters.exact import ExactIndex
from foils.adapters.lexical import BM25Index
from foils.advise.advice import Advice, folded
from foils.advise.look import Position, look
from foils.advise.rules import commands, decide, remarks
from foils.core.cache import cache_root
from foils.core.errors import DataError, ModelError
from little import HashEncoder, write_jsonl
from test_reselect import run


@pytest.fixture(scope="module")
def seen(data, _own_cache):
    return look(data, HashEncoder())


def test_positions_and_overlap_are_a_slow_count(seen, data):
    encoder = HashEncoder()
    docs = [row for row in range(len(data.corpus)) if data.same[row] == row]
    known = data.positives("train")
    rows = data.query_rows("train")
    vectors = encoder.encode(data.corpus.texts(np.array(docs)), "document")
    found, _ = ExactIndex(vectors).search(encoder.encode(data.queries.texts(rows), "query"), 100)
    ranks, above, total, labels = [], 0, 0, []
    for query, ranking in zip(rows.tolist(), found.tolist(), strict=True):
        positive = {int(data.same[d]) for q, d in zip(known.query, known.doc, strict=True) if q == query}
        ranking = [docs[place] for place in ranking]
        first = next((rank for rank, doc in enumerate(ranking, 1) if doc in positive), 101)
        ranks.append(first)
        labels.append(len(positive))
        above += sum(doc not in positive and rank < first for rank, doc in enumerate(ranking[:10], 1))
        total += sum(doc not in positive for doc in ranking[:10])
    assert seen.sample == len(rows)
    assert seen.dense == Position(
        sorted(ranks)[(len(ranks) - 1) // 2], *(float(np.mean([r <= k for r in ranks])) for k in (1, 10, 100))
    )
    assert seen.proxies["above_positive"] == pytest.approx(above / total)
    assert seen.labels == pytest.approx(np.mean(labels))
    assert seen.one_label == pytest.approx(np.mean([n == 1 for n in labels]))
    assert (seen.documents, seen.copies) == (len(data.corpus), 1 / len(data.corpus))
    assert 0 < seen.overlap < 1
    assert (seen.kind, seen.model) == ("transformer", "hash")


def test_a_model_that_is_bm25s_twin_shares_everything(data):
    found = look(data)
    assert (found.model, found.dense, found.overlap) == (None, None, None)
    assert found.proxies["agreed"] is None
    assert found.bm25.top100 >= found.bm25.top10 >= found.bm25.first > 0


def test_the_look_is_a_function_of_inputs_and_seed(seen, data):
    assert replace(look(data, HashEncoder()), seconds=seen.seconds) == seen


def test_a_transformer_encodes_a_bounded_part(data, monkeypatch):
    module = importlib.import_module("foils.advise.look")  # foils.advise is the function
    monkeypatch.setattr(module, "SLOW_DOCS", 40)
    monkeypatch.setattr(module, "QUERIES", 5)
    found = look(data, HashEncoder("other"))
    assert found.sample == 5
    assert 20 <= found.searched <= 40
    assert found.bm25.top100 > 0


def test_bm25_ranks_the_searched_documents_wherever_they_stand_among_all(tmp_path, monkeypatch):
    """250 of 3,000 documents, those that BM25 ranks last."""
    from foils.advise.look import _bm25

    for name, rows in {
        "corpus.jsonl": [{"_id": f"d{i}", "text": "tide " * (1 if i < 250 else 9) + f"w{i}"} for i in range(3000)],
        "queries.jsonl": [{"_id": f"q{i}", "text": text} for i, text in enumerate(["tide w7", "w3 w2000", "none"])],
    }.items():
        write_jsonl(tmp_path / name, rows)
    (tmp_path / "qrels").mkdir()
    (tmp_path / "qrels/train.tsv").write_text("query-id\tcorpus-id\tscore\nq0\td7\t1\n")
    data = foils.load(tmp_path)
    asked, docs = np.arange(3, dtype=np.int32), data.corpus.rows_of([f"d{i}" for i in range(250)]).astype(np.int32)
    index = BM25Index.build(data.corpus, cache=cache_root() / "bm25")
    every = index.search(data.queries.texts(asked), 3000)[0].tolist()
    slow = [[doc for doc in ranking if doc in set(docs.tolist())][:100] for ranking in every]
    assert [len(ranking) for ranking in slow] == [100, 1, 0]
    monkeypatch.setattr(BM25Index, "search", None)  # it holds ranks of all documents
    for held in (1 << 22, 500):
        monkeypatch.setattr(importlib.import_module("foils.advise.look"), "_SCORES", held)
        found = _bm25(data, asked, docs)
        assert found.shape == (3, 100)
        assert [[doc for doc in ranking if doc >= 0] for ranking in found.tolist()] == slow


def figures(seen, **given):
    usual = {
        "queries": 5000,
        "labels": 1.1,
        "kind": "transformer",
        "model": "minilm",
        "dense": Position(3, 0.3, 0.7, 0.9),
        "bm25": Position(2, 0.4, 0.9, 0.96),
        "overlap": 0.4,
        "proxies": {"agreed": 0.3, "above_positive": 0.45, "near_copy": 0.0},
        "test_queries": 2000,
        "shared": 0,
        "copies": 0.0,
        "long_documents": 0.0,
        "unjudged": 0,
        "leaks": 0,
    }
    return replace(seen, **{**usual, **given})


SPARSE = {"agreed": 0.2, "above_positive": 0.9, "near_copy": 0.0}


@pytest.mark.parametrize(
    ("given", "recipe", "rule"),
    [
        ({}, "phase3", "hard-negatives"),
        ({"queries": 100}, "phase1", "few-queries"),
        ({"proxies": SPARSE}, "phase1", "sparse-labels"),
        ({"proxies": SPARSE, "labels": 9.0}, "phase3", "hard-negatives"),
        ({"dense": Position(None, 0.0, 0.1, 0.3)}, "phase2", "lost-model"),
        ({"dense": Position(None, 0.0, 0.1, 0.3), "bm25": Position(None, 0.0, 0.1, 0.2)}, "phase1", "lost-model"),
        ({"dense": None, "model": None, "kind": None, "overlap": None}, "phase2", "lexical"),
    ],
)
def test_the_first_rule_that_holds_decides(given, recipe, rule, seen):
    decided, reasons = decide(figures(seen, **given))
    assert (decided, reasons[0].rule) == (recipe, rule)
    assert reasons[0].source
    assert decided in foils.recipe.shipped()


@pytest.mark.parametrize(
    ("given", "rule"),
    [
        ({"test_queries": 0}, "no-test"),
        ({"shared": 1500}, "shared-queries"),
        ({"kind": "static"}, "static-model"),
        ({"overlap": 0.1}, "overlap"),
        ({"proxies": {**SPARSE, "near_copy": 0.05}}, "near-copies"),
        ({"copies": 0.1}, "copies"),
        ({"long_documents": 0.5}, "long-documents"),
        ({"leaks": 3}, "leaks"),
        ({"unjudged": 3}, "unjudged"),
    ],
)
def test_remarks_are_made_where_their_figures_say_so(given, rule, seen):
    assert rule not in [remark.rule for remark in remarks(figures(seen))]
    assert rule in [remark.rule for remark in remarks(figures(seen, **given))]


def test_power_is_what_the_test_queries_allow(seen):
    (power,) = remarks(figures(seen, test_queries=50))
    assert "about 0.119 nDCG@10" in power.text  # 2.8 · .3 / √50, as losses.md has it


@pytest.mark.parametrize("given", [{"shared": 1}, {"test_queries": 0}])
def test_no_command_measures_memory_or_what_is_not_there(given, seen):
    measuring = [line.split()[1] for line in commands(figures(seen), "phase1", "DATA")]
    assert {"evaluate", "compare"} < set(measuring)
    rest = [line.split()[1] for line in commands(figures(seen, **given), "phase1", "DATA")]
    assert rest == [name for name in measuring if name not in ("evaluate", "compare")]
    assert "power" not in [remark.rule for remark in remarks(figures(seen, **given))]


def test_splits_that_judge_the_same_queries_are_told(seen, beir, tmp_path):
    """As cranfield's test_sparse, one label of each query of test: `leaks` leaves out a split's own family."""
    assert seen.shared == 0
    folder = tmp_path / "both"
    shutil.copytree(beir, folder)
    lines = (folder / "qrels" / "test.tsv").read_text().splitlines()
    (folder / "qrels" / "test_sparse.tsv").write_text("\n".join(lines[:8]) + "\n")
    sparse = {line.split("\t")[0] for line in lines[1:8]}
    report = json.loads(run("advise", str(folder), "--split", "test_sparse", "--json").splitlines()[0])
    assert (report["look"]["shared"], report["look"]["leaks"]) == (len(sparse), 0)
    assert "shared-queries" in [remark["rule"] for remark in report["remarks"]]
    assert {line.split()[1] for line in report["commands"]} == {"train", "mine", "audit"}


def test_commands_are_commands(seen):
    from typer.main import get_command

    from foils.cli import app

    known = get_command(app).commands
    for recipe in ("phase1", "phase2", "phase3"):
        for line in commands(figures(seen, split="train_sparse"), recipe, "DATA"):
            words = line.split('"')[0].split() + line.split('"')[-1].split()
            assert words[0] == "foils"
            options = {name for parameter in known[words[1]].params for name in parameter.opts}
            assert {word for word in words if word.startswith("-")} <= options


def test_commands_are_words_to_a_shell(seen):
    source, model = "my data/it's", "models/a b"
    for split in ("train", "train sparse"):
        lines = commands(figures(seen, split=split, model=model), "phase3", source)
        words = [shlex.split(line) for line in lines]
        assert all(source in line for line in words[:4])
        assert all(f"start={model}" in line or model in line for line in words[:3])
        assert [split in line[2:] for line in words] == [split != "train" and at in (0, 2, 3) for at in range(5)]
        for line in lines:
            shown = folded(line, 30)
            assert shlex.split(" ".join(part.removesuffix("\\") for part in shown)) == shlex.split(line)
            assert all(part.endswith("\\") for part in shown[:-1])


def test_the_command_line(beir, tmp_path):
    report = json.loads(run("advise", str(beir), "--json").splitlines()[0])
    assert (report["kind"], report["version"]) == ("foils advice", 1)
    assert report["recipe"] == "phase1"
    assert report["reasons"][0]["rule"] == "few-queries"
    assert report["commands"][0].startswith(f"foils train {beir} --recipe phase1 --model MODEL")
    shown = run("advise", str(beir))
    assert max(len(line) for line in shown.splitlines() if str(beir) not in line) <= 80
    assert "signs, not rates" in " ".join(shown.split())
    assert "no split 'tarin'" in run("advise", str(beir), "--split", "tarin", code=1)
    assert "no model folder" in run("advise", str(beir), "--model", "./nowhere", code=1)
    assert "invalid" in run("advise", str(beir), "--seed", "x", code=2).lower()


def test_what_cannot_be_looked_at(data):
    with pytest.raises(DataError, match="no split"):
        foils.advise(data, split="dev")
    with pytest.raises(ModelError, match="no bi-encoder"):
        foils.advise(data, 3)
    empty = data.subset({"train": ("train", [])})
    with pytest.raises(DataError, match="has a positive"):
        foils.advise(empty)


def test_advice_is_plain_values(seen):
    made = Advice.of(figures(seen), "DATA")
    assert json.loads(json.dumps(made.to_dict(), allow_nan=False))["look"]["dense"]["top10"] == 0.7
