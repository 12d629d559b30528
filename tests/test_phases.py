"""Recipes of several phases, followed on the learnable collection: who starts where, what is mined, and kills."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

import foils
from foils.core.errors import PipelineError, SpecError, StoreError
from foils.follow import Job, follow
from foils.recipe import load_recipe
from foils.store import Negatives
from foils.train import TrainOptions
from killing import cut_off
from little import HashEncoder
from train.conftest import make_learnable, make_static

FAST = TrainOptions(batch_size=16, learning_rate=0.05, max_steps=8, dev_share=0.1)
THREE = """
phases:
  - name: warm
    share: 0.5
  - name: hard
    mine: Dense('student', k=9) >> Top(k=2)
  - name: afresh
    start: base
    rate: 0.5
    mine: Dense('warm', k=9) >> BiEncoder('judge') >> Top(k=4, by='warm')
    adds: [hard]
"""


@pytest.fixture(scope="module")
def learnable(tmp_path_factory, _own_cache):
    return foils.load(make_learnable(tmp_path_factory.mktemp("phases") / "words", docs=60, queries=90))


@pytest.fixture(scope="module")
def static_path(tmp_path_factory):
    return str(make_static(tmp_path_factory.mktemp("models") / "static"))


def recipe_of(folder, text):
    path = folder / "own.yaml"
    path.write_text(text)
    return load_recipe(path)


def weights(folder):
    state = SentenceTransformer(str(folder), device="cpu").state_dict()
    return np.concatenate([tensor.numpy().ravel() for tensor in state.values()])


@pytest.fixture(scope="module")
def finished(learnable, static_path, tmp_path_factory):
    folder = tmp_path_factory.mktemp("three")
    job = Job(encoders={"judge": HashEncoder()})
    return follow(recipe_of(folder, THREE), learnable, static_path, out=folder / "run", job=job, options=FAST)


def test_each_phase_is_a_run_of_its_own(finished, learnable, static_path):
    out = finished.run.out
    assert [phase["name"] for phase in finished.run.record["phases"]] == ["warm", "hard", "afresh"]
    assert [phase["steps"] for phase in finished.run.record["phases"]] == [4, 8, 8]
    np.testing.assert_array_equal(weights(finished.run.model), weights(out / "phases/3-afresh/model"))
    begun = json.loads((out / "phases/2-hard/run.json").read_text())["settings"]["model"]
    again = json.loads((out / "phases/3-afresh/run.json").read_text())["settings"]
    first = json.loads((out / "phases/1-warm/run.json").read_text())["settings"]
    assert again["model"] == first["model"] != begun
    assert again["options"]["learning_rate"] == pytest.approx(0.025)
    # What the student is to a pipeline, and what a phase's name is.
    hard = Negatives.open(out / "phases/2-hard/negatives")
    afresh = Negatives.open(out / "phases/3-afresh/negatives")
    warm = SentenceTransformer(str(out / "phases/1-warm/model"), device="cpu")
    assert hard.manifest["encoders"]["student"] == afresh.manifest["encoders"]["warm"]
    kept = hard.kept(learnable)
    query, doc = kept.query[0], kept.doc[0]
    expected = warm.encode(learnable.queries.texts([query]), normalize_embeddings=True)
    expected = expected @ warm.encode(learnable.corpus.texts([doc]), normalize_embeddings=True).T
    assert kept.scores["student"][0] == pytest.approx(float(expected[0, 0]), abs=1e-5)
    counted = [phase["counts"]["negatives"] for phase in finished.run.record["phases"]]
    assert counted[0] == 0
    # Both take the best of the same model, so the longer lists are all there is.
    assert counted[1] < counted[2] <= 2 * counted[1]
    assert sorted(afresh.manifest["encoders"]) == ["judge", "warm"]


def test_it_is_found_finished_and_refuses_other_settings(finished, learnable, static_path, tmp_path):
    recipe = recipe_of(tmp_path, THREE)
    job = Job(encoders={"judge": HashEncoder()})
    again = follow(recipe, learnable, static_path, out=finished.run.out, job=job, options=FAST)
    assert again.run.found_finished
    with pytest.raises(StoreError, match="seed is 0 there and 1 now"):
        follow(
            recipe, learnable, static_path, out=finished.run.out, job=Job(seed=1, encoders=job.encoders), options=FAST
        )


@pytest.mark.parametrize("at", [2, 7, 15])
def test_a_killed_run_ends_as_if_nothing_had_been(finished, learnable, static_path, tmp_path, at):
    recipe, job = recipe_of(tmp_path, THREE), Job(encoders={"judge": HashEncoder()})

    def go():
        return follow(recipe, learnable, static_path, out=tmp_path / "run", job=job, options=FAST).run

    cut_off(go, after=at)
    assert not (tmp_path / "run" / "model").exists()
    run = go()
    np.testing.assert_array_equal(weights(run.model), weights(finished.run.model))


def test_scheduled_mining_without_refresh_is_pointed_out(learnable, static_path, tmp_path, caplog):
    caplog.set_level("WARNING", "foils")
    text = "mine: Random(k=Linear(1, 3))\n"
    for refresh, said in (("Every(steps=4)", False), ("Never()", True)):
        caplog.clear()
        recipe = recipe_of(tmp_path, f"{text}refresh: {refresh}\n")
        follow(recipe, learnable, static_path, out=tmp_path / refresh, options=replace(FAST, max_steps=2))
        assert ("stay as at the beginning" in caplog.text) == said


def test_wrong_models_are_refused_before_anything_is_done(learnable, static_path, tmp_path):
    recipe = recipe_of(tmp_path, THREE)
    for name in ("teacher", "warm"):
        with pytest.raises(SpecError, match=f"takes no model '{name}'; it takes: 'judge', 'student'"):
            follow(recipe, learnable, static_path, out=tmp_path / "run", job=Job(encoders={name: HashEncoder()}))
    assert not (tmp_path / "run").exists()


UNJUDGED = """
phases:
  - name: first
    mine: Random(k=2)
  - name: more
    queries: unjudged
    adds: [first]
    mine: Dense('student', k=9) >> Promote(at=-2.0) >> Top(k=1)
"""


def test_queries_that_nobody_judged_are_trained_on_once_a_positive_is_promoted(learnable, static_path, tmp_path):
    rows = learnable.query_rows("train")
    part = learnable.subset({"train": ("train", rows[:30])})
    recipe = recipe_of(tmp_path, UNJUDGED)
    run = follow(recipe, part, static_path, out=tmp_path / "run", options=TrainOptions(max_steps=3, dev_share=0)).run
    first, more = (phase["counts"] for phase in run.record["phases"])
    assert first["queries"] == 30
    assert more["queries"] == 30 + len(part.unjudged) == len(learnable.queries)
    whole = follow(
        recipe, learnable, static_path, out=tmp_path / "none", options=TrainOptions(max_steps=3, dev_share=0)
    )
    first, more = (phase["counts"] for phase in whole.run.record["phases"])
    assert len(learnable.unjudged) == 0
    assert first == more


@pytest.mark.usefixtures("_own_cache")
def test_weak_queries_first(tmp_path, static_path):
    folder = make_learnable(tmp_path / "words", docs=30, queries=40)
    rows = [json.loads(line) for line in (folder / "corpus.jsonl").read_text().splitlines()]
    for row in rows:
        row["title"] = " ".join(word.replace("d", "q") for word in row["text"].split()[:3])
    (folder / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    text = "phases:\n  - {name: weak, data: titles}\n  - {name: judged}\n"
    options = TrainOptions(max_steps=5, dev_share=0)
    run = follow(recipe_of(tmp_path, text), foils.load(folder), static_path, out=tmp_path / "run", options=options).run
    weak, judged = (phase["counts"] for phase in run.record["phases"])
    assert weak["queries"] == 31
    assert judged["queries"] == 30
    assert (run.out / "phases" / "1-weak-data" / "queries.jsonl").is_file()


def test_a_phase_that_keeps_nothing_says_so(learnable, static_path, tmp_path, caplog):
    text = (
        "phases:\n  - {name: warm}\n  - {name: none, mine: \"Dense('student', k=3) >> Between(hi=-5.0) >> Top(k=2)\"}\n"
    )
    options = TrainOptions(max_steps=2, dev_share=0)
    run = follow(recipe_of(tmp_path, text), learnable, static_path, out=tmp_path / "run", options=options).run
    assert run.record["phases"][1]["counts"]["negatives"] == 0
    assert "keeps no negative for any query" in caplog.text


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        (
            "phases:\n- name: dual-0\n- name: last\n  mine: Dense('dual-O', k=9) >> Top(k=2)\n",
            SpecError,
            r"phase 'last': nobody makes a model 'dual-O'\. Did you mean 'dual-0'\? There is: 'student', 'dual-0'\.",
        ),
        (
            "phases:\n- name: one\n  contrast: InBatch() >> PositiveAware(by='guide')\n- name: two\n",
            SpecError,
            "nobody makes a model 'guide'",
        ),
        (
            "phases:\n- name: one\n- name: two\n  mine: Dense('one', k=9) >> Top(k=2)\n  loss: MarginMSE()\n",
            PipelineError,
            r"MarginMSE\(\): a training batch has no score 'teacher'; it has: 'student', 'one'",
        ),
    ],
)
def test_names_that_nobody_defines_are_refused_before_anything_is_done(
    learnable, static_path, tmp_path, text, error, said
):
    recipe = recipe_of(tmp_path, text)
    with pytest.raises(error, match=said):
        follow(recipe, learnable, static_path, out=tmp_path / "run", options=FAST)
    assert not (tmp_path / "run").exists()


def test_models_from_outside_are_listed(learnable, static_path, tmp_path):
    text = "needs: [guide]\nphases:\n- name: one\n  contrast: InBatch() >> PositiveAware(by='guide')\n- name: two\n"
    follow(recipe_of(tmp_path, text), learnable, static_path, out=tmp_path / "run", options=FAST)


def test_columns_of_phases_that_are_added_may_be_read(learnable, static_path, tmp_path):
    text = (
        "needs: [judge]\nphases:\n- name: scored\n  mine: Dense('student', k=9) >> BiEncoder('judge') >> Top(k=2)\n"
        "- name: last\n  loss: MarginMSE(by='judge')\n  contrast: Own()\n  adds: [scored]\n"
    )
    job = Job(encoders={"judge": HashEncoder()})
    run = follow(recipe_of(tmp_path, text), learnable, static_path, out=tmp_path / "run", options=FAST, job=job).run
    assert run.steps == 8
