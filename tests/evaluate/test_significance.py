"""Oracles: scipy's permutation test and bootstrap, slow counts, simulated nulls, and the properties of each test."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from foils.evaluate import significance
from foils.evaluate.significance import (
    all_over_seeds,
    bootstrap_means,
    detectable,
    holm,
    interval,
    intervals,
    over_seeds,
    ratio,
    sign_flip,
)

GENERATOR = np.random.default_rng(7)
NORMAL = GENERATOR.normal(0.05, 0.3, size=80)


def test_no_difference_gives_p_1():
    assert sign_flip(np.zeros(50)).p == 1.0
    assert sign_flip([]).p == 1.0


@pytest.mark.parametrize("n", [1, 3, 8, 12])
def test_exact_equals_a_slow_count_over_all_sign_patterns(n):
    values = np.round(np.random.default_rng(n).normal(0.2, 0.5, n), 1)  # rounded, so that ties occur
    values = values[values != 0]
    observed = abs(values.mean())
    means = [abs(np.mean(values * signs)) for signs in itertools.product([1, -1], repeat=len(values))]
    expected = np.mean([mean >= observed - 1e-9 for mean in means])
    result = sign_flip(values)
    assert result.method == "exact"
    assert result.p == pytest.approx(expected, abs=1e-15)


def test_exact_equals_scipy():
    values = NORMAL[:12]
    oracle = stats.permutation_test(
        (values,), np.mean, permutation_type="samples", n_resamples=np.inf, alternative="two-sided"
    )
    assert sign_flip(values).p == pytest.approx(oracle.pvalue, abs=1e-12)


def test_sampled_agrees_with_scipy():
    oracle = stats.permutation_test(
        (NORMAL,), np.mean, permutation_type="samples", n_resamples=20_000, alternative="two-sided", rng=1
    )
    result = sign_flip(NORMAL)
    assert (result.method, result.rounds) == ("sampled", 10_000)
    standard_error = np.sqrt(oracle.pvalue * (1 - oracle.pvalue) * (1 / 10_000 + 1 / 20_000))
    assert abs(result.p - oracle.pvalue) < 4 * standard_error


def test_sampled_agrees_with_exact():
    values = NORMAL[:13]
    exact = sign_flip(values, rounds=2**13)
    sampled = sign_flip(values, rounds=2**13 - 1)
    assert (exact.method, sampled.method) == ("exact", "sampled")
    assert abs(exact.p - sampled.p) < 4 * np.sqrt(exact.p * (1 - exact.p) / 2**13)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from([-1.0, -0.5, 0.0, 1 / 3, 0.5, 1.0]), min_size=1, max_size=40))
def test_p_is_symmetric_and_bounded(differences):
    values = np.array(differences)
    result = sign_flip(values, rounds=500)
    assert result.p == sign_flip(-values, rounds=500).p
    assert 1 / 501 <= result.p <= 1


def test_p_cannot_be_zero():
    assert sign_flip(np.ones(60), rounds=999).p == 1 / 1000


def test_zero_differences_do_not_matter():
    padded = np.concatenate([np.zeros(30), NORMAL, np.zeros(11)])
    assert sign_flip(padded).p == sign_flip(NORMAL).p


def test_null_rate_is_about_five_percent():
    generator = np.random.default_rng(3)
    trials = 600
    rejected = sum(sign_flip(generator.normal(0, 1, 60), rounds=600, seed=i).p <= 0.05 for i in range(trials))
    assert stats.binomtest(rejected, trials, 0.05).pvalue > 0.001


def test_a_real_difference_is_found():
    assert sign_flip(np.random.default_rng(1).normal(0.2, 0.3, 300)).p < 0.001


def test_same_seed_same_result_whatever_the_chunk(monkeypatch):
    before = sign_flip(NORMAL, seed=5).p, bootstrap_means(NORMAL, rounds=300, seed=5)
    monkeypatch.setattr(significance, "_CELLS", 7 * len(NORMAL))
    after = sign_flip(NORMAL, seed=5).p, bootstrap_means(NORMAL, rounds=300, seed=5)
    assert before[0] == after[0]
    np.testing.assert_allclose(before[1], after[1], rtol=0, atol=1e-15)
    assert sign_flip(NORMAL, seed=6).p != before[0]


def test_bootstrap_interval_agrees_with_scipy():
    oracle = stats.bootstrap((NORMAL,), np.mean, n_resamples=20_000, method="percentile", rng=2).confidence_interval
    got = interval(NORMAL)
    assert got.low == pytest.approx(oracle.low, abs=0.004)
    assert got.high == pytest.approx(oracle.high, abs=0.004)


def test_bootstrap_of_a_constant_is_a_point_and_shifts_with_the_values():
    assert interval(np.full(9, 0.25)).low == pytest.approx(0.25)
    shifted, plain = interval(NORMAL + 2), interval(NORMAL)
    assert shifted.low - plain.low == pytest.approx(2)
    assert shifted.high - plain.high == pytest.approx(2)


def test_wider_level_wider_interval():
    narrow, wide = interval(NORMAL, level=0.8), interval(NORMAL, level=0.99)
    assert wide.low < narrow.low < NORMAL.mean() < narrow.high < wide.high


def test_columns_share_their_resamples():
    table = np.stack([NORMAL, NORMAL * 3, NORMAL[::-1]], axis=1)
    means = bootstrap_means(table, rounds=200, seed=4)
    np.testing.assert_allclose(means[:, 1], 3 * means[:, 0], atol=1e-12)
    np.testing.assert_allclose(means[:, 2], bootstrap_means(NORMAL[::-1], rounds=200, seed=4)[:, 0], atol=1e-12)
    assert intervals(table)[0].low == pytest.approx(interval(NORMAL).low, abs=1e-12)


def test_coverage_of_the_interval():
    generator = np.random.default_rng(8)
    trials = 300
    hits = 0
    for i in range(trials):
        got = interval(generator.exponential(1.0, 100), rounds=500, seed=i)
        hits += got.low <= 1.0 <= got.high
    assert 0.89 < hits / trials < 0.98  # nominal .95; a percentile interval of a skewed mean falls a little short


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_is_at_least_raw_monotone_and_order_free(p):
    raw = np.array(p)
    corrected = holm(raw)
    assert (corrected >= raw).all()
    assert (corrected <= 1).all()
    order = np.argsort(raw, kind="stable")
    assert (np.diff(corrected[order]) >= 0).all()
    np.testing.assert_array_equal(holm(raw[::-1])[::-1], corrected)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.floats(0.001, 0.2))
def test_holm_rejects_what_the_step_down_procedure_rejects(p, alpha):
    corrected = holm(p)
    going = True
    for step, i in enumerate(np.argsort(p, kind="stable")):
        bound = alpha / (len(p) - step)
        if abs(p[i] - bound) < 1e-9:
            return  # decided by the last bit
        going = going and p[i] <= bound
        assert (corrected[i] <= alpha) == going


def test_detectable_difference():
    values = np.random.default_rng(0).normal(0, 0.3, 50)
    assert detectable(values) == pytest.approx(2.8016 * values.std(ddof=1) / np.sqrt(50), rel=1e-4)
    assert np.isnan(detectable([0.1]))


@pytest.mark.parametrize("call", [sign_flip, interval])
def test_refuses_what_cannot_be_tested(call):
    with pytest.raises(ValueError, match="1 of 2 values are not finite"):
        call([0.1, np.nan])
    with pytest.raises(ValueError, match="rounds=0"):
        call([0.1], rounds=0)


def test_bootstrap_needs_values_and_a_level():
    with pytest.raises(ValueError, match="at least one value"):
        interval([])
    with pytest.raises(ValueError, match="level=95"):
        interval([0.1], level=95)


def _study(generator, seeds, queries, *, of_seeds, of_queries, mean=0.0):
    """Differences of a study whose seeds and queries were drawn: (seeds, queries)."""
    by_seed = generator.normal(0, of_seeds, (seeds, 1))
    by_query = generator.normal(0, of_queries, (1, queries))
    return mean + by_seed + by_query + generator.normal(0, 0.1, (seeds, queries))


@pytest.mark.parametrize(("of_seeds", "of_queries"), [(0.03, 0.1), (0.002, 0.3), (0.02, 0.14)])
@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_intervals_over_seeds_cover_the_truth(seeds, of_seeds, of_queries):
    generator = np.random.default_rng(seeds)
    inside = wrong = 0
    for _ in range(400):
        found = over_seeds(
            _study(generator, seeds, 60, of_seeds=of_seeds, of_queries=of_queries, mean=0.05) - 0.05, rounds=400
        )
        inside += found.interval.low <= 0 <= found.interval.high
        wrong += found.p <= 0.05
    assert inside / 400 >= 0.93  # three standard errors below .95 is .917; wide is allowed, narrow is not
    assert wrong / 400 <= 0.07
    if of_seeds == 0.03:
        assert inside / 400 <= 0.99


def test_resampling_three_seeds_would_not_cover():
    """Why seeds are not resampled: where they decide, the interval is that of the least and the greatest of them."""
    generator = np.random.default_rng(1)
    inside = 0
    for _ in range(300):
        means = _study(generator, 3, 200, of_seeds=0.05, of_queries=0.01).mean(axis=1)
        drawn = means[generator.integers(0, 3, (400, 3))].mean(axis=1)
        low, high = np.quantile(drawn, [0.025, 0.975])
        inside += low <= 0 <= high
    assert inside / 300 < 0.85


def test_over_one_seed_is_what_the_queries_say():
    found = over_seeds(NORMAL[None])
    assert found.interval == interval(NORMAL)
    assert found.p == sign_flip(NORMAL).p
    assert found.detectable == detectable(NORMAL)


def test_over_seeds_that_agree_is_nearly_the_bootstrap_of_the_queries():
    found = over_seeds(np.stack([NORMAL] * 3))
    alone = interval(NORMAL)
    assert (found.interval.low, found.interval.high) == pytest.approx((alone.low, alone.high))
    assert found.p == pytest.approx(sign_flip(NORMAL).p, abs=0.02)
    apart = over_seeds(np.stack([NORMAL - 0.1, NORMAL, NORMAL + 0.1]))
    assert apart.interval.high - apart.interval.low > 2 * (alone.high - alone.low)
    assert apart.p > found.p
    assert apart.detectable > found.detectable


def test_over_seeds_is_symmetric_and_refuses_nothing():
    values = np.stack([NORMAL, NORMAL[::-1]])
    assert over_seeds(values).p == pytest.approx(over_seeds(-values).p, abs=0.02)
    assert over_seeds(np.zeros((3, 40))).p == 1.0
    for wrong in (np.zeros((0, 3)), np.zeros((3, 0)), np.zeros(3)):
        with pytest.raises(ValueError, match="at least one of each"):
            over_seeds(wrong)
    with pytest.raises(ValueError, match="not finite"):
        over_seeds([[np.nan, 1.0], [0.0, 1.0]])


def test_tables_of_unlike_seeds_are_measured_together():
    one, three = NORMAL[None], np.stack([NORMAL, NORMAL + 0.02, NORMAL - 0.02])
    for both, alone in zip(all_over_seeds([one, three]), (over_seeds(one), over_seeds(three)), strict=True):
        assert both.interval.low == pytest.approx(alone.interval.low)
        assert both.p == pytest.approx(alone.p, abs=2e-4)
        assert both.interval.method == alone.interval.method
    assert all_over_seeds([]) == []


def test_a_ratio_of_sums_is_resampled_by_query():
    rng = np.random.default_rng(0)
    whole = rng.integers(0, 9, 80)
    part = rng.binomial(whole, 0.3)
    found = ratio(part, whole, rounds=4_000)
    assert found.value == part.sum() / whole.sum()
    some = whole > 0
    draws = rng.integers(0, some.sum(), (4_000, some.sum()))
    slow = part[some][draws].sum(axis=1) / whole[some][draws].sum(axis=1)
    assert np.allclose([found.low, found.high], np.quantile(slow, [0.025, 0.975]), atol=0.005)
    assert ratio([0, 0], [0, 0]).facts() == {"value": None, "low": None, "high": None}
    # All of a query or nothing: four queries, not eight independent judgements.
    wide, narrow = ratio([2, 2, 0, 0], [2, 2, 2, 2]), ratio([1, 1, 1, 1], [2, 2, 2, 2])
    assert wide.high - wide.low > 0.5
    assert narrow.high == narrow.low == 0.5


def test_holm_refuses_what_is_no_p_value():
    with pytest.raises(ValueError, match="1 of 3 p-values are NaN"):
        holm([0.01, float("nan"), 0.03])
