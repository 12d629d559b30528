"""Shares of kinds of negatives that follow training."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

import foils
from foils.core.errors import PipelineError
from foils.core.spec import parse
from foils.follow import Job, follow
from foils.pipelines import open_models
from foils.recipe import load_recipe
from foils.stages import AdaptiveMix
from foils.store import Negatives
from foils.terminal import generations as shown
from foils.terminal.layout import console
from foils.train import TrainOptions, checkpoints, generations
from foils.train.objective import Objective
from foils.train.refresh import watch
from foils.train.refresh.adaptive import adapted, adapts, figures
from foils.train.refresh.callback import Refresher
from foils.train.refresh.making import Maker
from killing import Killed, die_at
from little import OverlapReranker

OPTIONS = TrainOptions(batch_size=16, learning_rate=0.1, max_steps=24, save_every=5, dev_share=0)
POOL = "Dense('student', k=20) + Random(k=20)"
MIX = "AdaptiveMix(k=6, kinds=['student', 'random'], eta=4, floor=0.1)"


def recipe(folder, refresh="Every(steps=8)", mine=f"{POOL} >> {MIX}"):
    path = folder / "own.yaml"
    path.write_text(f"mine: {mine}\ncontrast: Own()\nrefresh: {refresh}\n")
    return load_recipe(path)


def entry(step, **figure):
    named = {name.replace("over", "above").replace("_", "/"): value for name, value in figure.items()}
    return {"step": step, "foils/loss": 1.0, **{f"foils/{name}": value for name, value in named.items()}}


STAGE = AdaptiveMix(k=2, kinds=("a", "b", "c"))
EARLY = [entry(1, share_a=0.9, count_a=1.0, share_b=0.1, count_b=1.0), {"step": 4, "foils/generation": 1.0}]
LATE = [
    entry(5, share_a=0.6, count_a=2.0, over_a=0.5, share_b=0.4, count_b=0.5),
    entry(6, share_a=0.2, count_a=1.0, over_a=0.2),
    {"step": 6, "eval_nDCG@10": 0.3},
]


def test_figures_are_means_since_the_generation_in_use():
    push, false = figures(STAGE, EARLY + LATE)
    assert push == pytest.approx({"a": 0.8 / 3, "b": 0.8})
    assert false == pytest.approx({"a": (0.5 * 2 + 0.2 * 1) / 3})
    # Nothing was looked at since then: the newest look counts.
    assert figures(STAGE, EARLY)[0] == pytest.approx({"a": 0.9, "b": 0.1})
    assert figures(STAGE, []) == ({}, {})


def test_a_pipeline_adapts_wherever_the_mix_stands_in_it():
    pipeline = parse("Random(k=9) >> AdaptiveMix(k=2, kinds=['a', 'b', 'c'], eta=Linear(0, 8)) >> Top(k=1, by='x')")
    made, told = adapted(pipeline, EARLY + LATE, 0.5)
    inner = next(step for step in made.steps() if isinstance(step, AdaptiveMix))
    assert inner.eta == 4
    assert inner.weights == STAGE.__class__(k=2, kinds=STAGE.kinds, eta=4.0).adapted(*figures(STAGE, LATE)).weights
    assert {kind: row["share"] for kind, row in told.items()} == pytest.approx(
        dict(zip("abc", inner.weights, strict=True)), abs=1e-5
    )
    assert set(told["b"]) == {"share", "push"}
    fixed = parse("Random(k=9) >> Mix(k=2, kinds=['random'])")
    assert adapted(fixed, LATE, 0.5) == (fixed, {})
    assert adapts(pipeline)
    assert not adapts(fixed)
    assert not adapts(None)


@pytest.fixture(scope="module")
def whole(learnable, static_path, tmp_path_factory):
    folder = tmp_path_factory.mktemp("adaptive")
    return follow(recipe(folder), learnable, str(static_path), out=folder / "run", options=OPTIONS).run


def test_each_generation_is_mined_with_the_shares_of_its_checkpoint(whole, learnable):
    for number, step in ((1, 8), (2, 16)):
        manifest = Negatives.open(generations.folder_of(whole.out, number)).manifest
        history = checkpoints.history(checkpoints.folder_of(whole.out, step))
        push, false = figures(parse(MIX), history)
        expected = parse(MIX).adapted(push, false)
        assert push.keys() == false.keys() == {"student", "random"}
        assert push["student"] > push["random"]
        assert expected.full() in manifest["pipeline_full"]
        told = manifest["generation"]["mix"]
        assert [told[kind]["share"] for kind in ("student", "random")] == pytest.approx(expected.weights, abs=1e-5)
        assert min(expected.weights) >= 0.1
        kept = Negatives.open(generations.folder_of(whole.out, number)).kept(learnable)
        negative = kept.label == 0
        drawn = (kept.ranks["student"][negative] > 0).mean()
        assert drawn == pytest.approx(expected.weights[0], abs=0.1)
    logged = [row for row in checkpoints.history(checkpoints.folder_of(whole.out, 16)) if "foils/mix/random" in row]
    assert [row["step"] for row in logged] == [8]
    assert logged[0]["foils/mix/random"] == whole.record["generations"][0]["mix"]["random"]["share"]


def test_shares_are_shown(whole, capsys):
    console().print(shown(generations.listing(whole.out), whole.record))
    said = capsys.readouterr().out
    assert "share student" in said
    for row in whole.record["generations"]:
        assert f"{row['mix']['student']['share']:.3f}" in said


@pytest.mark.parametrize("moment", ["training", "mining", "taking up"])
def test_killed_and_continued_is_uninterrupted(learnable, static_path, whole, tmp_path, monkeypatch, moment):
    def go():
        return follow(recipe(tmp_path), learnable, str(static_path), out=tmp_path / "run", options=OPTIONS).run

    owner, name, calls = {
        "training": (Objective, "forward", 13),
        "mining": (Maker, "_agreement", 2),
        "taking up": (Refresher, "_change", 2),
    }[moment]
    with monkeypatch.context() as patch:
        die_at(patch, owner, name, calls)
        with pytest.raises(Killed):
            go()
    run = go()
    weights = [SentenceTransformer(str(r.model), device="cpu")[0].embedding.weight.detach() for r in (run, whole)]
    np.testing.assert_array_equal(*weights)
    mixes = [[row["mix"] for row in r.record["generations"]] for r in (run, whole)]
    assert mixes[0] == mixes[1]


def test_a_second_process_gets_the_same_shares_from_the_same_checkpoint(
    learnable, static_path, whole, tmp_path, monkeypatch
):
    plan, out = recipe(tmp_path, "Alongside(steps=8, miner='elsewhere')"), tmp_path / "run"
    begin = Refresher.on_step_begin

    def round_first(self, args, state, control, **kwargs):
        if state.global_step == 9:
            # What the log says by now is of no matter: the checkpoint's does.
            maker = watch.read_order(out, learnable, lambda p, given, x: open_models(p, given, precision=x), None)
            assert watch.once(maker) == 1
        begin(self, args, state, control, **kwargs)

    monkeypatch.setattr(Refresher, "on_step_begin", round_first)
    run = follow(plan, learnable, str(static_path), out=out, options=OPTIONS).run
    assert run.record["generations"][0]["used_from"] == 9
    assert run.record["generations"][0]["mix"] == whole.record["generations"][0]["mix"]


class Logits(OverlapReranker):
    scale = "logit"


def test_another_judge_is_looked_at_in_training(learnable, static_path, tmp_path):
    mine = f"{POOL} >> CrossEncoder('teacher') >> AdaptiveMix(k=6, kinds=['student', 'random'], judge='teacher')"
    job = Job(encoders={"teacher": Logits()})
    out = tmp_path / "run"
    run = follow(recipe(tmp_path, mine=mine), learnable, str(static_path), out=out, options=OPTIONS, job=job).run
    looks = [row for row in run.record["health"] if "above_teacher/student" in row]
    assert looks
    told = run.record["generations"][0]["mix"]
    before = [row for row in looks if row["step"] <= 8]
    weight = sum(row["count/student"] for row in before)
    false = sum(row["above_teacher/student"] * row["count/student"] for row in before) / weight
    assert told["student"]["false"] == pytest.approx(false, abs=1e-6)
    bare = foils.mine(learnable, "Random(k=4)", out=tmp_path / "bare")
    job = Job(encoders={"teacher": Logits()}, negatives=bare)
    with pytest.raises(PipelineError, match="a training batch has no score 'teacher'"):
        follow(recipe(tmp_path, mine=mine), learnable, str(static_path), out=tmp_path / "c", options=OPTIONS, job=job)


def test_nothing_follows_training_without_a_refresh(learnable, static_path, tmp_path, caplog):
    run = follow(recipe(tmp_path, "Never()"), learnable, str(static_path), out=tmp_path / "run", options=OPTIONS).run
    assert "is mined once, so its numbers stay" in caplog.text
    assert "generations" not in json.loads((run.out / "run.json").read_text())
