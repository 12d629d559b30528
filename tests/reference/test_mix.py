"""Kinds of negatives in given shares, against the process told step by step."""

from __future__ import annotations

import math

import numpy as np
import pytest

from foils.core.errors import PipelineError, SpecError
from foils.core.pairs import Pairs
from foils.core.spec import parse, resolve
from foils.stages import BM25, AdaptiveMix, Dense, Ensure, Mix, Random, Siblings, Top
from foils.stages.stage import Columns
from reference.drawing import frequencies, inclusion

KINDS = {"a": {0, 1, 2}, "b": {2, 3}, "c": {4}}  # row 2 is of two kinds; row 5 of a kind that is not asked for
WEIGHTS = {"a": 1.0, "b": 2.0, "c": 5.0}


def lists(size=6):
    return {name: [int(row in rows) * (row + 1) for row in range(size)] for name, rows in {**KINDS, "x": {5}}.items()}


@pytest.mark.parametrize("k", [1, 2, 4])
def test_draws_follow_the_process(context, k):
    def step(left):
        """A kind by its weight among those that have some left, then one of it uniformly."""
        have = {kind: rows & left for kind, rows in KINDS.items() if rows & left}
        total = sum(WEIGHTS[kind] for kind in have)
        out = dict.fromkeys(left & {0, 1, 2, 3, 4}, 0.0)
        for kind, rows in have.items():
            for row in rows:
                out[row] += WEIGHTS[kind] / total / len(rows)
        return out

    sampler = Mix(k=k, kinds=tuple(KINDS), weights=tuple(WEIGHTS.values()))
    got, sd = frequencies(sampler, context, [0] * 6, {}, lists())
    expected = inclusion(step, 6, k)
    assert got == pytest.approx(expected, abs=4 * sd)
    assert expected[5] == 0


def test_kinds_that_found_nothing_give_nothing(context):
    queries = context().rows[:2]
    ranks = {"a": [0, 0, 0, 0], "b": [0, 0, 1, 2]}
    pairs = Pairs.build(np.repeat(queries, 2), [0, 1, 0, 1], ranks=ranks)
    out = Mix(k=3, kinds=("a", "b")).run(pairs, context(), 1)
    assert out.dropped.tolist() == [-1, -1, 0, 0]
    assert Mix(k=3, kinds=("a",)).run(pairs, context(), 1).dropped.tolist() == [-1] * 4


def test_shares_of_kinds_and_both_tags(context):
    pool = BM25(k=40) + Dense("student", k=40) + Random(k=60)
    ctx = context(4)
    out = (pool >> Mix(k=10, kinds=("bm25", "random"), weights=(4.0, 1.0)))(ctx.data.positives("train").bare(), ctx)
    kept = (out.label == 0) & (out.dropped == 0)
    assert (np.bincount(out.query[kept])[ctx.rows] == 10).all()
    lexical, random = out.ranks["bm25"][kept] > 0, out.ranks["random"][kept] > 0
    assert (lexical | random).all()
    assert (lexical & random).any()  # used once, marked with both
    # A random document is also one of BM25's with probability 40/240, and the other way round.
    n = kept.sum()
    assert (lexical & ~random).sum() > 0.5 * n
    assert (random & ~lexical).sum() < 0.3 * n


def test_equal_shares_by_default_and_bad_kinds(context):
    got, sd = frequencies(Mix(k=1, kinds=("a", "c")), context, [0] * 6, {}, lists(), rounds=60)
    assert got == pytest.approx([1 / 6, 1 / 6, 1 / 6, 0, 0.5, 0], abs=4 * sd)
    for bad in ({"kinds": ()}, {"kinds": ("a", "a")}, {"kinds": ("a",), "weights": (0.0,)}):
        with pytest.raises(SpecError, match="Mix"):
            Mix(k=1, **bad)
    with pytest.raises(SpecError, match="one number above 0 for each kind"):
        Mix(k=1, kinds=("a", "b"), weights=(1.0,))
    with pytest.raises(PipelineError, match=r"no source here is called 'bm52'; there is: 'bm25'"):
        Mix(k=1, kinds=("bm52",)).run(BM25(k=3)(context().data.positives("train").bare(), context()), context(), 2)


def test_kinds_that_no_source_has_are_refused_before_the_start(context):
    pool = (BM25(k=3) >> Top(k=2)) + Siblings(k=3, parent="title") >> Ensure("random", k=4)
    for kinds in (("bm25", "siblings"), ("random",)):
        (pool >> Mix(k=1, kinds=kinds)).check_columns(Columns(), context())
    with pytest.raises(PipelineError, match=r"'Siblings'; there is: 'bm25', 'random', 'siblings'"):
        (pool >> Mix(k=1, kinds=("bm25", "Siblings"))).check_columns(Columns(), context())


ADAPTIVE = AdaptiveMix(k=2, kinds=("a", "b", "c"), weights=(3.0, 2.0, 1.0), eta=2.0, penalty=0.5, floor=0.1)


def test_adapted_shares_are_the_formula():
    push, false = {"a": 0.6, "b": 0.3, "c": 0.1}, {"a": 0.8, "b": 0.2}
    worth = [0.6 - 0.5 * 0.8, 0.3 - 0.5 * 0.2, 0.1]
    powers = [math.exp(2 * value) for value in worth]
    expected = [0.1 + 0.7 * power / sum(powers) for power in powers]
    made = ADAPTIVE.adapted(push, false)
    assert made.weights == pytest.approx(expected, abs=1e-6)
    assert sum(made.weights) == pytest.approx(1, abs=1e-5)
    # The unit of the push does not matter.
    assert ADAPTIVE.adapted({kind: 1e-9 * value for kind, value in push.items()}, false).weights == made.weights
    assert parse(made.full()) == made


def test_equal_worth_is_equal_shares_and_no_share_is_below_the_floor():
    equal = ADAPTIVE.adapted(dict.fromkeys("abc", 0.02), dict.fromkeys("abc", 0.3))
    assert equal.weights == pytest.approx([1 / 3] * 3, abs=1e-6)
    eager = AdaptiveMix(k=2, kinds=("a", "b", "c"), eta=1e4, floor=0.02)
    assert eager.adapted({"a": 1.0, "b": 1e-30, "c": 0.0}, {}).weights == (0.96, 0.02, 0.02)
    # What pushes hardest because it is false is not drawn more often.
    assert eager.adapted({"a": 0.6, "b": 0.4}, {"a": 1.0}).weights == (0.02, 0.96, 0.02)
    assert AdaptiveMix(k=1, kinds=("a", "b"), eta=0.0).adapted({"a": 9.0, "b": 1.0}, {}).weights == (0.5, 0.5)


def test_a_kind_that_was_not_seen_counts_as_the_mean_and_nothing_seen_changes_nothing():
    made = AdaptiveMix(k=1, kinds=("a", "b", "c"), floor=0.01).adapted({"a": 3.0, "c": 1.0}, {})
    assert made.weights[1] ** 2 > made.weights[0] * made.weights[2] * 0.9
    assert made.weights[0] > made.weights[1] > made.weights[2]
    for push in ({}, {"a": 0.0, "b": 0.0}, {"x": 1.0}):
        assert ADAPTIVE.adapted(push, {}) is ADAPTIVE


def test_it_draws_as_the_fixed_mix_of_its_shares_does(context):
    pool = BM25(k=40) + Random(k=60)
    plain, adaptive = (
        (pool >> made(k=5, kinds=("bm25", "random"), weights=(3.0, 1.0)))(
            context(2).data.positives("train").bare(), context(2)
        )
        for made in (Mix, AdaptiveMix)
    )
    np.testing.assert_array_equal(plain.dropped, adaptive.dropped)


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"floor": 0.0}, "floor must be above 0 and at most 0.333"),
        ({"floor": 0.34}, "floor must be above 0 and at most 0.333"),
        ({"eta": -1.0}, "eta must be at least 0"),
        ({"penalty": -1.0}, "penalty must be at least 0"),
    ],
)
def test_bounds_of_adaptive_shares(given, fault):
    with pytest.raises(SpecError, match=fault):
        AdaptiveMix(k=1, kinds=("a", "b", "c"), **given)


def test_annealed_shares_never_reach_nothing():
    annealed = parse("Mix(k=4, kinds=['student', 'random'], weights=[Linear(1, 9), Linear(9, 1)])")
    assert [resolve(annealed, t).weights for t in (0, 0.5, 1)] == [(1, 9), (5, 5), (9, 1)]
    with pytest.raises(SpecError, match=r"at progress 1, .*weights must be one number above 0 for each kind"):
        parse("Mix(k=4, kinds=['student', 'random'], weights=[1, Linear(9, 0)])")


def test_the_judge_has_to_be_mined(context):
    pool = BM25(k=3) + Random(k=3)
    stage = AdaptiveMix(k=1, kinds=("bm25", "random"), judge="teacher")
    with pytest.raises(PipelineError, match="no score column 'teacher'"):
        (pool >> stage).check_columns(Columns(), context())
