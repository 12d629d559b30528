"""Maximal marginal relevance against the loop of Carbonell and Goldstein."""

from __future__ import annotations

import numpy as np
import pytest

from foils.core.errors import SpecError
from foils.stages import MMR, Dense, Top


def slow_mmr(candidates, relevance, vectors, k, weight):
    chosen = []
    while len(chosen) < k and len(chosen) < len(candidates):
        best, best_value = None, -np.inf
        for doc in sorted(set(candidates) - set(chosen)):
            similar = [float(vectors[doc].astype(np.float64) @ vectors[c].astype(np.float64)) for c in chosen]
            repeat = float(np.float32(max(similar))) if similar else 0.0
            value = weight * relevance[doc] - (1 - weight) * repeat
            if value > best_value:
                best, best_value = doc, value
        chosen.append(best)
    return chosen


@pytest.mark.parametrize(("k", "weight"), [(1, 0.5), (5, 0.5), (5, 0.0), (6, 0.8), (40, 0.3)])
def test_mmr_is_the_greedy_loop(context, k, weight):
    ctx = context()
    pool = Dense("student", k=25)(ctx.data.positives("train").bare(), ctx)
    vectors = ctx.vectors("student", "document")
    order = MMR(k=k, encoder="student", weight=weight).weigh(pool, ctx)
    for query in pool.queries[:20]:
        rows = np.flatnonzero((pool.query == query) & (pool.label == 0))
        relevance = {d: float(s) for d, s in zip(pool.doc[rows].tolist(), pool["student"][rows], strict=True)}
        expected = slow_mmr(list(relevance), relevance, vectors, k, weight)
        got = rows[np.isfinite(order[rows])]
        assert pool.doc[got[np.argsort(-order[got])]].tolist() == expected


def test_all_weight_on_relevance_is_top_and_diversity_lowers_the_similarity_within_a_list(context):
    ctx = context()
    pool = Dense("student", k=40)(ctx.data.positives("train").bare(), ctx)
    vectors = ctx.vectors("student", "document").astype(np.float64)

    def kept(stage):
        out = stage.run(pool, ctx, 1)
        return out.take((out.dropped == 0) & (out.label == 0))

    def within(pairs):
        lists = [vectors[pairs.doc[pairs.query == q]] for q in pairs.queries]
        return np.mean([(v @ v.T)[np.triu_indices(len(v), 1)].mean() for v in lists])

    assert kept(MMR(k=6, encoder="student", weight=1.0)).key.tolist() == kept(Top(k=6)).key.tolist()
    assert within(kept(MMR(k=6, encoder="student", weight=0.3))) < within(kept(Top(k=6))) - 0.1
    for bad in ({"weight": 1.5}, {"encoder": "bm25"}):
        with pytest.raises(SpecError):
            MMR(**{"k": 2, "encoder": "student", **bad})
