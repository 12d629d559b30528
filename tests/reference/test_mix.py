"""Kinds of negatives in given shares, against the process told step by step."""

from __future__ import annotations

import numpy as np
import pytest

from foils.core.errors import PipelineError, SpecError
from foils.core.pairs import Pairs
from foils.stages import BM25, Dense, Ensure, Mix, Random, Siblings, Top
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
