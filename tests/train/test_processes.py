"""Two processes with gloo on the CPU against one process that accumulates the same two batches per step."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from foils.influence import Influence
from foils.train import InfoNCE, Learned, Run, TrainOptions, TrainSpec, train

ROWS = 160
SCRIPT = """
import sys, foils
import numpy as np
from foils.core.spec import parse
from foils.train import Gathered, TrainOptions, TrainSpec, train
from foils.train.objective import Objective

path, static, transformer, out = sys.argv[1:]
data = foils.load(path)
data = data.subset({"train": ("train", data.query_rows("train")[:160])})
options = TrainOptions(batch_size=8, learning_rate=1e-2, max_steps=25, dev_share=0, save_every=3)

def go(name, model):
    return train(data, TrainSpec(influence=True), model, out=f"{out}/{name}", options=options)

loss = parse("InfoNCE(temperature=Learned(0.1))", "loss")
some = TrainOptions(batch_size=7, mini_batch=3, learning_rate=1e-2, max_steps=15, dev_share=0)
train(data, TrainSpec(Gathered(), loss), transformer, out=f"{out}/gathered", options=some)
go("transformer", transformer)
go("static", static)
forward, seen = Objective.forward, []
def cut_off(self, features, ids):
    seen.append(1)
    if len(seen) > 17:
        raise KeyboardInterrupt
    return forward(self, features, ids)
Objective.forward = cut_off
try:
    go("resumed", static)
except KeyboardInterrupt:
    Objective.forward = forward
assert not go("resumed", static).found_finished
assert go("resumed", static).found_finished
"""


def weights(folder):
    state = SentenceTransformer(str(folder), device="cpu").state_dict()
    return np.concatenate([tensor.numpy().ravel() for tensor in state.values()])


@pytest.mark.slow
def test_two_processes_are_one_with_accumulation(learnable, learnable_path, static_path, still_path, tmp_path):
    script = tmp_path / "two.py"
    script.write_text(SCRIPT)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", str(script)]
    command += [str(learnable_path), str(static_path), str(still_path), str(tmp_path / "runs")]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    try:
        _, errors = process.communicate(timeout=180)
    finally:
        if process.poll() is None:
            process.terminate()  # the launcher then ends its workers, which a SIGKILL would leave behind
            process.wait(60)
    assert process.returncode == 0, errors[-3000:]
    data = learnable.subset({"train": ("train", learnable.query_rows("train")[:ROWS])})
    options = TrainOptions(batch_size=8, learning_rate=1e-2, max_steps=25, dev_share=0, gradient_accumulation=2)
    for name, start in (("static", static_path), ("transformer", still_path)):
        both = Run.open(tmp_path / "runs" / name)
        assert both.record["settings"]["processes"] == 2
        assert both.steps == 25
        one = train(data, TrainSpec(influence=True), str(start), out=tmp_path / f"one-{name}", options=options)
        # What two processes count is what one counts of the same batches.
        (mine,), (theirs,) = (Influence.open(run.out).record["sources"] for run in (both, one))
        assert (mine["name"], mine["times"]) == ("in-batch", theirs["times"])
        assert mine["mass"] == pytest.approx(theirs["mass"], rel=1e-2)
        assert not list((both.out / "influence").glob(".part*"))
        assert np.abs(weights(one.model) - weights(start)).max() > 0.05
        # Adam divides small gradients by their size, which turns differences in their last bits into visible ones.
        np.testing.assert_allclose(weights(both.model), weights(one.model), atol=2e-3)
        assert both.record["losses"][-1]["loss"] == pytest.approx(one.record["losses"][-1]["loss"], rel=1e-4)
    # 12 steps an epoch: 11 rounds of 7 + 7 rows, and one of 3 + 3; encoded 3 at a time, or all at once.
    one = train(
        data,
        TrainSpec(loss=InfoNCE(temperature=Learned(0.1))),
        str(still_path),
        out=tmp_path / "one-gathered",
        options=TrainOptions(batch_size=14, learning_rate=1e-2, max_steps=15, dev_share=0),
    )
    gathered = Run.open(tmp_path / "runs" / "gathered")
    np.testing.assert_allclose(weights(gathered.model), weights(one.model), atol=2e-3)
    assert gathered.record["losses"][-1]["loss"] == pytest.approx(one.record["losses"][-1]["loss"], rel=1e-4)
    resumed = Run.open(tmp_path / "runs" / "resumed")
    assert resumed.record["resumed"]
    np.testing.assert_array_equal(weights(resumed.model), weights(tmp_path / "runs" / "static" / "model"))
