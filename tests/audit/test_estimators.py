from __future__ import annotations

import numpy as np
import pytest

from foils.audit.estimators import (
    Labelled,
    UninformativeJudge,
    assisted,
    direct,
    prediction_powered,
    quantile,
    rogan_gladen,
    wilson,
)
from foils.core.errors import SpecError
from planted import DESIGNS, Planted, covered, even, steep

RUNS = 1000


def simple(y, items=None):
    y = np.asarray(y, float)
    return Labelled(y, np.zeros(len(y), int), np.full(len(y), (items or 1e12) / len(y)))


def test_wilson_solves_its_equation():
    # |p - bound| = z sqrt(bound (1 - bound) / n) is what defines the bounds.
    for p, n in ((0.1, 50), (0.5, 7), (0.013, 300)):
        for bound in wilson(p, n):
            assert abs(p - bound) == pytest.approx(1.959964 * np.sqrt(bound * (1 - bound) / n), rel=1e-5)
    assert wilson(0.0, 100)[0] == 0
    assert wilson(1.0, 100)[1] == 1
    assert wilson(0.2, np.inf) == (0.2, 0.2)


def test_one_stratum_is_wilson_and_a_census_is_a_point():
    y = [1] * 6 + [0] * 94
    rate = direct(simple(y))
    assert (rate.low, rate.high) == pytest.approx(wilson(0.06, 100), rel=1e-6)
    counted = direct(simple(y, items=100))
    assert (counted.value, counted.low, counted.high) == (0.06, 0.06, 0.06)


def test_the_direct_estimate_is_the_weighted_mean_and_nothing_is_unknown():
    found = Labelled(np.array([1.0, 0, 0, 0, 1]), np.array([0, 0, 1, 1, 1]), np.array([5.0, 5, 30, 30, 30]))
    assert direct(found).value == pytest.approx((10 * 0.5 + 90 / 3) / 100)
    nothing = direct(found.take(np.zeros(5, bool)))
    assert np.isnan(nothing.value)
    assert (nothing.low, nothing.high) == (0, 1)


def test_direct_is_unbiased_with_unequal_inclusion_probabilities():
    sizes = np.array([50, 200, 8000])
    planted = Planted.of(sizes, np.array([40, 40, 80]), budget=90)
    planted.count = np.array([30, 30, 30])  # very unequal
    values = [direct(found).value for found, _ in planted.samples(4000)]
    assert np.mean(values) == pytest.approx(planted.rate, rel=0.03)
    unweighted = [found.share.mean() for found, _ in planted.samples(200)]
    assert np.mean(unweighted) > 5 * planted.rate


@pytest.mark.parametrize("design", DESIGNS)
@pytest.mark.parametrize("rate", [0.01, 0.03, 0.1, 0.25])
@pytest.mark.parametrize("spread", [even, steep], ids=lambda f: f.__name__)
def test_the_interval_covers(design, rate, spread):
    planted = Planted.of(DESIGNS[design], spread(DESIGNS[design], rate))
    rates = [direct(found) for found, _ in planted.samples(RUNS)]
    # 93 to 97 % of 1,000 runs, and what 1,000 runs themselves leave to chance (two standard deviations of 95 %: 1.4 %).
    assert 0.93 - 0.014 <= covered(rates, planted.rate) <= 0.97 + 0.014


def test_coverage_over_all_designs_is_nominal():
    shares = []
    for sizes in DESIGNS.values():
        for rate in (0.01, 0.03, 0.1, 0.25):
            planted = Planted.of(sizes, steep(sizes, rate))
            shares.append(covered([direct(found) for found, _ in planted.samples(300, seed=1)], planted.rate))
    assert 0.945 <= np.mean(shares) <= 0.97


def test_a_bootstrap_within_strata_would_not_cover():
    # Why the interval is not the stratified bootstrap that is often advised.
    sizes = DESIGNS["fifty small strata"]
    planted = Planted.of(sizes, even(sizes, 0.01))
    rng, hits, runs = np.random.default_rng(0), 0, 300
    W = sizes / sizes.sum()
    for found, _ in planted.samples(runs):
        f = np.bincount(found.stratum, found.share)
        again = rng.binomial(planted.count, f / planted.count, size=(400, len(sizes))) / planted.count @ W
        low, high = np.quantile(again, [0.025, 0.975])
        hits += low <= planted.rate <= high
    assert hits / runs < 0.93


JUDGES = {"the paper's": (0.8, 0.93), "poor": (0.6, 0.8), "good": (0.95, 0.97)}


@pytest.mark.parametrize("judge", JUDGES)
@pytest.mark.parametrize("rate", [0.01, 0.06, 0.2])
def test_the_assisted_interval_covers_and_is_narrower(judge, rate):
    sizes = DESIGNS["thirty uneven strata"]
    planted = Planted.of(sizes, steep(sizes, rate), judge=JUDGES[judge])
    both = [(direct(found), assisted(found, cheap, planted.called).rate) for found, cheap in planted.samples(RUNS)]
    plain, helped = zip(*both, strict=True)
    assert 0.93 - 0.014 <= covered(helped, planted.rate) <= 0.97 + 0.014
    width = [np.mean([one.high - one.low for one in rates]) for rates in (plain, helped)]
    assert width[1] < width[0]
    assert np.mean([one.value for one in helped]) == pytest.approx(planted.rate, abs=0.002)


@pytest.mark.parametrize("judge", [(0.9, 0.99), (0.7, 0.999), (0.99, 0.999)])
def test_a_nearly_exact_judge_covers_more_than_asked_never_less(judge):
    sizes = DESIGNS["thirty uneven strata"]
    for rate in (0.01, 0.06):
        planted = Planted.of(sizes, steep(sizes, rate), judge=judge)
        rates = [assisted(found, cheap, planted.called).rate for found, cheap in planted.samples(500)]
        assert covered(rates, planted.rate) >= 0.93


def test_a_cheap_judge_of_the_sample_only():
    # People judge 100 of 300 items that the cheap judge has judged.
    sizes, rng = DESIGNS["ten even strata"], np.random.default_rng(3)
    planted = Planted.of(sizes, steep(sizes, 0.1), judge=(0.8, 0.93))
    rates, alone = [], []
    for found, cheap in planted.samples(RUNS):
        first = Labelled(cheap, found.stratum, found.weight)
        order = rng.permutation(len(found))
        place = np.argsort(np.argsort(found.stratum[order], kind="stable"), kind="stable")
        starts = np.concatenate(([0], np.cumsum(planted.count)))[found.stratum[order]]
        some = np.zeros(len(found), bool)
        some[order] = place - starts < 10
        part = Labelled(found.share[some], found.stratum[some], np.full(some.sum(), 100.0))
        rates.append(assisted(part, cheap[some], direct(first).value, first=first).rate)
        alone.append(direct(part))
    assert 0.93 - 0.014 <= covered(rates, planted.rate) <= 0.97 + 0.014
    assert np.mean([r.high - r.low for r in rates]) < np.mean([r.high - r.low for r in alone])


def test_measured_figures_of_the_specification():
    """π .06, Se .80, Sp .93, N 4000, n 300: mean and standard deviation of each estimator over 2,000 runs."""
    rng = np.random.default_rng(0)
    rows = []
    for _ in range(2000):
        y = (rng.random(4000) < 0.06).astype(float)
        j = np.where(y > 0, rng.random(4000) < 0.8, rng.random(4000) < 0.07).astype(float)
        here, rest = slice(0, 300), slice(300, None)
        a, b = y[here], j[here]
        se = b[a > 0].mean() if a.any() else 1.0
        sp = 1 - b[a == 0].mean()
        rows.append(
            (
                j.mean(),
                direct(simple(a)).value,
                prediction_powered(a, b, j[rest], tuning=1.0),
                prediction_powered(a, b, j[rest]),
                rogan_gladen(j.mean(), se, sp) if se + sp > 1 else np.nan,
                assisted(simple(a, items=4000), b, float(j.mean())).rate.value,
            )
        )
    mean, spread = np.nanmean(rows, axis=0), np.nanstd(rows, axis=0)
    assert mean == pytest.approx([0.114, 0.060, 0.060, 0.059, 0.061, 0.060], abs=0.0015)
    assert spread[1:5] == pytest.approx([0.0133, 0.0170, 0.0117, 0.0219], rel=0.08)
    assert spread[5] == pytest.approx(spread[3], rel=0.05)


def test_a_perfect_judge_makes_all_estimators_equal():
    rng = np.random.default_rng(1)
    y = (rng.random(2000) < 0.1).astype(float)
    here, rest = y[:200], y[200:]
    assert rogan_gladen(y.mean(), 1.0, 1.0) == pytest.approx(y.mean())
    helped = assisted(simple(here, items=2000), here, float(y.mean()))
    assert helped.rate.value == pytest.approx(y.mean())
    assert helped.tuning == pytest.approx(1)
    assert prediction_powered(here, here, rest, tuning=1.0) == pytest.approx(rest.mean())
    # With everything labelled, there is one answer.
    assert direct(simple(y, items=2000)).value == assisted(simple(y, items=2000), y, float(y.mean())).rate.value


def test_a_constant_judge_changes_nothing():
    y = np.array([1.0, 0, 0, 0, 1, 0])
    for value in (0.0, 1.0, 0.4):
        said = np.full(6, value)
        assert prediction_powered(y, said, np.full(50, value)) == pytest.approx(y.mean())
        helped = assisted(simple(y), said, value)
        assert helped.tuning == 0
        assert helped.rate == direct(simple(y))


def test_a_contrary_judge_is_not_followed():
    y = np.array([1.0, 0, 0, 0, 1, 0, 0, 1])
    assert assisted(simple(y), 1 - y, 0.5).rate == direct(simple(y))


@pytest.mark.parametrize(("se", "sp"), [(0.5, 0.5), (0.2, 0.8), (0.1, 0.3)])
def test_an_uninformative_judge_is_refused(se, sp):
    with pytest.raises(UninformativeJudge, match="say nothing"):
        rogan_gladen(0.3, se, sp)


def test_doubt_widens_the_interval():
    sure = direct(simple([1] * 10 + [0] * 90))
    doubtful = direct(simple([0.5] * 20 + [0] * 80))
    assert doubtful.value == sure.value
    assert doubtful.high - doubtful.low >= sure.high - sure.low - 1e-12


def test_bad_levels():
    for level in (0.0, 1.0, 95.0):
        with pytest.raises(SpecError, match="level"):
            quantile(level)
