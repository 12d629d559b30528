from __future__ import annotations

import filecmp
import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import foils
from foils.core.errors import DataError, PipelineError, SpecError, StoreError
from foils.core.pairs import CANDIDATE, POSITIVE
from foils.mine import Miner, part_size
from foils.stages.shortfall import wanted
from foils.store import MANIFEST, Negatives
from little import HashEncoder, make_beir

PIPELINE = "BM25(k=30) + Dense('student', k=30) >> PositiveAware(by='student') >> SimANS(k=6, a=8, by='student')"


def identical(a: Path, b: Path) -> bool:
    names = sorted(str(p.relative_to(a)) for p in a.rglob("*") if p.is_file())
    assert names == sorted(str(p.relative_to(b)) for p in b.rglob("*") if p.is_file())
    return filecmp.cmpfiles(a, b, names, shallow=False) == (names, [], [])


@pytest.fixture(scope="module")
def mined(data, models, tmp_path_factory):
    return foils.mine(data, PIPELINE, encoders=models, out=tmp_path_factory.mktemp("mined") / "neg")


def test_it_holds_positives_negatives_and_reasons(mined, data):
    pairs = mined.pairs(data)
    known = data.positives("train")
    assert (pairs.label[pairs.find(known)] == POSITIVE).all()
    kept = mined.kept(data)
    assert set(kept.key.tolist()) == set(pairs.take(pairs.dropped == 0).key.tolist())
    per_query = np.bincount(kept.query[kept.label == CANDIDATE], minlength=len(data.queries))
    assert per_query.max() <= 6
    counts = mined.manifest["counts"]
    assert counts["kept"] == int((kept.label == CANDIDATE).sum())
    assert counts["positives"] == len(known)
    assert counts["queries"] == len(data.query_rows("train"))
    histogram = {int(n): c for n, c in counts["kept_per_query"].items()}
    assert histogram == dict(zip(*np.unique(per_query[data.query_rows("train")], return_counts=True), strict=True))
    for step in mined.steps:
        told = next(s for s in mined.manifest["steps"] if s["number"] == step.number)
        hit = pairs.dropped == step.code
        assert told["dropped"] == int(hit.sum())
        assert told["starved"] == sum(per_query[query] < 6 for query in set(pairs.query[hit].tolist()))


def test_every_score_is_the_models_own(mined, data, models):
    pairs = mined.pairs(data)
    rows = np.random.default_rng(0).choice(len(pairs), 50)
    q = models["student"].encode(data.queries.texts(pairs.query[rows]), "query").astype(np.float64)
    d = models["student"].encode(data.corpus.texts(pairs.doc[rows]), "document").astype(np.float64)
    assert pairs["student"][rows] == pytest.approx((q * d).sum(axis=1), abs=1e-6)


def test_margins_hold_for_what_is_kept_by_a_slow_loop(mined, data):
    pairs = mined.pairs(data)
    for query in pairs.queries[:20]:
        here = pairs.take(pairs.query == query)
        lowest = min(s for s, label in zip(here["student"], here.label, strict=True) if label == POSITIVE)
        for score, label, dropped in zip(here["student"], here.label, here.dropped, strict=True):
            if label == CANDIDATE:
                assert (dropped == 3) == (float(score) >= float(lowest) - abs(float(lowest)) * 0.05)


def test_other_readers_understand_the_parts(mined):
    table = pq.read_table(mined.parts()[0])
    assert table.column_names[:5] == ["query", "doc", "label", "source", "dropped"]
    assert {"rank.bm25", "rank.student", "score.bm25", "score.student"} <= set(table.column_names)
    duckdb = pytest.importorskip("duckdb")
    kept = duckdb.sql(
        f"select count(*) from '{mined.path}/parts/*.parquet' where dropped is null and label = 0"
    ).fetchall()
    assert kept[0] == (mined.manifest["counts"]["kept"],)


@pytest.mark.parametrize("block", [1, 13, 1024])
def test_block_size_changes_no_byte(mined, data, models, tmp_path, block):
    stage = foils.parse(PIPELINE)
    again = Miner(block=block).mine(data, stage, split="train", seed=0, encoders=models, out=tmp_path / "neg")
    assert identical(mined.path, again.path)


def test_of_a_corpus_that_has_grown_only_what_is_new_is_encoded(beir, data, tmp_path):
    class Listing(HashEncoder):
        def encode(self, texts, kind):
            self.seen = [*getattr(self, "seen", []), *(texts if kind == "document" else [])]
            return super().encode(texts, kind)

    def mine(collection, name, cache):
        models, miner = {"student": Listing()}, Miner(cache=tmp_path / cache)
        stage = foils.parse("Dense('student', k=9) >> Top(k=4)")
        miner.mine(collection, stage, split="train", seed=0, encoders=models, out=tmp_path / name)
        return models["student"].seen

    assert len(mine(data, "first", "cache")) == len(data.corpus)
    shutil.copytree(beir, tmp_path / "grown")
    with gzip.open(tmp_path / "grown" / "corpus.jsonl.gz", "rt") as file:
        rows = [json.loads(line) for line in file]
    rows[5]["text"] += " with a second thought"
    rows = [{"_id": "new", "title": "", "text": "nobody has seen this before"}, *rows[:100], *rows[101:]]
    with gzip.open(tmp_path / "grown" / "corpus.jsonl.gz", "wt") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    grown = foils.load(tmp_path / "grown")
    changed = set(grown.corpus.texts()) - set(data.corpus.texts())
    assert len(changed) == 2
    assert set(mine(grown, "again", "cache")) == changed
    assert len(mine(grown, "afresh", "another cache")) == len(grown.corpus)
    assert identical(tmp_path / "again" / "parts", tmp_path / "afresh" / "parts")


def test_another_seed_is_another_choice_from_the_same_candidates(mined, data, models, tmp_path):
    other = foils.mine(data, PIPELINE, seed=1, encoders=models, out=tmp_path / "neg")
    assert set(other.pairs(data).key.tolist()) == set(mined.pairs(data).key.tolist())
    assert set(other.kept(data).key.tolist()) != set(mined.kept(data).key.tolist())


def test_saved_candidates_can_be_chosen_from_again_without_a_model(mined, data, models, tmp_path):
    again = f"Load('{mined.path}', which='all') >> PositiveAware(by='student') >> SimANS(k=6, a=8, by='student')"
    redone = foils.mine(data, again, out=tmp_path / "neg")
    assert set(redone.kept(data).key.tolist()) == set(mined.kept(data).key.tolist())
    strict = foils.mine(data, f"Load('{mined.path}') >> Top(k=1, by='bm25')", out=tmp_path / "top")
    kept = strict.kept(data)
    assert set(kept.key.tolist()) <= set(mined.kept(data).key.tolist())


def test_a_finished_run_is_opened_and_another_is_refused(data, models, tmp_path):
    out = tmp_path / "neg"
    foils.mine(data, "BM25(k=5) >> Top(k=1)", out=out)
    stamp = (out / MANIFEST).stat().st_mtime_ns
    foils.mine(data, "BM25(k=5) >> Top(k=1)", out=out)
    assert (out / MANIFEST).stat().st_mtime_ns == stamp
    with pytest.raises(StoreError, match=r"pipeline 'BM25\(k=5\) >> Top\(k=1\)' instead of 'BM25[^;]*'\. Choose"):
        foils.mine(data, "BM25(k=5) >> Top(k=2)", out=out)
    assert Negatives.open(out).pipeline == "BM25(k=5) >> Top(k=1)"
    replaced = Miner(overwrite=True).mine(
        data, foils.parse("BM25(k=5) >> Top(k=2)"), split="train", seed=0, encoders={}, out=out
    )
    assert replaced.pipeline == "BM25(k=5) >> Top(k=2)"
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")
    with pytest.raises(StoreError, match="holds no negatives"):
        foils.mine(data, "BM25(k=5)", out=tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "precious"


def test_queries_without_positives_only_if_asked(data, tmp_path):
    stage = foils.parse("BM25(k=5)")
    asked = Miner(without_positives="keep").mine(data, stage, split="train", seed=0, encoders={}, out=tmp_path / "a")
    lonely = int(data.queries.rows_of(["lonely"])[0])
    assert asked.manifest["counts"]["queries"] == len(data.query_rows("train")) + 1
    # It shares no word with a document, so no part says anything of it; the counts do.
    assert lonely not in asked.pairs(data).query
    assert sum(asked.manifest["counts"]["kept_per_query"].values()) == asked.manifest["counts"]["queries"]
    assert asked.manifest["counts"]["kept_per_query"]["0"] >= 1
    skipped = foils.mine(data, stage, out=tmp_path / "b")
    assert lonely not in skipped.pairs(data).query


def test_wrong_pipelines_are_refused_before_any_work(data, models, tmp_path):
    cases = {
        "BM25(k=5) + Dense('student', k=5) >> PositiveAware()": "after '\\+' the scores of 'bm25' and 'student' do not",
        "Top(k=5)": "there are no candidates yet",
        "Random(k=5) >> Top(k=2)": "its candidates have no score",
        "BM25(k=5) >> Top(k=2, by='student')": "there is no score column 'student' here; there is: 'bm25'",
        "Dense('teachr', k=5)": "--encoder teachr=MODEL",
        "BM25(k=5) >> CrossEncoder('student')": "'student' is no cross-encoder",
    }
    for text, said in cases.items():
        with pytest.raises(PipelineError, match=said):
            foils.mine(data, text, encoders=models, out=tmp_path / "x")
        assert not (tmp_path / "x").exists()
    with pytest.raises(SpecError, match="block must be at least 1"):
        Miner(block=0)
    with pytest.raises(DataError, match="no split 'trian'"):
        foils.mine(data, "BM25(k=5)", split="trian", out=tmp_path / "x")


def test_tiers_and_mixes(data, models, tmp_path):
    tiers = "Dense('student', k=40) >> (Ranks(hi=10) >> Uniform(k=2)) + (Ranks(lo=11) >> Uniform(k=3)) + Random(k=2)"
    store = foils.mine(data, tiers, encoders=models, out=tmp_path / "neg")
    kept = store.kept(data)
    negatives = kept.take(kept.label == CANDIDATE)
    rank = negatives.ranks["student"]
    for query in negatives.queries:
        here = negatives.query == query
        assert (here & (rank > 0) & (rank <= 10)).sum() >= 2
        assert (here & (rank > 10)).sum() >= 3
        assert 5 <= here.sum() <= 7
    assert not np.isnan(negatives["student"]).any()
    assert wanted(foils.parse(tiers)) == 7
    for text, count in {
        "BM25(k=9) >> Uniform(k=5) >> Distinct() >> Top(k=2)": 2,
        "BM25(k=9) >> Distinct()": None,
        "(BM25(k=9) >> Top(k=3)) + BM25(k=5)": None,
        "Random(k=4) + (BM25(k=9) >> Top(k=3))": 7,
    }.items():
        assert wanted(foils.parse(text)) == count


def test_what_a_filter_judges_does_not_come_back_through_another_branch(data, models, tmp_path):
    text = "(Dense('student', k=60) >> PositiveAware(margin=0.4)) + Random(k=200)"
    pairs = foils.mine(data, text, encoders=models, out=tmp_path / "neg").pairs(data)
    judged = pairs.dropped == 2
    assert judged.any()
    assert (pairs.ranks["random"][judged] > 0).any()


def test_promoted_candidates_are_positives_with_their_source(data, models, tmp_path):
    store = foils.mine(
        data, "BM25(k=20) >> CrossEncoder('judge') >> Promote(at=0.7)", encoders=models, out=tmp_path / "n"
    )
    pairs = store.pairs(data)
    new = (pairs.label == POSITIVE) & (data.positives("train").find(pairs) < 0)
    assert new.any()
    assert (pairs["judge"][new] > 0.7).all()
    assert store.manifest["counts"]["promoted"] == int(new.sum())


def test_a_broken_or_foreign_folder_is_a_typed_error(mined, tmp_path, data):
    with pytest.raises(StoreError, match="no negatives here"):
        Negatives.open(tmp_path)
    (tmp_path / MANIFEST).write_text("{")
    with pytest.raises(StoreError, match="not JSON"):
        Negatives.open(tmp_path)
    (tmp_path / MANIFEST).write_text(json.dumps({"format": 99}))
    with pytest.raises(StoreError, match="format 99"):
        Negatives.open(tmp_path)


SLOW = """
import sys, time, pathlib
sys.path.insert(0, {tests!r})
import importlib, foils
mining = importlib.import_module("foils.mine")
from little import HashEncoder
mining.part_size = lambda n: 8

class Slow(HashEncoder):
    def fingerprint(self, kind):
        return "slow/" + kind

real = mining.Staging.write
def write(self, number, table):
    real(self, number, table)
    print(number, flush=True)
    time.sleep({pause})
mining.Staging.write = write
foils.mine(foils.load({data!r}), {pipeline!r}, encoders={{"student": Slow()}}, out={out!r})
"""


def test_a_killed_run_goes_on_and_ends_byte_identical(beir, tmp_path):
    def command(out: Path, pause: float) -> list[str]:
        here = str(Path(__file__).parent)
        text = SLOW.format(tests=here, data=str(beir), pipeline=PIPELINE, out=str(out), pause=pause)
        return [sys.executable, "-c", text]

    env = {**os.environ, "FOILS_CACHE": str(tmp_path / "cache")}
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    subprocess.run(command(whole, 0), check=True, env=env, capture_output=True)
    process = subprocess.Popen(command(killed, 30), env=env, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "0\n"
    time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not killed.exists()
    with pytest.raises(StoreError, match="interrupted: give the same command again"):
        Negatives.open(killed)
    done = subprocess.run(command(killed, 0), check=True, env=env, capture_output=True, text=True)
    assert done.stdout.split()[0] == "1"
    assert identical(whole, killed)
    assert not list(tmp_path.glob(".*mining"))


def test_part_sizes_depend_on_the_number_of_queries_only():
    assert part_size(10) == 1024
    assert part_size(5_000_000) == 8192


@pytest.mark.parametrize("changed", ["seed", "split", "without_positives", "leaks", "collection", "encoders", "inputs"])
def test_whatever_changes_the_result_makes_it_another_run(changed, data, models, tmp_path):
    run = tmp_path / "run.trec"
    run.write_text("q1\tQ0\td9\t1\t2.0\tx\n")
    stage = foils.parse(f"Load('{run}') + Dense('student', k=3) >> Uniform(k=2)")
    job = {"split": "train", "seed": 0, "encoders": models, "out": tmp_path / "neg"}
    Miner().mine(data, stage, **job)
    miner, collection = Miner(), data
    if changed == "seed":
        job["seed"] = 1
    elif changed == "split":
        job["split"] = "test"
    elif changed == "without_positives":
        miner = Miner(without_positives="keep")
    elif changed == "leaks":
        miner = Miner(leaks="keep")
    elif changed == "collection":
        collection = foils.load(make_beir(tmp_path / "little", seed=8))
    elif changed == "encoders":
        job["encoders"] = {"student": HashEncoder(salt=3)}
    else:
        run.write_text("q1\tQ0\td8\t1\t2.0\tx\n")
    with pytest.raises(StoreError, match=rf"of another run: {changed}\b"):
        miner.mine(collection, stage, **job)


@pytest.mark.parametrize("block", [1, 1024])
def test_only_queries_that_are_mined_for_are_in_the_result(data, tmp_path, block):
    """Neither those of a held-out split nor, if only unjudged ones are wanted, those with a positive."""
    rows = data.query_rows("train")
    data = data.subset({"train": ("train", rows), "test": ("train", rows[1::2])})
    leaked = rows[1::2]
    job = {"split": "train", "seed": 0, "encoders": {}}
    kept = Miner(block=block).mine(data, foils.parse("Random(k=3)"), **job, out=tmp_path / "train").pairs(data)
    assert set(kept.queries) == set(rows) - set(leaked)
    lonely = Miner(block=block, without_positives="only")
    kept = lonely.mine(data, foils.parse("Random(k=3)"), **job, out=tmp_path / "lonely").pairs(data)
    assert set(kept.queries) == set(data.unjudged)
