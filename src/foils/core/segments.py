"""Rank, reduce and select within runs of one query: the only per-query mathematics.

Rows are sorted by query, so a query is a slice ``[starts[i], starts[i + 1])``. Everything here is vectorised over all
queries at once; nothing loops over queries.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from foils.core.ragged import places

Reduction = Literal["min", "max", "mean"]
Scalar = TypeVar("Scalar", bound=np.generic)


def starts_of(query: NDArray[np.integer]) -> NDArray[np.int64]:
    """Offsets of the runs of equal values in a sorted array.

    Args:
        query: sorted query rows, shape (n,).

    Returns:
        int64 offsets, shape (queries + 1,); the last one is n.

    >>> starts_of(np.array([0, 0, 3], dtype=np.int32)).tolist()
    [0, 2, 3]
    """
    if len(query) == 0:
        return np.zeros(1, dtype=np.int64)
    changes = np.flatnonzero(query[1:] != query[:-1]) + 1
    return np.concatenate(([0], changes, [len(query)])).astype(np.int64)


def spread(per_query: NDArray[Scalar], starts: NDArray[np.int64]) -> NDArray[Scalar]:
    """Repeat one value per query for each of its rows, shape (queries,) -> (n,)."""
    return np.repeat(per_query, np.diff(starts))


def count(mask: NDArray[np.bool_], starts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Number of true rows per query, shape (queries,)."""
    total = np.concatenate(([0], np.cumsum(mask, dtype=np.int64)))
    return total[starts[1:]] - total[starts[:-1]]


def reduce(
    values: NDArray[np.floating], mask: NDArray[np.bool_], starts: NDArray[np.int64], how: Reduction
) -> NDArray[np.float64]:
    """Minimum, maximum or mean of the masked rows of each query.

    Args:
        values: shape (n,).
        mask: rows that take part, shape (n,).
        starts: offsets of the queries, shape (queries + 1,).
        how: the reduction.

    Returns:
        float64, shape (queries,); NaN where no row takes part.
    """
    if len(starts) == 1:
        return np.zeros(0)
    seen = count(mask, starts)
    wide = values.astype(np.float64)
    with np.errstate(invalid="ignore"):
        if how == "mean":
            out = np.add.reduceat(np.where(mask, wide, 0.0), starts[:-1]) / np.maximum(seen, 1)
        elif how == "min":
            out = np.minimum.reduceat(np.where(mask, wide, np.inf), starts[:-1])
        else:
            out = np.maximum.reduceat(np.where(mask, wide, -np.inf), starts[:-1])
    return np.where(seen > 0, out, np.nan)


def quantile(
    values: NDArray[np.floating], mask: NDArray[np.bool_], starts: NDArray[np.int64], at: float
) -> NDArray[np.float64]:
    """A quantile of the masked rows of each query, interpolated linearly as `numpy.quantile` does.

    Args:
        values: shape (n,); NaN is not allowed in masked rows.
        mask: rows that take part, shape (n,).
        starts: offsets of the queries, shape (queries + 1,).
        at: which quantile, 0 to 1.

    Returns:
        float64, shape (queries,); NaN where no row takes part.

    >>> quantile(np.array([3.0, 1.0, 2.0, 9.0]), np.array([True, True, True, False]), np.array([0, 4]), 0.25).tolist()
    [1.5]
    """
    size = count(mask, starts)
    out = np.full(len(size), np.nan)
    some = size > 0
    if not some.any():
        return out
    query = np.repeat(np.arange(len(size)), np.diff(starts))[mask]
    wide = values[mask].astype(np.float64)
    ordered = wide[np.lexsort((wide, query))]
    last = np.cumsum(size)[some] - 1
    first = last - size[some] + 1
    index = (size[some] - 1) * at
    below = np.floor(index).astype(np.int64)
    low, high = ordered[first + below], ordered[np.minimum(first + below + 1, last)]
    share = index - below
    # numpy's own two forms: exact at both ends.
    out[some] = np.where(share < 0.5, low + (high - low) * share, high - (high - low) * (1 - share))
    return out


def ranks(
    values: NDArray[np.floating], starts: NDArray[np.int64], tie: NDArray[np.integer] | None = None
) -> NDArray[np.int32]:
    """1-based position of each row within its query, best value first.

    Ties go to the smaller ``tie`` (the document row), else to the earlier row, so that the result does not depend on
    the order in which rows arrived.

    Args:
        values: shape (n,); NaN is not allowed.
        starts: offsets of the queries, shape (queries + 1,).
        tie: second sort key, ascending, shape (n,).

    Returns:
        int32, shape (n,).
    """
    matrix = _matrix(values, starts)
    if matrix is None:
        return _ranks_by_sorting(values, starts, tie)
    np.negative(matrix, out=matrix)
    order = np.argsort(matrix, axis=1)
    ascending = np.take_along_axis(matrix, order, axis=1)
    # Padding stands behind all that is finite; what ties is sorted again by both keys.
    tied = (ascending[:, 1:] == ascending[:, :-1]).any(axis=1) & (ascending[:, :1] != np.inf).any(axis=1)
    place = np.empty(matrix.shape, np.int32)
    np.put_along_axis(place, order, np.arange(1, matrix.shape[1] + 1, dtype=np.int32)[None, :], axis=1)
    out: NDArray[np.int32] = place[_inside(starts)]
    _again(
        out, tied, starts, lambda rows, own: _ranks_by_sorting(values[rows], own, None if tie is None else tie[rows])
    )
    return out


def _ranks_by_sorting(
    values: NDArray[np.floating], starts: NDArray[np.int64], tie: NDArray[np.integer] | None
) -> NDArray[np.int32]:
    query = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
    keys = (-values, query) if tie is None else (tie, -values, query)
    order = np.lexsort(keys)
    out = np.empty(len(values), dtype=np.int32)
    out[order] = places(starts) + 1
    return out


def topk_mask(
    values: NDArray[np.floating], starts: NDArray[np.int64], k: int, tie: NDArray[np.integer] | None = None
) -> NDArray[np.bool_]:
    """The k rows with the largest value in each query; ``-inf`` is never taken, so fewer than k may be true.

    Args:
        values: shape (n,).
        starts: offsets of the queries, shape (queries + 1,).
        k: rows to take per query, at least 0.
        tie: see `ranks`.
    """
    if k == 0:
        return np.zeros(len(values), bool)
    matrix = _matrix(values, starts)
    if matrix is None:
        return (_ranks_by_sorting(values, starts, tie) <= k) & (values > -np.inf)
    mask: NDArray[np.bool_] = values > -np.inf
    if matrix.shape[1] > k:
        matrix.partition(matrix.shape[1] - k, axis=1)
        mask &= values >= np.repeat(matrix[:, -k], np.diff(starts))
        crowded = count(mask, starts) > k
        by = np.arange(len(values)) if tie is None else tie
        _again(mask, crowded, starts, lambda rows, own: _ranks_by_sorting(values[rows], own, by[rows]) <= k)
        mask &= values > -np.inf
    return mask


def _inside(starts: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which cells of a matrix with one line per query hold rows."""
    sizes = np.diff(starts)
    inside: NDArray[np.bool_] = np.arange(sizes.max()) < sizes[:, None]
    return inside


def _matrix(values: NDArray[np.floating], starts: NDArray[np.int64]) -> NDArray[np.floating] | None:
    """A copy with one line per query, padded with ``-inf``; None where padding would be most of it.

    Sorting or partitioning short lines is many times faster than sorting all rows by query and value.
    """
    sizes = np.diff(starts)
    if not len(values) or len(sizes) * int(sizes.max()) > 8 * len(values):
        return None
    matrix = np.full((len(sizes), int(sizes.max())), -np.inf, values.dtype)
    matrix[_inside(starts)] = values
    return matrix


def _again(
    out: NDArray[Any],
    queries: NDArray[np.bool_],
    starts: NDArray[np.int64],
    make: Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[Any]],
) -> None:
    """Replace what was found for some queries, by ``make(rows, starts)`` of their rows alone."""
    if queries.any():
        rows = np.flatnonzero(spread(queries, starts))
        out[rows] = make(rows, np.concatenate(([0], np.cumsum(np.diff(starts)[queries]))))


def distinct(numbers: NDArray[np.integer]) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """The distinct numbers, ascending, and the place of each number among them; ``np.unique``, mostly without sorting.

    Args:
        numbers: at least 0, such as rows, shape (n,).

    >>> [part.tolist() for part in distinct(np.array([7, 3, 7], np.int32))]
    [[3, 7], [1, 0, 1]]
    """
    if not len(numbers) or int(numbers.max()) > 64 * len(numbers):
        found, places = np.unique(numbers, return_inverse=True)
        return found.astype(np.int64), places.astype(np.int32)
    seen = np.zeros(int(numbers.max()) + 1, bool)
    seen[numbers] = True
    place = np.cumsum(seen, dtype=np.int32) - np.int32(1)
    return np.flatnonzero(seen), place[numbers]


def best(values: NDArray[np.floating], starts: NDArray[np.int64], tie: NDArray[np.integer]) -> NDArray[np.int64]:
    """The row with the largest value of each query, int64 (queries,); -1 where all are ``-inf``.

    Args:
        values: shape (n,); NaN is not allowed.
        starts: offsets of the queries, shape (queries + 1,).
        tie: of equal values the smallest one of these wins; distinct within a query, shape (n,).

    >>> best(np.array([1.0, 3.0, 3.0, -np.inf]), np.array([0, 3, 4]), np.int32([5, 9, 7, 1])).tolist()
    [2, -1]
    """
    out = np.full(len(starts) - 1, -1, np.int64)
    if len(out):
        sizes = np.diff(starts)
        largest = (values == np.repeat(np.maximum.reduceat(values, starts[:-1]), sizes)) & (values > -np.inf)
        ties = np.where(largest, tie.astype(np.int64), np.iinfo(np.int64).max)
        rows = np.flatnonzero(largest & (ties == np.repeat(np.minimum.reduceat(ties, starts[:-1]), sizes)))
        out[np.repeat(np.arange(len(out)), sizes)[rows]] = rows
    return out
