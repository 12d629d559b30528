"""Mined once, selected many times: the saved candidates stand for the search."""

from __future__ import annotations

import gzip
import importlib
import io
import json
import shutil
import sys
from contextlib import redirect_stderr, redirect_stdout

import numpy as np
import pytest

import foils
from foils.cli import main
from foils.core.errors import PipelineError, SpecError, StoreError
from foils.core.pairs import CANDIDATE
from foils.mine import Miner
from foils.pipelines import pipeline_of, reselecting
from foils.stages import Dense, Random, Top
from little import HashEncoder, make_beir

CHOICES = [
    "PositiveAware(margin=0.1, by='student') >> Top(k=3, by='student')",
    "Between(hi=0.8, by='student') >> SimANS(k=4, a=8, by='student')",
    "Ranks(lo=3, hi=12, by='bm25') >> Uniform(k=4)",
    "(PositiveAware(by='student') >> Top(k=2, by='student')) + (Ranks(lo=5, by='bm25') >> Uniform(k=1))",
]
SOURCE = "BM25(k=30) + Dense('student', k=30)"


@pytest.fixture(scope="module")
def mined(data, models, tmp_path_factory):
    """Candidates, most of them dropped by the pipeline that mined them."""
    out = tmp_path_factory.mktemp("reselect") / "cand"
    pipeline = f"{SOURCE} >> PositiveAware(margin=0.6, by='student') >> Top(k=1, by='student')"
    return foils.mine(data, pipeline, encoders=models, out=out)


def run(*arguments: str, code: int = 0) -> str:
    out, err, before = io.StringIO(), io.StringIO(), sys.argv
    sys.argv = ["foils", *arguments]
    try:
        with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as ended:
            main()
    finally:
        sys.argv = before
    assert ended.value.code == code, err.getvalue()
    return out.getvalue() + err.getvalue()


@pytest.mark.parametrize("choice", CHOICES)
def test_another_choice_from_saved_candidates_is_what_mining_again_finds(choice, mined, data, models, tmp_path):
    saved = foils.mine(data, reselecting(foils.parse(choice), mined.path), out=tmp_path / "saved")
    again = foils.mine(data, f"({SOURCE}) >> {choice}", encoders=models, out=tmp_path / "again")
    a, b = saved.kept(data), again.kept(data)
    assert sorted(a.key.tolist()) == sorted(b.key.tolist())
    at = a.find(b)
    for name in ("bm25", "student"):
        assert np.array_equal(a.scores[name][at], b.scores[name], equal_nan=True)
        assert np.array_equal(a.ranks[name][at], b.ranks[name])
    everything = saved.pairs(data)
    assert sorted(everything.key.tolist()) == sorted(mined.pairs(data).key.tolist())


def test_nothing_is_encoded_and_positives_have_their_saved_scores(mined, data, tmp_path):
    chosen = foils.mine(data, reselecting(foils.parse(CHOICES[0]), mined.path), out=tmp_path / "neg").kept(data)
    for query in chosen.queries:
        here = chosen.take(chosen.query == query)
        lowest = here["student"][here.label == 1].min().astype(np.float64)
        negatives = here["student"][here.label == CANDIDATE]
        assert (negatives < lowest - abs(lowest) * 0.1).all()


def test_a_selection_can_be_selected_from(mined, data, tmp_path):
    once = foils.mine(data, reselecting(foils.parse(CHOICES[0]), mined.path), out=tmp_path / "once")
    twice = foils.mine(data, reselecting(foils.parse(CHOICES[1]), once.path), out=tmp_path / "twice")
    direct = foils.mine(data, reselecting(foils.parse(CHOICES[1]), mined.path), out=tmp_path / "direct")
    assert twice.kept(data).key.tolist() == direct.kept(data).key.tolist()


def test_scorers_may_follow_and_their_models_are_needed(mined, data, models, tmp_path):
    stage = reselecting(foils.parse("BiEncoder('teacher') >> PositiveAware() >> Top(k=3)"), mined.path)
    with pytest.raises(PipelineError, match="--encoder teacher=MODEL"):
        foils.mine(data, stage, out=tmp_path / "none")
    calls = models["student"].calls
    found = foils.mine(data, stage, encoders={"teacher": models["teacher"]}, out=tmp_path / "neg")
    assert models["student"].calls == calls
    assert found.kept(data).latest == "teacher"


def test_an_ambiguous_score_is_named(mined, data, tmp_path):
    with pytest.raises(PipelineError, match=r"scores of 'bm25' and 'student' do not compare.*by='student'"):
        foils.mine(data, reselecting(Top(k=3), mined.path), out=tmp_path / "neg")


@pytest.mark.parametrize("stage", [Dense("student", k=3) >> Top(k=2), Random(k=2), Random(k=2) + Top(k=1)])
def test_a_pipeline_that_searches_again_is_refused(stage):
    with pytest.raises(SpecError, match="which searches again"):
        reselecting(stage, "cand")


def test_sources_further_on_are_fine(mined, data, tmp_path):
    stage = reselecting(foils.parse("Top(k=2, by='student') + Random(k=2)"), mined.path)
    kept = foils.mine(data, stage, out=tmp_path / "neg").kept(data)
    per_query = np.bincount(kept.query[kept.label == CANDIDATE])
    assert per_query.max() == 4


def test_the_command_line(mined, beir, data, tmp_path):
    folder, out = str(mined.path), str(tmp_path / "neg")
    report = json.loads(run("mine", "--candidates", folder, CHOICES[0], "-o", out, "--json"))
    assert report["pipeline"] == f"Load({folder!r}, which='all') >> {CHOICES[0]}"
    assert report["split"] == "train"
    assert report["counts"]["kept"] > 0
    given = json.loads(run("mine", str(beir), CHOICES[0], "--candidates", folder, "-o", out, "--json"))
    assert given == report
    assert "takes DATA and PIPELINE" in run("mine", CHOICES[0], "-o", out, code=2)
    assert "which searches again" in run("mine", "--candidates", folder, "BM25(k=3)", "-o", out, code=2)
    assert "no negatives here" in run("mine", "--candidates", str(tmp_path), CHOICES[0], "-o", out, code=1)


def test_scheduled_numbers_on_the_command_line(mined, tmp_path):
    choice = ["--candidates", str(mined.path), "Top(k=Linear(5, 1), by='bm25')"]
    report = json.loads(run("mine", *choice, "--at", "0.5", "-o", str(tmp_path / "neg"), "--json"))
    assert report["pipeline"].endswith("Top(k=3, by='bm25')")
    assert report["schedule"]["at"] == 0.5
    assert "between 0 (the beginning" in run("mine", *choice, "--at", "2", "-o", str(tmp_path / "no"), code=2)


def test_the_split_of_the_candidates_is_the_default(data, models, tmp_path):
    cand = foils.mine(data, SOURCE, split="test", encoders=models, out=tmp_path / "cand")
    report = json.loads(
        run("mine", "--candidates", str(cand.path), "Top(k=2, by='bm25')", "-o", str(tmp_path / "neg"), "--json")
    )
    assert report["split"] == "test"
    assert report["counts"]["queries"] == len(data.query_rows("test"))


def test_candidates_of_another_collection_are_found_through_their_manifest_or_refused(mined, tmp_path, monkeypatch):
    lost = tmp_path / "cand"
    shutil.copytree(mined.path, lost)
    monkeypatch.setenv("FOILS_CACHE", str(tmp_path / "empty"))
    said = run("mine", "--candidates", str(lost), CHOICES[0], "-o", str(tmp_path / "neg"), code=1)
    assert "little" in said


def test_recipes_by_name_begin_with_sources():
    with pytest.raises(SpecError, match="searches again"):
        reselecting(pipeline_of("bm25"), "cand")


def test_another_encoder_of_the_same_name_does_not_mix(mined, data, tmp_path):
    stage = foils.parse(f"Load({str(mined.path)!r}, which='all') + Dense('student', k=3) >> Top(k=3, by='student')")
    with pytest.raises(PipelineError, match="not of one model"):
        foils.mine(data, stage, encoders={"student": HashEncoder(salt=9)}, out=tmp_path / "neg")


@pytest.mark.parametrize("part", [3, 8, 1024])
@pytest.mark.parametrize("split", ["train", "test"])
def test_parts_and_blocks_of_another_cut_change_nothing(part, split, data, models, tmp_path, monkeypatch):
    """Queries of another split lie between, before and behind the parts' own."""
    monkeypatch.setattr(importlib.import_module("foils.mine"), "part_size", lambda queries: part)
    cand = foils.mine(data, SOURCE, encoders=models, out=tmp_path / "cand")
    stage = reselecting(foils.parse("Top(k=2, by='bm25') + (Ranks(lo=3, by='bm25') >> Uniform(k=2))"), cand.path)
    monkeypatch.undo()
    job = {"split": split, "seed": 0, "encoders": {}}
    whole = Miner(leaks="keep").mine(data, stage, **job, out=tmp_path / "whole")
    single = Miner(block=1, leaks="keep").mine(data, stage, **job, out=tmp_path / "single")
    assert [p.read_bytes() for p in whole.parts()] == [p.read_bytes() for p in single.parts()]
    saved, found = cand.pairs(data), whole.pairs(data)
    expected = saved.take((saved.label == CANDIDATE) & np.isin(saved.query, data.query_rows(split)))
    assert set(found.take(found.label == CANDIDATE).key.tolist()) == set(expected.key.tolist())
    assert np.array_equal(found["bm25"][found.find(expected)], expected["bm25"], equal_nan=True)


def test_a_candidate_that_is_not_in_the_collection_is_named(mined, tmp_path):
    other = foils.load(make_beir(tmp_path / "smaller", docs=60, queries=60))
    with pytest.raises(StoreError, match="is not in 'smaller'"):
        foils.mine(other, reselecting(foils.parse(CHOICES[0]), mined.path), out=tmp_path / "neg")


@pytest.mark.parametrize("keep", [1.0, 0.99])
def test_a_collection_with_the_same_ids_in_another_order_gets_its_own_rows(keep, beir, data, mined, tmp_path):
    folder = tmp_path / "turned"
    shutil.copytree(beir, folder)
    with gzip.open(folder / "corpus.jsonl.gz", "rt") as file:
        lines = file.readlines()
    with gzip.open(folder / "corpus.jsonl.gz", "wt") as file:
        # With one document more in front, rows shift, and what was remembered of them fails in the middle.
        extra = ['{"_id": "extra", "text": "one more"}\n'] if keep < 1 else []
        file.writelines([*lines[:100], *extra, *lines[100:]] if extra else lines[::-1])
    turned = foils.load(folder)

    def ids(pairs, collection):
        rows = pairs.take(np.lexsort((pairs.doc, pairs.query)))
        named = zip(collection.queries.id_list(rows.query), collection.corpus.id_list(rows.doc), strict=True)
        return dict(zip(named, rows["student"].tolist(), strict=True))

    assert ids(mined.kept(turned), turned) == ids(mined.kept(data), data)
    assert ids(mined.pairs(turned), turned) == ids(mined.pairs(data), data)


def test_short_lists_of_saved_candidates_are_not_sent_to_sources(mined, tmp_path):
    said = run(
        "mine",
        "PositiveAware(by='student', margin=0.6) >> Top(k=9, by='student')",
        "--candidates",
        str(mined.path),
        "-o",
        str(tmp_path / "neg"),
    )
    assert "mine with a larger k" in " ".join(said.split())
    assert "Ensure(" not in said
