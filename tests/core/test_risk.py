"""A rate is shown to be below a target: a slow loop, the exact binomial test, simulations of the promise."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binom
from scipy.stats import t as student

from foils.core import risk
from foils.core.errors import DataError


def slow(kept, false, target, bound):
    """Wealth query by query, as it is written in the docstring."""
    most = (1 - target) * bound
    made_up = target / (1 - target)
    wealth, best, earlier = 1.0, 1.0, []
    for k, f in zip(kept, false, strict=True):
        mean = (sum(earlier) - made_up) / (len(earlier) + 1)
        square = (sum(x * x for x in earlier) + made_up**2) / (len(earlier) + 1)
        bet = min(max(-mean / square, 0.0), 0.95)
        gain = (f - target * k) / most
        wealth *= 1 - bet * gain
        best = max(best, wealth)
        earlier.append(gain)
    return -math.log(best)


def test_it_is_the_slow_loop():
    rng = np.random.default_rng(0)
    kept = rng.integers(0, 9, (60, 3)).astype(float)
    false = rng.binomial(kept.astype(int), 0.05).astype(float)
    found = risk.log_p(kept, false, 0.1, 10.0)
    assert np.allclose(found, [slow(kept[:, j], false[:, j], 0.1, 10.0) for j in range(3)], atol=1e-12)
    assert (found < 0).all()


def test_without_a_false_one_it_is_nearly_the_exact_binomial_test():
    n, target = 200, 0.02
    ones = np.ones((n, 1))
    exact = math.log(binom.cdf(0, n, target))
    found = float(risk.log_p(ones, 0 * ones, target, 1.0)[0])
    assert exact <= found <= 0.94 * exact
    least = risk.needed(target, 0.95)
    assert risk.log_p(ones[:least], 0 * ones[:least], target, 1.0)[0] <= math.log(0.05)
    assert risk.log_p(ones[: least - 1], 0 * ones[: least - 1], target, 1.0)[0] > math.log(0.05)


def test_weights_have_no_unit_and_nothing_kept_shows_nothing():
    rng = np.random.default_rng(1)
    kept, false = rng.random((50, 4)), np.zeros((50, 4))
    assert np.allclose(risk.log_p(kept, false, 0.1, 1.0), risk.log_p(7 * kept, false, 0.1, 7.0))
    assert risk.log_p(np.zeros((50, 2)), np.zeros((50, 2)), 0.1, 1.0).tolist() == [0.0, 0.0]
    assert risk.log_p(np.zeros((0, 2)), np.zeros((0, 2)), 0.1, 1.0).tolist() == [0.0, 0.0]


def test_hall_s_statistic_is_the_one_of_the_docstring():
    rng = np.random.default_rng(4)
    kept = np.full((120, 2), 8.0)
    false = rng.binomial(8, 0.05, (120, 2)).astype(float)
    found = risk.log_p(kept, false, 0.1, 8.0, "asymptotic", unit=2.0)
    for j in range(2):
        gain = [*(false[:, j] - 0.1 * kept[:, j]), 0.9 * 2.0]
        n, mean, spread = len(gain), np.mean(gain), np.std(gain, ddof=1)
        z, g = mean / spread, np.mean((gain - mean) ** 3) / spread**3
        exact = student.logcdf(n**0.5 * (z + g * z**2 / 3 + g**2 * z**3 / 27 + g / (6 * n)), n - 1)
        assert found[j] == pytest.approx(exact, rel=0.02)
    assert risk.log_p(0 * kept, 0 * kept, 0.1, 8.0, "asymptotic").tolist() == [0.0, 0.0]
    points = np.linspace(-6, 3, 40)
    assert np.allclose(risk.log_t(points, 30), student.logcdf(points, 30), atol=0.02)


@pytest.mark.parametrize("m", [1, 8, 50])
@pytest.mark.parametrize("spread", [0.05, 0.3])
def test_the_asymptotic_test_errs_about_as_often_as_it_says_and_finds_more(m, spread):
    rng = np.random.default_rng(5)
    rounds, n, target = 2_000, 150, 0.1
    kept = np.full((n, rounds), float(m))

    def passes(rate, test):
        p = rng.beta(rate * (1 / spread - 1), (1 - rate) * (1 / spread - 1), (n, rounds))
        return (risk.log_p(kept, rng.binomial(m, p).astype(float), target, float(m), test) <= math.log(0.05)).mean()

    assert passes(target, "asymptotic") <= 0.06
    assert passes(target / 2, "asymptotic") >= passes(target / 2, "exact") - 0.02
    few = np.ones((20, 1))
    assert risk.log_p(few, 0 * few, 0.02, 1.0, "asymptotic")[0] > math.log(0.05)  # 20 labels show no 2 %


@pytest.mark.parametrize("spread", [0.05, 0.3, 0.9])
def test_a_rate_at_the_target_passes_in_at_most_a_twentieth_of_the_samples(spread):
    """The hypothesis holds with equality, the false ones come in clusters: the hardest case."""
    rng = np.random.default_rng(2)
    rounds, n, target, m = 2_000, 150, 0.1, 8
    p = rng.beta(target * (1 / spread - 1), (1 - target) * (1 / spread - 1), (n, rounds))
    false = rng.binomial(m, p).astype(float)
    passed = risk.log_p(np.full_like(false, m), false, target, float(m)) <= math.log(0.05)
    assert passed.mean() <= 0.05
    assert (risk.log_p(np.full_like(false, m), np.zeros_like(false), target, float(m)) < math.log(0.05)).all()


def test_sequences_begin_with_something_to_spare_and_stop_at_the_first_that_fails():
    bound = math.log(0.05)
    hopes = np.array([0.0, bound, 2 * bound, 3 * bound, 3 * bound, 3 * bound])
    assert risk.passing(hopes, hopes, 0.95).tolist() == [False, False, True, True, True, True]
    logs = np.array([0.0, -9, -9, -9, 0.0, -9])
    assert risk.passing(logs, hopes, 0.95).tolist() == [False, False, True, True, False, False]
    assert not risk.passing(hopes, hopes / 9, 0.95).any()
    ones = np.ones((1_500, 1))
    assert [risk.starts_of(ones[:n], 0.02, 0.95, 1.0) for n in (100, 1_200, 1_500)] == [1, 1, 4]
    much = np.array([0.0, bound, 2 * bound, 50 * bound])
    assert risk.passing(much, much, 0.95).tolist() == [False, False, True, True]
    # A large sample has four starts, each with a fourth of the error: it sees what lies beyond a hump.
    hump = np.array([-9.0, -4.0, 0.0, 0.0, -9.0, -9.0, -4.4, -4.3])
    passed = risk.passing(hump, np.repeat([-10.0, -100.0], 4), 0.95, starts=4)
    assert passed.tolist() == [True, False, False, False, True, True, True, False]
    assert risk.passing(hopes[:2], hopes[:2], 0.95).tolist() == [False, True]


def test_the_loosest_that_passes_breaks_the_target_in_at_most_a_twentieth_of_the_samples():
    """1,000 samples of queries; rates that rise with the threshold, some below the target and some above it."""
    rng = np.random.default_rng(3)
    size, m, target = 4_000, 6, 0.1
    score, shift = rng.standard_normal((size, m)), 0.8 * rng.standard_normal((size, 1))
    relevant = rng.random((size, m)) < 1 / (1 + np.exp(2.7 - 1.5 * score - shift))
    grid = np.append(np.quantile(score, np.linspace(0.2, 0.99, 25)), np.inf)
    kept = np.stack([(score < t).sum(axis=1) for t in grid], axis=1).astype(float)
    false = np.stack([((score < t) & relevant).sum(axis=1) for t in grid], axis=1).astype(float)
    true_rate = false.sum(axis=0) / kept.sum(axis=0)
    assert true_rate[0] < target / 2
    assert true_rate[-1] > target
    broken = found = 0
    for _ in range(1_000):
        some = rng.integers(0, size, 200)
        hopes = risk.log_p(kept[some], 0 * kept[some], target, float(m))
        passed = np.flatnonzero(risk.passing(risk.log_p(kept[some], false[some], target, float(m)), hopes, 0.95))
        found += len(passed) > 0
        broken += len(passed) > 0 and true_rate[passed[-1]] > target
    assert found > 900
    assert broken <= 50


def test_a_rare_query_that_keeps_many_is_reckoned_with_though_the_sample_has_none():
    """One query in a hundred keeps eight, all of them false; the others keep one that is true: 7.5 % false, not 7."""
    rng, n, rounds, target = np.random.default_rng(6), 60, 1_000, 0.07
    rare = rng.random((n, rounds)) < 0.01
    kept, false = np.where(rare, 8.0, 1.0), np.where(rare, 8.0, 0.0)
    assert target < 8 * 0.01 / (8 * 0.01 + 0.99)
    assert (risk.log_p(kept, false, target, 8.0) <= math.log(0.05)).mean() <= 0.05
    # With the samples' own maximum half of them would pass; a bound that a sample refutes is refused.
    own = [risk.log_p(k, f, target, k.max())[0] for k, f in zip(kept.T[:, :, None], false.T[:, :, None], strict=True)]
    assert (np.array(own) <= math.log(0.05)).mean() > 0.4
    with pytest.raises(DataError, match=r"weight 8, and at most 1 .*sampler's k times the largest weight"):
        risk.log_p(kept, false, target, 1.0)
