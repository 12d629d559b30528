"""Uniform draws without replacement, in small and large corpora, against a loop over the same stream."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from foils.core import noise
from foils.stages import Random, sources


class Corpus:
    def __init__(self, keys: np.ndarray) -> None:
        self.keys = keys

    def __len__(self) -> int:
        return len(self.keys)


def around(documents: int, queries: int, seed: int = 0) -> SimpleNamespace:
    """As much of a context as the source reads."""
    rng = np.random.default_rng(5)
    keys = rng.integers(0, 2**63, queries).astype(np.uint64)
    data = SimpleNamespace(
        corpus=Corpus(rng.permutation(documents).astype(np.uint64)), queries=SimpleNamespace(keys=keys)
    )
    data.base = data
    return SimpleNamespace(data=data, seed=seed, once=lambda _, make: make())


def slow(ctx: SimpleNamespace, query: int, depth: int) -> list[int]:
    n, found, place = len(ctx.data.corpus), [], 0
    key = ctx.data.queries.keys[query : query + 1]
    while len(found) < depth:
        draw = int(noise.uniform(ctx.seed, "Random", key, np.array([place], np.uint64))[0] * n)
        found += [draw] if draw not in found else []
        place += 1
    return np.argsort(ctx.data.corpus.keys)[found].tolist()


@pytest.mark.parametrize(("documents", "k", "depth"), [(5000, 3, 3), (5000, 600, 700), (10**6, 20, 25)])
def test_large_corpora_take_the_first_distinct_draws(documents, k, depth):
    ctx = around(documents, 4)
    rows = np.arange(4)
    doc, _ = Random(k=k).retrieve(rows, depth, ctx)
    assert doc.tolist() == [slow(ctx, query, depth) for query in rows]
    alone, _ = Random(k=k).retrieve(rows[2:3], depth - 2, ctx)
    assert alone.tolist() == doc[2:3, : depth - 2].tolist()


@pytest.mark.parametrize(("documents", "k"), [(1, 1), (50, 7), (50, 500), (5000, 700)])
def test_small_corpora_and_large_shares_are_shuffled(documents, k, monkeypatch):
    ctx = around(documents, 6)
    rows = np.arange(6)
    doc, score = Random(k=k).retrieve(rows, min(2 * k, documents), ctx)
    assert doc.shape == score.shape == (6, min(2 * k, documents))
    assert all(len(set(row)) == len(row) and set(row) <= set(range(documents)) for row in doc.tolist())
    monkeypatch.setattr(sources, "_CELLS", 2 * documents)
    assert Random(k=k).retrieve(rows, doc.shape[1], ctx)[0].tolist() == doc.tolist()
    assert Random(k=k).retrieve(rows[:0], 1, ctx)[0].shape == (0, 1)


@pytest.mark.parametrize(("documents", "k"), [(50, 7), (5000, 20)])
def test_the_order_of_the_corpus_does_not_matter(documents, k):
    ctx, other = around(documents, 3), around(documents, 3)
    moved = np.random.default_rng(1).permutation(documents)
    other.data.corpus.keys = ctx.data.corpus.keys[moved]
    rows = np.arange(3)
    here, there = Random(k=k).retrieve(rows, k, ctx)[0], Random(k=k).retrieve(rows, k, other)[0]
    assert np.array_equal(ctx.data.corpus.keys[here], other.data.corpus.keys[there])


@pytest.mark.parametrize("documents", [40, 4100])
def test_every_document_is_as_likely(documents):
    ctx = around(documents, 3000)
    doc, _ = Random(k=5).retrieve(np.arange(3000), 5, ctx)
    counts = np.bincount(doc.ravel() * 40 // documents, minlength=40)
    chi2 = ((counts - 375) ** 2 / 375).sum()
    assert chi2 < 39 + 5 * np.sqrt(2 * 39)
