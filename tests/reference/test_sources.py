"""Sources against slow loops written from their descriptions."""

from __future__ import annotations

import numpy as np
import pytest

from foils.adapters.kmeans import nearest
from foils.core import noise
from foils.core.pairs import CANDIDATE
from foils.stages import (
    BM25,
    Cluster,
    ClusterQuery,
    Dense,
    PositiveNeighbours,
    QuestionNeighbours,
    Siblings,
    Trajectory,
)
from foils.stages.clusters import clusters_of

COPY = 240  # the last document of the little collection repeats the text of d3


@pytest.fixture(params=["train", "test"])
def ctx(request, context):
    return context(5, request.param)


def mined(stage, ctx):
    """Per query, the candidates in the source's order and the scores by document."""
    pairs = stage(ctx.data.positives(ctx.split).bare(), ctx)
    ranks = pairs.ranks[stage.column or type(stage).__name__.lower()]
    found = {}
    for query in ctx.rows.tolist():
        rows = np.flatnonzero((pairs.query == query) & (pairs.label == CANDIDATE))
        found[query] = pairs.doc[rows[np.argsort(ranks[rows])]].tolist()
    scores = None
    if stage.column:
        triples = zip(pairs.query.tolist(), pairs.doc.tolist(), pairs[stage.column].tolist(), strict=True)
        scores = {(q, d): s for q, d, s in triples}
    return found, scores


def dot(a, b):
    return float(np.float32(np.sum(a.astype(np.float64) * b.astype(np.float64))))


def positives(ctx, query):
    known = ctx.data.positives(ctx.split)
    return known.doc[known.query == query].tolist()


def best(values, known, k):
    """The k best documents that are neither positives nor a copy of another; ties to the smaller row."""
    out = {*known, COPY}
    return [doc for _, doc in sorted((-value, doc) for doc, value in values.items() if doc not in out)][:k]


@pytest.mark.parametrize("k", [1, 6, 300])
def test_neighbours_of_the_positive(ctx, k):
    found, scores = mined(PositiveNeighbours("student", k=k), ctx)
    docs = ctx.vectors("student", "document")
    for query in ctx.rows.tolist():
        known = positives(ctx, query)
        values = {d: max(dot(docs[p], docs[d]) for p in known) for d in range(len(docs))}
        assert found[query] == best(values, known, k)
        assert all(scores[query, d] == values[d] for d in [*found[query], *known])


def test_neighbours_of_the_positive_under_bm25(ctx):
    found, scores = mined(PositiveNeighbours("bm25", k=7), ctx)
    index = ctx.bm25(0.9, 0.4, "english")
    every = np.arange(len(ctx.data.corpus))
    for query in ctx.rows.tolist():
        known = positives(ctx, query)
        each = [index.score(ctx.data.corpus.texts([p]), np.zeros(len(every), np.int64), every) for p in known]
        values = {d: float(max(scores_of[d] for scores_of in each)) for d in every.tolist()}
        assert found[query] == best({d: v for d, v in values.items() if v > 0}, known, 7)
        assert all(scores[query, d] == values[d] for d in [*found[query], *known])


@pytest.mark.parametrize(("questions", "below"), [(1, None), (12, None), (12, 0.8), (100, 0.6)])
def test_positives_of_the_nearest_other_questions(ctx, questions, below):
    found, _ = mined(QuestionNeighbours("student", k=5, questions=questions, below=below), ctx)
    rows = ctx.rows.tolist()
    vectors = ctx.vectors("student", "query")
    for i, query in enumerate(rows):
        known = set(positives(ctx, query))
        near = sorted((-dot(vectors[i], vectors[j]), j) for j in range(len(rows)) if j != i)[:questions]
        values = {}
        for negative, j in near:
            theirs = positives(ctx, rows[j])
            if known & set(theirs) or (below is not None and -negative >= below):
                continue
            for doc in theirs:
                values[doc] = max(values.get(doc, -np.inf), -negative)
        assert found[query] == best(values, known, 5)
    assert any(found.values())


@pytest.mark.parametrize("k", [1, 4, 50])
def test_siblings_by_nearness(ctx, k):
    found, _ = mined(Siblings(k=k, parent="title"), ctx)
    titles = ctx.data.corpus.titles()
    for query in ctx.rows.tolist():
        known, values = positives(ctx, query), {}
        for p in known:
            family = [d for d, title in enumerate(titles) if title == titles[p]]
            for d in family:
                values[d] = max(values.get(d, -np.inf), -abs(family.index(d) - family.index(p)))
        assert found[query] == best(values, known, k)


def draws(ctx, stream, query, docs):
    """The documents in the order in which they are drawn."""
    q, d = ctx.keys(np.array([query] * len(docs), np.int32), np.array(docs, np.int32))
    values = noise.uniform(ctx.seed, stream, q, d).astype(np.float32).tolist()
    return dict(zip(docs, values, strict=True))


def test_siblings_drawn(ctx):
    found, _ = mined(Siblings(k=6, parent="title", order="drawn"), ctx)
    titles = ctx.data.corpus.titles()
    for query in ctx.rows.tolist():
        known = positives(ctx, query)
        family = [d for d, title in enumerate(titles) if title in {titles[p] for p in known}]
        assert found[query] == best(draws(ctx, "Siblings", query, family), known, 6)


@pytest.mark.parametrize("where", ["same", "neighbour"])
@pytest.mark.parametrize("of", ["documents", "queries"])
def test_draws_from_clusters(ctx, of, where):
    stage = Cluster("student", k=4, clusters=6, of=of, where=where)
    found, _ = mined(stage, ctx)
    clusters = clusters_of(ctx, "student", "document" if of == "documents" else "query", 6)
    rows = ctx.rows.tolist()

    def target(label):
        if where == "same":
            return label
        others = [(-dot(clusters.centroids[label], clusters.centroids[c]), c) for c in range(6) if c != label]
        return min(others)[1]

    for i, query in enumerate(rows):
        known = positives(ctx, query)
        if of == "documents":
            wanted = {target(int(clusters.label[p])) for p in known}
            members = [d for d in range(len(ctx.data.corpus)) if clusters.label[d] in wanted]
        else:
            wanted = {target(int(clusters.label[i]))}
            inside = [rows[j] for j in range(len(rows)) if clusters.label[j] in wanted]
            members = sorted({d for q in inside for d in positives(ctx, q)})
        assert found[query] == best(draws(ctx, "Cluster", query, members), known, 4)


@pytest.mark.parametrize(("weight", "of"), [(0.0, "queries"), (0.5, "queries"), (2.0, "documents")])
def test_queries_moved_towards_their_cluster(ctx, weight, of):
    found, scores = mined(ClusterQuery("student", k=6, clusters=5, weight=weight, of=of), ctx)
    centroids = clusters_of(ctx, "student", "query" if of == "queries" else "document", 5).centroids
    docs, queries = ctx.vectors("student", "document"), ctx.vectors("student", "query")
    for i, query in enumerate(ctx.rows.tolist()):
        label = nearest(queries[i : i + 1], centroids)[0][0]
        moved = queries[i] / np.linalg.norm(queries[i]) + weight * centroids[label]
        moved /= np.linalg.norm(moved)
        values = docs @ moved
        listed = [scores[query, d] for d in found[query]]
        assert listed == sorted(listed, reverse=True)
        assert listed == pytest.approx(values[found[query]].tolist(), abs=1e-6)
        others = np.delete(values, [*found[query], *positives(ctx, query), COPY])
        assert others.max() <= listed[-1] + 1e-6


def test_a_query_that_is_not_moved_finds_what_dense_finds(ctx):
    assert mined(ClusterQuery("student", k=6, weight=0.0), ctx)[0] == mined(Dense("student", k=6), ctx)[0]


@pytest.mark.parametrize(("depth", "times"), [(3, 1), (30, 1), (30, 2), (500, 2)])
def test_what_earlier_checkpoints_confused(ctx, depth, times):
    found, scores = mined(Trajectory(["student", "teacher"], k=5, depth=depth, times=times), ctx)
    for i, query in enumerate(ctx.rows.tolist()):
        known = positives(ctx, query)
        ranks, counts = {}, {}
        for name in ("student", "teacher"):
            docs, q = ctx.vectors(name, "document"), ctx.vectors(name, "query")[i]
            values = {d: dot(q, docs[d]) for d in range(len(docs))}
            bar = max(values[p] for p in known)
            for d in values:
                counts[d] = counts.get(d, 0) + (values[d] > bar)
            ranking = sorted(range(len(docs)), key=lambda d: (-values[d], d))[:depth]
            for rank, d in enumerate(ranking, start=1):
                ranks.setdefault(d, {})[name] = rank
        mean = {d: sum(r.get(name, depth + 1) for name in ("student", "teacher")) / 2 for d, r in ranks.items()}
        slow = sorted((-counts[d], mean[d], d) for d in ranks if counts[d] >= times and d != COPY)
        assert found[query] == [d for _, _, d in slow][:5]
        assert all(scores[query, d] == counts[d] for d in [*found[query], *known])
        assert len(known) > 1 or scores[query, known[0]] == 0


def test_two_settings_of_bm25_side_by_side(ctx):
    pool = BM25(k=9) + BM25(k=9, k1=1.6, b=0.8, name="bm25-long")
    pairs = pool(ctx.data.positives(ctx.split).bare(), ctx)
    for name, k1, b in (("bm25", 0.9, 0.4), ("bm25-long", 1.6, 0.8)):
        at = np.searchsorted(ctx.rows, pairs.query)
        slow = ctx.bm25(k1, b, "english").score(ctx.data.queries.texts(ctx.rows), at, pairs.doc)
        assert np.array_equal(pairs[name], slow)
    assert (pairs["bm25"] != pairs["bm25-long"]).any()
