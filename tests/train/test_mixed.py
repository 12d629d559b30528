"""Negatives made of vectors: what each type is made of, what they must never be, and how they enter a step."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from foils.core import noise
from foils.core.errors import SpecError
from foils.core.spec import full, parse
from foils.stages.filters import Between
from foils.train import InBatch, InfoNCE, MemoryBank, Mixed, TrainSpec
from foils.train.batch import widened
from steps import DIM, KNOWN, batch_with, by_recipe, make_step, site, unit, weights_of, whole_and_killed

TYPES = ("interpolate", "extrapolate", "pairs", "noisy", "gradient", "sign")


def with_bank(numbers=3, *, sides="docs", last=5):
    """A step and its batch with a bank of some earlier steps."""
    contrast = MemoryBank(100, sides=sides)
    bank = contrast.open(site())
    for number in range(numbers):
        bank.after(contrast, make_step(number))
    step = make_step(last)
    return step, batch_with(step, contrast, bank), InBatch() + contrast


def made(contrast, step, batch, rest):
    carrier = contrast.open(site())
    brought = carrier.derive(contrast, step, batch.detached(), rest.allowed(batch))
    return brought, widened(batch, step, {contrast: brought}), carrier


def of_row(brought, row):
    return brought.vectors[brought.members[row]]


def share(name, step, row, count):
    keys = site().data.queries.keys[step.query.numpy()]
    every = np.arange(count, dtype=np.uint64)[None]
    draws = noise.uniform(0, f"mixed/{name}/{step.number}", keys[:, None], every)
    return torch.from_numpy(draws[row, :, None]).float()


@pytest.mark.parametrize("name", TYPES)
def test_each_type_in_closed_form(name):
    """With one possible parent, the hardest allowed document."""
    step, batch, rest = with_bank()
    contrast = Mixed(**{name: 5}, hardest=1, margin=None, delta=0.2, eta=0.1, beta=2.0)
    brought, _, _ = made(contrast, step, batch, rest)
    assert not brought.vectors.requires_grad
    allowed = rest.allowed(batch)
    for row in range(len(step.at)):
        q = batch.query_vectors[row].detach()
        best = batch["student"][row].masked_fill(~allowed[row], -9).argmax()
        n = batch.doc_vectors[best].detach()
        alpha, beta = 0.5 * share("1/share", step, row, 5), 1 + share("2/share", step, row, 5)
        normal = (-2 * share("4/noise/a", step, row, 5 * DIM).log()).sqrt()
        normal = normal * (2 * torch.pi * share("4/noise/b", step, row, 5 * DIM)).cos()
        expected = {
            "interpolate": alpha * q + (1 - alpha) * n,
            "extrapolate": q + beta * (n - q),
            "pairs": n.expand(5, -1),
            "noisy": n + 0.01 * normal.view(5, DIM),
            "gradient": (n + 0.2 * q).expand(5, -1),
            "sign": (n + 0.1 * q.sign()).expand(5, -1),
        }[name]
        torch.testing.assert_close(of_row(brought, row), unit(expected), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(of_row(brought, row).norm(dim=1), torch.ones(5))
        closer = of_row(brought, row) @ q - n @ q
        if name in ("interpolate", "gradient", "sign"):
            assert (closer > 0).all()
        elif name == "extrapolate":
            assert (closer < 0).all()


def test_parents_are_the_hardest_that_the_rest_allows():
    step, batch, rest = with_bank()
    restricted = rest >> Between(hi=0.5)
    for contrast, whole in ((Mixed(gradient=400, delta=0.0, hardest=4, margin=None), rest),
                            (Mixed(gradient=400, delta=0.0, hardest=4, margin=None), restricted)):  # fmt: skip
        brought, _, _ = made(contrast, step, batch, whole)
        allowed = whole.allowed(batch)
        for row in range(len(step.at)):
            ranked = batch["student"][row].masked_fill(~allowed[row], -9).argsort(descending=True)
            wanted = set(ranked[: min(4, int(allowed[row].sum()))].tolist())
            nearest = torch.cdist(of_row(brought, row), batch.doc_vectors.detach())
            assert nearest.min(dim=1).values.max() < 1e-3
            assert set(nearest.argmin(dim=1).tolist()) == wanted
            for column in wanted:
                assert int(batch.doc[column]) not in KNOWN[int(batch.query[row])]


def test_pairs_lie_between_their_parents_and_edges_give_parents():
    step, batch, rest = with_bank()
    docs = batch.doc_vectors.detach()
    same, _, _ = made(Mixed(interpolate=50, alpha=0.0, margin=None), step, batch, rest)
    assert torch.cdist(same.vectors, docs).min(dim=1).values.max() < 1e-3
    brought, _, _ = made(Mixed(pairs=30, hardest=2, margin=None), step, batch, rest)
    allowed = rest.allowed(batch)
    for row in range(len(step.at)):
        two = docs[batch["student"][row].masked_fill(~allowed[row], -9).topk(2).indices]
        found = torch.linalg.lstsq(two.T, of_row(brought, row).T)
        assert (found.solution > -1e-4).all()
        torch.testing.assert_close(two.T @ found.solution, of_row(brought, row).T, rtol=1e-3, atol=1e-4)


def test_a_column_belongs_to_one_row_and_stays_below_its_positive():
    step, batch, rest = with_bank()
    contrast = Mixed(**dict.fromkeys(TYPES, 6), margin=0.1)
    brought, wide, carrier = made(contrast, step, batch, rest)
    assert (brought.members.sum(dim=0) == 1).all()
    assert (brought.doc == -1).all()
    new = wide["student"][:, len(batch.doc) :].masked_fill(~brought.members, -9)
    right = batch["student"].gather(1, batch.target[:, None])
    assert (new <= right - 0.1 + 1e-6).all()
    free, _, _ = made(replace(contrast, margin=None), step, batch, rest)
    assert free.members.sum(dim=1).tolist() == [36] * len(step.at)
    kept = len(brought.doc) / len(free.doc)
    assert 0.05 < kept < 0.95
    assert carrier.report() == {"mixed_kept": pytest.approx(kept)}
    assert carrier.report() == {}


def test_they_never_lower_the_loss_and_push_the_query_only():
    step, batch, rest = with_bank()
    contrast = Mixed(interpolate=8, pairs=8)
    brought, wide, _ = made(contrast, step, batch, rest)
    whole = rest + contrast
    loss = InfoNCE(0.5)
    before, after = loss(batch, rest.allowed(batch)), loss(wide, whole.allowed(wide))
    assert (after >= before).all()
    assert (after[brought.members.any(dim=1)] > before[brought.members.any(dim=1)]).all()
    own = wide["student"][:, len(batch.doc) :][brought.members].sum()
    queries, docs = torch.autograd.grad(own, (step.queries, step.docs), allow_unused=True)
    assert queries.norm() > 0
    assert docs is None or not docs.any()


def test_draws_depend_on_query_and_step_only():
    step, batch, rest = with_bank()
    contrast = Mixed(**dict.fromkeys(TYPES, 3), margin=None)
    one, _, _ = made(contrast, step, batch, rest)
    again, _, _ = made(contrast, step, batch, rest)
    assert torch.equal(one.vectors, again.vectors)
    other, _, _ = made(contrast, replace(step, number=6), batch, rest)
    assert not torch.equal(one.vectors, other.vectors)
    order = torch.tensor([3, 0, 4, 1, 2])
    turned = replace(step, at=step.at[order], target=step.target[order], known=step.known[order])
    columns = {name: score[order] for name, score in batch.scores.items()}
    flipped = replace(
        batch, query=batch.query[order], target=batch.target[order], label=batch.label[order], own=batch.own[order],
        scores=columns, query_vectors=batch.query_vectors[order],
        brought={key: value[order] for key, value in batch.brought.items()},
    )  # fmt: skip
    moved, _, _ = made(contrast, turned, flipped, rest)
    for row, old in enumerate(order.tolist()):
        torch.testing.assert_close(of_row(moved, row), of_row(one, old))


def test_rows_without_negatives_and_steps_before_the_start_make_nothing():
    step, batch, _ = with_bank(numbers=0)
    nobody = InBatch() >> Between(lo=5.0)
    brought, _, _ = made(Mixed(pairs=4), step, batch, nobody)
    assert len(brought.doc) == 0
    for contrast in (Mixed(pairs=4, start=6), Mixed()):
        brought, wide, _ = made(contrast, step, batch, InBatch())
        assert len(brought.doc) == 0
        plain = InfoNCE()(batch, InBatch().allowed(batch))
        assert torch.equal(InfoNCE()(wide, (InBatch() + contrast).allowed(wide)), plain)


def test_without_unit_length_they_are_as_long_as_their_parents():
    step, batch, rest = with_bank()
    long = replace(batch, doc_vectors=batch.doc_vectors * 3)
    brought, _, _ = made(Mixed(**dict.fromkeys(TYPES, 3), margin=None), step, long, rest)
    torch.testing.assert_close(brought.vectors.norm(dim=1), torch.full((len(brought.doc),), 3.0))


def test_past_queries_get_none():
    step, batch, rest = with_bank(sides="both", last=9)
    assert len(batch.query) > len(step.at)
    brought, wide, _ = made(Mixed(pairs=4, margin=None), step, batch, rest)
    assert brought.members.shape[0] == len(step.at)
    contrast = Mixed(pairs=4, margin=None)
    assert not contrast.members(wide)[len(step.at) :].any()


def test_bad_fields_are_refused():
    for wrong in (
        "Mixed(hardest=0)", "Mixed(pairs=-1)", "Mixed(alpha=1.5)", "Mixed(beta=0.5)", "Mixed(sigma=-0.1)",
        "Mixed(delta=-1.0)", "Mixed(eta=-1.0)", "Mixed(start=-1)",
    ):  # fmt: skip
        with pytest.raises(SpecError):
            parse(wrong, "contrast")
    assert parse(full(Mixed(pairs=3, margin=None)), "contrast") == Mixed(pairs=3, margin=None)


def test_a_killed_run_ends_with_the_same_weights(learnable, static_path, tmp_path):
    bank = InBatch() + MemoryBank(64, sides="both")
    spec = TrainSpec(bank + Mixed(interpolate=3, pairs=3, noisy=2, start=2))
    whole, killed = whole_and_killed(learnable, spec, static_path, tmp_path)
    np.testing.assert_array_equal(weights_of(whole.model), weights_of(killed.model))


def test_the_recipe_learns(learnable, static_path, tmp_path):
    _, gain = by_recipe("mochi", learnable, static_path, tmp_path / "run", momentum=0.9, pairs=64, interpolate=8)
    assert gain > 0.2
