from __future__ import annotations

import numpy as np
import pytest

from foils.audit.judges import Verdicts
from foils.audit.quality import agreement, kappa, quality


def test_a_judge_against_labels():
    said = Verdicts.of([1, 1, 0, 0, -1], [0.9, 0.8, 0.1, 0.2, 0.5])
    found = quality(said, np.array([1.0, 0, 1, 0, 1]), np.ones(5))
    assert (found.items, found.precision, found.recall, found.specificity, found.kappa) == (4, 0.5, 0.5, 0.5, 0.0)
    assert found.ece == pytest.approx((0.1 + 0.8 + 0.9 + 0.2) / 4)
    assert np.isnan(said.probability[4])


def test_weights_count_items_so_often():
    rng = np.random.default_rng(0)
    verdict, truth, weight = rng.integers(0, 2, 40), rng.integers(0, 2, 40).astype(float), rng.integers(1, 5, 40)
    one = quality(Verdicts.of(verdict), truth, weight.astype(float))
    many = quality(Verdicts.of(np.repeat(verdict, weight)), np.repeat(truth, weight), np.ones(weight.sum()))
    for name in ("precision", "recall", "specificity", "kappa"):
        assert getattr(one, name) == pytest.approx(getattr(many, name))
    assert one.ece is None


def test_kappa_by_hand():
    # Cohen's own numbers: p_o = .70, p_e = .50.
    assert kappa(20, 5, 10, 15) == pytest.approx(0.4)
    assert kappa(10, 0, 0, 10) == 1
    assert kappa(0, 10, 10, 0) == -1
    assert kappa(5, 0, 0, 0) is None


def test_what_cannot_be_told_is_none():
    found = quality(Verdicts.of([0, 0]), np.array([0.0, 0.0]), np.ones(2))
    assert (found.precision, found.recall, found.kappa, found.specificity) == (None, None, None, 1.0)


def test_people_agree():
    assert agreement([[1], [0]]) == {"items": 0, "share": None, "kappa": None}
    assert agreement([[1, 1], [0, 0], [1]])["share"] == 1
    half = agreement([[1, 0], [1, 1], [0, 0], [0, 1]])
    assert half["share"] == 0.5
    assert half["kappa"] == pytest.approx(0)
