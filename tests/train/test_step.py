"""Documents that a contrast brings from outside the batch: labels, columns and what several contrasts share."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from foils.core.pairs import POSITIVE
from foils.stages.filters import Between
from foils.train import InBatch, InfoNCE, Own
from foils.train.batch import batch_of, widened
from foils.train.contrasts.bringer import Bringer
from foils.train.step import Brought, Step, nothing


class Elsewhere(Bringer):
    """Stands for any contrast with documents of its own."""


def a_step(seed=0, rows=4, docs=6):
    generator = torch.Generator().manual_seed(seed)
    at = torch.tensor([0, 1, 1, 2])[:rows]
    known = torch.tensor([[10, 90, -1], [11, 12, 91], [11, 12, 91], [13, -1, -1]])[:rows]
    step = Step(
        query=torch.tensor([3, 5, 8]),
        doc=torch.arange(10, 10 + docs),
        at=at,
        target=torch.tensor([0, 1, 2, 3])[:rows],
        known=known,
        queries=torch.randn(3, 4, generator=generator, dtype=torch.float64, requires_grad=True),
        docs=torch.randn(docs, 4, generator=generator, dtype=torch.float64, requires_grad=True),
    )
    label = step.labels(step.doc)
    own = torch.zeros(rows, docs, dtype=torch.bool)
    own[torch.arange(rows), step.target] = True
    own[0, 4] = True
    return step, batch_of(step, own, label)


def test_labels_against_a_loop():
    rng = np.random.default_rng(0)
    for _ in range(20):
        known = rng.integers(-1, 30, (5, 4))
        doc = rng.integers(-1, 30, 12)
        step = replace(a_step()[0], at=torch.zeros(5, dtype=torch.int64), known=torch.from_numpy(known))
        expected = [[int(d >= 0 and d in known[i]) for d in doc] for i in range(5)]
        assert step.labels(torch.from_numpy(doc)).tolist() == expected
    assert step.labels(torch.zeros(0, dtype=torch.int64)).shape == (5, 0)


def bring(step, docs, members=None):
    docs = torch.tensor(docs)
    vectors = torch.ones(len(docs), 4, dtype=torch.float64) * docs[:, None]
    everyone = torch.ones(len(step.at), len(docs), dtype=torch.bool)
    return Brought(docs, vectors, everyone if members is None else torch.tensor(members), {"age": everyone.float()})


def test_brought_documents_are_columns_of_their_own():
    step, batch = a_step()
    other = Elsewhere()
    wide = widened(batch, step, {other: bring(step, [91, 10, -1, 91])})
    assert wide.doc.tolist() == [*range(10, 16), 91, 10, -1, 91]
    assert wide.label[:, 6:].tolist() == [[0, 1, 0, 0], [1, 0, 0, 1], [1, 0, 0, 1], [0, 0, 0, 0]]
    expected = batch.query_vectors @ torch.ones(4, dtype=torch.float64) * 91
    torch.testing.assert_close(wide["student"][:, 6], expected)
    torch.testing.assert_close(wide["student"][:, :6], batch["student"])
    assert wide["age"][:, :6].isnan().all()
    assert (wide["age"][:, 6:] == 1).all()
    assert not wide.own[:, 6:].any()
    assert InBatch().members(wide).sum() == 4 * 6
    assert other.members(wide).nonzero()[:, 1].unique().tolist() == [6, 7, 8, 9]
    assert not (other.allowed(wide) & (wide.label == POSITIVE)).any()


def test_a_document_is_counted_once_whoever_considers_it():
    step, batch = a_step()
    other = Elsewhere()
    wide = widened(batch, step, {other: bring(step, [14, 40])})
    both = (InBatch() + other).members(wide)
    assert both[:, :6].all()
    assert both[:, 6:].tolist() == [[False, True]] * 4
    # Row 0 has document 14 among its own already; for the others it comes from elsewhere.
    own = (Own() + other).members(wide)
    assert own[:, 6].tolist() == [False, True, True, True]
    assert own[:, 7].all()
    vectors = widened(batch, step, {other: bring(step, [-1, -1])})
    assert (InBatch() + other).members(vectors)[:, 6:].all()


def test_filters_apply_to_what_was_brought():
    step, batch = a_step()
    other = Elsewhere()
    wide = widened(batch, step, {other: bring(step, [40, -1])})
    kept = ((InBatch() + other) >> Between(hi=0.0)).members(wide)
    assert kept.tolist() == (wide["student"] <= 0).tolist()
    assert ((InBatch() + other) >> Between(hi=0.0)).bringers() == (other,)


def test_nothing_brought_changes_nothing():
    step, batch = a_step()
    wide = widened(batch, step, {Elsewhere(): nothing(step)})
    contrast = InBatch() + Elsewhere()
    torch.testing.assert_close(
        InfoNCE()(wide, contrast.allowed(wide)), InfoNCE()(batch, InBatch().allowed(batch)), rtol=0, atol=0
    )


def test_what_was_brought_pushes_the_query_and_nothing_else():
    step, batch = a_step()
    brought = bring(step, [40])
    wide = widened(batch, step, {Elsewhere(): brought})
    wide["student"][:, 6].sum().backward()
    assert step.queries.grad.abs().sum() > 0
    assert step.docs.grad is None or not step.docs.grad.any()
    assert not brought.vectors.requires_grad


@pytest.mark.parametrize("name", ["label", "own", "doc"])
def test_all_fields_are_as_wide(name):
    step, batch = a_step()
    wide = widened(batch, step, {Elsewhere(): bring(step, [40, 41])})
    assert getattr(wide, name).shape[-1] == 8
