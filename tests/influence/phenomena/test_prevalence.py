"""Shares of phenomena against sums by hand, and what sampling leaves."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest

import foils
from foils.core.errors import DataError
from foils.influence import Influence
from foils.influence.phenomena import RULES, compared, phenomena, write
from foils.influence.record import write as write_record
from foils.terminal import console, explained
from little import write_jsonl


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Forty queries with two positives and three negatives each; every second negative names another number."""
    folder = tmp_path_factory.mktemp("numbers")
    rng = np.random.default_rng(0)
    things = ["tide", "salt", "wood", "iron", "glass", "ore", "sand", "ice"]
    corpus, queries, qrels, pairs = [], [], [], []
    for i in range(40):
        thing, town = things[i % 8], f"X{'abcdefghij'[i % 10]}{'klmn'[i // 10]}"
        queries.append({"_id": f"q{i}", "text": f"How much {thing} was found in {town}?"})
        corpus.append({"_id": f"far{i}", "title": "", "text": f"Nothing about it in {town}."})
        corpus.append({"_id": f"p{i}", "title": "", "text": f"In {town} they found 7{i}0 tons of {thing}."})
        qrels += [(f"q{i}", f"far{i}"), (f"q{i}", f"p{i}")]
        for j in range(3):
            amount = f"9{i}{j} tons" if j % 2 else "some"
            text = f"In {town} they found {amount} of {thing}s, {'xyz'[j]}."
            corpus.append({"_id": f"n{i}-{j}", "title": "", "text": text})
            pairs.append((f"q{i}", f"n{i}-{j}", float(rng.uniform(0.5, 2))))
    (folder / "data" / "qrels").mkdir(parents=True)
    write_jsonl(folder / "data" / "corpus.jsonl", corpus)
    write_jsonl(folder / "data" / "queries.jsonl", queries)
    lines = ["query-id\tcorpus-id\tscore", *(f"{q}\t{d}\t1" for q, d in qrels)]
    (folder / "data" / "qrels" / "train.tsv").write_text("\n".join(lines) + "\n")
    ids = [pa.array(column).dictionary_encode() for column in list(zip(*pairs, strict=True))[:2]]
    gradient = np.array([pair[2] for pair in pairs])
    zeros = np.zeros(len(pairs))
    columns = {"times": zeros, "mass": zeros, "gradient": gradient, "gap": zeros, "above": zeros, "rank": zeros}
    source = pa.array(["bm25"] * len(pairs)).dictionary_encode()
    table = pa.table({"query_id": ids[0], "doc_id": ids[1], **columns, "source": source})
    data = foils.load(folder / "data")
    record = {"collection": data.name, "data": data.fingerprint, "split": "train", "total": {"gradient": 1.0}}
    write_record(folder / "influence", record, table)
    return Influence.open(folder), data


def test_shares_are_sums(run):
    found, data = run
    told = phenomena(found, data)
    assert (told["queries"], told["pairs"]) == (40, 120)
    table = found.pairs().to_pylist()
    triples = [
        (
            data.queries.texts(data.queries.rows_of([row["query_id"]]))[0],
            # The second positive has more of the query's words than the first.
            data.corpus.texts(data.corpus.rows_of([row["query_id"].replace("q", "p")]))[0],
            data.corpus.texts(data.corpus.rows_of([row["doc_id"]]))[0],
        )
        for row in table
    ]
    at = np.arange(120)
    queries, positives, negatives = (list(column) for column in zip(*triples, strict=True))
    seen = compared(queries, positives + negatives, at, at, at + 120, np.zeros(120))
    gradient = np.array([row["gradient"] for row in table])
    by_name = {entry["name"]: entry for entry in told["phenomena"]}
    some = 0
    for rule in RULES:
        flags, entry = rule.holds(seen), by_name[rule.name]
        assert entry["pairs"] == flags.sum()
        assert entry["prevalence"]["value"] == pytest.approx(flags.mean())
        share = gradient[flags].sum() / gradient.sum()
        assert entry["gradient_share"]["value"] == pytest.approx(share, rel=1e-6)
        if flags.any() and not flags.all():
            some += 1
            assert entry["lift"]["value"] == pytest.approx(share / flags.mean(), rel=1e-6)
            assert entry["lift"]["low"] < entry["lift"]["value"] < entry["lift"]["high"]
            spoken_of = {row["doc_id"] for row, flag in zip(table, flags, strict=True) if flag}
            assert {example["doc_id"] for example in entry["examples"]} <= spoken_of
    assert some
    assert by_name["number"]["prevalence"]["value"] > 0
    json.dumps(told, allow_nan=False)


def test_the_interval_is_over_queries(run):
    """Number mismatch has the same share in every query, so resampling queries cannot move its prevalence."""
    found, data = run
    told = phenomena(found, data)
    (entry,) = [entry for entry in told["phenomena"] if entry["name"] == "number"]
    assert entry["prevalence"]["low"] == pytest.approx(entry["prevalence"]["value"])
    assert entry["gradient_share"]["low"] < entry["gradient_share"]["value"]


def test_examples_are_the_hardest_and_none_is_given_twice(run):
    found, data = run
    told = phenomena(found, data, examples=3)
    shown = [example["doc_id"] for entry in told["phenomena"] for example in entry["examples"]]
    assert len(shown) == len(set(shown))
    gradient = {row["doc_id"]: row["gradient"] for row in found.pairs().to_pylist()}
    first = [gradient[example["doc_id"]] for example in told["phenomena"][0]["examples"]]
    assert first == sorted(first, reverse=True)
    (entry,) = [entry for entry in told["phenomena"] if entry["name"] == "number"]
    assert all(example["document_sentence"].startswith("In X") for example in entry["examples"])


def test_too_few_queries_have_no_interval(run):
    found, data = run
    told = phenomena(found, data, queries=9)
    for entry in told["phenomena"]:
        assert entry["lift"]["low"] is None
        assert entry["prevalence"]["low"] is not None
    out = console()
    with out.capture() as shown:
        out.print(explained(told, 0))
    assert "too few" in shown.get()


def test_sampled_by_query_and_written(run):
    found, data = run
    told = phenomena(found, data, queries=10, examples=2)
    assert (told["queries"], told["pairs"]) == (10, 30)
    assert told == phenomena(found, data, queries=10, examples=2)
    write(found, told)
    assert json.loads((found.folder / "phenomena.json").read_text())["kind"] == "foils phenomena"
    out = console()
    with out.capture() as shown:
        out.print(explained(told, 1))
    assert max(map(len, shown.get().splitlines())) <= 80


def test_another_split_is_refused(run, data):
    found, own = run
    twin = Influence(found.folder, {**found.record, "split": "train"})
    empty = own.subset({"train": ("train", np.zeros(0, np.int32))})
    with pytest.raises(DataError, match=r"--data"):
        phenomena(twin, empty)
