"""A collection that can be learnt in seconds, and studies of it whose trainings run in this process."""

from __future__ import annotations

import json

import numpy as np
import pytest

import foils
from foils.study import StudyOptions, compare, running, tasks
from train.conftest import make_learnable, make_static

SHARP = {
    "name": "sharp",
    "phases": [
        {"name": "warm", "share": 0.5},
        {"name": "main", "share": 0.5, "mine": "Dense('student', k=20) >> SimANS(k=4, a=50.0)"},
    ],
}
QUICK = {"batch_size": 16, "learning_rate": 0.05, "dev_share": 0.1}


@pytest.fixture(scope="session")
def words_path(tmp_path_factory):
    """Some words of the queries stand in documents, so that BM25 finds some; a second split knows more positives."""
    folder = make_learnable(tmp_path_factory.mktemp("study") / "words", docs=80, queries=120)
    rows = [json.loads(line) for line in (folder / "queries.jsonl").read_text().splitlines()]
    for row in rows:
        row["text"] = row["text"].replace("q", "d", 2)
    (folder / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    lines = (folder / "qrels" / "train.tsv").read_text().splitlines()
    docs = np.random.default_rng(0).integers(0, 80, len(lines))
    more = [f"{line.split(chr(9))[0]}\td{doc}\t1" for line, doc in zip(lines[1:], docs[1:], strict=True)]
    (folder / "qrels" / "train_full.tsv").write_text("\n".join([*lines, *more]) + "\n")
    return folder


@pytest.fixture(scope="session")
def words(words_path, _own_cache):
    return foils.load(words_path)


@pytest.fixture(scope="session")
def start_path(tmp_path_factory):
    return str(make_static(tmp_path_factory.mktemp("models") / "static"))


@pytest.fixture
def here(monkeypatch):
    """Carry tasks out in this process, and remember them: importing PyTorch anew takes longer than a training."""
    done = []

    def carry_out(task, cache, tell):
        monkeypatch.setenv("FOILS_CACHE", str(cache))
        tasks.carry_out(task, tell)
        name = task.arm.name if task.arm else "pool" if task.pool else "start"
        done.append(f"{name}-{task.seed}{' begins' if task.first else ''}")

    monkeypatch.setattr(running, "in_a_process", carry_out)
    return done


@pytest.fixture(scope="module")
def study(words, start_path, tmp_path_factory):
    """Three arms at two seeds."""
    patch = pytest.MonkeyPatch()

    def carry_out(task, cache, tell):
        with pytest.MonkeyPatch.context() as inner:
            inner.setenv("FOILS_CACHE", str(cache))
            tasks.carry_out(task, tell)

    patch.setattr(running, "in_a_process", carry_out)
    options = StudyOptions(seeds=2, budget=20, train=QUICK, labels="train_full", rounds=500)
    arms = ["in-batch", "bm25", SHARP]
    made = compare(words, arms, start_path, out=tmp_path_factory.mktemp("s") / "s", options=options)
    patch.undo()
    return made
