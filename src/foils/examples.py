"""A few queries with all that mining decided about them, to look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foils.core import noise
from foils.core.collection import Collection
from foils.core.errors import DataError
from foils.core.pairs import CANDIDATE, POSITIVE, Pairs, joined
from foils.store import Negatives


@dataclass(frozen=True)
class Seen:
    """One document as mining saw it: its scores and ranks, and why it was dropped (None: it was not)."""

    doc: str
    text: str
    scores: dict[str, float]
    ranks: dict[str, int]
    reason: str | None


@dataclass(frozen=True)
class Example:
    """One query with its positives, its negatives and the best candidates that were rejected."""

    query: str
    text: str
    positives: list[Seen]
    negatives: list[Seen]
    rejected: list[Seen]


def examples(
    negatives: Negatives,
    data: Collection,
    *,
    count: int = 10,
    ids: Sequence[str] = (),
    rejected: int = 3,
    seed: int = 0,
) -> list[Example]:
    """Pick queries by a draw keyed by their ids, or by name; reads the parts that they are in only.

    Args:
        negatives: what was mined.
        data: the collection, for the texts.
        count: queries to show.
        ids: these queries instead.
        rejected: at most so many dropped candidates of each *judging* step and of each window or sampler, best first.
        seed: of the draw.

    Raises:
        DataError: a query of ``ids`` was not mined.
    """
    by_part = negatives.queries(data)
    mined = np.unique(np.concatenate([np.zeros(0, np.int32), *by_part]))
    wanted = _by_name(ids, mined, data, negatives) if ids else _drawn(mined, data, count, seed)
    reasons = {step.code: step.reason for step in negatives.steps}
    found: dict[int, list[Pairs]] = {query: [] for query in wanted.tolist()}
    for part, queries in zip(negatives.parts(), by_part, strict=True):
        here = np.intersect1d(wanted, queries)
        pairs = negatives.read(data, None, [part]) if len(here) else Pairs.empty()
        for query in here.tolist():
            lo, hi = np.searchsorted(pairs.query, [query, query + 1])
            found[query].append(pairs.take(np.arange(lo, hi)))
    return [_example(joined(found[query]), query, data, reasons, rejected) for query in wanted.tolist()]


def _drawn(mined: NDArray[np.int32], data: Collection, count: int, seed: int) -> NDArray[np.int32]:
    draws = noise.uniform(seed, "examples", data.queries.keys[mined], np.zeros(len(mined), np.uint64))
    return np.sort(mined[np.argsort(draws, kind="stable")[:count]])


def _by_name(ids: Sequence[str], mined: NDArray[np.int32], data: Collection, negatives: Negatives) -> NDArray[np.int32]:
    rows = data.queries.rows_of(ids)
    for name, row in zip(ids, rows.tolist(), strict=True):
        if row not in mined:
            split = negatives.manifest["split"]
            raise DataError(
                f"query {name!r} has no mined pairs.", remedy=f"Only queries of split {split!r} were mined."
            )
    return rows


def _example(pairs: Pairs, query: int, data: Collection, reasons: dict[int, str], rejected: int) -> Example:
    by = pairs.latest or next(iter(pairs.scores), None)
    best = np.arange(len(pairs)) if by is None else np.argsort(-np.nan_to_num(pairs[by], nan=-np.inf), kind="stable")
    texts = dict(zip(best.tolist(), data.corpus.texts(pairs.doc[best]), strict=True))
    ids = dict(zip(best.tolist(), data.corpus.id_list(pairs.doc[best]), strict=True))

    def seen(row: int) -> Seen:
        scores = {name: float(column[row]) for name, column in pairs.scores.items() if not np.isnan(column[row])}
        ranks = {name: int(column[row]) for name, column in pairs.ranks.items() if column[row] > 0}
        return Seen(ids[row], texts[row], scores, ranks, reasons.get(int(pairs.dropped[row])))

    out: list[Seen] = []
    taken: dict[int, int] = {}
    for row in best.tolist():
        code = int(pairs.dropped[row])
        if code and taken.get(code, 0) < rejected:
            taken[code] = taken.get(code, 0) + 1
            out.append(seen(row))
    alive = [row for row in best.tolist() if pairs.dropped[row] == 0]
    return Example(
        data.queries.id_list([query])[0],
        data.queries.texts([query])[0],
        [seen(row) for row in alive if pairs.label[row] == POSITIVE],
        [seen(row) for row in alive if pairs.label[row] == CANDIDATE],
        sorted(out, key=lambda item: item.reason or ""),
    )


def as_dict(example: Example) -> dict[str, Any]:
    """The example as plain values."""
    parts = {name: [vars(item) for item in getattr(example, name)] for name in ("positives", "negatives", "rejected")}
    return {"query": example.query, "text": example.text, **parts}
