"""Distance-weighted and TAS-B sampling: golden numbers, slow loops, exact draw probabilities."""

from __future__ import annotations

import math
from collections import defaultdict

import numpy as np
import pytest

from foils.core.errors import PipelineError, SpecError
from foils.core.pairs import Pairs
from foils.stages import BM25, Balanced, DistanceWeighted
from foils.stages.balance import bins_of
from reference.drawing import frequencies, inclusion


def scored(scores, positive=0.9):
    label = [1] + [0] * len(scores)
    return Pairs.build([0] * len(label), range(len(label)), label, scores={"m": [positive, *scores]})


def shares(sampler, pairs, ctx=None):
    logits = sampler.weigh(pairs, ctx)[pairs.label == 0]
    weights = np.exp(logits - logits.max())
    return weights / weights.sum()


# Specification, appendix A10.
@pytest.mark.parametrize(
    ("dim", "expected"),
    [(4, [0.367781, 0.367781, 0.123074, 0.077279, 0.064084, 0]), (128, [0.5, 0.5, 0, 0, 0, 0])],
)
def test_golden_distances(dim, expected):
    d = np.array([0.3, 0.5, 0.9, 1.2, 1.39, 1.5])
    got = shares(DistanceWeighted(k=1, dim=dim), scored(1 - d**2 / 2))
    assert got == pytest.approx(expected, abs=2e-6)


def pytorch_metric_learning(distances, dim, cutoff, beyond):
    """The released miner's arithmetic for one anchor, in its order of steps."""
    mat = [max(d, cutoff) for d in distances]
    log_weights = [(2.0 - dim) * math.log(d) - ((dim - 3) / 2) * math.log(1.0 - 0.25 * d**2) for d in mat]
    top = max(log_weights)
    weights = [math.exp(w - top) * (d < beyond) for w, d in zip(log_weights, mat, strict=True)]
    return np.array(weights) / sum(weights)


@pytest.mark.parametrize("dim", [2, 3, 16, 64])
def test_distances_weigh_as_in_the_released_miner(dim):
    rng = np.random.default_rng(dim)
    for _ in range(20):
        scores = rng.uniform(0.05, 0.99, 12).astype(np.float32)
        d = np.sqrt(2 - 2 * scores.astype(float))
        expected = pytorch_metric_learning(d.tolist(), dim, 0.4, 1.3)
        got = shares(DistanceWeighted(k=1, dim=dim, cutoff=0.4, beyond=1.3), scored(scores))
        assert got == pytest.approx(expected, rel=1e-6, abs=1e-12)


def test_a_query_with_nothing_near_draws_uniformly():
    pairs = Pairs.build([0, 0, 1, 1], range(4), scores={"m": [-0.5, -0.9, 0.5, -0.9]})
    assert DistanceWeighted(k=1, dim=8).weigh(pairs, None)[:2].tolist() == [0, 0]
    assert np.isneginf(DistanceWeighted(k=1, dim=8).weigh(pairs, None)[3])


def test_distances_need_unit_vectors_and_a_dimension(context):
    with pytest.raises(PipelineError, match=r"1 of 3 scores 'm' are beyond \[-1, 1\], such as 7"):
        DistanceWeighted(k=1, dim=8).weigh(scored([0.5, 7.0]), None)
    known = context().data.positives("train").bare()
    with pytest.raises(PipelineError, match=r"'bm25' names no bi-encoder.*Pass dim="):
        (BM25(k=5) >> DistanceWeighted(k=1))(known, context())
    for bad in ({"cutoff": 0.0}, {"beyond": 0.3}, {"beyond": 2.5}, {"dim": 1}):
        with pytest.raises(SpecError, match=next(iter(bad))):
            DistanceWeighted(k=1, **bad)
    student = scored([0.5, 0.1])
    named = Pairs.build([0] * 3, range(3), student.label, scores={"student": student["m"]})
    assert shares(DistanceWeighted(k=1), named, context()) == pytest.approx(
        shares(DistanceWeighted(k=1, dim=16), named)
    )


def test_golden_bins():
    # Specification, appendix A7: the last bin is closed.
    margin = np.array([0.0, 1, 2, 9, 10, 4, 4, 4])
    starts, mask = np.array([0, 5, 8]), np.ones(8, bool)
    assert bins_of(margin, mask, starts, 10).tolist() == [0, 1, 2, 9, 9, 0, 0, 0]


def test_bins_are_those_of_a_loop():
    rng = np.random.default_rng(2)
    for _ in range(50):
        margin = rng.integers(-50, 50, 12).astype(float)
        low, high = margin.min(), margin.max()
        edges = [low + (high - low) * i / 4 for i in range(5)]
        slow = [max(b for b in range(4) if m >= edges[b]) for m in margin]
        assert bins_of(margin, np.ones(12, bool), np.array([0, 12]), 4).tolist() == slow


@pytest.mark.parametrize("k", [1, 3, 5])
def test_each_bin_is_drawn_as_often_as_the_others_while_it_lasts(context, k):
    score = [0.9, 0.8, 0.79, 0.78, 0.77, 0.5, 0.1, 0.05]  # the positive, then bins of 4, 1 and 2 candidates
    sampler = Balanced(k=k, bins=3, by="m")
    bins = {0: 0, 1: 0, 2: 0, 3: 0, 4: 1, 5: 2, 6: 2}

    def step(left):
        """Section 7.2, step 4: a bin that is not empty, then one of it."""
        of = defaultdict(list)
        for item in left:
            of[bins[item]].append(item)
        return {item: 1 / len(of) / len(items) for items in of.values() for item in items}

    got, sd = frequencies(sampler, context, [1] + [0] * 7, {"m": score})
    assert got[1:] == pytest.approx(inclusion(step, 7, k), abs=4 * sd)


def test_equal_margins_are_one_bin_and_queries_without_positives_are_refused(context):
    got, sd = frequencies(Balanced(k=1, by="m"), context, [1, 0, 0], {"m": [0.5, 0.2, 0.2]}, rounds=40)
    assert got[1:] == pytest.approx([0.5, 0.5], abs=4 * sd)
    lonely = Pairs.build([1, 1], [0, 1], scores={"m": [0.1, 0.2]})
    with pytest.raises(PipelineError, match="no positive to compare with"):
        Balanced(k=1, by="m").run(lonely, context(), 1)
    few = Pairs.build([1, 1, 1], [0, 1, 2], [1, 0, 0], scores={"m": [0.9, 0.1, 0.2]})
    assert (Balanced(k=9, by="m").run(few, context(), 1).dropped == 0).all()
