"""What was searched for ahead is what a search at the time would find."""

import numpy as np
import pytest

from foils.adapters import ahead
from foils.adapters.ahead import Ahead
from foils.adapters.exact import ExactIndex
from searching import same, unit


class Counting:
    """An index that says how many queries each search was for."""

    def __init__(self, docs):
        self.index, self.sizes = ExactIndex(docs), []

    def search(self, queries, k):
        self.sizes.append(len(queries))
        return self.index.search(queries, k)


@pytest.fixture
def made(monkeypatch):
    monkeypatch.setattr(ahead, "_QUERIES", 40)
    rng = np.random.default_rng(0)
    docs, queries = unit(rng.standard_normal((60, 8))), unit(rng.standard_normal((100, 8)))
    index = Counting(docs)
    return index, queries, Ahead(index, queries), lambda rows, k: ExactIndex(docs).search(queries[rows], k)


def test_blocks_in_order_are_searched_together(made):
    index, _, searcher, plain = made
    for start in range(0, 100, 10):
        rows = np.arange(start, start + 10)
        assert same(searcher.search(rows, 5), plain(rows, 5))
    assert index.sizes == [40, 40, 20]


def test_other_depths_gaps_and_going_back(made):
    index, _, searcher, plain = made
    cases = [(range(0, 10), 5), (range(10, 20), 9), (range(10, 20), 3), (range(90, 100), 3), (range(0, 4), 3)]
    for rows, k in cases:
        assert same(searcher.search(np.array(rows), k), plain(np.array(rows), k))
    for rows in ([2, 50, 99], [1, 3, 4], [7], []):
        assert same(searcher.search(np.array(rows, int), 4), plain(np.array(rows, int), 4))
    assert index.sizes == [40, 40, 10, 40, 3, 40, 0]


def test_deep_results_bound_how_far_ahead(made, monkeypatch):
    index, _, searcher, plain = made
    monkeypatch.setattr(ahead, "_CELLS", 60)
    rows = np.arange(2)
    assert same(searcher.search(rows, 20), plain(rows, 20))
    assert index.sizes == [3]


def test_results_are_the_callers(made):
    _, _, searcher, plain = made
    rows = np.arange(10)
    for found in searcher.search(rows, 5):
        found[:] = 0
    assert same(searcher.search(rows, 5), plain(rows, 5))
