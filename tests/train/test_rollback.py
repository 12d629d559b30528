"""The way back to an earlier generation, and the commands about generations."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from foils.core.errors import StoreError
from foils.follow import follow
from foils.recipe import load_recipe
from foils.train import TrainOptions, checkpoints, generations
from foils.train.refresh import rollback as module
from foils.train.refresh.rollback import rollback, settle
from killing import Killed, die_at
from shell import foils

OPTIONS = TrainOptions(batch_size=16, learning_rate=0.1, max_steps=32, save_every=7, dev_share=0.1)


def weights(folder):
    state = SentenceTransformer(str(folder), device="cpu").state_dict()
    return np.concatenate([tensor.float().numpy().ravel() for tensor in state.values()])


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    path = tmp_path_factory.mktemp("recipe") / "own.yaml"
    text = "mine: Dense('student', k=20) >> Uniform(k=6)\ncontrast: Own()\nrefresh: Every(steps=8)\n"
    path.write_text(text)
    return load_recipe(path)


@pytest.fixture(scope="module")
def finished(learnable, static_path, plan, tmp_path_factory):
    """Generations 1, 2 and 3 of steps 8, 16 and 24, of which the last two can be gone back to; not to be changed."""
    out = tmp_path_factory.mktemp("runs") / "run"
    return follow(plan, learnable, str(static_path), out=out, options=OPTIONS).run


@pytest.fixture
def run(finished, tmp_path):
    shutil.copytree(finished.out, tmp_path / "run")
    return tmp_path / "run"


def test_it_goes_on_with_the_earlier_generation(learnable, static_path, plan, finished, run):
    entry = rollback(run, 2)
    assert entry == {"to": 2, "step": 16, "aside": "aside/1", "skipped": [24], "settled": True}
    assert checkpoints.newest(run) == checkpoints.folder_of(run, 16)
    assert generations.complete(run) == [1, 2]
    assert {"checkpoint-24", "generations", "model"} <= {path.name for path in (run / "aside" / "1").iterdir()}
    assert [path.name for path in (run / "aside" / "1" / "generations").iterdir()] == ["3"]
    again = follow(plan, learnable, str(static_path), out=run, options=OPTIONS).run
    assert again.steps == 32
    assert [(e["number"], e["used_from"]) for e in again.record["generations"]] == [(1, 8), (2, 16)]
    assert again.record["rollbacks"] == [entry]
    # To step 24 it is the same training; after it, generation 2 goes on to be used.
    until = [[p for p in r.curve if p["step"] <= 24] for r in (again, finished)]
    assert until[0] == until[1]
    assert not np.array_equal(weights(again.model), weights(finished.model))


@pytest.mark.parametrize("moves", [0, 1, 2])
def test_a_rollback_that_was_interrupted_is_brought_to_its_end(run, monkeypatch, moves):
    with monkeypatch.context() as patch:
        die_at(patch, type(run), "replace", moves + 1, only=lambda path, target: "aside" in str(target))
        with pytest.raises(Killed):
            rollback(run, 2)
    settle(run)
    assert checkpoints.newest(run) == checkpoints.folder_of(run, 16)
    assert generations.complete(run) == [1, 2]
    assert not (run / "model").exists()
    assert json.loads((run / "run.json").read_text())["rollbacks"][0]["settled"]
    assert module.skipped(run) == {24}


def test_back_to_the_beginning(learnable, static_path, plan, run):
    rollback(run, 0)
    assert checkpoints.newest(run) is None
    again = follow(plan, learnable, str(static_path), out=run, options=OPTIONS).run
    assert "generations" in again.record
    assert again.record["generations"] == []
    assert again.steps == 32


def test_what_is_gone_is_refused_by_name(run, tmp_path):
    with pytest.raises(StoreError, match=r"generation 1: its checkpoint is gone. One can go back to: 0, 2, 3"):
        rollback(run, 1)
    with pytest.raises(StoreError, match=r"generation 7: there is no such generation"):
        rollback(run, 7)
    with pytest.raises(StoreError, match=r"no training run here"):
        rollback(tmp_path / "nothing", 0)


@pytest.mark.parametrize(
    ("status", "later", "why"),
    [("finished", (), "is finished"), ("running", ("3-last",), "phase '3-last' has begun"), ("running", (), None)],
)
def test_a_phase_that_others_were_made_of_is_refused(finished, tmp_path, status, later, why):
    phases = tmp_path / "whole" / "phases"
    shutil.copytree(finished.out, phases / "2-this")
    for name in ("1-first", *later):
        (phases / name).mkdir()
    record = {**json.loads((finished.out / "run.json").read_text()), "status": status}
    (tmp_path / "whole" / "run.json").write_text(json.dumps(record))
    if why is None:
        rollback(phases / "2-this", 2)
        return
    with pytest.raises(StoreError, match=why):
        rollback(phases / "2-this", 2)
    assert generations.complete(phases / "2-this") == [1, 2, 3]


def test_commands(learnable_path, finished, run):
    listed = json.loads(foils("generations", str(run), "--json"))
    assert [row["number"] for row in listed] == [0, 1, 2, 3]
    assert [row["checkpoint"] for row in listed] == [True, False, True, True]
    shown = foils("generations", str(run))
    assert "overlap@10" in shown
    assert f"{listed[3]['churn']:.3f}" in shown
    sides = [str(generations.folder_of(run, number)) for number in (2, 3)]
    report = json.loads(foils("diff", *sides, "--data", str(learnable_path), "-n", "2", "--json"))
    assert report["overlap@10"] == listed[3]["overlap@10"]
    assert report["churn"] == listed[3]["churn"]
    assert len(report["changed"]) == 2
    assert report["changed"][0]["rbo"] <= report["changed"][1]["rbo"] < report["rbo"]
    assert "rank-biased overlap" in foils("diff", *sides, "--data", str(learnable_path))
    assert json.loads(foils("rollback", str(run), "--to", "2", "--json"))["skipped"] == [24]
    assert "no training run here" in foils("generations", str(run.parent), check=1)
    assert "nothing to mine alongside" in foils("mine", "--watch", str(run), check=1)
    assert "Leave it out" in foils("mine", "--watch", str(run), "-o", "x", check=2)
    assert "Missing option" in foils("mine", str(learnable_path), "Random(k=3)", check=2)
