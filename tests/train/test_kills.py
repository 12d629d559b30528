"""Runs that are killed at random moments and given again end with the weights of one that was not."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

SCRIPT = """
import os, random, shutil, signal, sys, threading, time
from pathlib import Path

import torch
torch.set_num_threads(1)
import foils
from foils.follow import follow
from foils.recipe import load_recipe
from foils.train import TrainOptions

path, static, recipe, out, kills = sys.argv[1:]
data, recipe, out = foils.load(path), load_recipe(recipe), Path(out)
data = data.subset({"train": ("train", data.query_rows("train")[:60]), "test": ("test", data.query_rows("test"))})
options = TrainOptions(batch_size=8, learning_rate=1e-2, max_steps=12, evaluate_every=6, save_every=4, dev_share=0.1)

def go(place):
    follow(recipe, data, static, out=place, options=options)

def child(place, seconds):
    pid = os.fork()
    if pid == 0:
        if seconds is not None:
            threading.Timer(seconds, lambda: os.kill(os.getpid(), signal.SIGKILL)).start()
        try:
            go(place)
        finally:
            os._exit(0 if (place / "model").exists() else 1)
    return os.waitpid(pid, 0)[1]

def weights(place):
    return (place / "model" / "model.safetensors").read_bytes()

began = time.monotonic()
assert child(out / "whole", None) == 0
whole, took = weights(out / "whole"), time.monotonic() - began
draws, killed = random.Random(7), 0
for number in range(int(kills)):
    place = out / str(number)
    while child(place, draws.uniform(0, took)) == signal.SIGKILL:
        killed += 1
        if draws.random() < 0.6:
            break
    assert child(place, None) == 0
    assert weights(place) == whole, number
    shutil.rmtree(place)
print("killed", killed)
"""
RECIPE = {
    "mine": "Dense('student', k=20) >> Uniform(k=4)",
    "contrast": "InBatch() + MemoryBank(size=64, momentum=0.9)",
    "loss": "InfoNCE(temperature=Learned(0.07))",
    "refresh": "Every(steps=5)",
}


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked here to be killed")
def test_twenty_kills_at_random_moments_change_nothing(learnable_path, static_path, tmp_path):
    """While mining, training, looking at dev, saving and changing negatives; some runs are killed more than once."""
    (tmp_path / "own.yaml").write_text(json.dumps(RECIPE))
    script = tmp_path / "kills.py"
    script.write_text(SCRIPT)
    command = [sys.executable, str(script), str(learnable_path), str(static_path), str(tmp_path / "own.yaml")]
    done = subprocess.run(
        [*command, str(tmp_path / "runs"), "20"],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"},
        timeout=560,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert int(done.stdout.split()[-1]) >= 10
