from __future__ import annotations

import tracemalloc
from itertools import combinations

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


def test_agreement_is_that_of_all_pairs():
    rng = np.random.default_rng(3)
    votes = [rng.choice([0, 0.25, 1 / 3, 1], rng.integers(1, 7)).tolist() for _ in range(60)]
    several = [one for one in votes if len(one) > 1]
    alike = [np.mean([1 - abs(a - b) for a, b in combinations(one, 2)]) for one in several]
    said = [value for one in several for value in one]
    chance = np.mean([1 - abs(a - b) for a in said for b in said])
    found = agreement(votes)
    assert (found["items"], found["share"]) == (len(several), pytest.approx(np.mean(alike)))
    assert found["kappa"] == pytest.approx((np.mean(alike) - chance) / (1 - chance))
    assert agreement([[0.1] * 7, [0.1] * 5])["kappa"] is None  # nobody differs


def test_agreement_of_many_labels_needs_little_memory():
    votes = [[0.0, 1.0, 1.0]] * 1000
    tracemalloc.start()
    agreement(votes)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5e6  # 3,000² differences are 72 MB
