import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foils.core import segments

rows = st.lists(st.tuples(st.integers(0, 5), st.integers(-3, 3), st.booleans()), max_size=40)


def columns(drawn):
    drawn = sorted(drawn, key=lambda row: row[0])
    query = np.array([q for q, _, _ in drawn], np.int32)
    return query, np.array([v for _, v, _ in drawn], np.float64), np.array([m for _, _, m in drawn], bool)


@given(rows)
@settings(max_examples=200, deadline=None)
def test_reductions_agree_with_a_loop(drawn):
    query, values, mask = columns(drawn)
    starts = segments.starts_of(query)
    assert starts.tolist() == [*(i for i in range(len(query)) if i == 0 or query[i] != query[i - 1]), len(query)]
    for how, oracle in (("min", min), ("max", max), ("mean", lambda v: sum(v) / len(v))):
        got = segments.reduce(values, mask, starts, how)
        for i, query_row in enumerate(sorted(set(query.tolist()))):
            taken = [v for q, v, m in zip(query, values, mask, strict=True) if q == query_row and m]
            assert np.isnan(got[i]) if not taken else got[i] == pytest.approx(oracle(taken))
    assert segments.count(mask, starts).tolist() == [int(mask[query == q].sum()) for q in sorted(set(query.tolist()))]


@given(rows, st.integers(1, 6))
@settings(max_examples=200, deadline=None)
def test_ranks_and_topk_agree_with_a_sort(drawn, k):
    query, values, mask = columns(drawn)
    tie = np.arange(len(query))[::-1].copy()
    starts = segments.starts_of(query)
    rank = segments.ranks(values, starts, tie)
    chosen = segments.topk_mask(np.where(mask, values, -np.inf), starts, k, tie)
    for q in set(query.tolist()):
        here = np.flatnonzero(query == q)
        order = sorted(here, key=lambda i: (-values[i], tie[i]))
        assert rank[order].tolist() == list(range(1, len(here) + 1))
        eligible = sorted((i for i in here if mask[i]), key=lambda i: (-values[i], tie[i]))
        assert sorted(np.flatnonzero(chosen & (query == q)).tolist()) == sorted(eligible[:k])
