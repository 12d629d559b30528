"""What the space of vectors looks like: does it use its room, do the two sides lie apart, are there hubs.

Numpy only; none of these figures changes when all vectors are rotated. They say how a model is built, not how good
it is: compare them between models on the same texts, and at the same number of vectors.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Vectors = NDArray[Any]
_ROWS = 512  # of a block of the matrix of all pairs: at most 512 n distances are in memory at once


def unit(vectors: ArrayLike) -> NDArray[np.float64]:
    """Vectors scaled to length 1, float64 (n, d); a vector of zeros stays one.

    Raises:
        ValueError: not a matrix, or a value that is not finite.
    """
    wide = np.asarray(vectors, np.float64)
    if wide.ndim != 2 or not np.isfinite(wide).all():
        raise ValueError(f"vectors of shape {wide.shape}: a matrix of finite numbers was expected")
    length = np.linalg.norm(wide, axis=1, keepdims=True)
    scaled: NDArray[np.float64] = wide / np.where(length > 0, length, 1.0)
    return scaled


def alignment(one: Vectors, other: Vectors, *, power: float = 2.0) -> float:
    """``E ‖x - y‖^power`` over positive pairs of unit vectors: 0 where both sides of every pair are the same.

    Wang and Isola 2020, arXiv:2005.10242, section 4.1.1; their power is 2. Collapse minimises it, so read it together
    with `uniformity`.

    Args:
        one: (n, d), scaled to unit length here.
        other: (n, d), row by row the other side.
        power: above 0.

    >>> round(alignment(np.eye(2), np.eye(2)[::-1]), 9)
    2.0
    """
    a, b = unit(one), unit(other)
    if a.shape != b.shape or not len(a):
        raise ValueError(f"alignment needs pairs: {a.shape} against {b.shape}")
    return float((np.linalg.norm(a - b, axis=1) ** power).mean())


def uniformity(vectors: Vectors, *, t: float = 2.0) -> float:
    """``ln E exp(-t ‖x - y‖²)`` over pairs of different vectors: 0 when all are the same, -2t for orthogonal ones.

    Wang and Isola 2020, arXiv:2005.10242, section 4.1.2; their t is 2. Random vectors in d dimensions tend to -4 from
    above; in few dimensions it can be lower. Duplicates among few vectors raise it: compare at equal n.

    Args:
        vectors: (n, d), n >= 2, scaled to unit length here.
        t: above 0.

    >>> round(uniformity(np.eye(3)), 9)
    -4.0
    """
    x = unit(vectors)
    if len(x) < 2:
        raise ValueError("uniformity needs at least two vectors")
    top = max(float(block.max(initial=-np.inf)) for block in _above(x, t))
    total = sum(float(np.exp(block - top).sum()) for block in _above(x, t))
    return top + math.log(total) - math.log(len(x) * (len(x) - 1) / 2)


def effective_rank(vectors: Vectors) -> float:
    """``exp(H(λ))`` with λ the eigenvalues of the covariance of unit vectors, divided by their sum: 1 to d.

    Roy and Vetterli 2007: the number of dimensions that are in use. 1 where all vectors are the same.

    Args:
        vectors: (n, d), scaled to unit length here.
    """
    x = unit(vectors)
    power = np.linalg.svd(x - x.mean(axis=0), compute_uv=False) ** 2
    # What rounding leaves of identical vectors is no spread.
    if power.sum() <= 1e-20 * max(x.size, 1):
        return 1.0
    share = power / power.sum()
    share = share[share > 0]
    return float(np.exp(-(share * np.log(share)).sum()))


def anisotropy(vectors: Vectors) -> float:
    """Mean cosine of two different vectors: 0 for directions without preference, 1 for collapse.

    ``(‖Σ x‖² - n) / (n (n - 1))`` over unit vectors, so all pairs are in it (Ethayarajh 2019, arXiv:1909.00512, section
    4.1, takes random ones).

    Args:
        vectors: (n, d), n >= 2, scaled to unit length here.

    >>> round(anisotropy(np.eye(3)), 9)
    0.0
    """
    x = unit(vectors)
    if len(x) < 2:
        raise ValueError("anisotropy needs at least two vectors")
    square = float((x.sum(axis=0) ** 2).sum())
    return (square - float((x * x).sum())) / (len(x) * (len(x) - 1))


def tower_gap(queries: Vectors, docs: Vectors) -> float:
    """``‖mean q - mean d‖`` of unit vectors: 0 where both sides lie around the same point, 2 at most."""
    return float(np.linalg.norm(unit(queries).mean(axis=0) - unit(docs).mean(axis=0)))


def occurrences(neighbours: NDArray[np.integer], docs: int) -> NDArray[np.int64]:
    """N_k of each document: in how many of the lists it occurs, int64 (docs,). ``ΣN_k`` is the size of all lists.

    Args:
        neighbours: int (lists, k), rows of documents, padded with -1.
        docs: number of documents.
    """
    rows = np.asarray(neighbours).ravel()
    return np.bincount(rows[rows >= 0], minlength=docs)


def hubness(counts: NDArray[np.integer], k: int) -> dict[str, float]:
    """Whether few documents are in most lists of neighbours (Radovanović et al. 2010, JMLR 11).

    Args:
        counts: N_k of each document, from `occurrences`; at least one, and not all 0.
        k: length of the lists.

    Returns:
        ``skewness``: of N_k, third standardised moment; 0 for none. ``robin_hood``: ``½ Σ|N - mean| / ΣN``, the share
        of all places that would have to be given away for all to have as many. ``antihubs``: share of documents in no
        list. ``hubs``: share of the places that documents with ``N_k > 2k`` have. ``largest``: N_k of the greatest hub.

    >>> hubness(np.array([4, 0, 0, 0]), k=1)["robin_hood"]
    0.75
    """
    n = np.asarray(counts, np.float64)
    if not n.sum() > 0:
        raise ValueError("hubness needs lists of neighbours")
    off = n - n.mean()
    spread = float(np.sqrt((off**2).mean()))
    return {
        "skewness": float((off**3).mean() / spread**3) if spread > 0 else 0.0,
        "robin_hood": float(0.5 * np.abs(off).sum() / n.sum()),
        "antihubs": float((n == 0).mean()),
        "hubs": float(n[n > 2 * k].sum() / n.sum()),
        "largest": float(n.max()),
    }


def _above(x: NDArray[np.float64], t: float) -> Iterator[NDArray[np.float64]]:
    """``-t ‖x_i - x_j‖²`` for all i < j, in blocks."""
    square = (x * x).sum(axis=1)
    for start in range(0, len(x), _ROWS):
        rows = x[start : start + _ROWS]
        apart = square[start : start + len(rows), None] + square[None, start:] - 2 * rows @ x[start:].T
        # Rounding must not make the distance of identical vectors negative.
        yield -t * np.maximum(apart, 0.0)[np.triu_indices(len(rows), 1, len(x) - start)]
