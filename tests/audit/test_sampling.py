from __future__ import annotations

import numpy as np
import pytest

from foils.audit.sampling import allocate, draw


def keys(n, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 2**63, n).astype(np.uint64), rng.integers(0, 2**63, n).astype(np.uint64)


@pytest.mark.parametrize("budget", [40, 300, 999])
def test_the_budget_is_kept_with_floors(budget):
    sizes = np.array([3, 10, 100, 1000, 5000])
    count = allocate(sizes, budget)
    assert count.sum() == budget
    assert (count <= sizes).all()
    assert (count >= np.minimum(sizes, 4)).all()
    large = count[3:] / sizes[3:]
    assert large[0] == pytest.approx(large[1], rel=0.2, abs=2 / 1000)


def test_everything_when_the_budget_is_large():
    assert allocate(np.array([3, 5]), 8).tolist() == [3, 5]
    assert allocate(np.array([3, 5]), 100).tolist() == [3, 5]


def test_a_draw_is_a_function_of_seed_and_ids_alone():
    n = 500
    stratum = np.arange(n) % 4
    q, d = keys(n)
    count = np.array([10, 20, 5, 1])
    at, weight = draw(stratum, count, 3, (q, d))
    assert np.bincount(stratum[at]).tolist() == count.tolist()
    assert weight == pytest.approx(125 / count[stratum[at]])
    turn = np.random.default_rng(9).permutation(n)
    again, _ = draw(stratum[turn], count, 3, (q[turn], d[turn]))
    assert turn[again].tolist() == at.tolist()
    assert set(draw(stratum, count, 4, (q, d))[0].tolist()) != set(at.tolist())


def test_more_hold_fewer_and_a_beginning_is_a_sample():
    stratum = np.repeat([0, 1], [900, 100])
    few, _ = draw(stratum, np.array([90, 10]), 0, keys(1000))
    more, _ = draw(stratum, np.array([180, 20]), 0, keys(1000))
    assert set(few.tolist()) <= set(more.tolist())
    assert np.bincount(stratum[few[:50]]).tolist() == [45, 5]


def test_every_item_is_as_likely():
    stratum = np.zeros(50, int)
    hits = np.zeros(50)
    for seed in range(2000):
        hits[draw(stratum, np.array([10]), seed, keys(50))[0]] += 1
    assert abs(hits / 2000 - 0.2).max() < 0.04
