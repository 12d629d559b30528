"""The source probe at the start and the end of a training with written negatives."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Group

from foils.core.pairs import Pairs, union
from foils.report.alarms import alarms
from foils.report.sections.training import training
from foils.report.subject import find_subject
from foils.terminal.layout import console
from foils.terminal.runs import _run
from foils.train import InBatch, Own, TrainOptions, TrainSpec, train
from foils.train.probing import sentences

OPTIONS = TrainOptions(batch_size=16, learning_rate=0.1, max_steps=6, dev_share=0)


@pytest.fixture
def bait(learnable):
    """Negatives of two sources: one has only documents with a word that the other's lack."""
    rows = learnable.query_rows("train")
    has = np.array(["d7" in text.split() or "d9" in text.split() for text in learnable.corpus.texts()])
    rng = np.random.default_rng(0)
    docs = [np.flatnonzero(has), np.flatnonzero(~has)]
    found = [
        Pairs.build(np.repeat(rows, 2), np.concatenate([rng.choice(own, 2, replace=False) for _ in rows]), ranks={n: r})
        for n, own, r in (("written", docs[0], [1, 2] * len(rows)), ("bm25", docs[1], [1, 2] * len(rows)))
    ]
    return union(found)


def test_at_the_start_and_at_the_end(learnable, static_path, bait, tmp_path):
    run = train(learnable, TrainSpec(InBatch(), negatives=bait), str(static_path), out=tmp_path / "a", options=OPTIONS)
    probes = run.record["probe"]
    assert [entry["when"] for entry in probes] == ["start", "end"]
    assert all(entry["one"] == "written" and entry["other"] == "others" for entry in probes)
    assert probes[0]["accuracy"] != probes[1]["accuracy"], "of other weights"
    assert probes[0]["accuracy"]["value"] > 0.6, "a word gives it away"
    json.dumps(probes, allow_nan=False)
    said = list(sentences(run.record))
    assert "Source probe at the end: written negatives are told from others" in said[1][0]
    record = {**run.record, "probe": [{**entry, "alarm": True} for entry in probes]}
    assert all(wrong and "above 0.9" in text for text, wrong in sentences(record))
    out = console()
    with out.capture() as shown:
        out.print(Group(*_run(run)))
    assert "Source probe at the start" in shown.get()
    (run.out / "run.json").write_text(json.dumps(record))
    subject = find_subject(run.out)
    assert [alarm.tone for alarm in alarms(subject)] == ["warn", "warn"]
    section = training(subject.trainings[0])
    assert [block.title for block in section.blocks if getattr(block, "title", "") == "Source probe"]


def test_probing_changes_no_weight(learnable, static_path, bait, tmp_path):
    renamed = replace(bait, ranks={"x": bait.ranks["written"], "bm25": bait.ranks["bm25"]})
    runs = [
        train(learnable, TrainSpec(Own(), negatives=pairs), str(static_path), out=tmp_path / name, options=OPTIONS)
        for name, pairs in (("a", bait), ("b", renamed))
    ]
    one, two = ((run.model / "model.safetensors").read_bytes() for run in runs)
    assert one == two
    assert "probe" not in runs[1].record


def test_none_where_there_is_too_little(learnable, static_path, bait, tmp_path):
    few = bait.take((bait.ranks["bm25"] > 0) | (bait.query < bait.query.min() + 4))
    run = train(learnable, TrainSpec(Own(), negatives=few), str(static_path), out=tmp_path / "a", options=OPTIONS)
    assert "probe" not in run.record
