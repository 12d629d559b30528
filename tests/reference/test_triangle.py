"""PositiveSimilarity, TriSampler and ReSa2 against golden angles, vectors and slow loops."""

from __future__ import annotations

import math

import numpy as np
import pytest

from foils.core import noise
from foils.core.errors import ModelError, PipelineError, SpecError
from foils.core.pairs import Pairs
from foils.core.spec import parse
from foils.mine import mine
from foils.stages import Dense, Load, PositiveSimilarity, SimANS, Softmax, Top, TriSampler, Uniform
from foils.stages.triangle import angle_at_query, angle_between


def triangle(q, positive, documents):
    """One query, its positive and candidates as unit vectors -> pairs with the two columns."""
    rows = np.vstack([positive, documents])
    label = [1] + [0] * len(documents)
    return Pairs.build(
        [0] * len(rows), range(len(rows)), label, scores={"m": rows @ q, "m.positive": rows @ np.asarray(positive)}
    )


def circle(*degrees):
    return np.array([[math.cos(math.radians(a)), math.sin(math.radians(a))] for a in degrees])


def shares(logits):
    weights = np.exp(logits - logits.max())
    return weights / weights.sum()


# Specification, appendix A9: q at 0 degrees, d+ at 20; document, T2, T1, ReLU.
A9 = [(30, 10, 5, 0.1188), (10, 10, 5, 0), (50, 30, 15, 0.2232), (90, 70, 35, 0.3420), (-10, 10, 165, 0)]
A9 += [(-30, 10, 155, 0)]


@pytest.mark.parametrize(("at", "t2", "t1", "relu"), A9)
def test_golden_angles(at, t2, t1, relu):
    q, positive, d = circle(0, 20, at)
    cosines = [np.array([v]) for v in (q @ positive, q @ d, positive @ d)]
    assert angle_between(*cosines[:2])[0] == pytest.approx(t2, abs=1e-6)
    assert angle_at_query(*cosines)[0] == pytest.approx(t1, abs=1e-5)
    assert max(0, positive @ d - q @ d) == pytest.approx(relu, abs=5e-5)


@pytest.mark.parametrize(("region", "kept"), [("T1", [30, 50, 90]), ("T2", [30, 50])])
def test_golden_regions(region, kept):
    angles = [at for at, *_ in A9]
    q, positive = circle(0, 20)
    pairs = triangle(q, positive, circle(*angles))
    # Documents at 10 degrees are as near to q as to d+ up to rounding: their weight is nothing, or as good as.
    weights = np.exp(TriSampler(k=1, by="m", region=region).weigh(pairs, None)[1:])
    assert [at for at, w in zip(angles, weights, strict=True) if w > 1e-6] == kept


def slow_trisampler(q, positive, documents, region, a, b, angle=60.0):
    first, full = [], []
    for d in documents:
        weight = math.exp(-a * (q @ d - q @ positive - b) ** 2)
        if region == "T1":
            u, v = positive - q, d - q
            theta = math.degrees(math.acos(u @ v / math.sqrt(u @ u) / math.sqrt(v @ v)))
        else:
            theta = math.degrees(abs(math.acos(q @ positive) - math.acos(q @ d)))
        first.append(weight)
        full.append(weight * (theta <= angle) * max(0.0, positive @ d - q @ d))
    chosen = np.array(full if any(full) else first)
    return chosen / chosen.sum()


@pytest.mark.parametrize("region", ["T1", "T2"])
def test_trisampler_is_the_loop_over_vectors_and_does_not_see_rotations(region):
    rng = np.random.default_rng(3)
    fallbacks = 0
    for _ in range(60):
        vectors = rng.normal(loc=[1.5, 0, 0, 0], size=(9, 4))
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        vectors = vectors.astype(np.float32).astype(np.float64)
        q, positive, documents = vectors[0], vectors[1], vectors[2:]
        sampler = TriSampler(k=2, by="m", region=region, a=2.0, b=0.1)
        expected = slow_trisampler(q, positive, documents, region, 2.0, 0.1)
        got = shares(sampler.weigh(triangle(q, positive, documents), None)[1:])
        assert got == pytest.approx(expected, abs=2e-6)
        fallbacks += int((documents @ positive <= documents @ q).all())
        turn, _ = np.linalg.qr(rng.normal(size=(4, 4)))
        turned = shares(sampler.weigh(triangle(q @ turn, positive @ turn, documents @ turn), None)[1:])
        assert turned == pytest.approx(got, abs=1e-5)
    assert fallbacks  # the second distribution was used, too


def test_every_draw_is_in_the_region_unless_the_query_fell_back(context):
    pipeline = Dense("student", k=60) >> PositiveSimilarity("student", positives="lowest") >> TriSampler(9, "student")
    ctx = context()
    out = pipeline(ctx.data.positives("train").bare(), ctx)
    pulled = out["student.positive"] > out["student"]
    kept = (out.label == 0) & (out.dropped == 0)
    for query in out.queries:
        rows = (out.query == query) & kept
        assert pulled[rows].all() or not pulled[rows].any()
    assert kept.sum()
    assert pulled[kept].mean() > 0.5


@pytest.mark.parametrize("how", ["nearest", "lowest", "highest"])
def test_positive_similarity_is_the_loop(context, how):
    ctx = context()
    out = (Dense("student", k=15) >> PositiveSimilarity("student", positives=how))(
        ctx.data.positives("train").bare(), ctx
    )
    documents, queries = ctx.vectors("student", "document"), ctx.vectors("student", "query")
    positives = ctx.data.positives("train")
    several = 0
    for row in range(len(out)):
        own = positives.doc[positives.query == out.query[row]].tolist()
        several += len(own) > 1
        q = queries[np.searchsorted(ctx.rows, out.query[row])]
        if how != "nearest":
            own = [sorted(own, key=lambda p: ((-1) ** (how == "highest") * float(np.float32(q @ documents[p])), p))[0]]
        expected = max(float(documents[p] @ documents[out.doc[row]]) for p in own)
        assert out["student.positive"][row] == pytest.approx(expected, abs=1e-6)
    assert several


def test_without_positives_there_is_nothing_to_measure(context):
    ctx = context()
    lonely = np.setdiff1d(np.arange(len(ctx.data.queries)), ctx.rows).astype(np.int32)[:2]
    for how in ("nearest", "lowest", "highest"):
        stage = PositiveSimilarity("student", positives=how)
        got = stage.scored(np.append(lonely, ctx.rows[:1]), np.array([1, 2, 3], np.int32), ctx)
        assert np.isnan(got).tolist() == [True, True, False]
    with pytest.raises(SpecError):
        PositiveSimilarity("bm25")


def test_trisampler_refuses_what_forms_no_triangle(context):
    known = context().data.positives("train").bare()
    with pytest.raises(PipelineError, match=r"Add PositiveSimilarity\('student', positives='lowest'\)"):
        parse("Dense('student', k=9) >> TriSampler(k=2, by='student')")(known, context())
    with pytest.raises(PipelineError, match="another positive"):
        parse("Dense('student', k=9) >> PositiveSimilarity('student') >> TriSampler(k=2, by='student')")(
            known, context()
        )
    with pytest.raises(SpecError, match="name of a column"):
        TriSampler(k=2, by="score")
    far = Pairs.build([0, 0], [0, 1], [1, 0], scores={"m": [3.0, 2.0], "m.positive": [1.0, 0.5]})
    with pytest.raises(PipelineError, match=r"beyond .* needs cosines"):
        TriSampler(k=1, by="m").weigh(far, None)


def test_scores_that_are_not_finite_are_refused(context, models):
    class Broken(type(models["student"])):
        def encode(self, texts, kind):
            return np.full((len(texts), self.dim), np.nan, np.float32)

    ctx = context()
    encoders = {**models, "broken": Broken("broken")}
    ctx = type(ctx)(ctx.data, ctx.split, 0, ctx.rows, ctx.rows, encoders, ctx.cache)
    with pytest.raises(ModelError):
        (Dense("student", k=3) >> PositiveSimilarity("broken"))(ctx.data.positives("train").bare(), ctx)


def test_a_saved_column_serves_another_choice_and_keeps_what_it_means(context, models, tmp_path):
    data = context().data
    for how in ("lowest", "nearest"):
        pipeline = Dense("student", k=20) >> PositiveSimilarity("student", positives=how) >> Top(k=3, by="student")
        mine(data, pipeline, encoders=models, out=tmp_path / how)
    again = Load(str(tmp_path / "lowest"), which="all") >> TriSampler(k=4, by="student")
    direct = Dense("student", k=20) >> PositiveSimilarity("student", positives="lowest") >> TriSampler(4, "student")
    kept = []
    for pipeline in (again, direct):
        ctx = context(2)
        out = pipeline(data.positives("train").bare(), ctx)
        kept.append(out.key[(out.label == 0) & (out.dropped == 0)].tolist())
    assert kept[0] == kept[1]
    with pytest.raises(PipelineError, match="another positive"):
        (Load(str(tmp_path / "nearest")) >> TriSampler(k=4, by="student"))(data.positives("train").bare(), context())


def slow_resa2(query, ctx, depth, pool, near, k):
    """Section 10.1: top, SimANS against the best positive, nearest to a positive, uniform."""
    documents, q = ctx.vectors("student", "document"), ctx.vectors("student", "query")
    q = q[np.searchsorted(ctx.rows, query)]
    positives = ctx.data.positives(ctx.split)
    own = positives.doc[positives.query == query].tolist()
    score = (documents.astype(np.float64) @ q.astype(np.float64)).astype(np.float32)
    ranked = [
        d for d in np.lexsort((np.arange(len(score)), -score)).tolist() if d not in own and ctx.data.same[d] == d
    ][:depth]
    best = max(float(score[p]) for p in own)

    def draw(name, doc):
        q_key, d_key = ctx.data.queries.keys[[query]], ctx.data.corpus.keys[[doc]]
        return float(noise.gumbel(ctx.seed, name, q_key, d_key)[0])

    drawn = {d: -0.25 * (float(score[d]) - best) ** 2 + draw("SimANS", d) for d in ranked}
    first = sorted(ranked, key=lambda d: -drawn[d])[:pool]
    similar = {d: max(float(documents[p].astype(np.float64) @ documents[d]) for p in own) for d in first}
    nearest = sorted(first, key=lambda d: (-np.float32(similar[d]), d))[:near]
    return nearest, set(sorted(nearest, key=lambda d: -draw("Uniform", d))[:k])


def test_resa2_is_a_pipeline(context):
    pipeline = (
        Dense("student", k=80)
        >> SimANS(k=40, a=0.25, positives="max")
        >> PositiveSimilarity("student")
        >> Top(k=15, by="student.positive")
        >> Uniform(k=7)
    )
    ctx = context(5)
    out = pipeline(ctx.data.positives("train").bare(), ctx)
    for query in ctx.rows[:25].tolist():
        kept = set(out.doc[(out.query == query) & (out.label == 0) & (out.dropped == 0)].tolist())
        nearest, expected = slow_resa2(query, ctx, 80, 40, 15, 7)
        assert kept == expected
        assert len(kept) == 7
        assert kept <= set(nearest)


def test_released_variants_of_simans():
    """Section 8.1: the README's form and the unused document-document form, as weights in the released code."""
    rng = np.random.default_rng(0)
    s, dd = rng.normal(size=8), rng.uniform(-1, 1, 8)
    pairs = Pairs.build([0] * 9, range(9), [1] + [0] * 8, scores={"m": [0.3, *s], "m.positive": [1.0, *dd]})
    gap, dd = pairs["m"][1:].astype(float) - float(np.float32(0.3)), pairs["m.positive"][1:].astype(float)
    forms = [
        (SimANS(k=1, a=0.7, by="m"), np.exp(-0.7 * gap**2)),
        (SimANS(k=1, a=0.5, b=1.0, b_sign="code", by="m"), np.exp(-0.5 * (gap + 1.0) ** 2)),
        (SimANS(k=1, a=3.0, kernel="laplace", by="m"), np.exp(-3 * abs(gap))),
        (Softmax(k=1, temperature=2.0, by="m.positive"), np.exp(0.5 * abs(dd - dd.min()))),
    ]
    for sampler, weights in forms:
        got = shares(np.asarray(sampler.logits(pairs), float)[1:])
        assert got == pytest.approx(weights / weights.sum(), rel=1e-5)
