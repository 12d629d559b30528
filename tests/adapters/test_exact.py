import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foils.adapters import scores as scores_module
from foils.adapters.exact import ExactIndex, pair_scores, search
from foils.adapters.topk import lower_bounds, ranked
from foils.core.errors import ModelError
from searching import same, slow_search, unit


@pytest.fixture(scope="module")
def planted():
    """Queries whose best documents tie exactly, nearly, or 500 times."""
    rng = np.random.default_rng(0)
    docs = unit(rng.standard_normal((900, 24)))
    queries = unit(rng.standard_normal((12, 24)))
    docs[100:600] = docs[7]  # the same vector 501 times
    queries[0] = docs[7]
    near = queries[1] * np.float32(0.9)
    docs[600:700] = near + rng.uniform(-1e-7, 1e-7, (100, 24)).astype(np.float32)
    docs[700:720] = queries[2][None] * np.linspace(1, 1 + 2e-6, 20, dtype=np.float32)[:, None]
    docs[720:740] = -docs[740:760]
    queries[3] = 0  # everything ties at 0
    return queries, docs


def test_equals_a_full_sort_with_planted_ties(planted):
    queries, docs = planted
    for k in (1, 10, 130, 899):
        assert same(search(queries, docs, k), slow_search(queries, docs, k))


def test_a_plain_matrix_product_would_fail_the_same_test(planted):
    queries, docs = planted
    products = queries @ docs.T
    rows = np.lexsort((np.broadcast_to(np.arange(len(docs)), products.shape), -products), axis=1)[:, :10]
    assert not np.array_equal(rows, slow_search(queries, docs, 10)[0])


@pytest.mark.parametrize("memory", [1 << 10, 1 << 13, 1 << 16, 1 << 18, 1 << 22])
def test_memory_changes_nothing(planted, memory):
    queries, docs = planted
    assert same(search(queries, docs, 20, memory=memory), search(queries, docs, 20))


def test_order_of_queries_and_split_change_nothing(planted):
    queries, docs = planted
    whole = search(queries, docs, 20)
    order = np.random.default_rng(1).permutation(len(queries))
    shuffled = search(queries[order], docs, 20)
    assert same((shuffled[0][np.argsort(order)], shuffled[1][np.argsort(order)]), whole)
    single = [search(query[None], docs, 20) for query in queries]
    assert same((np.concatenate([r for r, _ in single]), np.concatenate([s for _, s in single])), whole)


@given(
    st.integers(0, 40),
    st.integers(0, 6),
    st.integers(1, 9),
    st.integers(1, 45),
    st.integers(1, 20_000),
    st.integers(0, 2**32 - 1),
)
@settings(max_examples=150, deadline=None)
def test_small_integers_tie_all_the_time(n, q, dim, k, memory, seed):
    rng = np.random.default_rng(seed)
    docs, queries = (rng.integers(-2, 3, (rows, dim)).astype(np.float32) for rows in (n, q))
    assert same(search(queries, docs, k, memory=memory), slow_search(queries, docs, k))


def test_lengths_of_very_different_size():
    rng = np.random.default_rng(2)
    docs = (rng.standard_normal((400, 16)) * 10.0 ** rng.integers(-6, 7, (400, 1))).astype(np.float32)
    queries = (rng.standard_normal((8, 16)) * 10.0 ** rng.integers(-6, 7, (8, 1))).astype(np.float32)
    assert same(search(queries, docs, 30), slow_search(queries, docs, 30))


def test_padding_and_empty_sides():
    docs, queries = np.eye(3, dtype=np.float32), np.ones((2, 3), np.float32)
    rows, scores = search(queries, docs, 5)
    assert rows.tolist() == [[0, 1, 2, -1, -1]] * 2
    assert scores.tolist() == [[1, 1, 1, -np.inf, -np.inf]] * 2
    assert (rows.dtype, scores.dtype) == (np.int32, np.float32)
    rows, scores = search(queries, docs[:0], 2)
    assert rows.tolist() == [[-1, -1]] * 2
    assert np.isneginf(scores).all()
    assert search(queries[:0], docs, 2)[0].shape == (0, 2)


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_memory_mapped_and_other_floats(tmp_path, dtype):
    rng = np.random.default_rng(3)
    docs = rng.standard_normal((200, 8)).astype(dtype)
    np.save(tmp_path / "docs.npy", docs)
    queries = rng.standard_normal((5, 8)).astype(dtype)
    mapped = np.load(tmp_path / "docs.npy", mmap_mode="r")
    wanted = slow_search(queries.astype(np.float32), docs.astype(np.float32), 7)
    assert same(ExactIndex(mapped).search(queries, 7), wanted)


def test_refuses_what_cannot_be_compared():
    good, bad = np.ones((4, 3), np.float32), np.ones((4, 3), np.float32)
    bad[2, 1] = np.nan
    with pytest.raises(ModelError, match=r"1 of 4 document vectors are NaN or infinite, the first in row 2"):
        ExactIndex(bad)
    with pytest.raises(ModelError, match="query vectors"):
        search(bad, good, 1)
    with pytest.raises(ModelError, match="do not fit float32"):
        search(good * np.float32(1e25), good * np.float32(1e25), 1)
    with pytest.raises(ValueError, match=r"\(queries, 3\)"):
        search(np.ones((1, 2), np.float32), good, 1)
    with pytest.raises(ValueError, match="k=0"):
        search(good, good, 0)


@given(st.integers(1, 700), st.integers(1, 60), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_a_pair_scores_the_same_in_any_company(dim, pairs, seed):
    rng = np.random.default_rng(seed)
    queries, docs = rng.standard_normal((5, dim)), rng.standard_normal((9, dim))
    queries, docs = queries.astype(np.float32), docs.astype(np.float32)
    q, d = rng.integers(0, 5, pairs), rng.integers(0, 9, pairs)
    together = pair_scores(queries, docs, q, d)
    alone = [pair_scores(queries, docs, q[i : i + 1], d[i : i + 1])[0] for i in range(pairs)]
    assert together.tobytes() == np.array(alone, np.float32).tobytes()
    sums = [math.fsum(queries[q[i]].astype(np.float64) * docs[d[i]]) for i in range(pairs)]
    assert together.tobytes() == np.array(sums, np.float32).tobytes()


def test_pair_scores_equal_what_search_returns(planted, monkeypatch):
    queries, docs = planted
    rows, scores = search(queries, docs, 50)
    q = np.repeat(np.arange(len(queries)), 50)
    assert pair_scores(queries, docs, q, rows.ravel()).tobytes() == scores.tobytes()
    monkeypatch.setattr(scores_module, "_PAIRS", 1)
    assert pair_scores(queries, docs, q, rows.ravel()).tobytes() == scores.tobytes()
    with pytest.raises(IndexError, match="-1"):  # padding is no document
        pair_scores(queries, docs, np.array([0]), np.array([-1]))
    broken = docs.copy()
    broken[3] = np.inf
    with pytest.raises(ModelError, match="query row 1 and document row 3"):
        pair_scores(queries, broken, np.array([0, 1]), np.array([0, 3]))


def test_stays_within_its_memory():
    rng = np.random.default_rng(4)
    docs, queries = unit(rng.standard_normal((40_000, 16))), unit(rng.standard_normal((300, 16)))
    docs[5000:25_000] = docs[0]  # the worst case: half of the collection ties
    queries[:100] = docs[0]
    memory = 8 << 20
    index = ExactIndex(docs, memory=memory)
    tracemalloc.start()
    index.search(queries, 20)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < memory + queries.nbytes + 300 * 20 * 8 + scores_module._PAIRS * 16 + (1 << 20)


@given(st.integers(1, 4), st.integers(1, 300), st.integers(1, 40), st.integers(0, 2**32 - 1))
@settings(max_examples=100, deadline=None)
def test_lower_bounds_are_reached_k_times(rows, n, k, seed):
    scores = np.random.default_rng(seed).integers(-3, 4, (rows, n)).astype(np.float32)
    bounds = lower_bounds(scores, k)
    if n < k:
        assert np.isneginf(bounds).all()
    else:
        assert ((scores >= bounds[:, None]).sum(axis=1) >= k).all()
        assert (bounds <= np.sort(scores, axis=1)[:, n - k]).all()


def test_ranked_breaks_ties_by_row_and_pads():
    query = np.array([2, 0, 0, 0], np.int32)
    rows, scores = ranked(query, np.array([4, 9, 1, 5], np.int32), np.array([1, 0.0, -0.0, 3], np.float32), 3, 3)
    assert rows.tolist() == [[5, 1, 9], [-1, -1, -1], [4, -1, -1]]
    assert scores[0].tolist() == [3, 0, 0]
    assert np.isneginf(scores[1]).all()
