"""Other tasks are measured while a model is trained, and change nothing."""

from __future__ import annotations

import pytest

from foils.core.errors import SpecError
from foils.evaluate.transfer import How, Retrieval, read_tasks
from foils.terminal import console
from foils.terminal.runs import _run
from foils.train import TrainOptions, TrainSpec, train
from foils.train.curve import curve_of, tasks_of
from foils.train.objective import Objective
from little import write_jsonl

OPTIONS = TrainOptions(batch_size=16, learning_rate=0.05, max_steps=12, dev_share=0.1, evaluate_every=4, save_every=4)


@pytest.fixture
def tasks(tmp_path, learnable):
    rows = [{"text": f"q{i % 9} q{i % 7}", "label": i % 2} for i in range(40)]
    pairs = [{"sentence1": f"q{i}", "sentence2": f"d{i * 3 % 7}", "score": i % 5} for i in range(30)]
    write_jsonl(tmp_path / "some.jsonl", rows)
    write_jsonl(tmp_path / "pairs.jsonl", pairs)
    found = read_tasks([tmp_path / "some.jsonl", tmp_path / "pairs.jsonl", f"clustering={tmp_path / 'some.jsonl'}"])
    return (*found, Retrieval("words", learnable))


def weights(run):
    return (run.model / "model.safetensors").read_bytes()


def test_they_are_in_the_record_and_change_nothing(learnable, static_path, tasks, tmp_path, monkeypatch):
    plain = train(learnable, TrainSpec(), str(static_path), out=tmp_path / "plain", options=OPTIONS)
    spec = TrainSpec(tasks=tasks)
    run = train(learnable, spec, str(static_path), out=tmp_path / "run", options=OPTIONS)
    assert weights(run) == weights(plain)
    assert run.curve == plain.curve
    assert run.record["settings"] == plain.record["settings"]
    assert "tasks" not in plain.record
    assert [span["step"] for span in run.record["spans"]] == [point["step"] for point in run.curve]
    for span, point in zip(run.record["spans"], run.curve, strict=True):
        assert span["low"] <= point["nDCG@10"] <= span["high"]
    points = run.record["tasks"]
    assert [point["step"] for point in points] == [0, 4, 8, 12]
    assert set(points[0]) == {"step", *(task.key for task in tasks)}
    from foils.adapters.models import load_encoder

    at_best = next(point for point in points if point["step"] == run.best_step)
    for model, point in ((str(static_path), points[0]), (str(run.model), at_best)):
        encoder = load_encoder(model)
        for task in tasks:
            assert point[task.key] == pytest.approx(task.answer(encoder, How(rounds=1)).value, abs=1e-6)
    out = console()
    with out.capture() as shown:
        for part in _run(run):
            out.print(part)
    assert "pairs similarity" in shown.get()
    forward, seen = Objective.forward, []

    def dying(self, features, ids):
        seen.append(1)
        if len(seen) == 7:
            raise KeyboardInterrupt
        return forward(self, features, ids)

    with monkeypatch.context() as patch:
        patch.setattr(Objective, "forward", dying)
        with pytest.raises(KeyboardInterrupt):
            train(learnable, spec, str(static_path), out=tmp_path / "killed", options=OPTIONS)
    killed = train(learnable, spec, str(static_path), out=tmp_path / "killed", options=OPTIONS)
    assert killed.record["tasks"] == points
    assert weights(killed) == weights(run)


def test_they_need_looks_at_dev(learnable, static_path, tasks, tmp_path):
    options = TrainOptions(max_steps=2, dev_share=0)
    with pytest.raises(SpecError, match=r"dev_share"):
        train(learnable, TrainSpec(tasks=tasks), str(static_path), out=tmp_path / "run", options=options)


def test_a_task_called_like_a_measure_is_no_dev_measure():
    history = [{"step": 4, "eval_nDCG@10": 0.5, "eval_task/RR@10 pairs": 0.25}]
    assert curve_of(history) == [{"step": 4, "nDCG@10": 0.5}]
    assert tasks_of(history) == [{"step": 4, "RR@10 pairs": 0.25}]
