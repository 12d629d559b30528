"""A second process that mines while training goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest

from foils.adapters.models import load_encoder
from foils.core.errors import SpecError, StoreError
from foils.follow import Job, follow
from foils.mine import Miner
from foils.pipelines import open_models
from foils.recipe import load_recipe
from foils.store import Negatives
from foils.train import TrainOptions, checkpoints, generations
from foils.train.refresh import watch
from foils.train.refresh.callback import Refresher
from foils.train.refresh.rollback import rollback
from killing import Killed

OPTIONS = TrainOptions(batch_size=16, learning_rate=0.1, max_steps=40, save_every=1000, dev_share=0)


def recipe(folder, refresh):
    path = folder / "own.yaml"
    path.write_text(f"mine: Dense('student', k=20) >> Uniform(k=6)\ncontrast: Own()\nrefresh: {refresh}\n")
    return load_recipe(path)


def load_models(pipeline, given, precision):
    return open_models(pipeline, given, precision=precision)


def alongside(patch, run, data, steps):
    """Let the second process do one round before each of these steps."""
    begin, seen = Refresher.on_step_begin, []

    def round_first(self, args, state, control, **kwargs):
        if state.global_step in steps:
            maker = watch.read_order(run, data, load_models, None)
            seen.append((state.global_step, watch.once(maker)))
        begin(self, args, state, control, **kwargs)

    patch.setattr(Refresher, "on_step_begin", round_first)
    return seen


def moments(run):
    return [(e["number"], e["step"], e["used_from"], e["staleness"]) for e in run.record["generations"]]


def test_the_newest_complete_generation_is_taken_at_a_step_boundary(learnable, static_path, tmp_path, monkeypatch):
    plan, out = recipe(tmp_path, "Alongside(steps=10, miner='elsewhere')"), tmp_path / "run"
    with monkeypatch.context() as patch:
        # At 25 there is no newer checkpoint than that of 20, which generation 2 has.
        seen = alongside(patch, out, learnable, {3, 13, 23, 25, 38})
        order = watch.write_order

        def with_half(maker):
            order(maker)
            (out / "generations" / "9" / "parts").mkdir(parents=True)  # looks like a generation and is not complete

        patch.setattr(watch, "write_order", with_half)
        run = follow(plan, learnable, str(static_path), out=out, options=OPTIONS).run
    assert seen == [(3, None), (13, 1), (23, 2), (25, None), (38, 3)]
    assert moments(run) == [(1, 10, 13, 3), (2, 20, 23, 3), (3, 30, 38, 8)]
    for entry in run.record["generations"]:
        assert (
            Negatives.open(out / "generations" / str(entry["number"])).manifest["generation"]["step"] == entry["step"]
        )
    assert {"overlap@10", "rbo", "churn", "seconds"} <= set(run.record["generations"][0])


def test_each_query_is_mined_for_once_in_as_many_generations_as_there_are_chunks(
    learnable, static_path, tmp_path, monkeypatch
):
    plan, out = recipe(tmp_path, "Alongside(steps=5, chunks=3, miner='elsewhere')"), tmp_path / "run"
    with monkeypatch.context() as patch:
        alongside(patch, out, learnable, range(6, 40, 5))
        run = follow(plan, learnable, str(static_path), out=out, options=OPTIONS).run
    numbers = generations.complete(out)
    assert numbers == list(range(1, 8))
    mined = [set(Negatives.open(out / "generations" / str(n)).pairs(learnable).queries.tolist()) for n in numbers]
    everybody = set(learnable.query_rows("train").tolist())
    for first in range(5):
        three = mined[first : first + 3]
        assert set.union(*three) == everybody
        assert sum(map(len, three)) == len(everybody)
    assert mined[0] == mined[3]
    assert [entry["previous"] for entry in run.record["generations"]] == [0, 0, 0, 1, 2, 3, 4]
    first = Negatives.open(out / "negatives").kept(learnable)
    # After two generations of three, a query has the negatives of the one that mined for it, else the first ones.
    now = generations.in_use(out, 2, 3, learnable, learnable.query_rows("train"), first)
    for sources, queries in (
        ((out / "generations" / "2"), mined[1]),
        (out / "negatives", everybody - mined[0] - mined[1]),
    ):
        kept = Negatives.open(sources).kept(learnable)
        for query in sorted(queries)[:20]:
            assert set(now.doc[now.query == query]) == set(kept.doc[kept.query == query])
            ranks = [np.sort(pairs.ranks["student"][pairs.query == query]) for pairs in (now, kept)]
            np.testing.assert_array_equal(*ranks)


def test_a_killed_miner_finishes_what_it_began_though_the_checkpoint_is_gone(
    learnable, static_path, tmp_path, monkeypatch
):
    plan, out = recipe(tmp_path, "Alongside(steps=10, miner='elsewhere')"), tmp_path / "run"
    with monkeypatch.context() as patch:
        # Stop the trainer at step 25, with checkpoints of 10 or 20 alone.
        begin = Refresher.on_step_begin

        def until(self, args, state, control, **kwargs):
            if state.global_step == 25:
                raise Killed
            begin(self, args, state, control, **kwargs)

        patch.setattr(Refresher, "on_step_begin", until)
        with pytest.raises(Killed):
            follow(plan, learnable, str(static_path), out=out, options=OPTIONS)
    maker = watch.read_order(out, None, load_models, None)
    with monkeypatch.context() as patch:
        patch.setattr(Miner, "mine", lambda *_, **__: (_ for _ in ()).throw(Killed()))
        with pytest.raises(Killed):
            watch.once(maker)
    weights = load_encoder(str(checkpoints.folder_of(out, 20))).fingerprint("document")
    assert generations.needed(out) == {20}  # the trainer keeps it
    checkpoints.prune(out, ())  # even if it did not
    assert generations.complete(out) == []
    assert watch.once(maker) == 1
    assert generations.figures_of(out, 1)["weights"] == weights
    # As if it had been killed before it could remove the weights.
    left = generations.weights_of(out, 1)
    left.mkdir()
    checkpoints.write_json(left / generations.PIN, {"step": 10})
    assert watch.once(maker) is None
    assert sorted(path.name for path in (out / "generations").iterdir()) == ["1"]


@pytest.mark.parametrize("mined", [False, True])
def test_what_is_mined_while_a_run_is_rolled_back_is_thrown_away(learnable, static_path, tmp_path, monkeypatch, mined):
    plan, out = recipe(tmp_path, "Alongside(steps=10, miner='elsewhere')"), tmp_path / "run"
    with monkeypatch.context() as patch:
        alongside(patch, out, learnable, [13])
        begin = Refresher.on_step_begin

        def until(self, args, state, control, **kwargs):
            if state.global_step == 25:
                raise Killed
            begin(self, args, state, control, **kwargs)

        patch.setattr(Refresher, "on_step_begin", until)
        with pytest.raises(Killed):
            follow(plan, learnable, str(static_path), out=out, options=OPTIONS)
    maker = watch.read_order(out, None, load_models, None)
    mine = Miner.mine

    def rolled_back(self, *args, **kwargs):
        found = mine(self, *args, **kwargs) if mined else None
        rollback(out, 1)
        return found or mine(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(Miner, "mine", rolled_back)
        assert watch.once(maker) is None
    assert generations.complete(out) == [1]
    assert sorted(path.name for path in (out / "generations").iterdir()) == ["1"]
    with monkeypatch.context() as patch:
        alongside(patch, out, learnable, [22])
        run = follow(plan, learnable, str(static_path), out=out, options=OPTIONS).run
    assert moments(run) == [(1, 10, 10, 0), (2, 20, 22, 2)]


def test_a_generation_of_later_weights_is_not_taken(tmp_path, monkeypatch):
    steps = {1: 10, 2: 20, 3: 99}
    monkeypatch.setattr(generations, "complete", lambda run: sorted(steps))
    monkeypatch.setattr(generations, "figures_of", lambda run, number: {"step": steps[number]})
    this = SimpleNamespace(job=SimpleNamespace(out=tmp_path), place=SimpleNamespace(rank=0, processes=1), used=1)
    assert [Refresher._newest(this, "cpu", step) for step in (12, 20, 50, 99)] == [1, 2, 2, 3]


def test_a_checkpoint_that_goes_while_it_is_read_is_not_used(learnable, static_path, tmp_path, monkeypatch):
    folder = checkpoints.folder_of(tmp_path, 5)
    folder.mkdir()
    (folder / "model.safetensors").write_text("weights")
    (folder / "optimizer.pt").write_text("large")
    checkpoints.mark(folder)
    link = watch._link
    with monkeypatch.context() as patch:
        patch.setattr(watch, "_link", lambda path, place: (link(path, place), (folder / "complete.json").unlink()))
        assert watch._linked(tmp_path) is None
    assert watch._left(tmp_path) is None
    checkpoints.mark(folder)
    number, weights = watch._linked(tmp_path)
    assert number == 1
    assert sorted(path.name for path in weights.iterdir()) == ["checkpoint.json", "model.safetensors"]


def test_what_cannot_be_watched_is_refused(learnable, static_path, tmp_path):
    with pytest.raises(StoreError, match="nothing to mine alongside"):
        watch.read_order(tmp_path, None, load_models, None)
    plan = recipe(tmp_path, "Alongside(steps=10)")
    job = Job(encoders={"student": load_encoder(str(static_path))})
    with pytest.raises(SpecError, match="must load the model 'student' itself"):
        follow(plan, learnable, str(static_path), out=tmp_path / "run", options=OPTIONS, job=job)


SCRIPT = """
import sys, time, foils
from foils.follow import follow
from foils.recipe import load_recipe
from foils.train import TrainOptions, generations
from foils.train.refresh.callback import Refresher
data, model, recipe, out = sys.argv[1:]
begin = Refresher.on_step_begin

def waiting(self, args, state, control, **kwargs):
    # Training must not be over before anything is mined, however slow the machine is.
    while state.global_step == 150 and not generations.complete(self.job.out):
        time.sleep(0.01)
    begin(self, args, state, control, **kwargs)

Refresher.on_step_begin = waiting
options = TrainOptions(batch_size=16, learning_rate=0.01, max_steps=300, save_every=5000, dev_share=0)
follow(load_recipe(recipe), foils.load(data), model, out=out, options=options)
"""


@pytest.mark.slow
def test_kill_9_of_trainer_and_miner(learnable, learnable_path, static_path, tmp_path):
    recipe(tmp_path, "Alongside(steps=100)")
    out = tmp_path / "run"
    command = [
        sys.executable,
        "-c",
        SCRIPT,
        str(learnable_path),
        str(static_path),
        str(tmp_path / "own.yaml"),
        str(out),
    ]

    def until(condition, process):
        deadline = time.monotonic() + 120
        while not condition() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.002)

    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    until(lambda: list(out.glob("generations/.1")), process)  # it mines
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    # The miner it had started ends by itself, or goes on until it sees that it is alone; another may begin at once.
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    until(lambda: generations.complete(out), process)
    children = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True).stdout.split()
    for child in children:
        os.kill(int(child), signal.SIGKILL)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors.decode()
    record = json.loads((out / "run.json").read_text())
    assert record["status"] == "finished"
    assert record["resumed"]
    used = [(e["number"], e["step"], e["used_from"]) for e in record["generations"]]
    assert used
    assert all(step <= since for _, step, since in used)
    assert [number for number, _, _ in used] == sorted({number for number, _, _ in used})
    for number in generations.complete(out):
        pairs = Negatives.open(out / "generations" / str(number)).kept(learnable)
        assert (np.bincount(pairs.query[pairs.label == 0])[learnable.query_rows("train")] == 6).mean() > 0.9
