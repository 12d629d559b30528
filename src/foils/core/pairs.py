"""`Pairs`: the one value that flows. Qrels, runs, candidates and mined negatives are all pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from foils.core import segments
from foils.core.errors import PipelineError
from foils.core.packing import pack, unpack
from foils.core.segments import Reduction

POSITIVE, CANDIDATE, SET_ASIDE = 1, 0, -1


class View(Protocol):
    """What a filter or sampler may read. `Pairs` (flat numpy) and a training batch (torch matrix) are both views."""

    @property
    def label(self) -> Any:
        """1 positive, 0 candidate, for each row."""

    def __getitem__(self, by: str) -> Any:
        """The score column ``by``."""

    def positive(self, by: str = "score", how: Reduction = "min") -> Any:
        """The score of the query's positives, for each row."""

    def rank(self, by: str = "score") -> Any:
        """The 1-based rank under ``by``, for each row."""


@dataclass(frozen=True, eq=False)
class Pairs:
    """One row per (query, document), sorted by query.

    Attributes:
        query: int32 (n,), row of the query in its collection.
        doc: int32 (n,), row of the document.
        label: int8 (n,): 1 positive, 0 candidate or negative, -1 set aside.
        scores: named columns, float32 (n,); NaN where a row was not scored. Higher is closer.
        ranks: raw 1-based ranks by source, int32 (n,); 0 where the source did not return the row.
        dropped: int16 (n,): 0 alive; i > 0 judged unfit by the filter at step i, which is final; -i left out by the
            window or sampler at step i, which holds for its branch of the pipeline only.
        latest: the column that ``by='score'`` reads; None where no single column is meant.
    """

    query: NDArray[np.int32]
    doc: NDArray[np.int32]
    label: NDArray[np.int8]
    scores: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    ranks: Mapping[str, NDArray[np.int32]] = field(default_factory=dict)
    dropped: NDArray[np.int16] = field(default_factory=lambda: np.zeros(0, np.int16))
    latest: str | None = None

    @classmethod
    def build(
        cls,
        query: ArrayLike,
        doc: ArrayLike,
        label: ArrayLike | None = None,
        *,
        scores: Mapping[str, ArrayLike] | None = None,
        ranks: Mapping[str, ArrayLike] | None = None,
    ) -> Pairs:
        """Make pairs from columns in any order; rows are sorted by query, stably.

        Args:
            query: rows of the queries, (n,).
            doc: rows of the documents, (n,).
            label: 1, 0 or -1, (n,); candidates (0) by default.
            scores: named score columns, each (n,).
            ranks: raw 1-based ranks by source, each (n,).

        Raises:
            ValueError: columns of different lengths.

        >>> Pairs.build([2, 1], [0, 5], scores={"bm25": [1.0, 2.0]}).query.tolist()
        [1, 2]
        """
        q = np.asarray(query, dtype=np.int32)
        d: NDArray[np.int32] = np.asarray(doc, dtype=np.int32)
        given: NDArray[np.int8] = np.zeros(len(q), np.int8) if label is None else np.asarray(label, dtype=np.int8)
        scores_ = {name: np.asarray(values, dtype=np.float32) for name, values in (scores or {}).items()}
        ranks_ = {name: np.asarray(values, dtype=np.int32) for name, values in (ranks or {}).items()}
        columns: dict[str, NDArray[Any]] = {"doc": d, "label": given, **scores_, **ranks_}
        for name, values in columns.items():
            if values.shape != q.shape:
                raise ValueError(f"column {name!r} has shape {values.shape}, but 'query' has {q.shape}")
        latest = list(scores_)[-1] if scores_ else None
        pairs = cls(q, d, given, scores_, ranks_, np.zeros(len(q), np.int16), latest)
        if len(q) and np.any(q[1:] < q[:-1]):
            pairs = pairs.take(np.argsort(q, kind="stable"))
        return pairs

    @classmethod
    def empty(cls) -> Pairs:
        """No rows, no columns."""
        return cls.build([], [])

    def __len__(self) -> int:
        return len(self.query)

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """Offsets of the queries, int64 (queries + 1,)."""
        return segments.starts_of(self.query)

    @cached_property
    def queries(self) -> NDArray[np.int32]:
        """The distinct queries in order, int32 (queries,)."""
        return self.query[self.starts[:-1]]

    @cached_property
    def key(self) -> NDArray[np.int64]:
        """``query * 2**32 + doc``: one integer per (query, document), int64 (n,)."""
        return pack(self.query, self.doc)

    def column(self, by: str) -> str:
        """The column that ``by`` means; ``score`` is the latest one.

        Raises:
            PipelineError: there is no such column, or no single latest one.
        """
        name = self.latest if by == "score" else by
        if name is None or name not in self.scores:
            have = ", ".join(repr(n) for n in self.scores) or "none"
            raise PipelineError(f"no score column {by!r} here; there is: {have}. Add a scorer or pass by=…")
        return name

    def __getitem__(self, by: str) -> NDArray[np.float32]:
        return self.scores[self.column(by)]

    def positive(self, by: str = "score", how: Reduction = "min") -> NDArray[np.float64]:
        """For each row, the score of its query's positives, float64 (n,); NaN where the query has none.

        Args:
            by: score column.
            how: which of several positives: the lowest (strictest for negatives), the highest, or their mean.

        Raises:
            PipelineError: a positive has no score in that column, such as one that a run file does not list.
        """
        positive = self.label == POSITIVE
        holes = int(np.isnan(self[by][positive]).sum())
        if holes:
            raise PipelineError(
                f"{holes:,} of {int(positive.sum()):,} positives have no score {self.column(by)!r} to compare their "
                f"candidates with. Add a scorer, such as BiEncoder('student'), and read its column."
            )
        per_query = segments.reduce(self[by], positive, self.starts, how)
        return np.repeat(per_query, np.diff(self.starts))

    def rank(self, by: str = "score") -> NDArray[np.int32]:
        """For each row, its raw rank in the source ``by``, or its position under that score if no source made it.

        Raw ranks count everything that the source returned, positives included. 0: not returned.
        """
        name = self.column(by) if by == "score" or by in self.scores else by
        if name in self.ranks:
            return self.ranks[name]
        return segments.ranks(self.scores[self.column(by)], self.starts, self.doc)

    def take(self, rows: NDArray[Any]) -> Pairs:
        """The given rows (a mask or row numbers that keep the order by query)."""
        return Pairs(
            self.query[rows],
            self.doc[rows],
            self.label[rows],
            {name: values[rows] for name, values in self.scores.items()},
            {name: values[rows] for name, values in self.ranks.items()},
            self.dropped[rows],
            self.latest,
        )

    def with_scores(self, name: str, values: NDArray[np.floating], ranks: NDArray[np.int32] | None = None) -> Pairs:
        """Add or replace a score column (and its raw ranks); it becomes the latest."""
        ranks_ = dict(self.ranks) if ranks is None else {**self.ranks, name: np.asarray(ranks, np.int32)}
        scores = {**self.scores, name: np.asarray(values, np.float32)}
        return replace(self, scores=scores, ranks=ranks_, latest=name)

    def bare(self) -> Pairs:
        """The rows and labels alone, without columns; nothing is dropped."""
        return Pairs(self.query, self.doc, self.label, dropped=np.zeros(len(self), np.int16))

    @property
    def alive(self) -> NDArray[np.bool_]:
        """Rows that still take part: not dropped and not set aside."""
        free: NDArray[np.bool_] = (self.dropped == 0) & (self.label != SET_ASIDE)
        return free

    def kept(self) -> Pairs:
        """Positives and the candidates that survived."""
        return self.take(self.alive)

    def find(self, other: Pairs) -> NDArray[np.int64]:
        """Row of each (query, doc) of ``other`` in here, -1 where absent, int64 (len(other),)."""
        if not len(self):
            return np.full(len(other), -1, np.int64)
        ordered = self.key
        order = None if np.all(ordered[1:] > ordered[:-1]) else np.argsort(ordered, kind="stable")
        if order is not None:
            ordered = ordered[order]
        at = np.minimum(np.searchsorted(ordered, other.key), len(ordered) - 1)
        return np.where(ordered[at] == other.key, at if order is None else order[at], -1)


def joined(parts: Sequence[Pairs]) -> Pairs:
    """Pairs of ascending, different queries and the same columns, one after the other."""
    first = parts[0]
    names, ranks = list(first.scores), list(first.ranks)
    return Pairs(
        np.concatenate([part.query for part in parts]),
        np.concatenate([part.doc for part in parts]),
        np.concatenate([part.label for part in parts]),
        {name: np.concatenate([part.scores[name] for part in parts]) for name in names},
        {name: np.concatenate([part.ranks[name] for part in parts]) for name in ranks},
        np.concatenate([part.dropped for part in parts]),
        first.latest,
    )


def union(parts: Sequence[Pairs]) -> Pairs:
    """Pool pairs: one row per (query, doc), sorted by query, then document.

    A value that several parts have comes from the first that has it (not NaN, not rank 0). A row is a positive if any
    part says so. A row that was *judged* unfit in any part stays dropped; a row merely left out of one part is alive if
    another part has it alive. ``latest`` survives where all parts that have one agree.

    Raises:
        ValueError: no parts.
    """
    key = np.concatenate([part.key for part in parts])
    order = np.argsort(key, kind="stable")
    key = key[order]
    first = np.ones(len(key), bool)
    np.not_equal(key[1:], key[:-1], out=first[1:])
    inverse = np.empty(len(key), np.int64)
    inverse[order] = np.cumsum(first) - 1
    distinct = key[first]
    n = len(distinct)
    slots = np.split(inverse, np.cumsum([len(part) for part in parts])[:-1])
    label = np.full(n, SET_ASIDE, np.int8)
    judged, left_out = np.zeros(n, np.int16), np.zeros(n, np.int16)
    alive = np.zeros(n, bool)
    scores: dict[str, NDArray[np.float32]] = {}
    ranks: dict[str, NDArray[np.int32]] = {}
    aside = np.zeros(n, bool)
    for part, at in zip(parts, slots, strict=True):
        label[at] = np.maximum(label[at], part.label)
        aside[at] |= part.label == SET_ASIDE
        judged[at] = np.where(judged[at] > 0, judged[at], np.maximum(part.dropped, 0))
        left_out[at] = np.where(left_out[at] < 0, left_out[at], np.minimum(part.dropped, 0))
        alive[at] |= part.dropped == 0
        for name, values in part.scores.items():
            column = scores.setdefault(name, np.full(n, np.nan, np.float32))
            column[at] = np.where(np.isnan(column[at]), values, column[at])
        for name, numbers in part.ranks.items():
            row = ranks.setdefault(name, np.zeros(n, np.int32))
            row[at] = np.where(row[at] == 0, numbers, row[at])
    label[aside & (label == CANDIDATE)] = SET_ASIDE
    dropped = np.where(judged > 0, judged, np.where(alive, 0, left_out)).astype(np.int16)
    dropped[label == POSITIVE] = 0
    named = {part.latest for part in parts if part.latest is not None}
    latest = named.pop() if len(named) == 1 else None
    return Pairs(*unpack(distinct), label, scores, ranks, dropped, latest)
