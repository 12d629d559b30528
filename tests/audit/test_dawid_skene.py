from __future__ import annotations

import numpy as np
import pytest

from foils.audit.dawid_skene import consensus
from foils.audit.judges.several import voted


def votes_of(n=3000, rate=0.3, judges=((0.9, 0.9), (0.75, 0.95), (0.6, 0.85)), seed=0):
    rng = np.random.default_rng(seed)
    y = rng.random(n) < rate
    columns = [np.where(y, rng.random(n) < se, rng.random(n) > sp) for se, sp in judges]
    return y, np.stack(columns, axis=1).astype(np.int8)


def slow(votes, rounds=500, prior=0.5):
    """Dawid and Skene's EM, an item and a judge at a time."""
    n, m = votes.shape
    belief = [np.mean([v for v in row if v >= 0]) for row in votes]
    for _ in range(rounds):
        total = sum(belief)
        p = (total + prior) / (n + 2 * prior)
        rates = []
        for k in range(m):
            yes1 = sum(b for b, row in zip(belief, votes, strict=True) if row[k] == 1)
            all1 = sum(b for b, row in zip(belief, votes, strict=True) if row[k] >= 0)
            no0 = sum(1 - b for b, row in zip(belief, votes, strict=True) if row[k] == 0)
            all0 = sum(1 - b for b, row in zip(belief, votes, strict=True) if row[k] >= 0)
            rates.append(((yes1 + prior) / (all1 + 2 * prior), (no0 + prior) / (all0 + 2 * prior)))
        new = []
        for row in votes:
            a, b = p, 1 - p
            for v, (se, sp) in zip(row, rates, strict=True):
                if v >= 0:
                    a *= se if v else 1 - se
                    b *= 1 - sp if v else sp
            new.append(a / (a + b))
        done = max(abs(x - y) for x, y in zip(new, belief, strict=True)) < 1e-10
        belief = new
        if done:
            break
    return np.array(belief), rates


def test_it_is_the_em_of_the_paper():
    _, votes = votes_of(60)
    votes[::7, 1] = -1
    expected, rates = slow(votes)
    found = consensus(votes)
    assert found.probability == pytest.approx(expected, abs=1e-8)
    assert np.stack([found.sensitivity, found.specificity], axis=1) == pytest.approx(np.array(rates), abs=1e-8)


def test_it_recovers_what_each_judge_is_worth():
    y, votes = votes_of(20000)
    found = consensus(votes)
    assert found.sensitivity == pytest.approx([0.9, 0.75, 0.6], abs=0.03)
    assert found.specificity == pytest.approx([0.9, 0.95, 0.85], abs=0.03)
    assert found.prevalence == pytest.approx(0.3, abs=0.02)
    errors = [((votes[:, k] == 1) != y).mean() for k in range(3)]
    assert ((found.probability >= 0.5) != y).mean() < min(errors)


def test_identical_teachers_are_one():
    _, votes = votes_of()
    single = consensus(votes[:, [0, 0, 0]])
    assert (single.probability >= 0.5).tolist() == (votes[:, 0] == 1).tolist()
    assert single.same.tolist() == [0, 0, 0]
    doubled = consensus(votes[:, [0, 1, 2, 0, 0]])
    assert doubled.probability == pytest.approx(consensus(votes).probability)


def test_a_constant_teacher_has_no_say():
    _, votes = votes_of()
    for value in (0, 1):
        constant = np.full(len(votes), value, np.int8)
        found = consensus(np.column_stack([votes, constant]))
        assert found.weight[3] == 0
        assert found.probability == pytest.approx(consensus(votes).probability)


def test_a_random_teacher_changes_next_to_nothing():
    _, votes = votes_of(5000)
    coin = np.random.default_rng(5).integers(0, 2, len(votes)).astype(np.int8)
    before, after = consensus(votes), consensus(np.column_stack([votes, coin]))
    assert abs(after.weight[3]) < 0.3
    assert after.weight[:3] == pytest.approx(before.weight, rel=0.1)
    assert ((before.probability >= 0.5) == (after.probability >= 0.5)).mean() > 0.98


def test_order_of_teachers_does_not_matter():
    _, votes = votes_of()
    turned = consensus(votes[:, [2, 0, 1]])
    assert turned.probability == pytest.approx(consensus(votes).probability)
    assert turned.sensitivity == pytest.approx(consensus(votes).sensitivity[[2, 0, 1]])


def test_classes_do_not_change_places():
    # Judges that are wrong more often than not: only known positives can tell.
    y, votes = votes_of(judges=((0.2, 0.25), (0.15, 0.3), (0.3, 0.2)))
    known, _ = votes_of(200, rate=1.0, judges=((0.2, 0.25), (0.15, 0.3), (0.3, 0.2)), seed=1)
    anchors = votes_of(200, rate=1.0, judges=((0.2, 0.25), (0.15, 0.3), (0.3, 0.2)), seed=1)[1]
    assert known.all()
    right = ((consensus(votes, anchors).probability >= 0.5) == y).mean()
    assert right > 0.8
    assert consensus(votes, anchors).sensitivity == pytest.approx([0.2, 0.15, 0.3], abs=0.08)
    # Of judges that are right, almost all vote for "relevant" where nearly everything is.
    y, votes = votes_of(rate=0.95)
    assert ((consensus(votes).probability >= 0.5) == y).mean() > 0.9


def test_nobody_voted():
    _, votes = votes_of(100)
    votes[3] = -1
    assert np.isnan(consensus(votes).probability[3])
    assert np.isnan(consensus(np.full((4, 2), -1, np.int8)).probability).all()


def test_all_is_within_majority_is_within_any():
    _, votes = votes_of(500)
    votes[::9, 0] = -1
    any_, most, all_ = (voted(votes, rule).verdict == 1 for rule in ("any", "majority", "all"))
    assert (all_ <= most).all()
    assert (most <= any_).all()
    assert all_.sum() < most.sum() < any_.sum()
    assert voted(np.full((1, 3), -1, np.int8), "any").verdict.tolist() == [-1]
