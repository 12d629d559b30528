"""Documents that are not encoded again: where new weights would put them, and what is missed by guessing so.

Between two generations most of what changes is common to all documents: a linear map of the old vectors, fitted on a
sample that is encoded both ways, says where the others have gone. Semantic drift compensation (Yu et al. 2020,
arXiv:2004.00440) moves class means in the same spirit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

DEPTH = 50  # of the lists whose missing entries are estimated
_RIDGE = 0.03  # of the mean eigenvalue of the sample's second moments
_FOLDS = 5
_BLOCK = 1 << 14

Vectors = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Drift:
    """``new ≈ old + old W + c``, by least squares with a ridge on W.

    Attributes:
        weights: float64 (dim, dim), W.
        shift: float64 (dim,), c.
        unit: whether vectors are of length 1 and stay so.
    """

    weights: NDArray[np.float64]
    shift: NDArray[np.float64]
    unit: bool

    @classmethod
    def fit(cls, old: Vectors, new: Vectors, *, unit: bool) -> Drift:
        """From documents encoded with both weights, (n, dim) each."""
        x, y = old.astype(np.float64), (new - old).astype(np.float64)
        mean, shift = x.mean(axis=0), y.mean(axis=0)
        moments = (x - mean).T @ (x - mean)
        ridge = _RIDGE * np.trace(moments) / len(moments) + 1e-12
        weights = np.linalg.solve(moments + ridge * np.eye(len(moments)), (x - mean).T @ (y - shift))
        return cls(weights, shift - mean @ weights, unit)

    def move(self, old: Vectors) -> Vectors:
        """Where documents with these vectors are now, float32 (n, dim)."""
        moved = old + (old @ self.weights + self.shift)
        if self.unit:
            lengths = np.linalg.norm(moved, axis=1, keepdims=True)
            moved = moved / np.where(lengths > 0, lengths, 1.0)
        return moved.astype(np.float32)

    def write(self, old: Vectors, out: Vectors) -> None:
        """As `move`, block by block into ``out``."""
        for start in range(0, len(old), _BLOCK):
            out[start : start + _BLOCK] = self.move(np.asarray(old[start : start + _BLOCK]))


def held_out(old: Vectors, new: Vectors, more_old: Vectors, more_new: Vectors, *, unit: bool) -> Vectors:
    """Where each sampled document would have been guessed, had it not been in the sample; float32 (n, dim).

    Args:
        old: of the sample, (n, dim).
        new: the same documents with the new weights.
        more_old: of other documents encoded both ways, which always help to fit.
        more_new: likewise.
        unit: whether vectors are of length 1.
    """
    guessed = np.empty_like(new)
    fold = np.arange(len(old)) % _FOLDS
    for number in range(_FOLDS):
        out = fold == number
        if not out.any():
            continue
        known_old, known_new = (np.concatenate(both) for both in ((old[~out], more_old), (new[~out], more_new)))
        known = len(known_old) > 0
        guessed[out] = Drift.fit(known_old, known_new, unit=unit).move(old[out]) if known else old[out]
    return guessed


@dataclass(frozen=True)
class Missed:
    """Estimated share of the list entries that guessing misses, with a 95 % interval."""

    share: float
    low: float
    high: float

    def to_dict(self) -> dict[str, float]:
        """Rounded, as manifests store it."""
        return {"missed": round(self.share, 5), "missed_low": round(self.low, 5), "missed_high": round(self.high, 5)}


def missed(
    queries: Vectors, floor: NDArray[np.float32], new: Vectors, guessed: Vectors, *, rest: int, depth: int
) -> Missed:
    """How much of the lists is missed, from a random sample of the documents that were guessed.

    A sampled document is missed for a query if it belongs into the list by its true vector, and did not get there by
    its guessed one. ``rest / n Σ_d x_d / (queries · depth)`` with x_d the queries that miss document d; the interval is
    that of a mean of n draws. If none is missed, its upper end is by the rule of three for a document that is in as
    many lists as the average one.

    Args:
        queries: vectors of a sample of the queries, (q, dim).
        floor: score of the last document in each query's list, (q,).
        new: true vectors of the sampled documents, (n, dim).
        guessed: vectors that they would have had, (n, dim).
        rest: documents that the sample stands for.
        depth: length of the lists.
    """
    if not len(new) or not len(queries):
        return Missed(0.0, 0.0, 0.0)
    hits = (queries @ new.T >= floor[:, None]) & (queries @ guessed.T < floor[:, None])
    per_doc = hits.sum(axis=0).astype(np.float64) / (len(queries) * depth)
    share, error = rest * float(per_doc.mean()), rest * float(per_doc.std(ddof=1) if len(new) > 1 else 0.0)
    if not share:
        return Missed(0.0, 0.0, 3 * rest / (len(new) * (rest + len(new))))
    half = 1.96 * error / np.sqrt(len(new))
    return Missed(min(share, 1.0), max(0.0, share - half), min(1.0, share + half))
