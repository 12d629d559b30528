"""What a teacher is measured and calibrated on: held-out queries with their candidates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foils.adapters.protocols import Reranker
from foils.core import noise, segments
from foils.core.collection import Collection
from foils.core.packing import pack
from foils.core.ragged import Lists, spans
from foils.teach.options import TeachOptions
from foils.train.dev import DEPTH, look
from foils.train.rows import Rows

Ints = NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Candidates:
    """Held-out queries, each with its positives and some of its negatives.

    Attributes:
        data: the collection.
        rows: training rows of the held-out queries that are looked at, as they would be trained on.
        query: int32 (n,), row of the query of each pair to rank, ascending.
        doc: int32 (n,).
        relevant: the positives of each distinct query, in order.
        report: counts, for the record.
    """

    data: Collection
    rows: Rows
    query: Ints
    doc: Ints
    relevant: Lists
    report: Mapping[str, int]

    def score(self, model: Reranker, query: Ints, doc: Ints) -> NDArray[np.float32]:
        """Scores of (query, document) rows, each distinct pair read once, float32 (n,)."""
        _, first, at = np.unique(pack(query, doc), return_index=True, return_inverse=True)
        queries, q = np.unique(query[first], return_inverse=True)
        docs, d = np.unique(doc[first], return_inverse=True)
        query_texts, doc_texts = self.data.queries.texts(queries), self.data.corpus.texts(docs)
        scores = model.score([query_texts[i] for i in q.tolist()], [doc_texts[i] for i in d.tolist()])
        return np.asarray(scores, np.float32)[at]

    def look(self, model: Reranker) -> dict[str, float]:
        """nDCG@10 and MRR@10 of the ranked candidates, with an interval; equal scores are ordered by row."""
        scores = self.score(model, self.query, self.doc)
        starts = segments.starts_of(self.query)
        order = np.lexsort((self.doc, -scores.astype(np.float64), self.query))
        sizes = np.diff(starts)
        found = np.full((len(sizes), DEPTH), -1, np.int32)
        owner, place = spans(sizes)
        top = place < DEPTH
        found[owner[top], place[top]] = self.doc[order][top]
        return look(found, self.relevant)


def candidates(data: Collection, rows: Rows, options: TeachOptions) -> Candidates:
    """At most ``dev_queries`` of the rows' queries, by a hash of their ids, with ``dev_docs`` negatives each.

    What was written is not among them: teachers, too, are measured on documents of the collection.

    Args:
        data: the collection.
        rows: of the held-out queries.
        options: the bounds.
    """
    draws = noise.bits(0, "dev", data.queries.keys[rows.queries], np.zeros(1, np.uint64))
    slots = np.sort(np.lexsort((rows.queries, draws))[: options.dev_queries])
    kept = np.isin(rows.slot, slots)
    known, negatives = (_below(lists, len(data.base.corpus)) for lists in (rows.known, rows.negatives))
    relevant = _lists(known, slots, None)
    others = _lists(negatives, slots, options.dev_docs)
    slot = np.concatenate([np.repeat(np.arange(len(slots)), part.sizes) for part in (relevant, others)])
    order = np.argsort(slot, kind="stable")
    doc = np.concatenate((relevant.rows, others.rows))[order]
    looked = Rows(
        query=rows.query[kept],
        doc=rows.doc[kept],
        slot=np.searchsorted(slots, rows.slot[kept]).astype(np.int32),
        turn=rows.turn[kept],
        queries=rows.queries[slots],
        known=relevant,
        negatives=_lists(negatives, slots, None),
        keys=rows.keys[kept],
        report={},
    )
    report = {"queries": len(slots), "pairs": len(doc), "held_out": len(rows.queries)}
    return Candidates(data, looked, rows.queries[slots][slot[order]], doc, relevant, report)


def _below(lists: Lists, end: int) -> Lists:
    """The lists without rows from ``end`` on."""
    kept = np.concatenate(([0], np.cumsum(lists.rows < end))).astype(np.int64)
    return Lists(kept[lists.starts], lists.rows[lists.rows < end])


def _lists(lists: Lists, chosen: NDArray[np.int64], most: int | None) -> Lists:
    sizes = lists.sizes[chosen] if most is None else np.minimum(lists.sizes[chosen], most)
    owner, place = spans(sizes)
    starts = np.concatenate(([0], np.cumsum(sizes))).astype(np.int64)
    return Lists(starts, lists.rows[lists.starts[chosen][owner] + place])
