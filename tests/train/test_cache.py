"""The negative cache: whom it draws, that its gradient is the softmax's, and who leaves it."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from foils.core.errors import PipelineError, SpecError
from foils.core.spec import full, parse
from foils.train import InBatch, InfoNCE, NegativeCache, TrainSpec
from foils.train.carriers.cache import Drawn
from foils.train.step import Step
from steps import DIM, KNOWN, batch_with, by_recipe, known_of, make_step, site, unit, weights_of, whole_and_killed

LOSS = InfoNCE(temperature=0.3, weight="weight")


def fill(cache, docs, vectors):
    docs = torch.as_tensor(docs)
    cache.doc[: len(docs)], cache.vectors[: len(docs)] = docs, vectors.to(cache.vectors.dtype)
    cache.time[: len(docs)] = 0
    cache.clock.fill_(1)


def linear_step(w, query, doc, *, seed=0, number=0, same=False):
    """Queries and documents are rows of two fixed tables times ``w``: a model whose gradient can be looked at."""
    generator = torch.Generator().manual_seed(seed)
    tables = [torch.randn(n, DIM, generator=generator, dtype=w.dtype) for n in (20, 40)]
    query, doc = torch.as_tensor(query), torch.as_tensor(doc)
    texts = tables[0][query * 0 + 3] if same else tables[0][query % 20]
    return Step(
        query=query,
        doc=doc,
        at=torch.arange(len(query)),
        target=torch.searchsorted(doc, query % 20) if not same else torch.zeros_like(query),
        known=torch.from_numpy(known_of(query % 20)).long() if not same else torch.full((len(query), 1), int(doc[0])),
        queries=unit(texts @ w),
        docs=unit(tables[1][doc] @ w),
        number=number,
        encode=lambda rows, kind: unit(tables[1][torch.from_numpy(rows).long()] @ w),
    )


def exact(step, fresh, docs, temperature, *, in_batch):
    """Cross-entropy over the positive, the cache without known positives and batch, and perhaps the batch."""
    losses = []
    for row in range(len(step.at)):
        query, positives = step.queries[step.at[row]], set(step.known[row].tolist())
        others = [fresh[i] for i, d in enumerate(docs) if d not in positives and d not in step.doc.tolist()]
        if in_batch:
            others += [step.docs[i] for i, d in enumerate(step.doc.tolist()) if d not in positives]
        logits = torch.stack([step.docs[step.target[row]], *others]) @ query / temperature
        losses.append(torch.logsumexp(logits, 0) - logits[0])
    return torch.stack(losses)


def test_the_golden_numbers(monkeypatch):
    """s = [2 (+), 1, .5, 0]; the item with the stale score 1 is drawn, and its fresh score is 1.2."""
    contrast = NegativeCache(8, temperature=1.0)
    cache = contrast.open(site()).double()
    axis = torch.eye(DIM, dtype=torch.float64)[:1]
    fill(cache, [30, 31, 32], torch.tensor([[1.0], [0.5], [0.0]]) * axis)
    step = make_step(0, rows=1, extra=0, dtype=torch.float64)
    docs = (2 * axis).requires_grad_(True)
    step = replace(step, queries=axis.clone().requires_grad_(True), docs=docs, encode=lambda rows, kind: 1.2 * axis)
    stale = cache.stale(contrast, step)
    assert stale[0, :3].tolist() == [1.0, 0.5, 0.0]
    assert torch.isinf(stale[0, 3:]).all()
    drawn = Drawn(torch.tensor([0]), torch.tensor([[1]]), stale.logsumexp(dim=1))
    monkeypatch.setattr(cache, "draw", lambda *_: drawn)
    batch = batch_with(step, contrast, cache)
    value = InfoNCE(temperature=1.0, weight="weight")(batch, contrast.allowed(batch))
    assert math.exp(-value.item()) == pytest.approx(0.5792585299, abs=1e-9)
    (slope,) = torch.autograd.grad(value.sum(), batch["student"])
    assert (slope * batch["student"]).sum().item() == pytest.approx(-0.3365931768, abs=1e-9)
    said = cache.report()
    assert said["cache_drift"] == pytest.approx(0.2)
    assert said["cache_bound"] == pytest.approx(math.tanh(0.1))


@pytest.mark.parametrize("in_batch", [False, True])
def test_the_expected_gradient_is_that_of_the_whole_softmax(monkeypatch, in_batch):
    """Every draw is forced in turn and counted with its probability."""
    contrast = NegativeCache(16, temperature=0.3)
    whole = InBatch() + contrast if in_batch else contrast
    cache = contrast.open(site()).double()
    w = torch.randn(DIM, DIM, dtype=torch.float64, generator=torch.Generator().manual_seed(5)).requires_grad_(True)
    step = linear_step(w, [1, 4, 6], [1, 4, 6, 33])
    docs = [4, 7, 12, 21, 24, 30, 33, 35]  # two of the batch, two known positives
    fresh = step.encode(np.asarray(docs, np.int32), "document")
    fill(cache, docs, fresh.detach())
    stale = cache.stale(contrast, step)
    chance = stale.softmax(dim=1)
    assert chance[:, 8:].sum() == 0
    total = 0.0
    for place in range(8):
        times = (chance[:, place : place + 1] > 0).long()
        if not times.any():
            continue  # it is in the batch
        drawn = Drawn(torch.tensor([place]), times, stale.logsumexp(dim=1))
        monkeypatch.setattr(cache, "draw", lambda *_, drawn=drawn: drawn)
        batch = batch_with(step, contrast, cache)
        rows = LOSS(batch, whole.allowed(batch))
        possible = chance[:, place] > 0
        truth = exact(step, fresh, docs, 0.3, in_batch=in_batch)
        torch.testing.assert_close(rows[possible], truth[possible], rtol=1e-9, atol=1e-9)
        total = total + (chance[:, place] * rows)[possible].sum()
    got = torch.autograd.grad(total, w, retain_graph=True)[0]
    wanted = torch.autograd.grad(exact(step, fresh, docs, 0.3, in_batch=in_batch).sum(), w)[0]
    torch.testing.assert_close(got, wanted, rtol=1e-9, atol=1e-9)


def test_the_mean_gradient_of_many_draws():
    """20,000 queries of one text, each with draws of its own, two apiece."""
    contrast = NegativeCache(12, k=2, temperature=0.3)
    cache = contrast.open(site()).double()
    w = torch.randn(DIM, DIM, dtype=torch.float64, generator=torch.Generator().manual_seed(6)).requires_grad_(True)
    step = linear_step(w, np.arange(20_000), [2], same=True)
    docs = list(range(25, 37))
    fresh = step.encode(np.asarray(docs, np.int32), "document")
    fill(cache, docs, fresh.detach())
    batch = batch_with(step, contrast, cache)
    rows = LOSS(batch, contrast.allowed(batch))
    one = replace(step, query=step.query[:1], at=step.at[:1], target=step.target[:1], known=step.known[:1])
    truth = exact(one, fresh, docs, 0.3, in_batch=False)
    torch.testing.assert_close(rows, truth.expand(len(rows)), rtol=1e-6, atol=1e-6)
    got = torch.autograd.grad(rows.mean(), w, retain_graph=True)[0]
    wanted = torch.autograd.grad(truth.mean(), w)[0]
    assert (got - wanted).norm() < 0.03 * wanted.norm()


def test_how_often_each_is_drawn():
    contrast = NegativeCache(8)
    cache, draws = contrast.open(site()), 200_000
    fill(cache, range(20, 28), torch.zeros(8, DIM))
    logits = torch.tensor([2.0, 1.0, 0.5, 0.0, -1.0, -math.inf, 0.3, -3.0])
    step = replace(make_step(0), query=torch.arange(draws), at=torch.arange(draws))
    drawn = cache.draw(contrast, step, logits.expand(draws, -1))
    chance = logits.softmax(dim=0)[drawn.place]
    share = drawn.times.double().mean(dim=0)
    assert drawn.place.tolist() == [0, 1, 2, 3, 4, 6, 7]
    assert ((share - chance).abs() < 3 * (chance * (1 - chance) / draws).sqrt()).all()
    sharp = cache.draw(replace(contrast, inv_temp=2.0), step, logits.expand(draws, -1))
    twice = (2 * logits).softmax(dim=0)[sharp.place]
    assert ((sharp.times.double().mean(dim=0) - twice).abs() < 3 * (twice * (1 - twice) / draws).sqrt() + 1e-9).all()


@pytest.mark.parametrize("top_k", [None, 7])
def test_draws_of_no_sharpness_are_even_and_still_pass_over_what_must_not_be_drawn(top_k):
    contrast = NegativeCache(8, inv_temp=0.0, top_k=top_k)
    cache, draws = contrast.open(site()), 20_000
    fill(cache, range(20, 28), torch.zeros(8, DIM))
    logits = torch.tensor([2.0, 1.0, 0.5, 0.0, -1.0, -math.inf, -math.inf, -3.0])
    step = replace(make_step(0), query=torch.arange(draws), at=torch.arange(draws))
    drawn = cache.draw(contrast, step, logits.expand(draws, -1))
    assert drawn.place.tolist() == [0, 1, 2, 3, 4, 7]
    torch.testing.assert_close(drawn.times.double().mean(dim=0), torch.full((6,), 1 / 6).double(), rtol=0, atol=0.01)


def test_draws_depend_on_ids_and_step_only():
    contrast, generator = NegativeCache(10, k=3, temperature=0.5), torch.Generator().manual_seed(0)
    one, other = contrast.open(site()), contrast.open(site())
    docs, vectors = torch.arange(25, 35), unit(torch.randn(10, DIM, generator=generator))
    fill(one, docs, vectors)
    turned = torch.randperm(10, generator=generator)
    fill(other, docs[turned], vectors[turned])
    step = make_step(3)

    def drawn(cache, step, contrast=contrast):
        found = cache.draw(contrast, step, cache.stale(contrast, step))
        cells = found.times.nonzero().tolist()
        return {
            (int(step.query[step.at[row]]), int(cache.doc[found.place[e]])): int(found.times[row, e])
            for row, e in cells
        }

    assert drawn(one, step) == drawn(other, step)
    backwards = replace(step, at=step.at.flip(0), target=step.target.flip(0), known=step.known.flip(0))
    assert drawn(one, step) == drawn(one, backwards)
    assert drawn(one, step) != drawn(one, replace(step, number=4))
    assert sum(drawn(one, step).values()) == 3 * len(step.at)
    few = replace(contrast, top_k=1)
    assert {doc: n for (_, doc), n in drawn(one, step, few).items()} == {
        int(one.doc[place]): 3 for place in one.stale(contrast, step).argmax(dim=1)
    }
    every = replace(contrast, top_k=10)
    assert drawn(one, step, every) == drawn(one, step)


class SlowCache:
    """Places with a document, its vector and its age, which grows by one a step."""

    def __init__(self, size, evict):
        self.places, self.evict = [[None, None, math.inf] for _ in range(size)], evict

    def after(self, step, fresh):
        for place, vector in fresh:
            self.places[place][1] = vector
            if self.evict == "lru":
                self.places[place][2] = 0
        held = {place[0]: i for i, place in enumerate(self.places)}
        new = []
        for doc, vector in zip(step.doc.tolist(), step.docs.detach(), strict=True):
            if doc in held:
                self.places[held[doc]] = [doc, vector, 0]
            else:
                new.append((doc, vector))
        safe = {held[doc] for doc in step.doc.tolist() if doc in held}
        oldest = sorted((i for i in range(len(self.places)) if i not in safe), key=lambda i: (-self.places[i][2], i))
        for place, (doc, vector) in zip(oldest, new, strict=False):
            self.places[place] = [doc, vector, 0]
        for place in self.places:
            place[2] += 1


@pytest.mark.parametrize("evict", ["lru", "fifo"])
def test_who_leaves_and_what_is_written_back(evict):
    contrast = NegativeCache(20, k=2, evict=evict, temperature=0.5)
    cache, slow = contrast.open(site()), SlowCache(20, evict)
    drew = 0
    for number in range(25):
        step = make_step(number)
        brought = cache.bring(contrast, step)
        fresh = []
        if len(brought.doc):
            fresh = [
                (cache.doc.tolist().index(d), v) for d, v in zip(brought.doc.tolist(), brought.vectors, strict=True)
            ]
            drew += len(fresh)
        cache.after(contrast, step)
        slow.after(step, fresh)
        for place, (doc, vector, _) in enumerate(slow.places):
            assert int(cache.doc[place]) == (-1 if doc is None else doc)
            assert doc is None or torch.equal(cache.vectors[place], vector)
    assert drew > 50


def test_what_is_never_drawn_and_where_gradients_go():
    contrast = NegativeCache(64, k=4, temperature=0.3)
    cache = contrast.open(site())
    w = torch.randn(DIM, DIM, generator=torch.Generator().manual_seed(1)).requires_grad_(True)
    for number in range(12):
        rng = np.random.default_rng(number)
        queries = np.sort(rng.choice(20, 4, replace=False))
        step = linear_step(w, queries, np.unique(np.concatenate((queries, rng.choice(40, 3)))), number=number)
        encode, encoded = step.encode, []
        step = replace(step, encode=lambda rows, kind, e=encode, s=encoded: (s.append(e(rows, kind)), s[-1])[1])
        batch = batch_with(step, contrast, cache)
        width, allowed = len(step.doc), contrast.allowed(batch)
        assert not torch.isin(batch.doc[width:], step.doc).any()
        for row, column in contrast.members(batch).nonzero().tolist():
            assert int(batch.doc[column]) not in (*KNOWN[int(batch.query[row])], -1)
        rows = LOSS(batch, allowed)
        assert not rows.isnan().any()
        if number:
            leaves = (step.queries, step.docs, encoded[-1])
            queries, docs, drawn = torch.autograd.grad(rows.sum(), leaves, retain_graph=True)
            assert (drawn.norm(dim=1) > 0).all()
            assert queries.norm() > 0
            assert docs[step.target].norm() > 0
        else:
            assert rows.abs().max() == 0
        assert not cache.vectors.requires_grad
        cache.after(contrast, step)


def test_a_random_sample_of_the_corpus_to_begin_with():
    contrast = NegativeCache(16, fill="random")
    cache, other = contrast.open(site()), contrast.open(site())
    w = torch.eye(DIM)
    step = linear_step(w, [1, 2], [1, 2])
    other.site.rank = 1
    brought = cache.bring(contrast, step)
    other.bring(contrast, step)
    assert len(brought.doc) > 0
    assert len(set(cache.doc.tolist())) == 16
    assert set(cache.doc.tolist()) != set(other.doc.tolist())
    torch.testing.assert_close(cache.vectors, step.encode(cache.doc.numpy().astype(np.int32), "document"))
    more = NegativeCache(64, fill="random").open(site())
    more.bring(NegativeCache(64, fill="random"), step)
    assert sorted(more.doc.tolist()) == [-1] * 24 + list(range(40))
    again = contrast.open(site())
    again.load_state_dict(cache.state_dict())
    again.bring(contrast, replace(step, number=9))
    assert torch.equal(again.vectors, cache.vectors)


def test_bad_fields_are_refused():
    for wrong in (
        "NegativeCache(0)", "NegativeCache(8, k=0)", "NegativeCache(8, temperature=0.0)",
        "NegativeCache(8, inv_temp=-1.0)", "NegativeCache(8, top_k=0)", "NegativeCache(8, evict='x')",
        "NegativeCache(8, fill='zeros')",
    ):  # fmt: skip
        with pytest.raises(SpecError):
            parse(wrong, "contrast")
    with pytest.raises(PipelineError, match=r"which InfoNCE\(\) does not read"):
        TrainSpec(NegativeCache(8), InfoNCE()).columns()
    with pytest.raises(PipelineError, match="must be that of the loss"):
        TrainSpec(NegativeCache(8), LOSS).columns()
    assert TrainSpec(NegativeCache(8, temperature=0.3), LOSS).columns() == ()
    with pytest.raises(SpecError, match="size cannot change"):
        parse("NegativeCache(Linear(8, 16))", "contrast").open(site())
    assert parse(full(NegativeCache(8, top_k=4)), "contrast") == NegativeCache(8, top_k=4)


def test_a_killed_run_ends_with_the_same_weights(learnable, static_path, tmp_path):
    cache = NegativeCache(60, k=2, fill="random")
    spec = TrainSpec(InBatch() + cache, InfoNCE(weight="weight"))
    whole, killed = whole_and_killed(learnable, spec, static_path, tmp_path)
    np.testing.assert_array_equal(weights_of(whole.model), weights_of(killed.model))


def test_the_recipe_learns(learnable, static_path, tmp_path):
    _, gain = by_recipe("negative-cache", learnable, static_path, tmp_path / "run")
    assert gain > 0.2
