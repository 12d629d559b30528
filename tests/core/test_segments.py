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


@given(rows, st.integers(0, 6))
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


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_short_and_long_queries_and_ties_agree_with_sorting_by_all_keys(seed, dtype):
    rng = np.random.default_rng(seed)
    sizes = rng.integers(0, 9 if seed % 2 else 60, 40)
    sizes[3] = 400 if seed > 1 else 5  # one long query: padding all others would waste room
    query = np.repeat(np.arange(40, dtype=np.int32), sizes)
    starts = segments.starts_of(query)
    values = rng.choice([-np.inf, 0.0, 1.0, 2.5, *rng.standard_normal(30)], len(query)).astype(dtype)
    doc = rng.permutation(len(query)).astype(np.int32)
    order = np.lexsort((doc, -values, query))
    expected = np.empty(len(query), np.int64)
    expected[order] = np.arange(len(query)) - np.repeat(starts[:-1], np.diff(starts)) + 1
    assert segments.ranks(values, starts, doc).tolist() == expected.tolist()
    for k in (1, 3, 100):
        mask = segments.topk_mask(values, starts, k, doc)
        assert mask.tolist() == ((expected <= k) & (values > -np.inf)).tolist()


@pytest.mark.parametrize("top", [5, 10**6])
def test_distinct_is_numpys_unique(top):
    numbers = np.random.default_rng(0).integers(0, top, 50)
    for a, b in zip(segments.distinct(numbers), np.unique(numbers, return_inverse=True), strict=True):
        assert a.tolist() == b.tolist()
    assert [len(part) for part in segments.distinct(np.zeros(0, np.int32))] == [0, 0]


@given(rows)
@settings(max_examples=200, deadline=None)
def test_the_best_row_agrees_with_a_sort(drawn):
    query, values, mask = columns(drawn)
    values = np.where(mask, values, -np.inf)
    tie = np.random.default_rng(len(query)).permutation(len(query)).astype(np.int32)
    got = segments.best(values, segments.starts_of(query), tie)
    for at, query_row in enumerate(sorted(set(query.tolist()))):
        rows_ = [i for i in np.flatnonzero(query == query_row) if values[i] > -np.inf]
        assert got[at] == (min(rows_, key=lambda i: (-values[i], tie[i])) if rows_ else -1)
