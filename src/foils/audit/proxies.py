"""What needs no judge: trends to watch between runs of one pipeline, never rates of false negatives."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from foils.audit.population import Population
from foils.core.collection import Collection
from foils.core.near import near_positive
from foils.core.pairs import POSITIVE, Pairs

_SURE = 0.9

Ints = NDArray[np.int64]


def proxies(found: Population, data: Collection, at: Ints, weight: NDArray[np.float64]) -> dict[str, float]:
    """Shares of the negatives that look like false ones.

    ``above_positive``: with a score of the positive's or more, in each score column (the plain name is the latest one);
    ``probability_above_0.9``: where a cross-encoder's probabilities were saved; ``near_duplicate_of_positive``:
    shingles of five words with a Jaccard similarity of .8 or more, estimated from the sample.

    Args:
        found: the population.
        data: the collection, for texts.
        at: places of the sample's items.
        weight: how many items each stands for.
    """
    rows = found.rows[found.negative]
    shares: dict[str, float] = {}
    for name in found.pairs.scores:
        share = _above(found.pairs, name, rows)
        if share is not None:
            shares[f"above_positive.{name}"] = share
    if found.column is not None and f"above_positive.{found.column}" in shares:
        shares["above_positive"] = shares[f"above_positive.{found.column}"]
    for name in found.probabilities:
        values = found.pairs.scores[name][rows]
        if not np.isnan(values).all():
            shares[f"probability_above_0.9.{name}"] = float((values[~np.isnan(values)] > _SURE).mean())
    known = found.pairs.take(found.pairs.label == POSITIVE)
    near = near_positive(data.corpus, found.query[at], found.doc[at], (known.query, known.doc))
    if len(near):
        shares["near_duplicate_of_positive"] = float(weight @ near / weight.sum())
    return shares


def _above(pairs: Pairs, column: str, rows: Ints) -> float | None:
    values = pairs.scores[column].astype(np.float64)
    scored = (pairs.label == POSITIVE) & ~np.isnan(values)
    lowest = np.full(len(pairs.queries), np.inf)
    query = np.repeat(np.arange(len(pairs.queries)), np.diff(pairs.starts))
    np.minimum.at(lowest, query[scored], values[scored])
    mine, bound = values[rows], lowest[query[rows]]
    fine = ~np.isnan(mine) & np.isfinite(bound)
    return float((mine[fine] >= bound[fine]).mean()) if fine.any() else None
