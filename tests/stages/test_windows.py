"""What windows and caps promise beyond single numbers: bounds, order, monotony, and bad input."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import foils
from foils.core import segments
from foils.core.errors import FoilsError, PipelineError, SpecError
from foils.core.pairs import Pairs
from foils.stages import (
    Angle,
    Apart,
    NearPositive,
    PerCluster,
    PerParent,
    Positions,
    PositiveQuantile,
    Quantile,
    SemiHard,
    Sieve,
)

scores = st.lists(st.integers(-20, 20).map(lambda n: n / 20), min_size=1, max_size=9)
lists = st.lists(st.tuples(scores, st.integers(0, 2)), min_size=1, max_size=5)


def of(drawn):
    """A query for each (scores, number of positives)."""
    rows = [(q, d, int(d < p), s) for q, (values, p) in enumerate(drawn) for d, s in enumerate(values)]
    query, doc, label, score = zip(*rows, strict=True)
    return Pairs.build(query, doc, label, scores={"s": score})


def survivors(stage, pairs):
    return set(np.flatnonzero((stage.run(pairs, None, 1).dropped == 0) & (pairs.label == 0)).tolist())


@given(lists, st.sampled_from([0.0, 0.1, 0.25, 1.0]))
@settings(max_examples=100, deadline=None)
def test_the_three_regions_divide_the_candidates(drawn, margin):
    pairs = of(drawn)
    parts = [
        survivors(SemiHard(margin=margin, by="s", region=region), pairs) for region in ("semi-hard", "hard", "easy")
    ]
    assert sum(map(len, parts)) == len(set.union(*parts)) == int((pairs.label == 0).sum())
    wider = survivors(SemiHard(margin=margin + 0.3, by="s"), pairs)
    assert parts[0] <= wider


@given(lists, st.integers(1, 5), st.integers(0, 4))
@settings(max_examples=100, deadline=None)
def test_positions_keep_the_order_and_the_number(drawn, lo, more):
    pairs = of(drawn)
    out = Positions(lo=lo, hi=lo + more, by="s").run(pairs, None, 1)
    assert out.key.tolist() == pairs.key.tolist()
    for query in pairs.queries:
        candidate = (pairs.query == query) & (pairs.label == 0)
        kept = candidate & (out.dropped == 0)
        assert kept.sum() == min(max(0, candidate.sum() - lo + 1), more + 1)
        if kept.any():
            skipped = candidate & ~kept & (pairs["s"] > pairs["s"][kept].max())
            assert skipped.sum() <= lo - 1


@given(lists, st.floats(0, 1), st.floats(0, 1))
@settings(max_examples=100, deadline=None)
def test_quantiles_are_numpys_and_wider_ones_keep_more(drawn, a, b):
    pairs = of(drawn)
    lo, hi = min(a, b), max(a, b)
    mask = pairs.label == 0
    got = segments.quantile(pairs["s"], mask, pairs.starts, lo)
    for i, query in enumerate(pairs.queries):
        values = pairs["s"][mask & (pairs.query == query)].astype(np.float64)
        np.testing.assert_equal(got[i], np.quantile(values, lo) if len(values) else np.nan)
    assert survivors(Quantile(lo=lo, hi=hi, by="s"), pairs) <= survivors(Quantile(lo=lo / 2, by="s"), pairs)


@given(lists, st.floats(0.001, 90), st.floats(0, 90), st.sampled_from(["query", "positive"]))
@settings(max_examples=100, deadline=None)
def test_an_angular_window_and_its_complement(drawn, bound, more, of_):
    pairs = of(drawn)
    inside = survivors(Angle(hi=bound, by="s", of=of_), pairs)
    assert inside <= survivors(Angle(hi=bound + more, by="s", of=of_), pairs)
    outside = survivors(Angle(lo=np.nextafter(bound, 180), by="s", of=of_), pairs)
    candidates = set(np.flatnonzero(pairs.label == 0).tolist())
    assert inside | outside == candidates


@given(lists)
@settings(max_examples=60, deadline=None)
def test_larger_shares_of_positives_keep_more(drawn):
    known = of(drawn)
    ctx = _Known(known)
    kept = [set(np.flatnonzero(PositiveQuantile(at=at, by="s").decide(known, ctx)).tolist()) for at in (0.0, 0.25, 0.9)]
    assert kept[0] <= kept[1] <= kept[2]


class _Known:
    """As much of a context as the scores of positives need."""

    def __init__(self, pairs):
        self.scores, self.rows = pairs["s"][pairs.label == 1], pairs.queries

    def once(self, key, make):
        return self.scores


def test_angles_need_cosines(context):
    ctx = context()
    known = ctx.data.positives("train").bare()
    with pytest.raises(PipelineError, match=r"beyond ±1.*unit length"):
        foils.parse("BM25(k=9) >> Angle(lo=30)")(known, ctx)
    rounded = Pairs.build([0, 0], [0, 1], [1, 0], scores={"s": [1.0000002, 1.0003]})
    assert survivors(Angle(hi=1, by="s"), rounded) == {1}


def test_positives_without_a_score_are_refused_by_what_compares_with_them(context):
    pairs = Pairs.build([0, 0], [0, 1], [1, 0], scores={"s": [np.nan, 0.5]})
    for stage in (SemiHard(by="s"), Angle(by="s", of="positive"), Sieve(by="s")):
        with pytest.raises(PipelineError, match="1 of 1 positives have no score 's'"):
            stage.run(pairs, context(), 1)
    assert survivors(Positions(hi=1, by="s"), pairs) == survivors(Quantile(hi=1.0, by="s"), pairs) == {1}


def test_a_schedule_may_move_an_angle():
    stage = foils.parse("Dense('student', k=9) >> Angle(lo=Linear(60, 30))")
    assert "Linear" in repr(stage)
    with pytest.raises(SpecError, match="lo must be between 0 and 180"):
        foils.parse("Dense('student', k=9) >> Angle(lo=Linear(60, 200))")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: Positions(lo=0), "lo must be at least 1"),
        (lambda: Positions(lo=3, hi=2), "hi must be at least lo=3"),
        (lambda: Quantile(), "lo must be given, or hi must be"),
        (lambda: Quantile(lo=-0.1), "lo must be between 0 and 1"),
        (lambda: Quantile(hi=1.5), "hi must be between 0 and 1"),
        (lambda: Quantile(lo=0.5, hi=0.4), "hi must be between 0.5 and 1"),
        (lambda: SemiHard(margin=-1), "margin must be at least 0"),
        (lambda: SemiHard(region="soft"), "region must be one of"),
        (lambda: Angle(lo=-1), "lo must be between 0 and 180 degrees"),
        (lambda: Angle(lo=9, hi=5), "hi must be between lo=9.0 and 180 degrees"),
        (lambda: PositiveQuantile(at=1.1), "at must be between 0 and 1"),
        (lambda: PerParent(n=0), "n must be at least 1"),
        (lambda: PerCluster("student", n=0), "n must be at least 1"),
        (lambda: PerCluster("score"), "encoder must be another name"),
        (lambda: PerCluster("student", clusters=0), "clusters must be at least 1"),
        (lambda: Apart(adjacent=0), "adjacent must be at least 1"),
        (lambda: NearPositive(similarity=0), "similarity must be above 0"),
        (lambda: NearPositive(words=0), "words must be at least 1"),
        (lambda: NearPositive(by="score"), "by must be 'minhash' or the name"),
    ],
)
def test_bad_bounds_are_refused(wrong, message):
    with pytest.raises(FoilsError, match=message):
        wrong()
