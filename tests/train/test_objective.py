"""Numbers that change while a model is trained, averages of its weights, and how both outlive a kill."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer

from foils.core.errors import PipelineError, SpecError
from foils.core.spec import full, parse
from foils.train import InBatch, InfoNCE, Loss, Own, TrainOptions, TrainSpec, train
from foils.train.ema import SlowWeights
from foils.train.learned import Learned, learned, put
from foils.train.objective import Objective
from foils.train.student import open_student
from steps import whole_and_killed

FAST = TrainOptions(batch_size=16, learning_rate=0.05, max_steps=12, dev_share=0, save_every=4)


def weights(folder):
    state = SentenceTransformer(str(folder), device="cpu").state_dict()
    return np.concatenate([tensor.numpy().ravel() for tensor in state.values()])


def test_learned_is_a_number_with_bounds():
    loss = parse("0.5*InfoNCE(temperature=Learned(0.07))", "loss")
    assert parse(full(loss), "loss") == loss
    assert [found.start for found in learned(loss).values()] == [0.07]
    ((path, _),) = learned(loss).items()
    made = put(loss, path, torch.tensor(0.2))
    assert float(made.terms[0][1].temperature) == pytest.approx(0.2)
    assert learned(loss), "the original is unchanged"
    for wrong in ("Learned(0.001)", "Learned(2.0)", "Learned(0.1, lo=0.0)", "Learned(0.1, lo=0.5, hi=0.2)"):
        with pytest.raises(SpecError):
            parse(f"InfoNCE(temperature={wrong})", "loss")


def test_a_schedule_is_what_its_numbers_say(static_path):
    student = open_student(str(static_path))
    objective = Objective(student, InBatch(), parse("InfoNCE(temperature=Linear(1.0, 0.5))", "loss"))
    for progress, expected in ((0.0, 1.0), (0.5, 0.75), (1.0, 0.5)):
        objective.progress = progress
        assert objective.current()[1] == InfoNCE(temperature=expected)


def test_the_gradient_of_a_learnt_temperature(static_path):
    """Against autograd through the closed form; no gradient where all similarities are equal."""
    student = open_student(str(static_path))
    objective = Objective(student, InBatch(), InfoNCE(temperature=Learned(0.07)))
    own = torch.eye(2, 3, dtype=torch.bool)
    ids = {"queries": torch.arange(2), "docs": torch.arange(3), "at": torch.arange(2), "target": torch.arange(2)}
    ids |= {"known": torch.arange(2)[:, None], "own": own, "label": own.to(torch.int8)}
    queries, docs = torch.randn(2, 4), torch.randn(3, 4)
    objective.value([], ids, queries, docs).backward()
    unit = torch.nn.functional.normalize
    level = torch.tensor(math.log(0.07), requires_grad=True)
    torch.nn.functional.cross_entropy(unit(queries) @ unit(docs).T / level.exp(), torch.arange(2)).backward()
    torch.testing.assert_close(objective.learned[0].grad, level.grad)
    objective.learned[0].grad = None
    objective.value([], ids, torch.ones(2, 4), torch.ones(3, 4)).backward()
    assert objective.learned[0].grad.item() == pytest.approx(0.0, abs=1e-4)
    assert objective.report() == {"temperature": pytest.approx(0.07)}


@pytest.mark.parametrize(("start", "bound", "wrong"), [(0.0101, 0.01, False), (0.99, 1.0, True)])
def test_a_learnt_temperature_leaves_a_bound_again(static_path, start, bound, wrong):
    """It sinks while the positive is the closest, and rises while it is not."""
    objective = Objective(open_student(str(static_path)), InBatch(), InfoNCE(temperature=Learned(start)))
    own = torch.eye(2, dtype=torch.bool)
    ids = {"queries": torch.arange(2), "docs": torch.arange(2), "at": torch.arange(2), "target": torch.arange(2)}
    ids |= {"known": torch.arange(2)[:, None], "own": own, "label": own.to(torch.int8)}
    docs = torch.tensor([[1.0, 0.0], [0.98, 0.2]])
    optimiser = torch.optim.Adam(objective.own_weights(), lr=0.1)

    def step(queries):
        optimiser.zero_grad()
        objective.value([], ids, queries, docs).backward()
        optimiser.step()
        objective.follow()
        return objective.report()["temperature"]

    right = [docs, docs.flip(0)]
    assert step(right[wrong]) == pytest.approx(bound)
    optimiser = torch.optim.Adam(objective.own_weights(), lr=0.1)
    found = [step(right[not wrong]) for _ in range(5)]
    assert abs(found[-1] - bound) > 0.2 * bound
    assert all(0.0099999 < value < 1.0000001 for value in found)


def test_slow_weights_have_a_closed_form():
    model = torch.nn.Linear(3, 2)
    start = model.weight.detach().clone()
    slow, frozen, copied = (SlowWeights(model, decay) for decay in (0.9, 1.0, 0.0))
    expected = start.clone()
    for step in range(1, 6):
        with torch.no_grad():
            model.weight.copy_(start * (step + 1))
        for each in (slow, frozen, copied):
            each.follow(model)
        expected = 0.9 * expected + 0.1 * model.weight.detach()
    torch.testing.assert_close(slow.copy.weight, expected)
    assert torch.equal(frozen.copy.weight, start)
    assert torch.equal(copied.copy.weight, model.weight)
    assert not any(weight.requires_grad for weight in slow.parameters())
    assert not slow.train().copy.training


class Towards(Loss):
    """Reads the moving average, so that a run depends on it; a loss for tests only."""

    def slow(self):
        return (0.5,)

    def __call__(self, view, allowed):
        return InfoNCE(temperature=0.5)(view, allowed) + view["student"].sum(dim=1) * 0.0

    def full(self):
        return "Towards()"

    __repr__ = full


@pytest.mark.parametrize(
    "text",
    [
        "InfoNCE(temperature=Learned(0.1))",
        "InfoNCE(temperature=Cosine(0.2, 0.05))",
        "InfoNCE(temperature=0.1) + 3*Consistency(decay=0.5, temperature=0.1) + Augmented(how='crop', share=0.5)",
    ],
)
def test_a_killed_run_ends_with_the_same_weights(learnable, static_path, tmp_path, text):
    spec = TrainSpec(loss=parse(text, "loss"))
    whole, killed = whole_and_killed(learnable, spec, static_path, tmp_path, FAST)
    np.testing.assert_array_equal(weights(whole.model), weights(killed.model))
    plain = train(learnable, TrainSpec(loss=InfoNCE(0.1)), str(static_path), out=tmp_path / "plain", options=FAST)
    assert not np.array_equal(weights(whole.model), weights(plain.model))


def test_memory_comes_back(static_path):
    student = open_student(str(static_path))
    one = Objective(student, InBatch(), 1.0 * Towards() + InfoNCE(temperature=Learned(0.1)))
    with torch.no_grad():
        one.learned[0].fill_(-1.5)
        for weight in one.slow[0.5].copy.parameters():
            weight.fill_(0.25)
    other = Objective(open_student(str(static_path)), InBatch(), 1.0 * Towards() + InfoNCE(temperature=Learned(0.1)))
    other.remember(one.memory())
    assert other.learned[0].item() == -1.5
    assert all((weight == 0.25).all() for weight in other.slow[0.5].copy.parameters())
    assert not any(name.startswith("model.") for name in one.memory())


def test_saved_scores_reach_the_loss_and_a_missing_one_is_refused(learnable, tmp_path):
    class Reading(Towards):
        def reads(self):
            return ("teacher",)

    with pytest.raises(PipelineError, match="no score 'teacher'; it has: 'student'"):
        TrainSpec(Own(), Reading()).columns()
    assert replace(TrainSpec(), loss=InfoNCE()).columns() == ()
