"""The mixture of two Betas: against scipy's densities and a slow fit, on numbers of known kinds."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import beta

from foils.core.betas import two_betas


def slow(x, share):
    """Arazo et al.'s fit, number by number."""
    weights, a, b = [1 - share, share], [1.0, 2.0], [2.0, 1.0]
    for _ in range(10):
        chance = np.array([[w * beta.pdf(v, p, q) for w, p, q in zip(weights, a, b, strict=True)] for v in x])
        chance /= chance.sum(axis=1, keepdims=True)
        for kind in range(2):
            r = chance[:, kind]
            mean = (r * x).sum() / r.sum()
            spread = (r * (x - mean) ** 2).sum() / r.sum()
            a[kind] = mean * (mean * (1 - mean) / spread - 1)
            b[kind] = a[kind] * (1 - mean) / mean
        weights = chance.mean(axis=0).tolist()
    return weights, a, b


@pytest.fixture(scope="module")
def mixed():
    """As the specification has it: Beta(2, 8) and Beta(8, 2)."""
    rng = np.random.default_rng(0)
    high = rng.random(3_000) < 0.2
    return np.where(high, rng.beta(8, 2, 3_000), rng.beta(2, 8, 3_000)), high


def test_it_is_the_slow_fit(mixed):
    values = mixed[0][:300]
    found, (weights, a, b) = two_betas(values, 0.05), slow(values, 0.05)
    assert np.allclose(found.shares, weights, atol=1e-9)
    assert np.allclose(found.alphas, a, rtol=1e-8)
    assert np.allclose(found.betas, b, rtol=1e-8)


def test_kinds_are_told_apart(mixed):
    values, high = mixed
    found = two_betas(values, 0.05)
    low = found.low(values)
    assert ((low < 0.5) == high).mean() > 0.9  # the bound of the specification
    assert found.shares[1] == pytest.approx(0.2, abs=0.1)
    assert ((low >= 0) & (low <= 1)).all()
    order = np.argsort(values)
    assert (np.diff(low[order]) <= 1e-9).all()
    inside = (values > found.means[0]) & (values < found.means[1])
    dense = [s * beta.pdf(values, a, b) for s, a, b in zip(found.shares, found.alphas, found.betas, strict=True)]
    assert np.allclose(low[inside], (dense[0] / sum(dense))[inside], atol=1e-9)


def test_what_has_no_two_kinds():
    assert two_betas(np.full(50, 0.3), 0.05) is None
    assert two_betas(np.linspace(0, 1, 5), 0.05) is None
    edges = two_betas(np.repeat([0.0, 1.0], 20), 0.05)
    assert edges.low(np.array([0.0, 1.0])) == pytest.approx([1, 0], abs=1e-6)
