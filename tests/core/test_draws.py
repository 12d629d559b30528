"""The rate of what was drawn from: closed forms, a slow search for the worst case, and simulations of the promise."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy.stats import binom

from foils.core import draws
from foils.core.draws import Draw
from foils.core.errors import DataError

LEVEL = math.log(0.05)


def one(size, count):
    return Draw(np.array([size]), np.array([count]), np.array([0]))


def test_where_strata_are_drawn_alike_it_is_the_exact_binomial_test():
    kept, none = np.array([[10_000.0, 2_500.0, 2_500.0, 2_500.0]]), np.zeros(4)
    found = draws.log_p(none, np.array([3.0, 0.0, 1.0, 2.0]), kept, none, one(10_000, 600), 0.02)
    assert found[:3] == pytest.approx([binom.logcdf(3, 600, 0.02), *binom.logcdf([0, 1], 600, 0.005)])
    assert binom.logcdf(2, 600, 0.005) == pytest.approx(found[3])
    more = draws.log_p(none, np.array([12.0, 3.0, 2.1, 700.0]), kept, none, one(10_000, 600), 0.02)
    assert more[[0, 1, 3]].tolist() == [0.0] * 3  # as many as expected, or one less
    nothing = draws.log_p(np.zeros(1), np.zeros(1), np.array([[0.0]]), np.zeros(1), one(10_000, 600), 0.02)
    assert nothing.tolist() == [0.0]


def test_with_false_ones_it_is_chernoff_s_bound_of_a_poisson_number():
    """For m false labels where λ were to be expected: λ - m + m log(m/λ)."""
    m, expected = 4, 0.05 * 300
    found = float(draws.log_p(np.array([m * 20.0]), None, np.array([[6_000.0]]), np.zeros(1), one(6_000, 300), 0.05)[0])
    assert found == pytest.approx(-(expected - m + m * math.log(m / expected)), rel=5e-3)


@pytest.mark.parametrize("shown", [(0.2, 0.1, 0.04), (0.05, 0.1, 0.2), (0.1, 0.2, 0.1)])
def test_false_ones_are_hidden_where_they_show_least(shown):
    """By a search over all ways to hide them: as many as a stratum has, and as are kept of its part."""
    draw = Draw(np.array([20, 30, 25]), np.array([4, 3, 1]), np.array([0, 0, 1]))
    kept, least = np.array([[25.0], [15.0]]), 31
    ways = (way for way in itertools.product(range(21), range(31), range(16)) if sum(way) == least)
    worst = min(np.dot(shown, way) for way in ways if way[0] + way[1] <= 25)
    assert draws._hidden(np.array(shown), np.array([31.0]), kept, draw) == pytest.approx([worst])


def test_what_was_not_audited_counts_as_false():
    kept = np.array([[900.0, 900.0, 900.0]])
    found = draws.log_p(np.zeros(3), None, kept, np.array([0.0, 20.0, 60.0]), one(1_000, 400), 0.05)
    assert found[0] < found[1] < found[2] == 0.0
    assert found[1] == pytest.approx(-(0.05 * 920 - 20) * 0.4, rel=1e-6)


def test_a_stratum_without_labels_may_hold_them_all():
    draw = Draw(np.array([900, 100]), np.array([400, 0]), np.array([0, 0]))
    found = draws.log_p(np.zeros(2), np.zeros(2), np.array([[1_000.0, 1_000.0]]), np.zeros(2), draw, 0.1)
    assert found.tolist() == [0.0, 0.0]
    assert draws.log_p(np.zeros(1), np.zeros(1), np.array([[1_000.0]]), np.zeros(1), draw, 0.12)[0] < LEVEL


def test_what_is_no_draw_is_refused():
    for size, count in ((3, 4), (0, 0)):
        with pytest.raises(DataError, match="no draw"):
            one(size, count)


def _population(rng, how, strata):
    """Where the false ones are, at the target's rate: the stratum of each candidate, and whether it is false."""
    sizes = np.array(strata)
    of = np.repeat(np.arange(len(sizes)), sizes)
    total = round(0.1 * len(of))
    false = np.zeros(len(of), bool)
    if how == "even":
        false[rng.permutation(len(of))[:total]] = True
    elif how == "one stratum":  # all of it, and of the next ones
        false[-total:] = True
    else:  # whole queries of 20 candidates: what the sample of queries fears
        false[rng.permutation(len(of) // 20)[: total // 20, None] * 20 + np.arange(20)] = True
    return of, false


@pytest.mark.parametrize("how", ["even", "one stratum", "queries"])
@pytest.mark.parametrize("counts", [(30, 45, 45, 30), (60, 40, 20, 30), (100, 30, 10, 10)])
def test_a_rate_at_the_target_passes_in_at_most_a_twentieth_of_the_draws(how, counts):
    """The last stratum is labelled least for its size, and in the worst population it holds all false ones."""
    rng = np.random.default_rng(7)
    strata = (400, 600, 600, 400)
    of, false = _population(rng, how, strata)
    draw = Draw(np.array(strata), np.array(counts), np.zeros(4, np.int64))
    target = false.mean()
    rows = [np.flatnonzero(of == h) for h in range(4)]
    drawn = np.array(
        [[false[rng.permutation(mine)[:n]].sum() for mine, n in zip(rows, counts, strict=True)] for _ in range(2_000)]
    )
    found, counted = drawn @ (draw.size / draw.count), drawn.sum(axis=1).astype(float)
    kept, none = np.full((1, len(found)), float(len(of))), np.zeros(len(found))
    assert (draws.log_p(found, counted, kept, none, draw, target) <= LEVEL).mean() <= 0.05
    assert (draws.log_p(found, None, kept, none, draw, target) <= LEVEL).mean() <= 0.05
    if how == "one stratum" and counts[3] < 30:  # who takes all labels for equal is wrong more often
        even = one(2_000, sum(counts))
        assert (draws.log_p(found, counted, kept, none, even, target) <= LEVEL).mean() > 0.05


@pytest.mark.parametrize(("shares", "rate"), [(False, 0.03), (True, 0.01)])
def test_few_labels_show_a_rate_below_the_target(shares, rate):
    """10 % allowed, 150 labels drawn in proportion: nine draws in ten show 3 %, or 1 % where labels are shares."""
    rng = np.random.default_rng(8)
    counted = rng.binomial(150, rate, 2_000).astype(float)
    every = np.full((1, 2_000), 2_000.0)
    given = counted * 2_000 / 150, None if shares else counted
    assert (draws.log_p(*given, every, np.zeros(2_000), one(2_000, 150), 0.1) <= LEVEL).mean() > 0.9
