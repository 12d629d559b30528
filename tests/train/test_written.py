"""Training with what was written: in generations mined while it trains, and on written queries."""

from __future__ import annotations

import json

import numpy as np
import pytest

from foils.core.pairs import CANDIDATE
from foils.follow import Job, follow
from foils.recipe import load_recipe
from foils.store import Negatives
from foils.train import TrainOptions, generations
from little import make_shard

OPTIONS = TrainOptions(batch_size=32, learning_rate=0.1, max_steps=8, dev_share=0.2, save_every=4)


@pytest.fixture(scope="module")
def taught(learnable, tmp_path_factory):
    return make_shard(learnable, tmp_path_factory.mktemp("taught") / "shards")


def recipe(folder, mine, refresh="Never()"):
    path = folder / "own.yaml"
    path.write_text(f"mine: {mine}\nrefresh: {refresh}\n")
    return load_recipe(path)


@pytest.mark.parametrize("refresh", ["Every(steps=4)", "Every(steps=4, encode='pool', share=0.5)"])
def test_every_generation_has_them_and_the_search_does_not_find_them(taught, learnable, static_path, tmp_path, refresh):
    plan = recipe(tmp_path, "(Dense('student', k=8) >> Top(k=2)) + Written(k=1)", refresh)
    run = follow(plan, taught, str(static_path), out=tmp_path / "run", options=OPTIONS).run
    numbers = generations.complete(run.out)
    assert numbers
    for number in (0, *numbers):
        kept = Negatives.open(generations.folder_of(run.out, number)).kept(taught)
        negative = kept.take(kept.label == CANDIDATE)
        written = negative.ranks["written"] > 0
        assert (negative.doc[written] >= len(learnable.corpus)).all()
        assert (negative.doc[~written] < len(learnable.corpus)).all()
        assert (np.bincount(negative.query[written])[negative.queries] == 1).all()
    dev = json.loads((run.out / "run.json").read_text())["counts"]["dev"]
    assert dev["documents"] <= len(learnable.corpus)


def test_written_queries_are_trained_on_and_asked_ones_measured(taught, learnable, static_path, tmp_path):
    plan = recipe(tmp_path, "Random(k=3)")
    run = follow(plan, taught, str(static_path), out=tmp_path / "run", job=Job(split="written"), options=OPTIONS).run
    counts = json.loads((run.out / "run.json").read_text())["counts"]
    assert counts["train"]["queries"] == len(taught.query_rows("written"))
    assert counts["dev"]["held_out"] == len(learnable.holdout("train", 0.2, 0)[1])
