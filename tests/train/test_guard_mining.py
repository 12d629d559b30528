"""Fallbacks that mine otherwise: what they mine with whose weights, and that a kill at any moment changes nothing."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from foils.adapters.models import load_encoder
from foils.core.errors import PipelineError, SpecError
from foils.core.spec import parse
from foils.follow import Job, follow
from foils.mine import Miner
from foils.recipe import load_fallback
from foils.store import Negatives
from foils.train import Alongside, Every, Fallback, InBatch, InfoNCE, Never, Own, TrainSpec, generations, loop
from foils.train.guard.values import fallen
from foils.train.objective import Objective
from foils.train.refresh import Mining
from foils.train.refresh.callback import Refresher
from foils.train.refresh.making import Maker
from guarded import PLAN, SHORT, cut_off, planned
from killing import die_at

pytestmark = pytest.mark.usefixtures("turned")
BACK = {"mine": "Random(k=3)", "contrast": "Own()", "refresh": "At(times=[0.9])"}
OTHERWISE = PLAN.replace("fallback: in-batch", f"fallback: {json.dumps(BACK)}")


@pytest.fixture(scope="module")
def plan(turned, tmp_path_factory):
    return planned(tmp_path_factory.mktemp("recipe"), OTHERWISE)


def moments(run):
    return [(row["number"], row["step"], row["used_from"]) for row in run.record["generations"]]


def test_it_mines_otherwise_where_it_takes_over(guarded, learnable):
    (entry,) = guarded.record["breaches"]
    good, back = entry["generation"], entry["back"]
    assert entry["fallback"]["mine"] == "Random(k=3)"
    assert back > 0
    assert moments(guarded)[good:] == [(good + 1, back, back), (good + 2, 43, 43)]
    stores = {n: Negatives.open(generations.folder_of(guarded.out, n)) for n in generations.complete(guarded.out)}
    pipelines = {number: store.manifest["pipeline"] for number, store in stores.items()}
    assert pipelines[good] == "Dense('student', k=20) >> Uniform(k=6)"
    assert pipelines[good + 1] == pipelines[good + 2] == "Random(k=3)"
    pairs = stores[good + 1].kept(learnable)
    assert set(np.bincount(pairs.query[pairs.label == 0])[learnable.query_rows("train")]) == {3}
    assert guarded.steps == 48
    assert guarded.curve[-1]["nDCG@10"] > entry["bound"]


def _first_after(step):
    """Calls of `make` that the fallback makes."""
    return lambda self, number, at, weights: self.mining.pipeline == parse("Random(k=3)")


MOMENTS = {
    "recorded, nothing moved": lambda patch, step: die_at(patch, loop, "turn", 1, after=True),
    "before it mines": lambda patch, step: die_at(patch, Maker, "make", 1, only=_first_after(step)),
    "while it mines": lambda patch, step: die_at(
        patch, Miner, "mine", 1, after=True, only=lambda self, data, pipeline: pipeline == parse("Random(k=3)")
    ),
    "mined, not used": lambda patch, step: die_at(patch, Maker, "make", 1, after=True, only=_first_after(step)),
    "used, no step done": lambda patch, step: die_at(
        patch, Refresher, "_change", 1, after=True, only=lambda self, number, at: self.job.asked is not None
    ),
    "at its first step": lambda patch, step: die_at(patch, Objective, "forward", step + 1),
    "some steps later": lambda patch, step: die_at(patch, Objective, "forward", step + 9),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_cut_off_and_continued_is_uninterrupted(learnable, static_path, plan, guarded, tmp_path, moment):
    run = cut_off(guarded, plan, learnable, static_path, tmp_path / "run", MOMENTS[moment])
    assert moments(run) == moments(guarded)


def test_from_the_very_beginning_with_the_start_weights(learnable, static_path, tmp_path):
    """A run that mined nothing goes wrong at once; its fallback mines with the model that it began with."""
    text = "loss: InfoNCE()\nfallback: {mine: \"Dense('student', k=4)\", rate: 1.0e-39}\n"
    plan, out = planned(tmp_path, text), tmp_path / "run"
    options = replace(SHORT, max_steps=24, learning_rate=1e38)
    run = follow(plan, learnable, str(static_path), out=out, options=options).run
    (entry,) = run.record["breaches"]
    assert (entry["what"], entry["back"], entry["generation"]) == ("finite", 0, 0)
    assert moments(run) == [(1, 0, 0)]
    manifest = Negatives.open(generations.folder_of(out, 1)).manifest
    assert manifest["generation"]["weights"] == load_encoder(str(static_path)).fingerprint("document")
    assert run.record["counts"]["train"]["negatives"] == 0
    assert sorted(path.name for path in (out / "generations").iterdir()) == ["1"]
    assert run.metrics["nDCG@10"] > 0.2


def test_what_it_cannot_mine_with_is_refused_before_training(learnable, static_path, tmp_path):
    def go(fallback, **job):
        plan = planned(tmp_path, f"contrast: InBatch()\nfallback: {json.dumps(fallback)}\n")
        return follow(plan, learnable, str(static_path), out=tmp_path / "run", options=SHORT, job=Job(**job))

    for given, error, said in (
        ({"mine": "Top(k=3)"}, PipelineError, "fallback: .*there are no candidates yet"),
        ({"mine": "Random(k=9) >> CrossEncoder('teacher')"}, PipelineError, "fallback: .*cross-encoder 'teacher'"),
        ({"mine": "Random(k=9) >> Top(k=3)"}, PipelineError, "fallback: .*no score"),
        ({"mine": "Randm(k=9)"}, SpecError, "Did you mean 'Random'"),
    ):
        with pytest.raises(error, match=said):
            go(given)
    with pytest.raises(SpecError, match=r"--encoder other=…: recipe 'own' names no model 'other'; it names: 'mine'"):
        go({"mine": "Dense('mine', k=3)"}, encoders={"other": str(static_path)})
    assert not (tmp_path / "run").exists()


def test_what_does_not_go_together():
    back = Fallback(Own(), InfoNCE(), Never(), mining=Mining(parse("Random(k=3)")))
    assert fallen(TrainSpec(fallback=back)).mining is back.mining
    assert Fallback.read(back.text()).mine == back.pipeline
    bare = Fallback(Own(), InfoNCE(), Never(), mine=parse("Random(k=3)"))
    for spec, said in (
        (TrainSpec(fallback=bare), r"nothing says with what models. Give Fallback\(mining=Mining"),
        (TrainSpec(refresh=Every(steps=3, chunks=2), fallback=back), r"does not go with refresh: …\(chunks=…\)"),
        (TrainSpec(refresh=Alongside(steps=3, miner="elsewhere"), fallback=back), "would go on as before the breach"),
    ):
        with pytest.raises(SpecError, match=said):
            fallen(spec)


def test_a_recipe_that_mines_can_be_named():
    found = load_fallback("bm25")
    assert found.mine == parse("BM25(k=100) >> NoAnswer() >> Top(k=1)")
    assert found.contrast == InBatch()
    assert found.text()["mine"] == repr(found.mine)
