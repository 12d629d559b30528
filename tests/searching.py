"""What the tests of exact search share: a slow search written from its specification."""

import math

import numpy as np


def slow_search(queries, docs, k):
    """Every sum exactly rounded, and a full sort by (score descending, row ascending)."""
    rows = np.full((len(queries), k), -1, np.int32)
    scores = np.full((len(queries), k), -np.inf, np.float32)
    for i, query in enumerate(queries.astype(np.float64)):
        found = [(np.float32(math.fsum(query * doc)), row) for row, doc in enumerate(docs.astype(np.float64))]
        for place, (score, row) in enumerate(sorted(found, key=lambda pair: (-pair[0], pair[1]))[:k]):
            rows[i, place], scores[i, place] = row, score
    return rows, scores


def unit(vectors):
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def same(got, wanted):
    return got[0].tobytes() == wanted[0].tobytes() and got[1].tobytes() == wanted[1].tobytes()
