"""Training rows: one per (query, positive), each with the negatives that were mined for its query.

Documents with the same normalised text are one document here: the first row of that text stands for all of them. A
row's negatives are a ragged list of row numbers. Lists may be short or empty; nothing is ever padded, least of all with
a positive.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from foils.core import noise
from foils.core.collection import Collection
from foils.core.errors import DataError
from foils.core.packing import pack, unpack
from foils.core.pairs import CANDIDATE, POSITIVE, Pairs
from foils.core.ragged import Lists, places, spans


@dataclass(frozen=True, eq=False)
class Saved:
    """A column of some (query, document) pairs.

    Attributes:
        keys: int64 (n,), packed pairs, ascending.
        values: float32 (n,).
    """

    keys: NDArray[np.int64]
    values: NDArray[np.float32]

    def of(self, queries: NDArray[np.int32], docs: NDArray[np.int32], wanted: NDArray[np.bool_]) -> NDArray[np.float32]:
        """The values of some queries with some documents, float32 (B, M); NaN where none is known or ``wanted`` is
        false.

        Args:
            queries: (B,) rows.
            docs: (M,) rows.
            wanted: (B, M) which pairs to look up.
        """
        found = np.full(wanted.shape, np.nan, np.float32)
        row, column = np.nonzero(wanted)
        found[row, column] = self.at(queries[row], docs[column])
        return found

    def at(self, queries: NDArray[np.int32], docs: NDArray[np.int32]) -> NDArray[np.float32]:
        """The values of some pairs, float32 (n,); NaN where none is known."""
        found = np.full(len(queries), np.nan, np.float32)
        if len(self.keys):
            key = pack(queries, docs)
            place = np.minimum(np.searchsorted(self.keys, key), len(self.keys) - 1)
            hit = self.keys[place] == key
            found[hit] = self.values[place[hit]]
        return found


@dataclass(frozen=True, eq=False)
class Rows:
    """What is trained on, as numbers only.

    Attributes:
        query: int32 (n,), row of the query in the collection.
        doc: int32 (n,), row of the training positive.
        slot: int32 (n,), position of the query in ``queries``.
        turn: int32 (n,), number of the row among the rows of its query, by their keys, from 0.
        queries: int32 (m,), the distinct queries, ascending.
        known: all known positives of each query, m lists.
        negatives: the negatives mined for each query, m lists in an order keyed by (seed, query id, document id).
        keys: uint64 (n,), a key per row made of the external ids: what shuffling is keyed by.
        report: counts, for the record.
        saved: scores and other columns that were saved with the mined pairs and are read in training, by name.
        ranks: raw ranks of the mined pairs by source.
    """

    query: NDArray[np.int32]
    doc: NDArray[np.int32]
    slot: NDArray[np.int32]
    turn: NDArray[np.int32]
    queries: NDArray[np.int32]
    known: Lists
    negatives: Lists
    keys: NDArray[np.uint64]
    report: Mapping[str, int]
    saved: Mapping[str, Saved] = field(default_factory=dict)
    ranks: Mapping[str, Saved] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.query)

    def draw(
        self, rows: NDArray[np.integer], epoch: int, limit: int | None
    ) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """The negatives that rows use in an epoch: at most ``limit`` each, all of them if None.

        A window moves over the query's list from epoch to epoch (and from positive to positive of one query), so that
        every negative is used equally often: after ``ceil(length / limit)`` epochs each has had its turn.

        Returns:
            int32 documents, distinct within a row, and for each the position in ``rows`` that it belongs to.
        """
        slots = self.slot[rows]
        length = self.negatives.sizes[slots]
        taken = length if limit is None else np.minimum(length, limit)
        owner, within = spans(taken)
        first = (epoch + self.turn[rows].astype(np.int64)) * taken
        position = (first[owner] + within) % np.maximum(length, 1)[owner]
        return self.negatives.rows[self.negatives.starts[slots][owner] + position], owner

    def positives(self, queries: NDArray[np.int32]) -> NDArray[np.int32]:
        """All known positives of some of the queries, int32 (n, P) padded with -1.

        Args:
            queries: rows of the queries, (n,); any order.
        """
        slots = np.searchsorted(self.queries, queries)
        of_row, known = self.known.members(slots)
        sizes = self.known.sizes[slots]
        padded = np.full((len(queries), sizes.max(initial=0)), -1, np.int32)
        padded[of_row, spans(sizes)[1]] = known
        return padded


def make_rows(
    data: Collection,
    split: str,
    *,
    queries: NDArray[np.int32],
    negatives: Pairs | None = None,
    seed: int = 0,
    columns: Sequence[str] = (),
) -> Rows:
    """Lay out the training rows of some queries.

    The positives of a query are those of the split, closed over documents with the same text, and those that a labeler
    added (label 1 in ``negatives``). A mined negative that is a known positive is left out and counted.

    Args:
        data: the collection.
        split: whose qrels count.
        queries: rows of the queries to train on.
        negatives: mined pairs: label 0 is a negative, label 1 a positive; other queries in them are ignored.
        seed: of the order in which negatives take turns.
        columns: score columns of ``negatives`` that are read in training.

    Raises:
        DataError: no row is left, or negatives were given and none is for these queries.
    """
    mined = Pairs.empty() if negatives is None else negatives
    known = _known(data, [data.positives(split), mined.take(mined.label == POSITIVE)], queries)
    if not len(known):
        remedy = "Name a split with judged queries, or hold out fewer of them (dev_share)."
        raise DataError(f"no query to train on has a positive in split {split!r} of {data.name!r}.", remedy=remedy)
    lists, counts = _clean(data, mined.take(mined.label == CANDIDATE), known, seed)
    keys = noise.bits(0, "row", data.queries.keys[known.query], data.corpus.keys[known.doc])
    turn = np.empty(len(known), np.int32)
    turn[np.lexsort((keys, known.query))] = places(known.starts)
    return Rows(
        query=known.query,
        doc=known.doc,
        slot=np.repeat(np.arange(len(known.queries), dtype=np.int32), np.diff(known.starts)),
        turn=turn,
        queries=known.queries,
        known=Lists(known.starts, known.doc),
        negatives=lists,
        keys=keys,
        report={
            "rows": len(known),
            "queries": len(known.queries),
            **counts,
        },
        saved={name: _saved(mined, mined.scores[name], data.same) for name in columns},
        ranks=_ranks(mined, data.same),
    )


def renewed(rows: Rows, data: Collection, negatives: Pairs, seed: int) -> Rows:
    """The same rows with other negatives: those of another generation.

    What was a positive stays one. What a labeler promotes now is a known positive too, which is no negative and is
    masked, but gets no row of its own. Saved columns keep the values of pairs that are not in this generation.

    Args:
        rows: as they were laid out when the run began.
        data: the collection.
        negatives: mined pairs: label 0 is a negative, label 1 a positive; other queries in them are ignored.
        seed: of the order in which negatives take turns.

    Raises:
        DataError: no negative is for a query trained on, or a column that is read in training is not among theirs.
    """
    lacking = [name for name in rows.saved if name not in negatives.scores]
    if lacking:
        remedy = "Mine at the beginning with the pipeline that mines again, or read no such column."
        raise DataError(f"negatives mined again have no column {lacking[0]!r}, which training reads.", remedy=remedy)
    promoted, wrong = (negatives.take(negatives.label == label) for label in (POSITIVE, CANDIDATE))
    before = np.repeat(rows.queries, rows.known.sizes), rows.known.rows
    known = _pairs(
        np.concatenate((before[0], promoted.query)), np.concatenate((before[1], data.same[promoted.doc])), rows.queries
    )
    lists, counts = _clean(data, wrong, known, seed)
    saved = {
        name: _merged(_saved(negatives, negatives.scores[name], data.same), old) for name, old in rows.saved.items()
    }
    report = {**rows.report, **counts}
    ranks = _ranks(negatives, data.same)
    return replace(rows, known=Lists(known.starts, known.doc), negatives=lists, report=report, saved=saved, ranks=ranks)


def _merged(first: Saved, second: Saved) -> Saved:
    """Both, and where both know a pair, the first."""
    keys, at = np.unique(np.concatenate((first.keys, second.keys)), return_index=True)
    return Saved(keys, np.concatenate((first.values, second.values))[at])


def _ranks(pairs: Pairs, same: NDArray[np.int32]) -> dict[str, Saved]:
    return {name: _saved(pairs, np.where(rank > 0, rank, np.nan), same) for name, rank in pairs.ranks.items()}


def _saved(pairs: Pairs, values: NDArray[np.floating], same: NDArray[np.int32]) -> Saved:
    """Of documents with the same text, the value of the first that has one."""
    has = ~np.isnan(values)
    keys, first = np.unique(pack(pairs.query[has], same[pairs.doc[has]]), return_index=True)
    return Saved(keys, values[has][first].astype(np.float32))


def _known(data: Collection, parts: list[Pairs], queries: NDArray[np.int32]) -> Pairs:
    query = np.concatenate([part.query for part in parts])
    doc = np.concatenate([part.doc for part in parts])
    return _pairs(query, data.same[doc], queries)


def _pairs(query: NDArray[np.int32], doc: NDArray[np.int32], queries: NDArray[np.int32]) -> Pairs:
    """The distinct pairs of the given queries, sorted by query, then document."""
    wanted = np.isin(query, queries)
    key = np.unique(pack(query[wanted], doc[wanted]))
    return Pairs.build(*unpack(key))


def _clean(data: Collection, wrong: Pairs, known: Pairs, seed: int) -> tuple[Lists, dict[str, int]]:
    """The negatives of each query without known positives, in the order of their turns, and counts."""
    candidates = _pairs(wrong.query, data.same[wrong.doc], known.queries)
    clean = candidates.take(known.find(candidates) < 0)
    if len(wrong) and not len(clean):
        remedy = "Mine them for the split of this collection that is trained on."
        raise DataError(f"none of the {len(wrong):,} negatives given is for a query trained on.", remedy=remedy)
    draws = noise.bits(seed, "negatives", data.queries.keys[clean.query], data.corpus.keys[clean.doc])
    return _lists(clean, draws, known.queries), {
        "negatives": len(clean),
        "queries_without_negatives": int(len(known.queries) - len(clean.queries)),
        "negatives_that_are_positives": len(candidates) - len(clean),
    }


def _lists(pairs: Pairs, draws: NDArray[np.uint64], queries: NDArray[np.int32]) -> Lists:
    order = np.lexsort((draws, pairs.query))
    sizes = np.bincount(np.searchsorted(queries, pairs.query), minlength=len(queries))
    return Lists(np.concatenate(([0], np.cumsum(sizes))).astype(np.int64), pairs.doc[order])


def fingerprint(negatives: Pairs | None, columns: Sequence[str] = ()) -> str | None:
    """Hex digest of which (query, document) are positives and negatives, and of columns that are read in training.

    Args:
        negatives: the pairs; None for none, which has no digest.
        columns: names of score columns.
    """
    if negatives is None:
        return None
    digest = hashlib.blake2b(digest_size=16)
    order = np.lexsort((negatives.doc, negatives.query))
    for column, dtype in ((negatives.query, "<i4"), (negatives.doc, "<i4"), (negatives.label, "<i1")):
        digest.update(column[order].astype(dtype).tobytes())
    for name in sorted(columns):
        digest.update(name.encode() + negatives.scores[name][order].astype("<f4").tobytes())
    return digest.hexdigest()
