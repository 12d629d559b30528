"""Runs that go wrong for real: what is noticed, what they go back to, and that a kill at any moment changes nothing."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from foils.core.errors import BreachError, StoreError
from foils.core.pairs import Pairs
from foils.core.schedule import Step
from foils.follow import follow
from foils.report.alarms import own_guard
from foils.report.subject import find_subject
from foils.train import (
    Fallback,
    Guard,
    InBatch,
    InfoNCE,
    Learned,
    Never,
    Own,
    TrainSpec,
    checkpoints,
    generations,
    loop,
    train,
)
from foils.train.objective import Objective
from guarded import OPTIONS, PLAN, SHORT, Turned, cut_off, planned
from killing import die_at
from shell import foils
from steps import weights

pytestmark = pytest.mark.usefixtures("turned")
OFF = Guard(dev=None, loss=None, uniformity=None, rank=None, document=None, hub=None, above=None)


WRONG = Step([0.0, 99.0], [0.4]) * Turned()
REVERSED = Step([1.0, 0.0], [0.4]) * InfoNCE(temperature=0.5) + WRONG


def back_to(loss=None, rate=1.0):
    return Fallback(InBatch(), loss or InfoNCE(), Never(), rate)


def one_document_for_all(data):
    """Every query has the same negative."""
    positives = data.positives("train")
    doc = next(d for d in range(len(data.corpus)) if d not in set(data.same[positives.doc].tolist()))
    queries = positives.queries
    return Pairs.build(queries, np.full(len(queries), doc, np.int32), np.zeros(len(queries), np.int8))


CASES = {
    "finite": (Guard(), {"loss": InfoNCE()}, {"learning_rate": 1e38}),
    "dev": (replace(OFF, dev=0.3), {"loss": REVERSED}, {}),
    "loss": (replace(OFF, loss=8.0), {"loss": InfoNCE(temperature=Step([0.05, 1.0], [0.7]))}, {}),
    "above": (replace(OFF, above=0.3), {"loss": REVERSED, "contrast": InBatch(), "mined": True}, {}),
    "document": (replace(OFF, document=0.5), {"contrast": Own(), "one": True}, {"learning_rate": 0.005}),
    "uniformity": (Guard(), {"collapses": True}, {"learning_rate": 0.3}),
    "rank": (replace(OFF, rank=0.5), {"collapses": True}, {"learning_rate": 0.3}),
}


@pytest.mark.parametrize("what", CASES)
def test_each_bound_is_broken_for_real(learnable, static_path, still_path, random_negatives, tmp_path, what):
    guard, given, more = CASES[what]
    model = still_path if given.get("collapses") else static_path
    negatives = one_document_for_all(learnable) if given.get("one") else None
    if given.get("mined"):
        negatives = random_negatives.kept(learnable)
    spec = TrainSpec(given.get("contrast", InBatch()), given.get("loss", InfoNCE()), negatives=negatives, guard=guard)
    options = replace(OPTIONS, **more)
    with pytest.raises(BreachError, match=r"stopped at step .*--fallback in-batch"):
        train(learnable, spec, str(model), out=tmp_path / "run", options=options)
    (stopped,) = json.loads((tmp_path / "run" / "run.json").read_text())["breaches"]
    assert (stopped["what"], stopped["fallback"]) == (what, None)
    assert own_guard(find_subject(tmp_path / "run").trainings[0]) == guard  # as the page reads it
    # The same command says the same; with a fallback it goes on.
    with pytest.raises(BreachError, match=f"stopped at step {stopped['step']}"):
        train(learnable, spec, str(model), out=tmp_path / "run", options=options)
    spec = replace(spec, fallback=back_to(rate=0.1 / options.learning_rate))
    run = train(learnable, spec, str(model), out=tmp_path / "run", options=options)
    assert run.record["breaches"] == [{**stopped, "fallback": spec.fallback.text()}]
    assert run.steps == 60
    assert stopped["back"] <= stopped["step"]
    assert np.isfinite(weights(run.model)).all()
    if what in ("dev", "above"):
        assert 0 < stopped["back"] <= 36
        assert all(point["nDCG@10"] > 0.2 for point in run.curve[-3:])
    if what == "finite":
        assert (stopped["value"], stopped["bound"]) == ("nan", None)


def test_ordinary_runs_raise_no_alarm(learnable, static_path, still_path, random_negatives, tmp_path):
    negatives = random_negatives.kept(learnable)
    for number, (model, spec, rate) in enumerate(
        [
            (static_path, TrainSpec(), 0.05),
            (static_path, TrainSpec(Own(), negatives=negatives), 0.05),
            (static_path, TrainSpec(InBatch(), negatives=negatives), 30.0),
            (still_path, TrainSpec(InBatch(), negatives=negatives), 0.02),
        ]
    ):
        options = replace(OPTIONS, learning_rate=rate)
        guarded = replace(spec, guard=Guard(), fallback=back_to())
        run = train(learnable, guarded, str(model), out=tmp_path / f"{number}", options=options)
        assert "breaches" not in run.record
        if number == 0:
            bare = train(learnable, replace(spec, guard=OFF), str(model), out=tmp_path / "bare", options=options)
            np.testing.assert_array_equal(weights(run.model), weights(bare.model))


def test_a_fallback_that_does_not_help_stops(learnable, static_path, tmp_path):
    spec = TrainSpec(loss=REVERSED, guard=replace(OFF, dev=0.3), fallback=back_to(99.0 * Turned()))
    for _ in range(2):
        with pytest.raises(BreachError, match=r"The fallback did not help, either"):
            train(learnable, spec, str(static_path), out=tmp_path / "run", options=OPTIONS)
    first, second = json.loads((tmp_path / "run" / "run.json").read_text())["breaches"]
    assert first["back"] < first["step"]
    assert (second["fallback"], second["back"] >= first["back"]) == (None, True)
    with pytest.raises(StoreError, match="goes on with the fallback"):
        train(learnable, replace(spec, fallback=None), str(static_path), out=tmp_path / "run", options=OPTIONS)


def test_numbers_that_the_fallback_does_not_learn(learnable, static_path, tmp_path):
    loss = Step([1.0, 0.0], [0.4]) * InfoNCE(temperature=Learned(0.5)) + WRONG
    spec = TrainSpec(loss=loss, guard=replace(OFF, dev=0.3), fallback=back_to())
    run = train(learnable, spec, str(static_path), out=tmp_path / "run", options=OPTIONS)
    assert run.record["breaches"][0]["back"] > 0
    assert run.metrics["nDCG@10"] > 0.2
    back = replace(spec, fallback=back_to(InfoNCE(temperature=Learned(0.2))))
    run = train(learnable, back, str(static_path), out=tmp_path / "other", options=OPTIONS)
    assert run.record["breaches"][0]["back"] > 0


@pytest.fixture(scope="module")
def plan(turned, tmp_path_factory):
    return planned(tmp_path_factory.mktemp("recipe"), PLAN)


def test_it_goes_back_to_checkpoint_and_generation(guarded):
    (entry,) = guarded.record["breaches"]
    assert entry["what"] == "dev"
    assert 20 <= entry["back"] < entry["step"] < 48
    assert entry["generation"] == (2 if entry["back"] > 20 else 1)
    (rollback,) = guarded.record["rollbacks"]
    assert (rollback["to"], rollback["step"], rollback["settled"]) == (entry["generation"], entry["back"], True)
    assert [known["number"] for known in guarded.record["generations"]] == list(range(1, entry["generation"] + 1))
    assert all(0 < known["hub"] < 0.5 for known in guarded.record["generations"])
    assert (guarded.out / rollback["aside"]).is_dir()
    assert guarded.steps == 48
    assert guarded.curve[-1]["nDCG@10"] > entry["bound"]


def _moves(patch, number, *, after=False):
    from pathlib import Path

    die_at(patch, Path, "replace", number, after=after, only=lambda path, target: "/aside/" in str(target))


MOMENTS = {
    "after the best, before the breach": lambda patch, step: die_at(patch, Objective, "forward", step - 1),
    "seen, not recorded": lambda patch, step: die_at(patch, loop, "turn", 1),
    "recorded, nothing moved": lambda patch, step: _moves(patch, 1),
    "half moved": lambda patch, step: _moves(patch, 1, after=True),
    "gone back": lambda patch, step: die_at(patch, loop, "turn", 1, after=True),
    "at the first step of the fallback": lambda patch, step: die_at(patch, Objective, "forward", step + 1),
    "in the fallback, at a checkpoint": lambda patch, step: die_at(patch, checkpoints, "mark", 1, only=_late(step)),
}


def _late(step):
    seen = []

    def only(folder):
        seen.append(checkpoints.step_of(folder))
        return seen != sorted(seen)  # steps begin again

    return only


@pytest.mark.parametrize("moment", MOMENTS)
def test_cut_off_and_continued_is_uninterrupted(learnable, static_path, plan, guarded, tmp_path, moment):
    run = cut_off(guarded, plan, learnable, static_path, tmp_path / "run", MOMENTS[moment])
    used = [[(g["number"], g["step"], g["used_from"]) for g in r.record["generations"]] for r in (run, guarded)]
    assert used[0] == used[1]
    assert generations.complete(run.out) == generations.complete(guarded.out)


def test_a_generation_of_one_document_is_not_trained_on(learnable, static_path, tmp_path):
    text = "mine: Dense('student', k=150) >> Uniform(k=Step([4, 140], [0.6]))\nrefresh: Every(steps=8)\n"
    plan = planned(tmp_path, text + "contrast: Own()\nguard: Guard()\nfallback: {contrast: Own()}\n")
    run = follow(plan, learnable, str(static_path), out=tmp_path / "run", options=replace(SHORT, max_steps=32)).run
    (first,) = run.record["breaches"]
    assert (first["what"], first["step"], first["back"], first["generation"]) == ("hub", 24, 24, 2)
    assert first["value"] > 0.9
    assert [known["number"] for known in run.record["generations"]] == [1, 2]
    assert generations.complete(run.out) == [1, 2]


def test_commands_show_it(learnable_path, static_path, guarded, tmp_path):
    shown = foils("generations", str(guarded.out))
    assert "hub" in shown
    assert "dev nDCG@10 fell to" in " ".join(shown.split())
    (tmp_path / "own.yaml").write_text(
        "loss: Step([1, 0], [0.4])*InfoNCE(temperature=0.5) + Step([0, 99], [0.4])*Turned()\n"
    )
    command = ["train", str(learnable_path), "--recipe", str(tmp_path / "own.yaml"), "--model", str(static_path)]
    command += ["-o", str(tmp_path / "run"), "--guard", "Guard()", "--batch-size", "16", "--learning-rate", "0.1"]
    command += ["--set", "max_steps=60", "--set", "evaluate_every=6", "--set", "save_every=7"]
    said = " ".join(foils(*command, check=1).split())
    assert "stopped at step" in said
    assert "--fallback in-batch" in said
    shown = " ".join(foils(*command, "--fallback", "in-batch").split())
    assert "dev nDCG@10 fell to" in shown
    assert "goes on with contrast InBatch()" in shown


def test_figures_reach_what_logs_are_reported_to(learnable, static_path, tmp_path, monkeypatch):
    """Everything of ``run.json``'s health goes through the Trainer's ``on_log``, which integrations read."""
    from transformers import TrainerCallback

    class Told(TrainerCallback):
        def __init__(self):
            self.logs = []

        def on_log(self, args, state, control, logs=None, **kwargs):
            self.logs.append({**logs, "step": state.global_step})

    told, made = Told(), loop._trainer

    def with_told(*args):
        trainer = made(*args)
        trainer.add_callback(told)
        return trainer

    monkeypatch.setattr(loop, "_trainer", with_told)
    options = replace(OPTIONS, max_steps=20)
    run = train(learnable, TrainSpec(), str(static_path), out=tmp_path / "run", options=options)
    seen = {entry["step"]: entry for entry in told.logs if "foils/loss" in entry}
    assert len(run.record["health"]) == 20
    for figures in run.record["health"]:
        entry = seen[figures["step"]]
        assert all(entry[f"foils/{name}"] == value for name, value in figures.items() if name != "step")
        assert math.isfinite(figures["loss"])
        assert ("gap_trend" in figures) == (figures["step"] > 1)
    assert torch.is_grad_enabled()
