"""The false-negative rate of mined negatives, where fuller judgements know."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foils.audit.estimators import wilson
from foils.core.collection import Collection
from foils.core.pairs import CANDIDATE, Pairs
from foils.evaluate.significance import ratio

Counts = NDArray[np.int64]
"""(queries, 2): relevant negatives and all negatives of each query of the split."""


def counts(mined: Pairs, data: Collection, split: str, labels: str) -> Counts:
    """How many of each query's negatives the fuller judgements call relevant.

    Args:
        mined: positives and negatives.
        data: the collection.
        split: whose queries were trained on.
        labels: the split with fuller judgements.

    Returns:
        int64 (queries of the split, 2).
    """
    rows = data.query_rows(split)
    negatives = mined.take((mined.label == CANDIDATE) & np.isin(mined.query, rows))
    owner = np.searchsorted(rows, negatives.query)
    false = data.positives(labels).find(negatives) >= 0
    size = len(rows)
    return np.stack([np.bincount(owner[false], minlength=size), np.bincount(owner, minlength=size)], axis=1)


def rate(found: Sequence[Counts], *, rounds: int) -> dict[str, Any]:
    """The rate over all negatives of all seeds, with a 95 % interval over queries.

    See `foils.evaluate.significance.ratio`.

    Args:
        found: of each seed, over the same queries.
        rounds: resamples.

    Returns:
        ``value``, ``low``, ``high``, ``negatives`` and ``kind``: ``true``, or ``none`` where nothing is mined or
        nobody knows.
    """
    none = {"value": None, "low": None, "high": None, "kind": "none", "negatives": 0}
    if not found:
        return none
    table = np.sum(found, axis=0).astype(np.float64)
    whole = ratio(table[:, 0], table[:, 1], rounds=rounds)
    if np.isnan(whole.value):
        return none
    # Where no query has a false negative, resampling finds none either; Wilson's bound says what so many rule out.
    high = whole.high if table[:, 0].any() else wilson(0.0, float((table[:, 1] > 0).sum()))[1]
    number = int(table[:, 1].sum())
    return {"value": whole.value, "low": whole.low, "high": high, "kind": "true", "negatives": number}
