"""Filters against golden numbers of the specification and slow loops written from it."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

from foils.core.pairs import Pairs
from foils.stages import (
    Angle,
    Apart,
    NearPositive,
    PerCluster,
    PerParent,
    Positions,
    PositiveAware,
    PositiveQuantile,
    Quantile,
    Ranks,
    SemiHard,
    Sieve,
)
from foils.stages.clusters import clusters_of
from foils.stages.parents import parents


def scored(scores, positives=(1.0,)):
    """One query: the positives first, then the candidates."""
    values = [*positives, *scores]
    label = [1] * len(positives) + [0] * len(scores)
    return Pairs.build([0] * len(values), range(len(values)), label, scores={"s": values})


def kept(stage, pairs, ctx):
    """Documents of the candidates that survive, by row order."""
    out = stage.run(pairs, ctx, 1)
    return out.doc[(out.dropped == 0) & (out.label == 0)].tolist()


def many(ctx, seed=0, each=17, docs=60, positives=3):
    """Several queries of the collection with random candidates, scores and 0 to 2 positives each."""
    rng = np.random.default_rng(seed)
    rows = ctx.rows[:12]
    query = np.repeat(rows, each)
    doc = np.concatenate([rng.choice(docs, each, replace=False) for _ in rows])
    label = (np.tile(np.arange(each), len(rows)) < np.repeat(rng.integers(0, positives, len(rows)), each)).astype(int)
    score = np.round(rng.standard_normal(len(doc)) / 3, 2).clip(-1, 1)
    return Pairs.build(query, doc, label, scores={"s": score})


def by_query(pairs):
    for query in pairs.queries:
        rows = np.flatnonzero(pairs.query == query)
        yield [i for i in rows if pairs.label[i] == 1], [i for i in rows if pairs.label[i] == 0]


def agree(stage, rule, ctx, pairs):
    """The stage drops exactly the candidates that the slow rule does not keep."""
    want = [int(i) for positive, candidate in by_query(pairs) for i in candidate if rule(i, positive, candidate)]
    out = stage.run(pairs, ctx, 1)
    assert np.flatnonzero((out.dropped == 0) & (out.label == 0)).tolist() == sorted(want)
    assert (out.dropped[pairs.label == 1] == 0).all()
    return len(want) / int((pairs.label == 0).sum())


# Specification, section 12.2, invariant 1, and 12.3, invariant 1.
def test_positions_count_survivors_and_ranks_count_what_was_returned(context):
    ctx = context()
    pairs = Pairs.build(
        [ctx.rows[0]] * 5,
        range(5),
        [1, 0, 0, 0, 0],
        scores={"s": [0.9, 0.95, 0.88, 0.80, 0.70]},
        ranks={"s": [2, 1, 3, 4, 5]},
    )
    margin = PositiveAware(margin=0.05, by="s")
    assert kept(margin, pairs, ctx) == [3, 4]
    after = margin.run(pairs, ctx, 1)
    # sentence-transformers' range_min=1 skips the first *survivor* ...
    assert kept(Positions(lo=2, by="s"), after, ctx) == [4]
    assert kept(Positions(hi=1, by="s"), after, ctx) == [3]
    # ... and the raw rank does not.
    assert kept(Ranks(lo=2, by="s"), after, ctx) == [3, 4]
    # hn_mine with lo=2, hi=5: raw ranks 3 to 5, whatever was dropped before; the positive is no candidate.
    assert kept(Ranks(lo=3, hi=5, by="s"), pairs, ctx) == [2, 3, 4]
    assert kept(Positions(lo=3, hi=5, by="s"), pairs, ctx) == [3, 4]


def test_positions_against_a_loop(context):
    ctx = context()
    pairs = many(ctx)
    s, d = pairs["s"], pairs.doc

    def position(i, candidate):
        return 1 + sum((s[j], -d[j]) > (s[i], -d[i]) for j in candidate)

    for lo, hi in ((1, 3), (4, None), (5, 9)):
        agree(
            Positions(lo=lo, hi=hi, by="s"),
            lambda i, p, c, lo=lo, hi=hi: lo <= position(i, c) <= (hi or 1e9),
            ctx,
            pairs,
        )


@pytest.mark.parametrize(("lo", "hi"), [(0.25, 0.75), (None, 0.9), (0.5, None), (0.0, 1.0), (1.0, 1.0), (0.31, 0.31)])
def test_quantiles_are_numpys_of_each_list(lo, hi, context):
    ctx = context()
    pairs = many(ctx, 3)
    wide = pairs["s"].astype(np.float64)

    def rule(i, positive, candidate):
        low = -math.inf if lo is None else np.quantile(wide[candidate], lo)
        high = math.inf if hi is None else np.quantile(wide[candidate], hi)
        return low <= wide[i] <= high

    agree(Quantile(lo=lo, hi=hi, by="s"), rule, ctx, pairs)


def test_positive_quantile_is_one_bound_from_all_positives(context):
    ctx = context()
    pool = run_text("Dense('student', k=30)", ctx)
    positives = ctx.data.positives("train")
    bound = np.quantile(ctx.similarity("student", positives.query, positives.doc).astype(float), 0.4)
    alive = kept(PositiveQuantile(at=0.4, by="student"), pool, ctx)
    assert alive == pool.doc[(pool.label == 0) & (pool["student"] < bound)].tolist()
    assert 0 < len(alive) < (pool.label == 0).sum()


def run_text(text, ctx):
    import foils

    return foils.parse(text)(ctx.data.positives(ctx.split).bare(), ctx)


@pytest.mark.parametrize("how", [min, max])
@pytest.mark.parametrize("region", ["semi-hard", "hard", "easy"])
def test_regions_against_a_loop(region, how, context):
    ctx = context()
    pairs = many(ctx, 5)
    s = pairs["s"].astype(np.float64)

    def rule(i, positive, candidate):
        top = how([s[j] for j in positive], default=math.inf)
        here = "hard" if s[i] >= top else "semi-hard" if s[i] >= top - 0.3 else "easy"
        return here == region

    agree(SemiHard(margin=0.3, by="s", positives=how.__name__, region=region), rule, ctx, pairs)


# Appendix A9: the query at 0°, the positive at 20°.
def test_angles_of_the_unit_circle(context):
    degrees = [30, 10, 50, 90, -10, -30]
    pairs = scored(np.cos(np.radians(degrees)), [math.cos(math.radians(20))])
    difference = [10, 10, 30, 70, 10, 10]  # T2
    for bound in (5, 15, 40, 75):
        stays = [i + 1 for i, t in enumerate(difference) if t <= bound]
        assert kept(Angle(hi=bound, by="s", of="positive"), pairs, context()) == stays
        inside = [i + 1 for i, t in enumerate(degrees) if abs(t) >= bound]
        assert kept(Angle(lo=bound, by="s"), pairs, context()) == inside


# Specification, 12.6.4, losses 6 and appendix A12.
def test_golden_sieve(context):
    ctx = context()
    assert kept(Sieve(by="s"), scored([0.5, 0.3, 0.1], [0.9]), ctx) == [2, 3]
    assert kept(Sieve(by="s"), scored([1, 0.5, 0], [2]), ctx) == [2, 3]
    # A candidate equal to the mean changes no other decision, and scale and offset change none.
    assert kept(Sieve(by="s"), scored([0.5, 0.25, 0.125, 0.5], [1.125]), ctx) == [2, 3]
    assert kept(Sieve(by="s"), scored([8, 4, -2], [20]), ctx) == kept(Sieve(by="s"), scored([4, 2, -1], [10]), ctx)


def test_the_sieve_keeps_one_where_all_are_dropped_and_draws_it_by_seed(context):
    pairs = scored([0.5] * 8, [0.5])
    drawn = {tuple(kept(Sieve(by="s"), pairs, context(seed))) for seed in range(30)}
    assert all(len(one) == 1 for one in drawn)
    assert len(drawn) > 3
    assert kept(Sieve(by="s"), scored([0.9, 0.8], [0.1]), context()) in ([1], [2])


def test_the_sieve_against_log_probabilities(context):
    ctx = context()
    pairs = many(ctx, 6)
    s = pairs["s"].astype(np.float64)

    def below(i, everyone):
        listed = s[everyone] / 0.05
        logp = listed - np.log(np.exp(listed - listed.max()).sum()) - listed.max()
        return s[i] / 0.05 - np.log(np.exp(listed - listed.max()).sum()) - listed.max() < logp.mean() - 1e-9

    agree(Sieve(by="s"), lambda i, p, c: below(i, p + c), ctx, pairs)


def test_caps_against_a_loop(context):
    ctx = context()
    pairs = many(ctx, 8)
    s, d = pairs["s"], pairs.doc
    parent = parents(ctx, "title").code
    cluster = clusters_of(ctx, "student", "document", 5).label

    def place(i, candidate, group):
        return sum((s[j], -d[j]) > (s[i], -d[i]) for j in candidate if group[d[j]] == group[d[i]])

    for n in (1, 2):
        agree(PerParent(n=n, parent="title", by="s"), lambda i, p, c, n=n: place(i, c, parent) < n, ctx, pairs)
        stage = PerCluster("student", n=n, clusters=5, by="s")
        agree(stage, lambda i, p, c, n=n: place(i, c, cluster) < n, ctx, pairs)


@pytest.mark.parametrize("adjacent", [None, 1, 2, 5])
def test_apart_against_a_loop(adjacent, context):
    ctx = context()
    pairs = many(ctx, 9)
    found, d = parents(ctx, "title"), pairs.doc

    def rule(i, positive, candidate):
        return not any(
            found.code[d[i]] == found.code[d[j]] >= 0
            and (adjacent is None or abs(found.position[d[i]] - found.position[d[j]]) <= adjacent)
            for j in positive
        )

    assert 0 < agree(Apart(parent="title", adjacent=adjacent), rule, ctx, pairs) < 1


def slow_shingles(text, words):
    found = re.findall(r"[a-z0-9]+", text.lower())
    return {tuple(found[i : i + words]) for i in range(max(1, len(found) - words + 1))} if found else set()


@pytest.mark.parametrize(("similarity", "words"), [(0.1, 1), (0.4, 1), (0.1, 2), (0.04, 3)])
def test_near_positives_by_shingles_against_a_loop(similarity, words, context):
    ctx = context()
    pairs = many(ctx, 10)
    sets = [slow_shingles(text, words) for text in ctx.data.corpus.texts()]

    def jaccard(a, b):
        return len(a & b) / len(a | b)

    def rule(i, positive, candidate):
        return all(jaccard(sets[pairs.doc[i]], sets[pairs.doc[j]]) < similarity for j in positive)

    assert 0 < agree(NearPositive(similarity=similarity, words=words), rule, ctx, pairs) < 1


def test_near_positives_by_vectors_against_a_loop(context):
    ctx = context()
    pairs = many(ctx, 11)
    vectors = ctx.vectors("student", "document").astype(np.float64)

    def cosine(a, b):
        return vectors[a] @ vectors[b] / np.linalg.norm(vectors[a]) / np.linalg.norm(vectors[b])

    def rule(i, positive, candidate):
        return all(cosine(pairs.doc[i], pairs.doc[j]) < 0.7003 for j in positive)

    assert 0 < agree(NearPositive(similarity=0.7003, by="student"), rule, ctx, pairs) < 1
