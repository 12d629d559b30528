"""A cap on how often a document serves, against textbook deferred acceptance."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import foils
from foils.core.errors import PipelineError, SpecError, StoreError
from foils.core.pairs import CANDIDATE
from foils.mine import Miner
from foils.stages import BM25, Capped, Dense, Ensure, PositiveAware, Random, Top
from foils.stages.capped import accepted

mining = importlib.import_module("foils.mine")  # `foils.mine` is the function
TEXT = "Dense('student', k=12) >> Capped(k=3, share=0.1)"


def textbook(pairs, k, capacity):
    """Gale and Shapley, one proposal at a time: pairs are (query, doc, value, key)."""
    wishes = {}
    for query, doc, value, _ in pairs:
        wishes.setdefault(query, []).append((-value, doc))
    wishes = {query: [doc for _, doc in sorted(docs)] for query, docs in wishes.items()}
    liking = {(doc, query): (-value, key) for query, doc, value, key in pairs}
    has = {query: set() for query in wishes}
    holds = {doc: set() for _, doc, _, _ in pairs}
    while True:
        asking = next((q for q in wishes if len(has[q]) < k and wishes[q]), None)
        if asking is None:
            return {(query, doc) for query, docs in has.items() for doc in docs}
        doc = wishes[asking].pop(0)
        holds[doc].add(asking)
        has[asking].add(doc)
        if len(holds[doc]) > capacity:
            worst = max(holds[doc], key=lambda query: liking[doc, query])
            holds[doc].remove(worst)
            has[worst].remove(doc)


drawn = st.dictionaries(st.tuples(st.integers(0, 12), st.integers(0, 9)), st.integers(-3, 3), max_size=90)


@settings(deadline=None, max_examples=200)
@given(drawn, st.integers(1, 4), st.integers(1, 4), st.integers(0, 5))
def test_it_is_textbook_deferred_acceptance(values, k, capacity, seed):
    keys = np.random.default_rng(seed).permutation(13).astype(np.uint64)
    rows = sorted((q, d, v) for (q, d), v in values.items())
    rows = [rows[i] for i in np.random.default_rng(seed).permutation(len(rows))]  # documents in any order
    rows = sorted(rows, key=lambda row: row[0])
    query, doc, value = (np.array([row[i] for row in rows], np.int32) for i in range(3))
    taken = accepted(query, doc, value.astype(np.float32), keys[query], (k, capacity))
    expected = textbook([(q, d, v, int(keys[q])) for q, d, v in rows], k, capacity)
    assert {(q, d) for (q, d, _), yes in zip(rows, taken, strict=True) if yes} == expected


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(mining, "part_size", lambda queries: 8)


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def mined(data, models, text, out, **how):
    return Miner(**how).mine(data, foils.parse(text), split="train", seed=0, encoders=models, out=out)


def test_no_document_serves_more_than_its_share_and_the_assignment_is_the_textbooks(data, models, tmp_path):
    pairs = mined(data, models, TEXT, tmp_path / "neg").pairs(data)
    candidates = pairs.take(pairs.label == CANDIDATE)
    kept = candidates.take(candidates.dropped == 0)
    queries = len(data.query_rows("train"))
    capacity = int(0.1 * queries)
    assert np.bincount(kept.doc).max() == capacity
    unlimited = np.bincount(mined(data, models, "Dense('student', k=12) >> Top(k=3)", tmp_path / "top").kept(data).doc)
    assert unlimited.max() > capacity
    keys = data.queries.keys[candidates.query].tolist()
    rows = zip(candidates.query.tolist(), candidates.doc.tolist(), candidates["student"].tolist(), keys, strict=True)
    expected = textbook(list(rows), 3, capacity)
    assert set(zip(kept.query.tolist(), kept.doc.tolist(), strict=True)) == expected


@pytest.mark.parametrize("block", [1, 13])
@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        "BM25(k=9) + Dense('student', k=9) >> PositiveAware(by='student') >> Capped(k=4, share=0.05, by='student')"
        " >> CrossEncoder('judge') >> (Top(k=1) + Uniform(k=1))",
        f"{TEXT} >> BiEncoder('teacher') >> Capped(k=2, share=0.05) >> Ensure('random')",
        "Dense('student', k=12) >> Top(k=5) >> Ensure('deepen') >> Capped(k=3, share=0.1)",
    ],
)
def test_blocks_change_no_byte(text, block, data, models, small_parts, tmp_path):
    whole = mined(data, models, text, tmp_path / "whole")
    blocks = mined(data, models, text, tmp_path / "blocks", block=block)
    assert bytes_of(whole.path) == bytes_of(blocks.path)
    assert not (whole.path / "cuts").exists()


def test_parts_change_nothing(data, models, tmp_path, monkeypatch):
    one = mined(data, models, TEXT, tmp_path / "one").kept(data)
    monkeypatch.setattr(mining, "part_size", lambda queries: 4)
    many = mined(data, models, TEXT, tmp_path / "many").kept(data)
    assert one.key.tolist() == many.key.tolist()


def test_a_share_of_1_is_top_k(data, models, tmp_path):
    capped = mined(data, models, "Dense('student', k=12) >> Capped(k=3, share=1)", tmp_path / "a").kept(data)
    top = mined(data, models, "Dense('student', k=12) >> Top(k=3)", tmp_path / "b").kept(data)
    assert capped.key.tolist() == top.key.tolist()


def test_what_falls_short_can_be_filled_up(data, models, tmp_path):
    text = "Dense('student', k=12) >> Capped(k=3, share=0.001) >> Ensure('random', limit=60)"
    pairs = mined(data, models, text, tmp_path / "neg").pairs(data)
    kept = pairs.take((pairs.label == CANDIDATE) & (pairs.dropped == 0))
    assert (np.bincount(kept.query)[data.query_rows("train")] == 3).all()
    found = kept.take(kept.ranks["random"] == 0)
    assert np.bincount(found.doc).max() == 1
    assert not np.isnan(kept["student"]).any()


SCRIPT = """
import importlib, sys, foils
sys.path.insert(0, {tests!r})
from little import HashEncoder, OverlapReranker
mining = importlib.import_module("foils.mine")
mining.part_size = lambda queries: 8
left = [int(sys.argv[2])]
import foils.staging as staging
real = staging.replacing
def replacing(path):
    if path.suffix in (".arrow", ".parquet"):
        left[0] -= 1
        if left[0] < 0:
            import os; os._exit(9)
    return real(path)
staging.replacing = replacing
models = {{"student": HashEncoder(), "teacher": HashEncoder("teacher", 12, 1)}}
foils.mine(foils.load({data!r}), {text!r}, encoders=models, out=sys.argv[1])
"""


@pytest.mark.parametrize("after", [1, 7, 10, 15])
def test_a_killed_run_goes_on_and_ends_byte_identical(after, beir, data, models, small_parts, tmp_path):
    text = f"{TEXT} >> BiEncoder('teacher') >> Capped(k=2, share=0.05)"
    whole = mined(data, models, text, tmp_path / "whole")
    script = SCRIPT.format(tests=str(Path(__file__).parent.parent), data=str(beir), text=text)
    command = [sys.executable, "-c", script, str(tmp_path / "neg"), str(after)]
    assert subprocess.run(command, env=os.environ, check=False).returncode == 9
    assert not (tmp_path / "neg").exists()
    left = sorted(p.name for p in (tmp_path / ".neg.mining").rglob("part-*"))
    assert len(left) == after
    again = mined(data, models, text, tmp_path / "neg")
    assert bytes_of(again.path) == bytes_of(whole.path)


def test_pairs_put_aside_are_in_the_way_of_another_command(beir, data, models, small_parts, tmp_path):
    script = SCRIPT.format(tests=str(Path(__file__).parent.parent), data=str(beir), text=TEXT)
    command = [sys.executable, "-c", script, str(tmp_path / "neg"), "2"]
    assert subprocess.run(command, env=os.environ, check=False).returncode == 9
    with pytest.raises(StoreError, match="unfinished run of another command is here"):
        mined(data, models, "BM25(k=3)", tmp_path / "neg")
    assert mined(data, models, "BM25(k=3)", tmp_path / "neg", overwrite=True).pipeline == "BM25(k=3)"


def test_where_it_cannot_stand(data, models, context, tmp_path):
    for stage, said in [
        ((Dense("student", k=5) >> Capped(k=2)) + Random(k=1), "cannot stand in a branch of a pool"),
        (Dense("student", k=5) >> Capped(k=2) + Top(k=1), "cannot stand in a branch of a pool"),
        (Dense("student", k=5) >> Capped(k=2) >> Ensure("deepen"), "put Ensure.* before it"),
        (Dense("student", k=5) >> PositiveAware() >> Capped(k=2) >> Ensure("relax"), "put Ensure.* before it"),
        (BM25(k=3) + Dense("student", k=5) >> Capped(k=2), "do not compare"),
    ]:
        with pytest.raises(PipelineError, match=said):
            Miner().mine(data, stage, split="train", seed=0, encoders=models, out=tmp_path / "neg")
    for share in (0.0, -0.1, 1.1):
        with pytest.raises(SpecError, match="share must be above 0 and at most 1"):
            Capped(k=1, share=share)
    assert [p.name for p in tmp_path.iterdir()] == []


def test_the_manifest_says_what_it_dropped(data, models, tmp_path):
    store = mined(data, models, TEXT, tmp_path / "neg")
    told = store.manifest["steps"][1]
    table = pq.read_table(store.parts()[0])
    reasons = [text for text in table["dropped"].to_pylist() if text]
    assert told["dropped"] == len(reasons) > 0
    assert set(reasons) == {"2: Capped(k=3, share=0.1)"}
    assert json.loads((store.path / "manifest.json").read_text())["counts"]["wanted_per_query"] == 3
    shutil.rmtree(store.path)
