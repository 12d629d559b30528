"""What a listing means in a collection: ids where the file has ids, else the same normalised text."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foils.core import segments
from foils.core.collection import Collection
from foils.core.errors import DataError
from foils.core.foreign.listing import Listing
from foils.core.packing import pack
from foils.core.pairs import Pairs
from foils.core.ragged import expand
from foils.core.text import Keys, keys_of, normalised
from foils.core.texts import Texts
from foils.core.trec import OnUnknown

STEP = 16_384  # texts in memory at a time
SAMPLE = 1_000
SCORE = "run"


@dataclass(frozen=True, eq=False)
class Resolved:
    """Rows in a collection.

    Attributes:
        query: of each query of the listing, int32; -1 where the collection does not have it.
        doc: of each document of the listing, int32; -1 where the collection does not have it.
    """

    query: NDArray[np.int32]
    doc: NDArray[np.int32]


def resolve(listing: Listing, data: Collection) -> Resolved:
    """Find the queries and documents of a listing in a collection.

    An id that the collection has decides, unless the texts say that the ids number something else. Else a text stands
    for the first document with the same normalised text (title and text, or text alone), or for the document that has
    it as its id.
    """
    return Resolved(_found(listing.queries, data.queries), _found(listing.documents, data.corpus))


def pairs_from(listing: Listing, data: Collection, on_unknown: OnUnknown = "error") -> Pairs:
    """The listed documents as pairs: label 1 or 0 as the file says, with the column ``run`` if it has scores.

    A pair that is listed several times is a positive if any row says so, and keeps its highest score.

    Raises:
        DataError: a query or document is not in the collection (or none is, with ``on_unknown='drop'``).
    """
    rows = resolve(listing, data)
    query, doc = rows.query[listing.asked[listing.row]], rows.doc[listing.doc]
    known = (query >= 0) & (doc >= 0)
    bad = np.flatnonzero(~known)
    if len(bad) and (on_unknown == "error" or len(bad) == len(known)):
        _refuse(listing, data, int(bad[0]), query[bad[0]] < 0, len(bad))
    query, doc, label, score = query[known], doc[known], listing.label[known], listing.score[known]
    key = pack(query, doc)
    order = np.lexsort((-np.nan_to_num(score, nan=-np.inf), key))
    starts = segments.starts_of(key[order]) if len(order) else np.zeros(1, np.int64)
    keep = order[starts[:-1]]
    positive = segments.count(label[order] == 1, starts) > 0
    scores = {SCORE: score[keep]} if listing.scored else None
    return Pairs.build(query[keep], doc[keep], positive.astype(np.int8), scores=scores)


def _refuse(listing: Listing, data: Collection, entry: int, is_query: bool, count: int) -> None:
    row = int(listing.row[entry])
    side, place = (listing.queries, listing.asked[row]) if is_query else (listing.documents, listing.doc[entry])
    name, text = side.id_list([place])[0], side.texts([place])[0]
    what = f"{'query' if is_query else 'document'} {(name or text)[:60]!r}"
    file, line = listing.where(row)
    message = f"{what} is not in {data.name!r}; {count:,} of {len(listing.row):,} listed documents cannot be found."
    remedy = "Use the collection that the file was made from; `foils check` lists what is unknown."
    raise DataError(message, file=file, line=line, remedy=remedy)


def _found(side: Texts, known: Texts) -> NDArray[np.int32]:
    if not len(side):
        return np.zeros(0, np.int32)
    rows = known.rows_of(side.id_list())
    if not _agree(side, known, rows):
        rows[side.lengths > 0] = -1
    open_ = np.flatnonzero((rows < 0) & (side.lengths > 0))
    if len(open_):
        rows[open_] = _by_text(text_keys(side, open_), known)
        left = open_[rows[open_] < 0]
        rows[left] = known.rows_of(side.texts(left))
    return rows


def _agree(side: Texts, known: Texts, rows: NDArray[np.int32]) -> bool:
    """Whether ids and texts mean the same: where rows are numbered from 0, any other numbering has these ids, too.

    Of 1,000 texts whose id is known, most must be what the collection has under that id, perhaps cut short.
    """
    both = np.flatnonzero((rows >= 0) & (side.lengths > 0))
    if not len(both):
        return True
    some = both[np.unique(np.linspace(0, len(both) - 1, SAMPLE).astype(np.int64))]
    triples = zip(side.texts(some), known.texts(rows[some]), known.bodies(rows[some]), strict=True)
    alike = [any(_begins(normalised(own), normalised(text)) for text in theirs) for own, *theirs in triples]
    return 2 * sum(alike) > len(alike)


def _begins(a: str, b: str) -> bool:
    return bool(a) and bool(b) and (a.startswith(b) or b.startswith(a))


def text_keys(side: Texts, rows: NDArray[np.integer] | None = None) -> Keys:
    """Keys of the normalised texts of rows (all by default), uint64, read a block at a time."""
    wanted = np.arange(len(side)) if rows is None else rows
    parts = [keys_of(map(normalised, side.texts(wanted[at : at + STEP]))) for at in range(0, len(wanted), STEP)]
    return np.concatenate(parts) if parts else np.zeros(0, np.uint64)


def _by_text(keys: Keys, known: Texts) -> NDArray[np.int32]:
    """The first row of ``known`` with each key as its whole text, else as its text without title; -1 for none."""
    rows = np.full(len(keys), -1, np.int32)
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    for read in (known.texts, known.bodies):
        if not (rows < 0).any():
            break
        found = np.full(len(keys), -1, np.int32)
        for at in range(0, len(known), STEP):
            block = np.arange(at, min(at + STEP, len(known)))
            own = keys_of(map(normalised, read(block)))
            hit = np.flatnonzero(np.isin(own, ordered))[::-1]  # backwards, so that the first of several stays
            lo, hi = np.searchsorted(ordered, own[hit], "left"), np.searchsorted(ordered, own[hit], "right")
            which, place = expand(lo, hi - lo)
            free = found[order[place]] < 0
            found[order[place[free]]] = block[hit][which[free]]
        rows = np.where(rows < 0, found, rows)
    return rows.astype(np.int32)
