"""`Pairs` and their union, against loops over rows."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foils.core.errors import PipelineError
from foils.core.pairs import CANDIDATE, POSITIVE, SET_ASIDE, Pairs, union

NUMBERS = st.sampled_from([math.nan, -1.0, 0.0, 2.5])
ROW = st.tuples(st.sampled_from([POSITIVE, CANDIDATE, SET_ASIDE]), st.integers(-3, 3), NUMBERS, st.integers(0, 4))
PART = st.tuples(
    st.dictionaries(st.tuples(st.integers(0, 3), st.integers(0, 4)), ROW, max_size=8),
    st.sampled_from(["a", "b"]),
    st.booleans(),
)


def pairs_of(part) -> Pairs:
    rows, name, named = part
    keys = sorted(rows)
    label, dropped, score, rank = ([rows[key][i] for key in keys] for i in range(4))
    made = Pairs.build(
        [q for q, _ in keys], [d for _, d in keys], label, scores={name: score} if keys else None, ranks={name: rank}
    )
    return Pairs(
        made.query, made.doc, made.label, made.scores, made.ranks, np.array(dropped, np.int16), name if named else None
    )


def slow_union(parts: list[Pairs]) -> dict:
    seen: dict[tuple[int, int], list] = {}
    for part in parts:
        for row in range(len(part)):
            seen.setdefault((int(part.query[row]), int(part.doc[row])), []).append((part, row))
    out = {}
    for key, places in seen.items():
        labels = [int(part.label[row]) for part, row in places]
        label = POSITIVE if POSITIVE in labels else SET_ASIDE if SET_ASIDE in labels else CANDIDATE
        marks = [int(part.dropped[row]) for part, row in places]
        judged, left_out = [m for m in marks if m > 0], [m for m in marks if m < 0]
        dropped = judged[0] if judged else 0 if 0 in marks else left_out[0]
        values = {}
        for name in ("a", "b"):
            scores = [float(part.scores[name][row]) for part, row in places if name in part.scores]
            ranks = [int(part.ranks[name][row]) for part, row in places if name in part.ranks]
            values[name] = next((s for s in scores if not math.isnan(s)), None), next((r for r in ranks if r), 0)
        out[key] = (label, 0 if label == POSITIVE else dropped, values)
    return out


@given(st.lists(PART, min_size=1, max_size=4))
@settings(max_examples=300, deadline=None)
def test_union_agrees_with_a_loop(drawn):
    parts = [pairs_of(part) for part in drawn]
    pool = union(parts)
    expected = slow_union(parts)
    assert list(zip(pool.query.tolist(), pool.doc.tolist(), strict=True)) == sorted(expected)
    for row, key in enumerate(sorted(expected)):
        label, dropped, values = expected[key]
        assert (pool.label[row], pool.dropped[row]) == (label, dropped)
        for name, (score, rank) in values.items():
            got = float(pool.scores[name][row]) if name in pool.scores else math.nan
            assert math.isnan(got) if score is None else got == score
            assert (int(pool.ranks[name][row]) if name in pool.ranks else 0) == rank
    latest = {part.latest for part in parts} - {None}
    assert pool.latest == (latest.pop() if len(latest) == 1 else None)


def test_find_in_any_order_of_documents():
    here = Pairs.build([0, 0, 0, 2], [9, 1, 5, 2**31 - 1])
    sought = Pairs.build([0, 0, 1, 2], [5, 2, 9, 2**31 - 1])
    assert here.find(sought).tolist() == [2, -1, -1, 3]
    assert Pairs.empty().find(sought).tolist() == [-1] * 4


def test_build_sorts_stably_and_refuses_unlike_columns():
    pairs = Pairs.build([3, 1, 3, 1], [0, 1, 2, 3], scores={"s": [0, 1, 2, 3]}, ranks={"s": [4, 3, 2, 1]})
    assert pairs.doc.tolist() == [1, 3, 0, 2]
    assert pairs["score"].tolist() == [1, 3, 0, 2]
    assert pairs.ranks["s"].tolist() == [3, 1, 4, 2]
    with pytest.raises(ValueError, match="'s' has shape"):
        Pairs.build([1, 2], [1, 2], scores={"s": [1.0]})


def test_ranks_are_the_sources_own_or_positions_under_the_score():
    pairs = Pairs.build(
        [0, 0, 0], [8, 4, 6], scores={"given": [1, 2, 3], "later": [5, 5, 7]}, ranks={"given": [9, 0, 1]}
    )
    assert pairs.rank("given").tolist() == [9, 0, 1]
    assert pairs.rank("score").tolist() == pairs.rank("later").tolist() == [3, 2, 1]


def test_positives_without_a_score_are_not_compared_with():
    pairs = Pairs.build([0, 0, 1, 2], [0, 1, 0, 0], [1, 0, 1, 0], scores={"s": [2, 1, math.nan, 5]})
    with pytest.raises(PipelineError, match="1 of 2 positives have no score 's'"):
        pairs.positive("s")
    assert pairs.take(pairs.query != 1).positive("s") == pytest.approx([2, 2, math.nan], nan_ok=True)
