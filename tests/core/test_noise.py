import numpy as np
from scipy import stats

from foils.core import noise, segments


def keys(n, start=0):
    return np.array([noise.key_of(str(i)) for i in range(start, start + n)], np.uint64)


def test_draws_depend_on_all_four_and_on_nothing_else():
    q, d = keys(1)[0], keys(1, 5)[0]
    one = noise.uniform(3, "s", np.array([q]), np.array([d]))
    assert one == noise.uniform(3, "s", np.array([q, q]), np.array([d, q]))[:1]
    others = [
        noise.uniform(4, "s", np.array([q]), np.array([d])),
        noise.uniform(3, "t", np.array([q]), np.array([d])),
        noise.uniform(3, "s", np.array([d]), np.array([q])),
    ]
    assert all(other != one for other in others)


def test_uniform_is_uniform_and_gumbel_is_gumbel():
    q, d = np.repeat(keys(200), 200), np.tile(keys(200, 1000), 200)
    u = noise.uniform(0, "s", q, d)
    assert u.min() > 0
    assert u.max() < 1
    assert stats.kstest(u, "uniform").pvalue > 1e-3
    assert stats.kstest(noise.gumbel(0, "s", q, d), "gumbel_r").pvalue > 1e-3
    grid = u.reshape(200, 200)
    assert abs(np.corrcoef(grid[0], grid[1])[0, 1]) < 0.3


def test_gumbel_top_1_draws_in_proportion_to_the_weights():
    weights = np.array([0.5, 0.3, 0.15, 0.05])
    n = 40_000
    q, d = np.repeat(keys(n), 4), np.tile(keys(4, 10**6), n)
    logits = np.tile(np.log(weights), n) + noise.gumbel(1, "s", q, d)
    chosen = segments.topk_mask(logits, np.arange(0, 4 * n + 1, 4), 1).reshape(n, 4).sum(axis=0)
    assert stats.chisquare(chosen, weights * n).pvalue > 1e-3
