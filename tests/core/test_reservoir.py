from collections import Counter

import numpy as np
import pytest

from foils.core.errors import DataError
from foils.core.reservoir import Reservoir, sample


def drawn(keys, k, seed=0, chunks=(), weights=None, stream="reservoir"):
    found = Reservoir(k, seed, stream)
    for part in np.split(np.arange(len(keys)), chunks):
        found.add(np.asarray(keys)[part], None if weights is None else np.asarray(weights)[part])
    return found.keys.tolist()


def test_every_item_is_in_with_probability_k_over_n():
    n, k, times = 40, 6, 4000
    counts = np.zeros(n)
    for seed in range(times):
        counts[drawn(range(n), k, seed)] += 1
    expected = times * k / n
    sigma = np.sqrt(times * (k / n) * (1 - k / n))
    assert np.abs(counts - expected).max() < 4.5 * sigma
    # chi-squared with n - 1 degrees of freedom, scaled for sampling without replacement
    assert ((counts - expected) ** 2).sum() / sigma**2 < (n - 1) + 5 * np.sqrt(2 * (n - 1))


def test_pairs_of_items_are_together_as_often_as_without_replacement():
    n, k, times = 8, 3, 4000
    together = Counter(tuple(drawn(range(n), k, seed)) for seed in range(times))
    assert len(together) == 56
    assert max(together.values()) < times / 56 + 5 * np.sqrt(times / 56)
    assert min(together.values()) > times / 56 - 5 * np.sqrt(times / 56)


@pytest.mark.parametrize("chunks", [(), (1,), (3, 50, 51), range(1, 100)])
def test_chunks_and_order_change_nothing(chunks):
    keys = np.random.default_rng(0).permutation(100) * 7
    assert drawn(keys, 9, chunks=list(chunks)) == drawn(np.sort(keys), 9)
    weights = keys + 1.0
    assert drawn(keys, 9, chunks=list(chunks), weights=weights) == drawn(np.sort(keys), 9, weights=np.sort(weights))


def test_shards_merge_to_the_sample_of_the_whole():
    left, right = Reservoir(5), Reservoir(5)
    left.add(np.arange(0, 30))
    right.add(np.arange(30, 100))
    left.merge(right)
    assert left.keys.tolist() == drawn(range(100), 5)
    with pytest.raises(ValueError, match="same"):
        left.merge(Reservoir(5, seed=1))


def test_seeds_and_streams_differ_and_short_streams_are_kept_whole():
    assert drawn(range(100), 5) == drawn(range(100), 5)
    assert drawn(range(100), 5, seed=1) != drawn(range(100), 5)
    assert drawn(range(100), 5, stream="other") != drawn(range(100), 5)
    assert drawn(range(3), 5) == [0, 1, 2]
    assert drawn([], 5) == []


def test_weighted_frequencies_for_one_item_are_the_weights():
    weights, times = np.array([1.0, 2.0, 3.0, 4.0, 0.0]), 8000
    counts = np.bincount([drawn(range(5), 1, seed, weights=weights)[0] for seed in range(times)], minlength=5)
    chance = weights / weights.sum()
    assert (np.abs(counts - times * chance) <= 4.5 * np.sqrt(times * chance * (1 - chance))).all()
    assert counts[4] == 0


def test_weighted_pairs_follow_successive_draws():
    # P({0, 1}) = p0 p1 / (1 - p0) + p1 p0 / (1 - p1)
    p, times = np.array([0.5, 0.3, 0.2]), 6000
    found = Counter(tuple(drawn(range(3), 2, seed, weights=p)) for seed in range(times))
    for a, b in ((0, 1), (0, 2), (1, 2)):
        chance = p[a] * p[b] * (1 / (1 - p[a]) + 1 / (1 - p[b]))
        assert abs(found[a, b] - times * chance) < 4.5 * np.sqrt(times * chance * (1 - chance))


@pytest.mark.parametrize("weight", [-1.0, np.nan, np.inf])
def test_bad_weights_are_refused(weight):
    with pytest.raises(DataError, match="at least 0"):
        Reservoir(2).add([1, 2], [1.0, weight])


def test_k_must_be_positive():
    with pytest.raises(ValueError, match="at least 1"):
        Reservoir(0)


def test_sample_gives_places():
    keys = np.array([50, 3, 77, 12], np.uint64)
    places = sample(keys, 2, seed=3, stream="x")
    assert len(places) == 2
    assert sorted(keys[places].tolist()) == drawn(keys, 2, seed=3, stream="x")
    assert sample(keys, 9, seed=3, stream="x").tolist() == [0, 1, 2, 3]
