"""NPC's detection of doubtful positives: perplexities by a loop, the fit against scikit-learn, its invariants."""

from __future__ import annotations

import logging
import math

import numpy as np
import pytest

from foils.core.errors import SpecError
from foils.core.mixture import Mixture, two_kinds
from foils.core.pairs import CANDIDATE, POSITIVE, joined
from foils.filling import share
from foils.stages import BM25, Dense, MixtureNoise, Random

KINDS = {
    "golden": lambda rng: np.concatenate([rng.normal(0.2, 0.1, 3000), rng.normal(2, 0.3, 3000)]),
    "few": lambda rng: np.concatenate([rng.normal(0.2, 0.1, 19_000), rng.normal(3, 1, 1_000)]),
    "near": lambda rng: np.concatenate([rng.normal(0, 1, 4000), rng.normal(3.5, 1, 2000)]),
}
ONE_PEAK = {
    "normal": lambda rng: rng.normal(0, 1, 5000),
    "exponential": lambda rng: rng.exponential(1, 5000),
    "log-normal": lambda rng: rng.lognormal(0, 1, 5000),
    "gamma": lambda rng: rng.gamma(2, 1, 5000),
    "losses of right pairs": lambda rng: np.log1p(np.exp(rng.normal(-2, 2, 5000))),
    "all equal": lambda rng: np.full(5000, 0.7),
    "two numbers": lambda rng: np.array([0.0, 1.0]),
    "none": lambda rng: np.zeros(0),
}


@pytest.mark.parametrize("name", KINDS)
def test_the_fit_is_that_of_scikit_learn(name):
    mixture = pytest.importorskip("sklearn.mixture")
    values = KINDS[name](np.random.default_rng(1))
    found = two_kinds(np.random.default_rng(2).permutation(values))
    split = found.low(values) > 0.5
    theirs = mixture.GaussianMixture(
        2, tol=1e-10, max_iter=1000, means_init=[[values[split].mean()], [values[~split].mean()]], reg_covar=1e-12
    ).fit(values[:, None])
    order = theirs.means_.ravel().argsort()
    np.testing.assert_allclose(found.means, theirs.means_.ravel()[order], atol=2e-3)
    np.testing.assert_allclose(found.shares, theirs.weights_[order], atol=2e-3)
    np.testing.assert_allclose(found.deviations, np.sqrt(theirs.covariances_.ravel())[order], atol=2e-3)
    assert found.log_likelihood(values) == pytest.approx(theirs.score(values[:, None]) * len(values), rel=1e-6)
    between = values[(values > found.means[0]) & (values < found.means[1])]
    posterior = theirs.predict_proba(between[:, None])[:, order[0]]
    np.testing.assert_allclose(found.low(between), posterior, atol=5e-3)


def test_two_kinds_are_told_apart():
    """Losses, section 7, invariant 1."""
    values, truth = KINDS["golden"](np.random.default_rng(0)), np.repeat([True, False], 3000)
    assert ((two_kinds(values).low(values) > 0.5) == truth).mean() > 0.99


@pytest.mark.parametrize("name", ONE_PEAK)
def test_one_kind_is_left_alone(name):
    """Losses, section 7, invariant 2, and skewed distributions, which a criterion of fit alone would divide."""
    assert two_kinds(ONE_PEAK[name](np.random.default_rng(0))) is None


def test_the_posterior_never_rises():
    """The measured case of section 7: the plain posterior of the low kind is .98 at .5 and .001 at 0."""
    mixture = Mixture((0.5, 0.5), (0.5, 2.0), (0.1, 0.8))
    values = np.linspace(-5, 9, 2001)
    low = mixture.low(values)
    assert (np.diff(low) <= 0).all()
    assert (low[values <= 0.5] == 1).all()
    plain = lambda x: 1 / (1 + math.exp(-((x - 2) ** 2) / 1.28 + (x - 0.5) ** 2 / 0.02) * 0.1 / 0.8)  # noqa: E731
    assert plain(0.0) < 0.002
    for x in (0.6, 0.8, 1.0, 1.9):
        assert mixture.low(np.array([x]))[0] == pytest.approx(plain(x), rel=1e-9)
    assert mixture.low(np.array([2.0, 50.0])).tolist() == [mixture.low(np.array([2.0]))[0]] * 2


def slow_perplexity(ctx, stage, query, doc):
    """-ln of the pair's share among itself and k random documents that are no positives of the query."""
    positives = ctx.data.positives(ctx.split)
    known = set(positives.doc[positives.query == query].tolist())
    queries, docs = ctx.vectors(stage.encoder, "query"), ctx.vectors(stage.encoder, "document")
    vector = queries[np.searchsorted(ctx.rows, query)].astype(np.float64)
    order = Random(k=stage.k).retrieve(np.array([query], np.int32), len(docs), ctx)[0][0].tolist()
    drawn = [d for d in order if d not in known][: stage.k]
    share = [math.exp(float(vector @ docs[d].astype(np.float64)) / stage.temperature) for d in (doc, *drawn)]
    return -math.log(share[0] / sum(share))


@pytest.mark.parametrize("stage", [MixtureNoise("student", k=7), MixtureNoise("teacher", k=1000, temperature=0.05)])
def test_perplexities_against_a_loop(context, stage):
    ctx = context()
    known = ctx.data.positives("train")
    found = stage.perplexity(known.query, known.doc, ctx)
    expected = [slow_perplexity(ctx, stage, q, d) for q, d in zip(known.query, known.doc, strict=True)]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


class Stub(MixtureNoise):
    """Perplexities that are known: one query in three has a wrong positive."""

    def perplexity(self, query, doc, ctx):
        rng = np.random.default_rng(0)
        kind = np.where(np.arange(10_000) % 3 == 0, 2.0, 0.2) + 0.05 * rng.standard_normal(10_000)
        return kind[query]


@pytest.mark.parametrize("block", [1, 7, None])
def test_wrong_positives_weigh_nothing_whatever_the_block(context, block, caplog):
    ctx = context()
    stage = Stub("student")
    pipeline = (BM25(k=3) + Dense("student", k=3)) >> stage
    known, size = ctx.data.positives("train").bare(), block or len(ctx.rows)
    with caplog.at_level(logging.INFO, "foils.stages.mixture"):
        blocks = [ctx.rows[i : i + size] for i in range(0, len(ctx.rows), size)]
        out = joined([pipeline(share(known, b), ctx.at(b)) for b in blocks])
    weight, positive = out["weight"], out.label == POSITIVE
    assert (weight[out.label == CANDIDATE] == 1).all()
    np.testing.assert_array_equal(weight[positive], np.where(out.query[positive] % 3 == 0, 0.0, 1.0))
    assert len(caplog.records) == 1
    assert "are doubted" in caplog.text
    assert out.latest != "weight"
    soft = Stub("student", soft=True).judge(out, context())
    assert ((soft > 0.5) == (weight == 1)).all()
    assert soft.min() < 0.01


def test_a_majority_is_no_error(context, caplog):
    out = BM25(k=2)(context().data.positives("train").bare(), context())
    with caplog.at_level(logging.INFO, "foils.stages.mixture"):
        assert (Stub("student", most=0.1).judge(out, context()) == 1).all()
    assert "17 % of" in caplog.text
    assert "more than can be errors" in caplog.text


def test_bounds():
    for wrong in ({"most": 0.0}, {"most": 1.5}, {"k": 0}, {"temperature": 0.0}, {"at": 1.0}, {"at": -0.1}):
        with pytest.raises(SpecError):
            MixtureNoise("student", **wrong)
    with pytest.raises(SpecError):
        MixtureNoise("score")
