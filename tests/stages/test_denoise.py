"""Denoised negatives: first fit, as a slow walk finds them, with no pair scored in vain."""

from __future__ import annotations

import numpy as np
import pytest

import foils
from foils.core.errors import PipelineError, SpecError
from foils.core.pairs import CANDIDATE, POSITIVE, Pairs
from foils.stages import BM25, CrossEncoder, Denoise, Dense, Promote, Random
from foils.stages.readers import Sampler
from little import HashEncoder, OverlapReranker


class Counting(OverlapReranker):
    """Remembers which texts it was asked about; nothing of it is cached."""

    fingerprint = "uncached:counting"

    def __init__(self):
        self.asked = []

    def score(self, queries, docs):
        self.asked += zip(queries, docs, strict=True)
        return super().score(queries, docs)


@pytest.fixture
def judge(models, monkeypatch):
    counting = Counting()
    monkeypatch.setitem(models, "judge", counting)
    return counting


def walk(pool, stage, ctx):
    """The kept and the read (query, doc) of a walk one by one."""
    truth = OverlapReranker()
    kept, read = set(), set()
    for query in pool.queries.tolist():
        rows = np.flatnonzero((pool.query == query) & pool.alive)
        positives = [r for r in rows if pool.label[r] == POSITIVE]
        read |= {(query, int(pool.doc[r])) for r in positives}
        quota = stage.k * max(1, len(positives) if stage.per == "positive" else 1)
        candidates = [r for r in rows if pool.label[r] == CANDIDATE]
        for r in sorted(candidates, key=lambda r: (-pool[stage.by][r], pool.doc[r])):
            if quota == 0:
                break
            doc = int(pool.doc[r])
            read.add((query, doc))
            texts = ctx.data.queries.texts([query]), ctx.data.corpus.texts([doc])
            if truth.score(*texts)[0] < np.float32(stage.hi):
                kept.add((query, doc))
                quota -= 1
    return kept, read


@pytest.mark.parametrize("hi", [0.05, 0.3, 0.5, 1.0])
@pytest.mark.parametrize(("k", "per"), [(1, "query"), (3, "query"), (2, "positive")])
def test_it_is_first_fit_and_reads_what_a_walk_reads(context, judge, hi, k, per):
    ctx = context()
    pool = (Dense("student", k=40))(ctx.data.positives("train").bare(), ctx)
    stage = Denoise("judge", k=k, hi=hi, per=per)
    out = stage(pool, ctx)
    kept, read = walk(pool, stage, ctx)
    found = out.take(out.alive & (out.label == CANDIDATE))
    assert set(zip(found.query.tolist(), found.doc.tolist(), strict=True)) == kept
    scored = out.take(~np.isnan(out["judge"]))
    assert set(zip(scored.query.tolist(), scored.doc.tolist(), strict=True)) == read
    assert len(judge.asked) == len(set(judge.asked)) <= len(read)
    assert np.all(found["judge"] < np.float32(hi))
    too_high = (out.label == CANDIDATE) & (out["judge"] >= np.float32(hi))
    assert np.all(out.dropped[too_high] == 1)
    assert np.all(out.dropped[(out.label == CANDIDATE) & ~out.alive & ~too_high] == -1)


@pytest.mark.parametrize("hi", [0.15, 0.33, 0.55])
def test_it_equals_scoring_everything(context, hi):
    ctx = context()
    pool = (Dense("student", k=40) + BM25(k=10))(ctx.data.positives("train").bare(), ctx)
    stage = Denoise("judge", k=3, hi=hi, by="student")
    lazy = stage(pool, ctx)
    np.testing.assert_array_equal(lazy.alive, Sampler.run(stage, pool, ctx, 1).alive)
    eager = foils.parse(f"CrossEncoder('judge') >> Between(hi={hi}) >> Top(k=3, by='student')")(pool, ctx)
    np.testing.assert_array_equal(lazy.alive, eager.alive)
    reached = ~np.isnan(lazy["judge"])
    np.testing.assert_array_equal(lazy["judge"][reached], eager["judge"][reached])


def test_the_manifest_counts_the_pairs(data, judge, tmp_path):
    models = {"student": HashEncoder(), "judge": judge}
    lazy = foils.mine(data, "Dense('student', k=40) >> Denoise('judge', hi=0.7)", encoders=models, out=tmp_path / "a")
    pairs = lazy.pairs(data)
    assert lazy.manifest["steps"][1]["scored"] == int((~np.isnan(pairs["judge"])).sum())
    eager = "Dense('student', k=40) >> CrossEncoder('judge') >> Between(hi=0.7) >> Top(k=4, by='student')"
    everything = foils.mine(data, eager, encoders=models, out=tmp_path / "b")
    assert everything.manifest["steps"][1]["scored"] == len(everything.pairs(data))
    assert lazy.manifest["steps"][1]["scored"] < everything.manifest["steps"][1]["scored"] / 2
    a, b = lazy.kept(data), everything.kept(data)
    assert set(a.key[a.label == CANDIDATE]) == set(b.key[b.label == CANDIDATE])


def test_what_is_too_high_comes_back_through_no_branch_and_random_documents_are_checked(context):
    ctx = context()
    known = ctx.data.positives("train").bare()
    pool = ((Dense("student", k=30) >> Denoise("judge", k=2, hi=0.3)) + Dense("student", k=30))(known, ctx)
    candidate = pool.label == CANDIDATE
    judged = candidate & (pool.dropped > 0)
    assert judged.any()
    assert np.all(pool["judge"][judged] >= np.float32(0.3))
    filled = foils.parse("Dense('student', k=2) >> Denoise('judge', k=6, hi=0.3) >> Ensure('random')")(known, ctx)
    negatives = filled.take(filled.alive & (filled.label == CANDIDATE))
    assert (negatives.ranks["random"] > 0).any()
    assert np.all(negatives["judge"] < np.float32(0.3))


def test_what_cannot_work_says_so(context, models, monkeypatch):
    ctx = context()
    known = ctx.data.positives("train").bare()
    with pytest.raises(SpecError, match="hi"):
        Denoise("judge", hi=0.0)
    with pytest.raises(SpecError, match="hi"):
        Denoise("judge", hi=1.5)
    with pytest.raises(PipelineError, match="after '\\+' the scores"):
        (Dense("student", k=4) + BM25(k=4) >> Denoise("judge"))(known, ctx)
    with pytest.raises(PipelineError, match="its candidates have no score"):
        (Random(k=4) >> Denoise("judge"))(known, ctx)
    with pytest.raises(PipelineError, match="cannot walk that ranking"):
        (BM25(k=4) >> CrossEncoder("judge") >> Denoise("judge", by="judge"))(known, ctx)
    logits = OverlapReranker()
    logits.scale = "logit"
    monkeypatch.setitem(models, "judge", logits)
    with pytest.raises(PipelineError, match=r"logits, but hi=0\.1 is a probability"):
        (BM25(k=4) >> Denoise("judge"))(known, ctx)


def test_the_best_alone_is_promoted():
    pairs = Pairs.build(
        [1, 1, 1, 2, 2, 3, 3],
        [5, 6, 7, 5, 6, 8, 9],
        [1, 0, 0, 0, 0, 0, 0],
        scores={"t": [1, 0.95, 0.99, 0.97, 0.97, 0.2, 0.9]},
    )
    assert Promote(at=0.9).relabel(pairs).tolist() == [1, 1, 1, 1, 1, 0, 0]
    assert Promote(at=0.9, which="best").relabel(pairs).tolist() == [1, 0, 1, 1, 0, 0, 0]


def test_log_odds_are_asked_for_and_kept_apart(context, models, monkeypatch):
    ctx = context()
    known = ctx.data.positives("train").bare()
    with pytest.raises(PipelineError, match="has probabilities only"):
        (BM25(k=4) >> CrossEncoder("judge", scale="logit"))(known, ctx)

    class Both(OverlapReranker):
        fingerprint = "overlap/both"

        def logits(self):
            class Odds(OverlapReranker):
                scale, fingerprint = "logit", "overlap/odds"

                def score(self, queries, docs):
                    p = np.clip(super().score(queries, docs), 1e-6, 1 - 1e-6)
                    return np.log(p / (1 - p))

            return Odds()

    monkeypatch.setitem(models, "judge", Both())
    ctx = context()
    own = (BM25(k=4) >> CrossEncoder("judge"))(known, ctx)
    odds = (BM25(k=4) >> CrossEncoder("judge", scale="logit"))(known, ctx)
    np.testing.assert_allclose(1 / (1 + np.exp(-odds["judge"].astype(float))), own["judge"], atol=2e-6)
    with pytest.raises(PipelineError, match="not of one model and setting"):
        ((BM25(k=4) >> CrossEncoder("judge")) + (BM25(k=4) >> CrossEncoder("judge", scale="logit")))(known, ctx)
