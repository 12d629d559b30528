"""What a run says while it goes on."""

from __future__ import annotations

import json

import pytest

from foils.core.errors import BreachError
from foils.train import Guard, TrainOptions, TrainSpec, journal, train


def test_a_continued_run_takes_the_place_of_what_it_repeats(tmp_path):
    journal.write_line(tmp_path, {"begun": 0, "steps": 20})
    for step in (5, 10, 15):
        journal.write_line(tmp_path, {"step": step, "loss": 1.0})
    journal.write_line(tmp_path, {"begun": 10, "steps": 20})  # killed; 10 was its last checkpoint
    journal.write_line(tmp_path, {"step": 15, "loss": float("nan")})
    with (tmp_path / journal.JOURNAL).open("a") as stream:
        stream.write('{"step": 20, "lo')  # killed while it wrote
    entries, steps = journal.read(tmp_path)
    assert [(entry["step"], entry["loss"]) for entry in entries] == [(5, 1.0), (10, 1.0), (15, "nan")]
    assert steps == 20
    journal.remove(tmp_path)
    assert journal.read(tmp_path) == ([], None)
    journal.remove(tmp_path)


def test_a_journal_that_cannot_be_written_stops_nothing(tmp_path, caplog):
    journal.write_line(tmp_path / "nowhere", {"step": 1})
    assert "training goes on" in caplog.text


def test_a_run_keeps_one_until_it_is_finished(learnable, static_path, tmp_path):
    options = TrainOptions(batch_size=16, learning_rate=0.1, max_steps=24, evaluate_every=6, dev_share=0.1)
    done = train(learnable, TrainSpec(), static_path, out=tmp_path / "done", options=options)
    assert not (tmp_path / "done" / journal.JOURNAL).exists()
    with pytest.raises(BreachError):  # a rank that no run keeps
        train(learnable, TrainSpec(guard=Guard(rank=0.999)), static_path, out=tmp_path / "cut", options=options)
    entries, steps = journal.read(tmp_path / "cut")
    assert steps == 24
    lasting = [entry for entry in entries if "loss" in entry]
    assert [entry["step"] for entry in lasting] == list(range(1, lasting[-1]["step"] + 1))
    same = {entry["step"]: entry["loss"] for entry in done.record["losses"]}
    assert all(entry["loss"] == same[entry["step"]] for entry in lasting)
    assert all(json.dumps(entry) for entry in entries)
