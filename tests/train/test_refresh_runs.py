"""Runs that mine again: what they use when, and that a kill at any moment changes nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from foils.adapters import exact
from foils.adapters.models import load_encoder
from foils.adapters.sentence import SentenceEncoder
from foils.core.errors import SpecError, StoreError
from foils.follow import follow
from foils.mine import Miner
from foils.recipe import load_recipe
from foils.store import Negatives
from foils.train import Every, TrainOptions, TrainSpec, checkpoints, generations, train
from foils.train.objective import Objective
from foils.train.refresh.callback import Refresher
from foils.train.refresh.making import Maker
from killing import Killed, die_at

OPTIONS = TrainOptions(batch_size=16, learning_rate=0.1, max_steps=32, save_every=7, dev_share=0.1)


def weights(folder):
    state = SentenceTransformer(str(folder), device="cpu").state_dict()
    return np.concatenate([tensor.float().numpy().ravel() for tensor in state.values()])


def recipe(folder, refresh, mine="Dense('student', k=20) >> Uniform(k=6)", more=""):
    path = folder / "own.yaml"
    path.write_text(f"mine: {mine}\ncontrast: Own()\nrefresh: {refresh}\n{more}")
    return load_recipe(path)


def parts(folder):
    return b"".join(path.read_bytes() for path in sorted((folder / "parts").iterdir()))


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    return recipe(tmp_path_factory.mktemp("recipe"), "Every(steps=10)")


@pytest.fixture(scope="module")
def whole(learnable, static_path, plan, tmp_path_factory):
    """An uninterrupted run; tests must not change it."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    return follow(plan, learnable, str(static_path), out=out, options=OPTIONS).run


def moments(run):
    return [(entry["number"], entry["step"], entry["used_from"]) for entry in run.record["generations"]]


def same(run, other, count=3):
    np.testing.assert_array_equal(weights(run.model), weights(other.model))
    assert run.curve == other.curve
    assert generations.complete(run.out) == generations.complete(other.out) == list(range(1, count + 1))
    for number in range(count + 1):
        assert parts(generations.folder_of(run.out, number)) == parts(generations.folder_of(other.out, number))
    used = [
        [(entry["number"], entry["step"], entry["used_from"]) for entry in r.record["generations"]]
        for r in (run, other)
    ]
    assert used[0] == used[1]


def test_generations_are_recorded_and_nothing_is_left(whole):
    found = whole.record["generations"]
    assert [(entry["number"], entry["step"], entry["used_from"]) for entry in found] == [
        (n, 10 * n, 10 * n) for n in (1, 2, 3)
    ]
    assert [entry["staleness"] for entry in found] == [0, 0, 0]
    assert [entry["previous"] for entry in found] == [0, 1, 2]
    assert all(0 < entry["overlap@10"] < 1 and 0 < entry["rbo"] < 1 and 0 < entry["churn"] <= 1 for entry in found)
    logged = [e for e in checkpoints.history(whole.out / "checkpoint-30") if "foils/staleness" in e]
    assert [(e["step"], e["foils/generation"], e["foils/staleness"]) for e in logged] == [(10, 1, 0), (20, 2, 0)]
    assert [e["foils/overlap@10"] for e in logged] == [entry["overlap@10"] for entry in found[:2]]
    names = sorted(path.name for path in (whole.out / "generations").iterdir())
    assert names == ["1", "2", "3"]
    # The last two can be gone back to.
    assert [row["checkpoint"] for row in generations.listing(whole.out)] == [True, False, True, True]
    left = sorted(path.name for path in whole.out.iterdir())
    assert {"checkpoint-20", "checkpoint-30", "generations", "model", "negatives", "run.json"} <= set(left)
    assert whole.record["settings"]["refresh"]["when"] == Every(steps=10).full()


def test_a_generation_is_what_the_weights_of_its_step_find(learnable, whole):
    encoder = load_encoder(str(whole.out / "checkpoint-20"))
    store = Negatives.open(whole.out / "generations" / "2")
    pairs = store.pairs(learnable)
    assert store.manifest["generation"]["weights"] == encoder.fingerprint("document")
    rows = learnable.query_rows("train")
    known = learnable.positives("train")
    documents = encoder.encode(learnable.corpus.texts(), "document")
    found, _ = exact.search(encoder.encode(learnable.queries.texts(rows), "query"), documents, 40)
    for row, best in zip(rows.tolist(), found, strict=True):
        positives = set(known.doc[known.query == row].tolist())
        distinct = best[learnable.same[best] == best].tolist()  # copies of a text are left out
        wanted = [doc for doc in distinct if doc not in positives][:20]
        mine = (pairs.query == row) & (pairs.label == 0)
        assert set(pairs.doc[mine].tolist()) == set(wanted)
        assert (pairs.dropped[mine] == 0).sum() == 6


def test_each_generation_draws_anew(learnable, static_path, tmp_path):
    """With a rate of nothing the candidates stay; the draws do not."""
    plan = recipe(tmp_path, "Every(steps=4)")
    options = TrainOptions(batch_size=16, learning_rate=1e-30, max_steps=10, dev_share=0)
    run = follow(plan, learnable, str(static_path), out=tmp_path / "run", options=options).run
    for entry in run.record["generations"]:
        assert entry["overlap@10"] == entry["rbo"] == 1
        assert 0.5 < entry["churn"] < 0.9  # 6 of 20, twice: 14/20 expected


def test_weights_that_did_not_change_encode_nothing_again(learnable, static_path, tmp_path, monkeypatch):
    """With a rate of nothing; generation 0 has left its vectors in the cache."""
    encode, seen = SentenceEncoder.encode, []

    def counted(self, texts, kind):
        if self.name.startswith("student at step"):
            seen.append(len(texts))
        return encode(self, texts, kind)

    monkeypatch.setattr(SentenceEncoder, "encode", counted)
    for rate, encoded in ((1e-30, False), (0.1, True)):
        options = TrainOptions(batch_size=16, learning_rate=rate, max_steps=10, dev_share=0)
        plan, out = recipe(tmp_path, "Every(steps=4)"), tmp_path / f"run {rate}"
        follow(plan, learnable, str(static_path), out=out, options=options)
        assert bool(seen) is encoded


def test_training_changes_when_negatives_do(learnable, static_path, whole, tmp_path):
    static = follow(recipe(tmp_path, "Never()"), learnable, str(static_path), out=tmp_path / "run", options=OPTIONS).run
    assert not np.array_equal(weights(static.model), weights(whole.model))
    assert "generations" not in static.record
    assert sorted(path.name for path in static.out.iterdir()) == ["model", "negatives", "run.json"]


MOMENTS = {
    "training, before any generation": lambda patch: die_at(patch, Objective, "forward", 9),
    "training, after a generation": lambda patch: die_at(patch, Objective, "forward", 18),
    "right after the checkpoint": lambda patch: die_at(patch, Maker, "make", 2),
    "while mining": lambda patch: die_at(patch, Miner, "mine", 3),
    "between mining and publishing": lambda patch: die_at(patch, Maker, "_agreement", 2, after=True),
    "between publishing and use": lambda patch: die_at(patch, Refresher, "_change", 2),
    "after use, before the next step": lambda patch: die_at(patch, Refresher, "_change", 2, after=True),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_cut_off_and_continued_is_uninterrupted(learnable, static_path, plan, whole, tmp_path, monkeypatch, moment):
    def go():
        return follow(plan, learnable, str(static_path), out=tmp_path / "run", options=OPTIONS).run

    with monkeypatch.context() as patch:
        MOMENTS[moment](patch)
        with pytest.raises(Killed):
            go()
    run = go()
    same(run, whole)
    assert run.record["resumed"] or "before any" in moment


def test_other_moments_are_refused(learnable, static_path, whole, tmp_path):
    with pytest.raises(StoreError, match=r"refresh.when is .Every\(steps=10.* there and .Every\(steps=11"):
        follow(recipe(tmp_path, "Every(steps=11)"), learnable, str(static_path), out=whole.out, options=OPTIONS)
    with pytest.raises(SpecError, match=r"nothing says how to mine"):
        train(learnable, TrainSpec(refresh=Every(steps=3)), str(static_path), out=tmp_path / "x", options=OPTIONS)


def test_schedules_are_taken_at_the_time_of_each_generation(learnable, static_path, tmp_path):
    plan = recipe(tmp_path, "At(times=[0.25, 0.75])", mine="Dense('student', k=20) >> Top(k=Linear(4, 12))")
    options = TrainOptions(batch_size=16, learning_rate=1e-2, max_steps=16, dev_share=0)
    run = follow(plan, learnable, str(static_path), out=tmp_path / "run", options=options).run
    kept = [Negatives.open(generations.folder_of(run.out, n)).manifest["counts"]["kept_per_query"] for n in (0, 1, 2)]
    assert [[number for number, times in counts.items() if times] for counts in kept] == [["4"], ["6"], ["10"]]
    assert [entry["progress"] for entry in run.record["generations"]] == [0.25, 0.75]


KILLED = """
import sys, foils
from foils.follow import follow
from foils.recipe import load_recipe
from foils.train import TrainOptions
data, model, recipe, out = sys.argv[1:]
options = TrainOptions(batch_size=16, learning_rate=0.1, max_steps=32, save_every=7, dev_share=0.1)
follow(load_recipe(recipe), foils.load(data), model, out=out, options=options)
"""


@pytest.mark.slow
def test_kill_9_while_it_mines(learnable, learnable_path, static_path, whole, tmp_path):
    recipe(tmp_path, "Every(steps=10)")
    out = tmp_path / "run"
    command = [
        sys.executable,
        "-c",
        KILLED,
        str(learnable_path),
        str(static_path),
        str(tmp_path / "own.yaml"),
        str(out),
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 120
    while not list(out.glob("generations/.*")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.001)
    os.kill(process.pid, signal.SIGKILL)
    _, errors = process.communicate()
    assert process.returncode == -signal.SIGKILL, errors.decode()
    plan = load_recipe(tmp_path / "own.yaml")
    same(follow(plan, learnable, str(static_path), out=out, options=OPTIONS).run, whole)


def test_the_recipe_of_ance(learnable, static_path, tmp_path):
    options = TrainOptions(batch_size=32, learning_rate=0.1, epochs=3, dev_share=0.2)
    run = follow(load_recipe("ance"), learnable, str(static_path), out=tmp_path / "run", options=options).run
    times = [round(share * run.steps) for share in (0.25, 0.5, 0.75)]
    assert moments(run) == [(number, step, step) for number, step in enumerate(times, 1)]
    assert run.metrics["nDCG@10"] > run.curve[0]["nDCG@10"] + 0.15


TWO = """
import os, sys, foils
from pathlib import Path
from foils.follow import follow
from foils.recipe import load_recipe
from foils.train import TrainOptions
from foils.train.refresh.callback import Refresher
data, model, recipe, out = sys.argv[1:]
change = Refresher._change
def told(self, number, step):
    change(self, number, step)
    Path(recipe).with_name(f"rank {os.environ['RANK']}: {number} at {step}").touch()
Refresher._change = told
options = TrainOptions(batch_size=8, learning_rate=0.1, max_steps=11, dev_share=0)
follow(load_recipe(recipe), foils.load(data), model, out=out, options=options)
"""


@pytest.mark.slow
def test_of_two_processes_one_mines_and_both_change_at_the_same_step(learnable_path, static_path, tmp_path):
    recipe(tmp_path, "Every(steps=4)")
    (tmp_path / "two.py").write_text(TWO)
    given = [str(learnable_path), str(static_path), str(tmp_path / "own.yaml"), str(tmp_path / "run")]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command = [*launcher, str(tmp_path / "two.py"), *given]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    try:
        _, errors = process.communicate(timeout=180)
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(60)
    assert process.returncode == 0, errors[-3000:]
    expected = [f"rank {rank}: {number} at {4 * number}" for rank in (0, 1) for number in (1, 2)]
    assert sorted(path.name for path in tmp_path.glob("rank *")) == expected
    assert generations.complete(tmp_path / "run") == [1, 2]
