"""Probabilities of relevance and what is done with them; queries with too many doubts; weights by a mixture."""

from __future__ import annotations

import logging
import math

import numpy as np
import pytest

from foils.core.betas import two_betas
from foils.core.cutoffs import Cutoffs, Group
from foils.core.errors import PipelineError, SpecError
from foils.core.pairs import CANDIDATE, POSITIVE, Pairs
from foils.stages import Between, Contested, Dense, Doubted, MixtureWeight, Promote, Relevance, Top
from foils.stages.calibrated import Calibrated
from foils.stages.capped import Capped


@pytest.fixture
def file(tmp_path):
    def make(kind="absolute", odds=(12.0, -3.0), origin=""):
        settings = Calibrated("t.json", kind=kind).settings()
        Cutoffs(settings, origin, (Group(math.inf, 0.0),), odds).write(tmp_path / "t.json")
        return str(tmp_path / "t.json")

    return make


def run(ctx, pipeline):
    return pipeline(ctx.data.positives("train").bare(), ctx)


@pytest.mark.parametrize("kind", ["absolute", "score"])
def test_the_probability_is_platt_s(context, file, kind):
    out = run(context(), Dense("student", k=20) >> Relevance(file(kind)))
    candidate = out.label == CANDIDATE
    near = out["student"] - (out.positive("student") if kind == "absolute" else 0)
    expected = 1 / (1 + np.exp(-(12.0 * near.astype(float) - 3.0)))
    assert np.allclose(out["relevance"][candidate], expected[candidate], atol=1e-6)
    assert (out["relevance"][out.label == POSITIVE] == 1).all()
    assert out.latest == "student"


def test_the_four_actions_read_one_column(context, file):
    pool = Dense("student", k=20) >> Relevance(file())
    p = run(context(), pool)
    candidate = p.label == CANDIDATE
    assert 0.1 < np.median(p["relevance"][candidate]) < 0.9
    dropped = run(context(), pool >> Between(hi=0.5, by="relevance"))
    assert np.array_equal((dropped.dropped != 0)[candidate], p["relevance"][candidate] > 0.5)
    weighed = run(context(), pool >> Doubted(by="relevance"))
    assert np.allclose(weighed["weight"][candidate], 1 - p["relevance"][candidate])
    moved = run(context(), pool >> Promote(at=0.9, by="relevance"))
    assert np.array_equal(moved.label == POSITIVE, (p.label == POSITIVE) | (p["relevance"] > np.float32(0.9)))
    # RLHN: what is relabelled is what would have been dropped, so the negatives are the same.
    left = run(context(), pool >> Promote(at=0.5, by="relevance"))
    assert np.array_equal((left.label == CANDIDATE)[candidate], (dropped.dropped == 0)[candidate])


def test_relevance_refuses_what_it_cannot_know(context, file):
    ctx = context()
    with pytest.raises(PipelineError, match="did not tell how relevance depends"):
        run(ctx, Dense("student", k=5) >> Relevance(file(odds=None)))
    other = file(origin=Dense("teacher", k=5).origin(ctx.identity))
    with pytest.raises(PipelineError, match="another model"):
        run(context(), Dense("student", k=5) >> Relevance(other))
    lonely = Pairs.build([0], [1], scores={"student": [0.5]})
    with pytest.raises(PipelineError, match="without a positive"):
        Relevance(file(), by="student").run(lonely, context(), 1)
    with pytest.raises(SpecError, match="name of a file"):
        Relevance("")


def test_a_query_with_too_many_doubts_keeps_no_candidate():
    score = [0.9, 0.8, 0.2, 0.9, 0.1, 0.1, 0.95]
    view = Pairs.build([0, 0, 0, 1, 1, 1, 1], range(7), [0, 0, 0, 0, 0, 0, 1], scores={"p": score})
    assert Contested(at=0.5, most=1).decide(view, None).tolist() == [False] * 3 + [True] * 4
    assert Contested(at=0.5, most=0).decide(view, None).tolist() == [False] * 7
    assert Contested(at=0.9, most=0).decide(view, None).all()
    with pytest.raises(SpecError, match="at least 0"):
        Contested(at=0.5, most=-1)


def test_mixture_weights_are_the_formula(context, caplog):
    ctx, stage = context(), MixtureWeight(sample=1000)
    with caplog.at_level(logging.INFO):
        out = run(ctx, Dense("student", k=20) >> stage)
    assert "candidates" in caplog.text
    candidate = out.label == CANDIDATE
    scaled = (np.clip(out["student"].astype(float), -1, 1) + 1) / 2
    mixture = two_betas(scaled[candidate], 0.05)
    product = scaled * (1.0 if mixture is None else mixture.low(scaled))
    for query in out.queries:
        rows = (out.query == query) & candidate
        assert np.allclose(out["weight"][rows], product[rows] / product[rows].mean(), atol=1e-5)
    assert (out["weight"][~candidate] == 1).all()
    assert out.latest == "student"


def test_mixture_weights_come_from_a_sample_that_no_block_changes(context):
    pipeline = Dense("student", k=20) >> MixtureWeight(sample=7)
    whole, ctx = run(context(), pipeline), context()
    block = ctx.at(ctx.rows[3:9])
    known = ctx.data.positives("train").bare()
    part = pipeline(known.take(np.isin(known.query, block.block)), block)
    assert np.array_equal(part["weight"], whole["weight"][whole.find(part)])
    equal = Pairs.build([0, 0, 0], [1, 2, 3], [1, 0, 0], scores={"student": [0.9, 0.3, 0.3]})
    assert MixtureWeight().run(equal, ctx, 1)["weight"].tolist() == [1, 1, 1]  # constant B: InfoNCE


def test_mixture_weights_refuse_what_is_no_cosine_and_stages_that_see_all(context):
    wide = Pairs.build([0, 0], [1, 2], [1, 0], scores={"student": [9.0, 3.0]})
    with pytest.raises(PipelineError, match="needs cosines"):
        MixtureWeight().run(wide, context(), 1)
    with pytest.raises(PipelineError, match="for all queries at once"):
        run(context(), Dense("student", k=9) >> Top(k=4) >> Capped(share=1.0, k=2) >> MixtureWeight())
    for wrong in ({"share": 0.0}, {"share": 1.0}, {"sample": 0}):
        with pytest.raises(SpecError):
            MixtureWeight(**wrong)
