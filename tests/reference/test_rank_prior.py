"""RANCE's rank prior: golden weights, invariants, and what it measures, as a loop."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from foils.core.errors import FoilsError, PipelineError, SpecError
from foils.stages import BM25, BiEncoder, Dense, RankPrior
from foils.stages.rank_prior import weights_of
from foils.stages.stage import Columns

PRIOR = RankPrior(k=4, depth=20)


def test_golden_weights():
    # Specification, appendix A5.
    dist = np.array([4, 3, 3, 2, 2, 1, 1, *[0] * 13])
    middle = [0.026431, 0.036007, 0.043309, 0.047431, 0.047891, 0.044630, 0.038008, 0.028809, 0.018238, 0.007922]
    expected = [0.015907] * 5 + middle + [0.0] * 5
    got = weights_of(dist, 5, PRIOR)
    assert got == pytest.approx(expected, abs=1.5e-6)
    assert got.argmax() == 9


def slow_weights(dist, queries, gain, k, degree):
    """Section 5, steps 2 to 6, with the window written out and the fit by normal equations in plain powers."""
    g = [(1 - d / queries) / math.log(r + gain) for r, d in enumerate(dist)]
    smooth = [sum(g[i : i + 2 * k - 1]) / (2 * k - 1) for i in range(len(g) - 2 * (k - 1))]
    z = min(smooth)
    fit = np.polyval(np.polyfit(np.arange(len(smooth)), smooth, degree), np.arange(len(smooth)))
    padded = [fit[0]] * (k - 1) + list(fit) + [fit[-1]] * (k - 1)
    return [max(0.0, value - z) for value in padded]


def test_weights_are_the_loop_and_keep_their_invariants():
    rng = np.random.default_rng(0)
    for n, window, degree in ((20, 5, 4), (200, 5, 4), (60, 3, 2), (40, 1, 6)):
        prior = RankPrior(k=1, depth=n, window=window, degree=degree, gain=3.0)
        dist = rng.binomial(30, np.linspace(0.5, 0, n))
        got = weights_of(dist, 30, prior)
        assert got == pytest.approx(slow_weights(dist, 30, 3.0, window, degree), abs=1e-9)
        assert len(got) == n
        assert (got >= 0).all()
        assert (got[:window] == got[0]).all()
        assert (got[n - window :] == got[-1]).all()
    nobody = weights_of(np.zeros(200, int), 30, RankPrior(k=1))
    assert nobody.argmax() < 5
    assert nobody[:50].sum() > 3 * nobody[150:].sum()


def test_relevant_heads_move_the_mass_deeper():
    def centre(dist):
        w = weights_of(dist, 30, RankPrior(k=1))
        return (w * np.arange(200)).sum() / w.sum()

    few, many = np.zeros(200, int), np.zeros(200, int)
    few[:10], many[:10] = 5, 20
    assert centre(np.zeros(200, int)) < centre(few) < centre(many)


def test_it_measures_what_the_source_finds_for_the_judged_queries(context):
    ctx = context()
    positives, judged = ctx.data.positives("test"), ctx.data.query_rows("test")
    documents = ctx.vectors("student", "document").astype(np.float64)
    queries = ctx.to(judged).vectors("student", "query").astype(np.float64)
    dist = np.zeros(40, int)
    for at, query in enumerate(judged):
        scores = (documents @ queries[at]).astype(np.float32)
        for rank, doc in enumerate(np.lexsort((np.arange(len(scores)), -scores))[:40]):
            dist[rank] += doc in positives.doc[positives.query == query]
    assert dist.sum()
    prior = RankPrior(k=3, judged="test", depth=40, by="student")
    assert prior.measured(Dense("student", k=5), ctx) == pytest.approx(weights_of(dist, len(judged), prior))


def test_ranks_are_drawn_by_their_weight(context):
    prior = RankPrior(k=1, judged="test", depth=30)
    counts, rounds, possible = np.zeros(32), 60, np.zeros(32)
    ctx = context()
    pool = Dense("student", k=40)(ctx.data.positives("train").bare(), ctx)
    weights = np.concatenate(([0.0], prior.measured(Dense("student", k=40), ctx), [0.0]))
    rank = np.minimum(pool.rank("student"), 31)
    candidate = pool.label == 0
    for query in pool.queries:  # expected share of each rank, given which ranks hold candidates
        here = rank[(pool.query == query) & candidate]
        w = weights[here]
        np.add.at(possible, here, w / w.sum())
    for seed in range(rounds):
        out = prior.run(pool, type(ctx)(**{**vars(ctx), "seed": seed}), 1)
        np.add.at(counts, rank[(out.dropped == 0) & candidate], 1)
    assert counts.sum() == rounds * len(pool.queries)
    assert counts[weights == 0].sum() == 0
    assert (abs(counts - rounds * possible) <= 4 * np.sqrt(rounds * possible) + 1e-9).all()


def test_nothing_is_drawn_where_no_rank_has_a_weight(context):
    ctx = context()
    pool = Dense("student", k=40)(ctx.data.positives("train").bare(), ctx)
    deep = dataclasses.replace(pool, ranks={"student": np.where(pool.label == 0, 99, 1).astype(np.int32)})
    out = RankPrior(k=4, judged="test", depth=30).run(deep, ctx, 1)
    assert (out.dropped[out.label == 0] == -1).all()
    assert (out.dropped[out.label == 1] == 0).all()


def test_only_a_source_can_rank_other_queries(context, caplog):
    known = context().data.positives("train").bare()
    by_scorer = BM25(k=9) >> BiEncoder("student") >> RankPrior(k=2, judged="test")
    with pytest.raises(PipelineError, match=r"'student' comes from BiEncoder.*only a source can rank"):
        by_scorer.check_columns(Columns(), context())  # before anything is searched
    with pytest.raises(FoilsError, match="no split 'dev'"):
        (BM25(k=9) >> RankPrior(k=2))(known, context())
    with pytest.raises(SpecError, match="depth must be at least 13"):
        RankPrior(k=1, depth=12)
    out = (BM25(k=9) >> RankPrior(k=2, judged="test", by="bm25"))(known, context())
    assert "15 judged queries; under 20" in caplog.text
    assert ((out.label == 0) & (out.dropped == 0)).sum()
