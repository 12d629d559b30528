"""What keeps a run from going on, or from doing what it was asked for, is said, and nothing is lost."""

from __future__ import annotations

import errno
import json
import logging
import threading

import numpy as np
import pytest
import torch
from safetensors import SafetensorError
from sentence_transformers import SentenceTransformer

from foils.core.errors import PipelineError, SpecError, StoreError
from foils.follow import Job, follow
from foils.phase import Trained
from foils.recipe import load_recipe
from foils.terminal import trained
from foils.terminal.layout import console
from foils.train import InBatch, InfoNCE, MemoryBank, TrainOptions, TrainSpec, checkpoints, train
from foils.train.hf import FoilsTrainer
from foils.train.refresh import watch
from foils.train.schedule import Schedule
from killing import cut_off
from little import HashEncoder

OPTIONS = TrainOptions(batch_size=16, learning_rate=0.1, max_steps=20, save_every=6, dev_share=0)


def weights(run):
    return SentenceTransformer(str(run.model), device="cpu")[0].embedding.weight.detach().numpy()


# What they say on a file system that is full.
FULL = {
    "weights": (FoilsTrainer, "_save", SafetensorError("Error while serializing: I/O error: No space left on device")),
    "optimiser": (
        FoilsTrainer,
        "_save_optimizer_and_scheduler",
        RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 576 vs 534"),
    ),
    "marker": (Schedule, "on_save", OSError(errno.ENOSPC, "No space left on device")),
    "model": (SentenceTransformer, "save_pretrained", OSError(errno.EDQUOT, "Disk quota exceeded")),
}


@pytest.mark.parametrize("what", FULL)
def test_a_full_disk_is_said_and_nothing_is_lost(learnable, static_path, tmp_path, monkeypatch, what):
    owner, name, error = FULL[what]
    function, seen = getattr(owner, name), []

    def failing(self, *args, **kwargs):
        # Some of it is there when the disk is full.
        function(self, *args, **kwargs)
        seen.append(1)
        if len(seen) == 2:
            raise error

    def go(name):
        return train(learnable, TrainSpec(), str(static_path), out=tmp_path / name, options=OPTIONS)

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, failing)
        with pytest.raises(StoreError, match=r"cannot be written to \(.* MB are free\. Nothing before") as caught:
            go("run")
    assert caught.value.__cause__ is error
    np.testing.assert_array_equal(weights(go("run")), weights(go("whole")))


def test_other_errors_stay_what_they_are(tmp_path):
    for error in (OSError(errno.ENOENT, "no such file"), RuntimeError("shapes differ"), SafetensorError("bad header")):
        with pytest.raises(type(error)) as caught, checkpoints.writing(tmp_path):
            raise error
        assert caught.value is error


def test_a_checkpoint_without_its_memory_is_refused(learnable, static_path, tmp_path):
    spec = TrainSpec(InBatch() + MemoryBank(size=64), InfoNCE())
    cut_off(lambda: train(learnable, spec, str(static_path), out=tmp_path / "run", options=OPTIONS), after=8)
    folder = checkpoints.folder_of(tmp_path / "run", 6)
    (folder / "objective-0.pt").unlink()
    checkpoints.mark(folder)
    with pytest.raises(StoreError, match=r"objective-0\.pt: missing, so what the objective remembered at step 6"):
        train(learnable, spec, str(static_path), out=tmp_path / "run", options=OPTIONS)
    assert torch.is_grad_enabled()


def test_a_run_that_was_never_refreshed_says_so(learnable, static_path, tmp_path, caplog, capsys):
    path = tmp_path / "own.yaml"
    path.write_text("mine: Random(k=4)\nrefresh: Alongside(steps=5, miner='elsewhere')\n")
    run = follow(load_recipe(path), learnable, str(static_path), out=tmp_path / "run", options=OPTIONS).run
    said = json.loads((run.out / "run.json").read_text())["never_refreshed"]
    assert said.startswith("Alongside(steps=5, miner='elsewhere'): no generation was ready before training ended")
    assert said in caplog.text
    console().print(trained(Trained(run, None)))
    assert "no generation was ready" in capsys.readouterr().out
    path.write_text("mine: Random(k=4)\nrefresh: Every(steps=5)\n")
    run = follow(load_recipe(path), learnable, str(static_path), out=tmp_path / "other", options=OPTIONS).run
    assert "never_refreshed" not in run.record


def test_more_chunks_than_queries_are_refused(learnable, static_path, tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text("mine: Random(k=4)\nrefresh: Every(steps=5, chunks=181)\n")
    with pytest.raises(SpecError, match=r"chunks=181 of 180 queries .* Use 180 or fewer"):
        follow(load_recipe(path), learnable, str(static_path), out=tmp_path / "run", options=OPTIONS)


def test_a_refresh_that_is_never_due_says_so_before_and_after(learnable, static_path, tmp_path, caplog):
    path = tmp_path / "own.yaml"
    path.write_text("mine: Dense('student', k=20) >> Uniform(k=6)\nrefresh: Every(epochs=9)\n")
    caplog.set_level(logging.WARNING, "foils")
    run = follow(load_recipe(path), learnable, str(static_path), out=tmp_path / "run", options=OPTIONS).run
    assert run.record["never_refreshed"].startswith("Every(epochs=9.0): never due in 20 steps")
    assert caplog.text.count("never due in 20 steps") == 1


def test_a_second_watcher_says_that_another_one_is_there(learnable, static_path, tmp_path, monkeypatch, caplog):
    class Run:
        run = tmp_path

    begun, over = threading.Event(), threading.Event()

    def once(maker):
        begun.set()
        over.wait(20)

    monkeypatch.setattr(watch, "once", once)
    monkeypatch.setattr(watch, "_over", lambda run: over.is_set())
    monkeypatch.setattr(watch, "_LOOK", 0.01)
    first, second = (threading.Thread(target=watch.watch, args=(Run,)) for _ in range(2))
    with caplog.at_level(logging.WARNING):
        first.start()
        assert begun.wait(20)
        assert "another process mines" not in caplog.text
        second.start()
        for _ in range(1000):
            if "another process mines for this run already" in caplog.text:
                break
            second.join(0.01)
        over.set()
        first.join(20)
        second.join(20)
    assert "another process mines for this run already" in caplog.text


def test_a_score_that_nobody_says_is_missed_before_anything_is_mined(learnable, static_path, tmp_path):
    path, job = tmp_path / "own.yaml", Job(encoders={"guide": HashEncoder()})
    text = "mine: Dense('student', k=9) >> BiEncoder('guide') >> Top(k=3)\nloss: {}\n"
    path.write_text(text.format("KL(by='teacher')"))
    with pytest.raises(PipelineError, match=r"KL\(\): .* has no score 'teacher'; it has: 'student', 'guide'"):
        follow(load_recipe(path), learnable, str(static_path), out=tmp_path / "run", options=OPTIONS, job=job)
    assert not (tmp_path / "run").exists()
    path.write_text(text.format("KL(by='guide')"))
    assert follow(load_recipe(path), learnable, str(static_path), out=tmp_path / "run", options=OPTIONS, job=job).run
    # What a folder brings is known when it is opened.
    path.write_text(f"mine: Load('{tmp_path / 'run' / 'negatives'}') >> Top(k=2, by='guide')\nloss: KL(by='guide')\n")
    assert follow(load_recipe(path), learnable, str(static_path), out=tmp_path / "more", options=OPTIONS).run
