"""Figures under resamples against scipy and scikit-learn on the resampled pairs themselves."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import average_precision_score

from foils.evaluate.transfer import resampled


@pytest.mark.parametrize("digits", [0, 1, 8])  # many ties, some, none
def test_spearman_is_scipys(digits):
    rng = np.random.default_rng(digits)
    one = rng.standard_normal(40).round(digits)
    other = (one + rng.standard_normal(40)).round(digits)
    weights = np.concatenate((np.ones((1, 40)), *resampled.resamples(40, 5, 0)))
    expected = [stats.spearmanr(*(np.repeat(x, w.astype(int)) for x in (one, other)))[0] for w in weights]
    np.testing.assert_allclose(resampled.spearman(one, other, weights), expected, rtol=1e-12)
    np.testing.assert_allclose(resampled.spearman(other, one, weights), expected, rtol=1e-12)


@pytest.mark.parametrize("digits", [0, 1, 8])
def test_average_precision_is_that_of_scikit_learn(digits):
    rng = np.random.default_rng(digits)
    right = rng.random(40) < 0.3
    score = (right + rng.standard_normal(40)).round(digits)
    weights = np.concatenate((np.ones((1, 40)), *resampled.resamples(40, 5, 1)))
    expected = [average_precision_score(right, score, sample_weight=w) for w in weights]
    np.testing.assert_allclose(resampled.average_precision(score, right, weights), expected, rtol=1e-12)


def test_where_there_is_no_order():
    ones = np.ones((2, 4))
    assert resampled.spearman(np.ones(4), np.arange(4.0), ones).tolist() == [0, 0]
    assert np.isnan(resampled.average_precision(np.arange(4.0), np.zeros(4, bool), ones)).all()


def test_resamples_do_not_depend_on_blocks(monkeypatch):
    whole = np.concatenate(list(resampled.resamples(7, 20, 3)))
    monkeypatch.setattr(resampled, "_CELLS", 21)
    blocks = list(resampled.resamples(7, 20, 3))
    assert len(blocks) == 7
    np.testing.assert_array_equal(np.concatenate(blocks), whole)
    assert (whole.sum(axis=1) == 7).all()
