"""Two folders of negatives side by side: how much of the candidates and of the negatives is the same."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foils.core.agreement import overlap, rank_biased
from foils.core.collection import Collection
from foils.core.errors import StoreError
from foils.core.pairs import CANDIDATE, POSITIVE, Pairs, joined
from foils.core.ragged import Lists
from foils.store import Negatives

DEPTHS = (10, 50, 100, 200)


@dataclass(frozen=True, eq=False)
class Comparison:
    """What two folders say about the queries that both have.

    Attributes:
        query: int32 (n,), rows of those queries.
        overlap: by depth k, float64 (n,): common share of the k best candidates; see `foils.core.agreement`.
        rbo: float64 (n,), rank-biased overlap of the candidates.
        new: int64 (n,), negatives of the second folder that are none in the first.
        kept: int64 (n,), negatives of the second folder.
    """

    query: NDArray[np.int32]
    overlap: dict[int, NDArray[np.float64]]
    rbo: NDArray[np.float64]
    new: NDArray[np.int64]
    kept: NDArray[np.int64]

    @property
    def churn(self) -> float:
        """Share of the second folder's negatives that are new."""
        return float(self.new.sum() / max(1, self.kept.sum()))

    def to_dict(self) -> dict[str, float]:
        """The means, ``overlap@k`` for each depth."""
        shares = {f"overlap@{k}": _mean(values) for k, values in self.overlap.items()}
        return {"queries": len(self.query), **shares, "rbo": _mean(self.rbo), "churn": round(self.churn, 4)}

    def changed_most(self, count: int) -> NDArray[np.int64]:
        """Places of the queries whose candidates agree least, the least first; of equals, the smaller row."""
        return np.lexsort((self.query, self.rbo))[:count]


def _mean(values: NDArray[np.float64]) -> float:
    return round(float(values.mean()), 4) if len(values) else 1.0


def compare(first: Negatives, second: Negatives, data: Collection, depths: tuple[int, ...] = DEPTHS) -> Comparison:
    """Compare candidates and negatives, query by query, in memory for one part at a time.

    Candidates are ranked by the score that ``score`` means, else by their best rank under any source; known positives
    do not count, what a stage dropped does.

    Args:
        first: the earlier folder.
        second: the later one.
        data: the collection of both, or one with the same ids.
        depths: how many of the best candidates to compare; depths beyond all lists but the smallest are left out.

    Raises:
        StoreError: they share no query.
    """
    parts = [_compared(*both, depths) for both in _sides(first, second, data)]
    if not sum(len(part.query) for part in parts):
        raise StoreError(f"{first.path} and {second.path} have no query in common.")
    longest = max(size for part in parts for size in part.overlap)
    merged = {
        k: np.concatenate([part.overlap.get(k, part.overlap[max(part.overlap)]) for part in parts]) for k in depths
    }
    return Comparison(
        np.concatenate([part.query for part in parts]),
        {k: values for k, values in merged.items() if k <= longest},
        np.concatenate([part.rbo for part in parts]),
        np.concatenate([part.new for part in parts]),
        np.concatenate([part.kept for part in parts]),
    )


def _sides(first: Negatives, second: Negatives, data: Collection) -> Iterator[tuple[Pairs, Pairs]]:
    """For each part of the second folder, what both say about the queries that both have."""
    parts, spans = first.parts(), first.spans(data)
    for path in second.parts():
        new = second.read(data, None, [path])
        if not len(new):
            continue
        near = np.flatnonzero((spans[:, 0] <= new.query[-1]) & (spans[:, 1] >= new.query[0]))
        old = first.read(data, None, [parts[number] for number in near]) if len(near) else Pairs.empty()
        shared = np.intersect1d(new.queries, old.queries)
        yield tuple(side.take(np.isin(side.query, shared)) for side in (old, new))  # type: ignore[misc]


def _compared(old: Pairs, new: Pairs, depths: tuple[int, ...]) -> Comparison:
    queries = new.queries
    before, after = (_ranked(side, queries) for side in (old, new))
    longest = int(max(before.sizes.max(initial=0), after.sizes.max(initial=0)))
    chosen, was = (_negatives(side) for side in (new, old))
    fresh = was.find(chosen) < 0
    return Comparison(
        queries,
        {k: overlap(before, after, k) for k in depths if k == min(depths) or k <= longest},
        rank_biased(before, after),
        _counted(chosen.take(fresh), queries),
        _counted(chosen, queries),
    )


def _counted(pairs: Pairs, queries: NDArray[np.int32]) -> NDArray[np.int64]:
    return np.bincount(np.searchsorted(queries, pairs.query), minlength=len(queries)).astype(np.int64)


def _negatives(pairs: Pairs) -> Pairs:
    return pairs.take((pairs.label == CANDIDATE) & (pairs.dropped == 0))


def _ranked(pairs: Pairs, queries: NDArray[np.int32]) -> Lists:
    """The candidates of each query, best first."""
    found = pairs.take(pairs.label != POSITIVE)
    if found.latest is not None:
        worth = -np.nan_to_num(found.scores[found.latest], nan=-np.inf).astype(np.float64)
    else:
        ranks = [np.where(rank > 0, rank, np.iinfo(np.int32).max) for rank in found.ranks.values()]
        worth = np.min([np.zeros(len(found)), *ranks][bool(ranks) :], axis=0).astype(np.float64)
    order = np.lexsort((found.doc, worth, found.query))
    sizes = _counted(found, queries)
    return Lists(np.concatenate(([0], np.cumsum(sizes))), found.doc[order])


def described(comparison: Comparison, sides: tuple[Negatives, Negatives], data: Collection, count: int) -> list[Any]:
    """The queries whose candidates changed most, with the negatives that left and those that came, by id.

    Args:
        comparison: of both folders.
        sides: the earlier and the later folder.
        data: the collection.
        count: how many queries.
    """
    at = comparison.changed_most(count)
    rows = comparison.query[at]
    old, new = (_negatives(_of(store, data, rows)) for store in sides)
    found = []
    for place, row in zip(at.tolist(), rows.tolist(), strict=True):
        here, there = new.doc[new.query == row], old.doc[old.query == row]
        found.append(
            {
                "query_id": data.queries.id_list([row])[0],
                "query": data.queries.texts([row])[0],
                "rbo": round(float(comparison.rbo[place]), 4),
                "came": data.corpus.id_list(np.setdiff1d(here, there)),
                "left": data.corpus.id_list(np.setdiff1d(there, here)),
            }
        )
    return found


def _of(store: Negatives, data: Collection, rows: NDArray[np.int32]) -> Pairs:
    parts, spans = store.parts(), store.spans(data)
    near = [path for path, (lo, hi) in zip(parts, spans, strict=True) if np.any((rows >= lo) & (rows <= hi))]
    found = store.read(data, None, near)
    return joined([found.take(np.isin(found.query, rows))])
