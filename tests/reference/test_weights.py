"""Debiased weights: with them, weighted InfoNCE is DCL and HCL."""

from __future__ import annotations

import math

import numpy as np
import pytest

from foils.core.errors import PipelineError, SpecError
from foils.core.pairs import Pairs
from foils.stages import BM25, CrossEncoder, Debiased, Dense, Doubted, Top


def listed(positive, negatives):
    n = len(negatives)
    return Pairs.build([0] * (n + 1), range(n + 1), [1] + [0] * n, scores={"m": [positive, *negatives]})


def loss(pairs, stage):
    """Weighted InfoNCE: -s+ + log(e^s+ + sum w e^s), s in units of the temperature."""
    s = pairs["m"].astype(np.float64) / stage.temperature
    w = np.asarray(stage.rate(pairs), np.float64)
    assert w[0] == 1
    return float(np.logaddexp(s[0], np.logaddexp.reduce(np.log(np.maximum(w[1:], 1e-300)) + s[1:])) - s[0])


GOLDEN = [
    # Losses, section 8.1 (s = [2(+), 1, .5, 0] at t = 1, here half of it at t = .5, where no bound is reached).
    (1, [0.5, 0.25, 0], 0.5, 0, 0, 0.5460063899),
    (1, [0.5, 0.25, 0], 0.5, 0, 1, 0.6099034386),
    (1, [0.5, 0.25, 0], 0.5, 0.1, 0, 0.3877874675),
    (1, [0.5, 0.25, 0], 0.5, 0.1, 1, 0.4701797893),
    # Losses, appendix S3.
    (0.5, [1, 0.5, 0], 1, 0, 0, 1.4481539684),
    (0.5, [1, 0.5, 0], 1, 0, 1, 1.5614561376),
    (0.5, [1, 0.5, 0], 1, 0.1, 0, 1.4547968721),
    (0.5, [1, 0.5, 0], 1, 0.1, 1, 1.5791518380),
    # Mining, appendix A11.
    (0.8, [0.6, 0.2, -0.4], 0.5, 0, 0, 0.723789),
    (0.8, [0.6, 0.2, -0.4], 0.5, 0.1, 0, 0.613522),
    (0.8, [0.6, 0.2, -0.4], 0.5, 0.1, 1, 0.870114),
]


@pytest.mark.parametrize(("positive", "negatives", "t", "tau", "beta", "expected"), GOLDEN)
def test_golden_losses(positive, negatives, t, tau, beta, expected):
    stage = Debiased(tau=float(tau), beta=float(beta), temperature=float(t))
    assert loss(listed(positive, negatives), stage) == pytest.approx(expected, abs=6e-7)


def slow_mass(positive, negatives, stage):
    """The released code's N_g, without logarithms."""
    t, tau, n = stage.temperature, stage.tau, len(negatives)
    neg = [math.exp(s / t) for s in negatives]
    imp = [v**stage.beta for v in neg]
    r = sum(i * v for i, v in zip(imp, neg, strict=True)) / (sum(imp) / n)
    return max((r - tau * n * math.exp(positive / t)) / (1 - tau), n * math.exp(-1 / t))


def test_the_weighted_mass_is_that_of_the_released_code():
    rng = np.random.default_rng(0)
    clamped = 0
    for _ in range(100):
        positive, negatives = rng.uniform(-1, 1), rng.uniform(-1, 1, int(rng.integers(1, 9)))
        stage = Debiased(tau=rng.uniform(0, 0.5), beta=rng.uniform(0, 2), temperature=0.3)
        pairs = listed(positive, negatives)
        s = pairs["m"].astype(np.float64)
        expected = slow_mass(s[0], s[1:].tolist(), stage)
        got = (stage.rate(pairs)[1:] * np.exp(s[1:] / 0.3)).sum()
        assert got == pytest.approx(expected, rel=1e-9)
        clamped += expected == pytest.approx(len(negatives) * math.exp(-1 / 0.3))
    assert clamped


def test_invariants():
    pairs = listed(0.7, [0.9, 0.3, -0.2])
    assert Debiased(tau=0.0).rate(pairs) == pytest.approx([1, 1, 1, 1])
    alike = listed(0.1, [0.5, 0.5, 0.5])
    assert Debiased(beta=2.0).rate(alike) == pytest.approx(Debiased(beta=0.0).rate(alike))
    losses = [loss(pairs, Debiased(tau=0.0, beta=beta, temperature=0.2)) for beta in (0.0, 0.5, 1.0, 3.0)]
    assert losses == sorted(losses)
    cold = Debiased(beta=1.0, temperature=0.01).rate(pairs)
    assert np.isfinite(cold).all()
    assert (cold >= 0).all()


def test_in_a_pipeline_each_list_has_its_own_weights(context):
    ctx = context()
    out = (Dense("student", k=30) >> Top(k=6) >> Debiased(beta=1.0))(ctx.data.positives("train").bare(), ctx)
    assert out.latest == "student"
    alive = out.dropped == 0
    assert np.isnan(out["weight"][~alive]).all()
    for query in out.queries[:10]:
        rows = np.flatnonzero((out.query == query) & alive)
        own = out.take(rows)
        assert out["weight"][rows] == pytest.approx(Debiased(beta=1.0).rate(own), rel=1e-6)


def test_doubted_negatives_count_by_the_chance_that_they_are_negatives(context):
    """Section 8.3: weights of 1 are InfoNCE; a weight of 0 is as if the negative were not there."""

    def weighted(scores, weights):
        return math.log(math.exp(scores[0]) + sum(w * math.exp(s) for w, s in zip(weights, scores[1:], strict=True)))

    sure = Pairs.build([0] * 4, range(4), [1, 0, 0, 0], scores={"p": [0.9, 0, 1, 0.25]})
    weights = Doubted(by="p").rate(sure)
    assert weights == pytest.approx([1, 1, 0, 0.75])
    assert weighted([2, 1, 5, 0], weights[1:]) == pytest.approx(weighted([2, 1, 0], [1, 0.75]))
    ctx = context()
    out = (Dense("student", k=9) >> CrossEncoder("judge") >> Doubted())(ctx.data.positives("train").bare(), ctx)
    candidate = out.label == 0
    assert out["weight"][candidate] == pytest.approx(1 - out["judge"][candidate])
    assert (out["weight"][~candidate] == 1).all()
    assert out.latest == "judge"
    with pytest.raises(PipelineError, match="no probabilities, such as"):
        (BM25(k=9) >> Doubted())(ctx.data.positives("train").bare(), ctx)


def test_bad_input(context):
    known = context().data.positives("train").bare()
    with pytest.raises(PipelineError, match="needs cosines"):
        (BM25(k=5) >> Debiased())(known, context())
    lonely = Pairs.build([1, 1], [0, 1], scores={"m": [0.1, 0.2]})
    with pytest.raises(PipelineError, match=r"without a positive.*tau=0"):
        Debiased().rate(lonely)
    assert Debiased(tau=0.0).rate(lonely) == pytest.approx([1, 1])
    for bad in ({"tau": 1.0}, {"beta": -1.0}, {"temperature": 0.0}):
        with pytest.raises(SpecError, match=next(iter(bad))):
            Debiased(**bad)
