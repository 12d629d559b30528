"""Overlap and rank-biased overlap against loops over the definitions."""

from __future__ import annotations

import numpy as np
import pytest

from foils.core.agreement import overlap, rank_biased
from foils.core.ragged import Lists


def lists(values):
    sizes = np.array([len(value) for value in values])
    flat = np.concatenate([np.array(value, np.int32) for value in values]).astype(np.int32)
    return Lists(np.concatenate(([0], np.cumsum(sizes))), flat)


def slow_rbo(first, second, p):
    """Webber et al. 2010, equation 32, term by term."""
    short, long = sorted((first, second), key=len)
    s, size = len(short), len(long)
    if not size:
        return 1.0
    x = {d: len(set(short[:d]) & set(long[:d])) for d in range(1, size + 1)} | {0: 0}
    total = sum(x[d] / d * p**d for d in range(1, size + 1))
    total += sum(x[s] * (d - s) / (s * d) * p**d for d in range(s + 1, size + 1)) if s else 0
    return (1 - p) / p * total + ((x[size] - x[s]) / size + (x[s] / s if s else 0)) * p**size


@pytest.mark.parametrize("p", [0.5, 0.9, 0.98])
def test_against_the_definitions(p):
    rng = np.random.default_rng(7)
    first = [rng.permutation(15)[: rng.integers(0, 15)].tolist() for _ in range(200)]
    second = [rng.permutation(15)[: rng.integers(0, 15)].tolist() for _ in range(200)]
    both = lists(first), lists(second)
    expected = [slow_rbo(a, b, p) for a, b in zip(first, second, strict=True)]
    np.testing.assert_allclose(rank_biased(*both, p), expected, atol=1e-12)
    np.testing.assert_array_equal(rank_biased(*both, p), rank_biased(*both[::-1], p))
    for k in (1, 3, 10, 100):
        expected = [
            len(set(a[:k]) & set(b[:k])) / depth if (depth := min(k, max(len(a), len(b)))) else 1.0
            for a, b in zip(first, second, strict=True)
        ]
        np.testing.assert_allclose(overlap(*both, k), expected, atol=1e-15)


def test_a_list_agrees_with_itself_and_not_with_another():
    some = lists([[4, 2, 9], [1], [], list(range(200))])
    np.testing.assert_allclose(rank_biased(some, some), 1, atol=1e-12)
    np.testing.assert_array_equal(overlap(some, some, 10), 1)
    other = lists([[5, 3, 8], [2], [7], list(range(200, 400))])
    np.testing.assert_array_equal(rank_biased(some, other), 0)
    np.testing.assert_array_equal(overlap(some, other, 10), 0)


def test_no_queries():
    nothing = Lists(np.zeros(1, np.int64), np.zeros(0, np.int32))
    assert len(overlap(nothing, nothing, 5)) == len(rank_biased(nothing, nothing)) == 0
