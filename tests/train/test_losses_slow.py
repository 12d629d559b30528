"""Consistency with a moving average of the weights: the scores that the objective offers, and their gradient."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from foils import Pairs
from foils.core.errors import SpecError
from foils.core.spec import parse
from foils.train import Own, TrainOptions, TrainSpec, train
from foils.train.batch import slow_scores
from foils.train.contrasts import InBatch
from foils.train.losses import Consistency
from foils.train.objective import Objective
from foils.train.student import open_student


def features(student, texts, kind):
    return student.features(texts, kind, None)


def a_step(student):
    queries = features(student, ["q1 q2", "q3 q4 q5", "q9"], "query")
    docs = features(student, ["d1 d2", "d3 d4", "d9 d8", "d7 d6", "d20"], "document")
    at = torch.tensor([0, 1, 2, 2])
    label = torch.zeros(4, 5, dtype=torch.int8)
    label[torch.arange(4), torch.arange(4)] = 1
    label[2, 3] = label[3, 2] = 1
    own = label.bool().clone()
    ids = {"queries": torch.arange(3), "docs": torch.arange(5), "at": at, "target": torch.arange(4)}
    known = torch.tensor([[0, -1], [1, -1], [2, 3], [2, 3]])
    return [queries, docs], {**ids, "known": known, "label": label, "own": own}


@pytest.mark.parametrize("which", ["static_path", "still_path"])
def test_consistency_against_both_models_by_hand(which, request):
    student = open_student(str(request.getfixturevalue(which)))
    objective = Objective(student, InBatch(), Consistency(decay=0.5, temperature=0.2))
    step = a_step(student)
    start = objective(*step)
    assert start.item() == pytest.approx(0.0, abs=1e-6)  # nothing has moved yet
    with torch.no_grad():
        generator = torch.Generator().manual_seed(1)
        for weight in student.model.parameters():
            weight += 0.3 * torch.randn(weight.shape, generator=generator)
    found = objective(*step)
    (queries, docs), ids = step
    distributions = []
    for model in (objective.slow[0.5].copy, student.model):
        q, d = (torch.nn.functional.normalize(model(dict(x))["sentence_embedding"]) for x in (queries, docs))
        scores = (q @ d.T)[ids["at"]] / 0.2
        outside = (ids["label"] == 1) & ~torch.eye(4, 5, dtype=torch.bool)
        distributions.append(scores.masked_fill(outside, float("-inf")).softmax(dim=1))
    aim, now = distributions
    expected = torch.where(aim > 0, aim * (aim / now).log(), 0.0).sum(dim=1).mean()
    assert found.item() == pytest.approx(expected.item(), rel=1e-4)
    assert found > 0.001
    found.backward()
    assert all(weight.grad is None for weight in objective.slow[0.5].parameters())
    before = found.item()
    for _ in range(20):
        objective.follow()
    assert objective(*step).item() < before / 10  # the average has come near


def test_two_decays_have_a_column_each(static_path):
    student = open_student(str(static_path))
    loss = Consistency(decay=1.0) + 0.5 * Consistency(decay=0.9)
    objective = Objective(student, InBatch(), loss)
    assert sorted(objective.slow) == [0.9, 1.0]
    assert slow_scores(1.0) != slow_scores(0.9)
    assert objective(*a_step(student)).isfinite()


def test_the_decay_does_not_change():
    with pytest.raises(SpecError, match="decay must be a number; it cannot change"):
        parse("Consistency(decay=Linear(0.9, 0.99))", "loss").slow()
    with pytest.raises(SpecError, match="decay must be between 0 and 1"):
        Consistency(decay=1.5)


def test_a_saved_column_trains(learnable, static_path, tmp_path):
    """A teacher that prefers the positive by a wide margin, and its opposite: the student follows either."""
    positives = learnable.positives("train")
    rng = np.random.default_rng(0)
    query = np.repeat(positives.query, 5)
    doc = np.where(np.arange(len(query)) % 5, rng.integers(0, 150, len(query)), np.repeat(positives.doc, 5))
    key = np.unique(query.astype(np.int64) * 1000 + doc, return_index=True)[1]
    query, doc = query[key], doc[key]
    right = doc == positives.doc[np.searchsorted(positives.query, query)]
    found = []
    for sign in (1.0, -1.0):
        teacher = np.where(right, 3.0 * sign, 0.0).astype(np.float32)
        pairs = Pairs.build(query, doc, right.astype(np.int8), scores={"teacher": teacher})
        spec = TrainSpec(
            contrast=Own(), loss=parse("KL(temperature=0.1, teacher_temperature=1)", "loss"), negatives=pairs
        )
        options = TrainOptions(batch_size=32, learning_rate=0.1, epochs=10, dev_share=0.2)
        run = train(learnable, spec, str(static_path), out=tmp_path / str(sign), options=options)
        found.append(run.curve[-1]["nDCG@10"])
    assert found[0] > 2 * max(found[1], 0.05)
