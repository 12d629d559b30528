"""What the log says against the bounds of a guard; the values, what recipes say, and going on with other weights."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from foils.core.errors import PipelineError, SpecError
from foils.core.pairs import Pairs
from foils.core.spec import parse
from foils.recipe import load_fallback, load_recipe
from foils.train import KL, Every, Fallback, Guard, InBatch, InfoNCE, Learned, MemoryBank, Never, Own, Search, TrainSpec
from foils.train.generations import hub
from foils.train.guard.look import look
from foils.train.guard.turn import take_over
from foils.train.guard.values import MILD, fallen
from foils.train.health import trend

CALM = {
    "loss": 1.0,
    "uniformity": -2.0,
    "effective_rank": 50.0,
    "documents": 64.0,
    "top_document": 0.1,
    "top_rows": 0.2,
    "above": 0.1,
}


def log_of(looks, *, every=5, dev=()):
    entries = [
        {"step": every * (n + 1), **{f"foils/{key}": value for key, value in {**CALM, **figures}.items()}}
        for n, figures in enumerate(looks)
    ]
    entries += [{"step": step, "eval_nDCG@10": value} for step, value in dev]
    return sorted(entries, key=lambda entry: entry["step"])


def test_a_calm_log_keeps_all_bounds():
    for length in range(30):
        assert look(Guard(), log_of([{}] * length, dev=[(0, 0.3), (9, 0.31)])) is None


BAD = {
    "loss": ({"loss": 1.6}, 1 + 8 * 0.05),
    "uniformity": ({"uniformity": -0.001}, -0.01),
    "rank": ({"effective_rank": 4.9}, 5.0),
    "document": ({"top_document": 0.6, "top_rows": 0.9}, 0.5),
    "above": ({"above": 0.45}, 0.4),
}


@pytest.mark.parametrize("what", BAD)
def test_two_of_the_last_three_looks_are_a_breach_and_one_is_not(what):
    figures, bound = BAD[what]
    assert look(Guard(), log_of([{}] * 10 + [figures])) is None
    assert look(Guard(), log_of([{}] * 10 + [figures, {}, {}, figures, {}])) is None
    found = look(Guard(), log_of([{}] * 10 + [figures, figures]))
    assert (found.what, found.step, found.value) == (what, 60, next(iter(figures.values())))
    assert found.bound == pytest.approx(bound)
    assert found.sound == 45, "before the three looks whose median counts"
    assert look(MILD, log_of([{}] * 10 + [figures, figures])) == (found if what in ("uniformity", "rank") else None)
    assert look(Guard(), log_of([{}] * 10 + [figures, figures]), since=60) is None


def test_loss_is_judged_within_a_generation():
    risen = [{}] * 10 + [{"loss": 2.0}] * 3
    assert look(Guard(), log_of(risen)).what == "loss"
    taken = {"step": 50, "foils/generation": 1.0, "foils/hub": 0.1}
    history = log_of(risen)
    assert look(Guard(), [*history[:10], taken, *history[10:]]) is None
    # And by the spread of the losses before: here 1.4826 · 0.5.
    noisy = [{"loss": 1.0 + (n % 2)} for n in range(11)]
    assert look(Guard(), log_of([*noisy, *[{"loss": 7.0}] * 2])) is None
    assert look(Guard(), log_of([*noisy, *[{"loss": 7.5}] * 2])).bound == pytest.approx(1.5 + 8 * 1.4826 * 0.5)


def test_what_begins_collapsed_is_not_blamed():
    flat = {"uniformity": -0.001, "effective_rank": 1.0}
    assert look(Guard(), log_of([flat] * 9)) is None
    assert look(Guard(), log_of([flat] * 3 + [{}] * 3 + [flat] * 2)).what == "uniformity"


def test_small_batches_do_not_count_and_neither_does_the_push_of_one_row():
    last = {"documents": 2.0, "uniformity": 0.0, "effective_rank": 1.0, "top_document": 1.0, "top_rows": 1.0}
    assert look(Guard(), log_of([{}, last] * 8)) is None
    assert look(Guard(), log_of([{}] * 10 + [{"top_document": 0.9}] * 3)) is None


def test_dev():
    assert look(Guard(), log_of([], dev=[(0, 0.5), (5, 0.36)])) is None
    found = look(Guard(), log_of([], dev=[(0, 0.4), (5, 0.5), (10, 0.45), (15, 0.34)]))
    assert (found.what, found.step, found.value, found.sound) == ("dev", 15, 0.34, 5)
    assert found.bound == pytest.approx(0.35)
    # Trained weights that are as bad as that are nothing to go back to.
    assert look(Guard(dev=0.1), log_of([], dev=[(0, 0.6), (5, 0.5)])).sound == 0
    assert look(Guard(), log_of([], dev=[(0, 0.06), (5, 0.02)])) is None, "within the sampling error"


def test_generation_of_one_document():
    taken = {"step": 20, "foils/generation": 1.0, "foils/hub": 0.7}
    found = look(Guard(), [*log_of([{}] * 4), taken])
    assert (found.what, found.step, found.sound, found.value) == ("hub", 20, 20, 0.7)
    pairs = Pairs.build([0, 0, 1, 1, 2], [5, 6, 5, 7, 5], np.array([1, 0, 0, 0, 0], np.int8))
    assert hub(pairs) == pytest.approx(2 / 3), "a positive is no negative"
    assert hub(Pairs.empty()) == 0.0


def test_gap_trend_is_a_moving_average_of_its_change():
    history, gaps, wanted = [], [0.5, 0.7, 0.6, 0.6, 0.2], 0.0
    for number, gap in enumerate(gaps):
        found = trend({"gap": gap}, history)
        if number == 0:
            assert found == {}
        else:
            wanted = 0.9 * wanted + 0.1 * (gap - gaps[number - 1])
            assert found == {"gap_trend": pytest.approx(wanted)}
        history += [{"foils/gap": gap, **{f"foils/{key}": value for key, value in found.items()}}, {"eval_x": 1.0}]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Guard(dev=1.5)", "dev must be above 0 and below 1"),
        ("Guard(loss=0)", "loss must be above 0"),
        ("Guard(uniformity=0.1)", "uniformity must be below 0"),
        ("Guard(window=3)", "window must be at least 5"),
    ],
)
def test_bounds(text, said):
    with pytest.raises(SpecError, match=said):
        parse(text, "guard")


def test_recipes(tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text("contrast: Own()\nguard: Guard(dev=0.2)\nfallback: in-batch\n")
    found = load_recipe(path).only
    assert found.guard == Guard(dev=0.2)
    assert found.fallback == Fallback(InBatch(), InfoNCE(), Never())
    assert found.text()["fallback"] == {"contrast": "InBatch()", "loss": "InfoNCE()"}
    assert load_recipe("in-batch").only.guard is None
    given = {"loss": "InfoNCE(temperature=0.1)", "refresh": "Every(steps=9)", "rate": 0.1}
    path.write_text(f"contrast: Own()\nguard: Guard()\nfallback: {json.dumps(given)}\n")
    found = load_recipe(path).only
    assert found.fallback == Fallback(InBatch(), InfoNCE(temperature=0.1), Every(steps=9), 0.1)
    assert Fallback.read(found.fallback.text()) == found.fallback
    for given, said in (
        ("rocketqa", "has several phases"),
        ({"contrsat": "Own()"}, "unknown key 'contrsat'. Did you mean 'contrast'"),
        ({"rate": 0}, "rate: 0 must be a number above 0"),
    ):
        with pytest.raises(SpecError, match=said):
            load_fallback(given)
    path.write_text("guard: Guard(dev=Linear(0.1, 0.2))\n")
    with pytest.raises(SpecError, match=r"cannot depend on the progress|dev must be"):
        load_recipe(path)


def test_fallbacks_that_cannot_take_over_are_refused_before_training():
    spec = TrainSpec(contrast=Own(), refresh=Every(steps=3, chunks=2))
    made = fallen(TrainSpec(rate=0.5, fallback=Fallback(Own(), InfoNCE(), Never(), 0.1)))
    assert (made.contrast, made.rate, made.fallback) == (Own(), 0.05, None)
    for back, said in (
        (Fallback(Own(), InfoNCE(), Every(steps=3)), "chunks=1 where the run has 2"),
        (Fallback(Search(k=3), InfoNCE(), Never()), "trains other sides of the model"),
        (Fallback(InBatch() + MemoryBank(8, momentum=0.9), InfoNCE(), Never()), "moving average"),
    ):
        with pytest.raises(SpecError, match=said):
            fallen(TrainSpec(spec.contrast, refresh=spec.refresh, fallback=back))
    with pytest.raises(PipelineError, match="no score 'teacher'"):
        fallen(TrainSpec(fallback=Fallback(InBatch(), KL(by="teacher"), Never())))


def test_taking_over_an_optimiser(tmp_path):
    def made(numbers, rate=0.4):
        weights = [torch.nn.Parameter(torch.ones(3)), *(torch.nn.Parameter(torch.ones(())) for _ in range(numbers))]
        optimizer = torch.optim.AdamW([{"params": weights[:1]}, {"params": weights[1:]}], lr=rate)
        return weights, optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / 10)

    weights, optimizer, scheduler = made(1)
    for _ in range(3):
        sum(weight.sum() for weight in weights).backward()
        optimizer.step()
        scheduler.step()
    torch.save(optimizer.state_dict(), tmp_path / "optimizer.pt")
    torch.save(scheduler.state_dict(), tmp_path / "scheduler.pt")
    for numbers in (1, 2):
        weights, other, later = made(numbers)
        take_over(other, later, tmp_path, 0.1)
        assert [group["lr"] for group in other.param_groups] == pytest.approx([0.07, 0.07])
        assert bool(other.state) == (numbers == 1), "moments only where the weights are the same ones"
        sum(weight.sum() for weight in weights).backward()
        other.step()
        later.step()
        assert [group["lr"] for group in other.param_groups] == pytest.approx([0.06, 0.06])


def test_learned_numbers_can_be_dropped():
    spec = TrainSpec(loss=InfoNCE(temperature=Learned(0.07)), fallback=Fallback(InBatch(), InfoNCE(), Never()))
    assert fallen(spec).loss == InfoNCE()
