"""What is checked, as flat arrays: rows, listed documents, and which queries and documents are the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from foils.core.collection import Collection
from foils.core.errors import SpecError
from foils.core.foreign import Listing, resolve
from foils.core.packing import pack
from foils.core.pairs import POSITIVE, Pairs
from foils.core.text import keys_of, normalised
from foils.core.texts import Texts

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
STEP = 16_384  # texts in memory at a time
_BLANK = keys_of([""])[0]


@dataclass(frozen=True)
class Limits:
    """Where a check draws its lines.

    Attributes:
        expect: negatives that each row must have; None: fewer than most rows have is a note.
        max_share: a document may be a negative of at most this share of the queries, in (0, 1].
        near: Jaccard similarity of word shingles from which a text is a near-duplicate, in (0, 1].
        examples: of each finding.
    """

    expect: int | None = None
    max_share: float = 0.05
    near: float = 0.8
    examples: int = 3

    def __post_init__(self) -> None:
        for name, value in (("max_share", self.max_share), ("near", self.near)):
            if not 0 < value <= 1:
                raise SpecError(f"{name}={value}: it must be above 0 and at most 1.")
        for name, number, least in (("expect", self.expect, 1), ("examples", self.examples, 0)):
            if number is not None and number < least:
                raise SpecError(f"{name}={number}: it must be at least {least}.")


@dataclass(frozen=True, eq=False)
class Side:
    """The queries or the documents that a file mentions, numbered; the same texts in the collection and in the file.

    Attributes:
        own: what the file says of them.
        base: the collection's side, if there is one.
        row: row in ``own``, -1 for a document that only the qrels mention.
        home: row in ``base``, -1 where it is unknown there.
    """

    own: Texts
    base: Texts | None
    row: Ints
    home: Ints

    def __len__(self) -> int:
        return len(self.row)

    @cached_property
    def same(self) -> Ints:
        """A number that two of them share if they are the same: same row or normalised text, int64 (n,)."""
        start = 0 if self.base is None else len(self.base)
        alone = start + np.arange(len(self))
        inside = self.row >= 0
        alone[inside] = start + self.own.same[self.row[inside]]
        if self.base is None:
            return alone
        return np.where(self.home >= 0, self.base.same[self.home], alone)

    @cached_property
    def keys(self) -> NDArray[np.uint64]:
        """Key of each normalised text, uint64 (n,)."""
        parts = [
            keys_of(map(normalised, self.texts(np.arange(at, min(at + STEP, len(self))))))
            for at in range(0, len(self), STEP)
        ]
        return np.concatenate(parts) if parts else np.zeros(0, np.uint64)

    @cached_property
    def blank(self) -> Bools:
        """Whether the text is there and empty; an id without a text is no empty text."""
        empty: Bools = self.keys == _BLANK
        at = np.flatnonzero(empty & (self.home < 0))
        named = np.array([bool(name) for name in self.ids(at)], bool)
        empty[at[named & (self.own.lengths[self.row[at]] == 0)]] = False
        return empty

    @cached_property
    def lengths(self) -> Ints:
        """Characters of each text, int64 (n,); 0 where there is none."""
        own = np.where(self.row >= 0, self.own.lengths[self.row] if len(self.own) else 0, 0).astype(np.int64)
        if self.base is None:
            return own
        return np.where((own == 0) & (self.home >= 0), self.base.lengths[self.home], own).astype(np.int64)

    def texts(self, which: Ints) -> list[str]:
        """The texts, from the file where it has them, else from the collection; "" where neither does."""
        return self._either(which, Texts.texts)

    def ids(self, which: Ints) -> list[str]:
        """The external ids, "" where there is none."""
        return self._either(which, Texts.id_list)

    def _either(self, which: Ints, read: Callable[[Texts, Ints], list[str]]) -> list[str]:
        found = [""] * len(which)
        for texts, rows in ((self.own, self.row[which]), (self.base, self.home[which])):
            at = [i for i in np.flatnonzero(rows >= 0).tolist() if not found[i]]
            if texts is not None and at:
                for i, text in zip(at, read(texts, rows[at]), strict=True):
                    found[i] = text
        return found


@dataclass(frozen=True, eq=False)
class Subject:
    """Rows and the documents that they list.

    Attributes:
        where: names the place of a row.
        queries: the queries.
        documents: the listed documents, and known positives of the queries.
        asked: query of each row, int64 (rows,).
        row: row of each listed document, int64 (n,).
        doc: the document, int64 (n,).
        label: 1 positive, 0 negative, int8 (n,).
        score: float32 (n,), or None where the file has none.
        known: (query, document) of each positive that the qrels know, int64 (m, 2).
        narrow: whether the list of a query is spread over rows.
        told: whether the file says which documents are positives.
        limits: see `Limits`.
        data: the collection, if there is one.
        split: whose qrels are the known positives.
    """

    where: Callable[[int], str]
    queries: Side
    documents: Side
    asked: Ints
    row: Ints
    doc: Ints
    label: NDArray[np.int8]
    score: NDArray[np.float32] | None
    known: Ints
    narrow: bool = False
    told: bool = True
    limits: Limits = field(default_factory=Limits)
    data: Collection | None = None
    split: str = ""

    @cached_property
    def negative(self) -> Ints:
        """Places of the negatives among the listed documents."""
        return np.flatnonzero(self.label != POSITIVE)

    @cached_property
    def query(self) -> Ints:
        """For each listed document, what its query is the same as (see `Side.same`), int64 (n,)."""
        return self.queries.same[self.asked[self.row]]

    @cached_property
    def same(self) -> Ints:
        """For each listed document, what it is the same as, int64 (n,)."""
        return self.documents.same[self.doc]

    @cached_property
    def group(self) -> Ints:
        """For each listed document, the list that it belongs to: its row, or several rows where lists are spread.

        Those are the triplets of one query and positive, or all rows of a query.
        """
        if not self.narrow:
            return self.row
        positive = np.full(len(self.asked), -1, np.int64)
        if len(self.row) and np.bincount(self.row).max() > 1:  # triplets; else a row is one document
            mine = np.flatnonzero(self.label == POSITIVE)[::-1]
            positive[self.row[mine]] = self.doc[mine]
        lists = pack(self.queries.same[self.asked], positive + 1)
        number: Ints = np.unique(lists, return_inverse=True)[1].reshape(-1)
        return number[self.row]

    @cached_property
    def positives(self) -> tuple[Ints, Ints]:
        """Query (as in `query`) and document of all positives, the file's and the known ones."""
        mine = np.flatnonzero(self.label == POSITIVE)
        known = self.queries.same[self.known[:, 0]]
        return np.concatenate([self.query[mine], known]), np.concatenate([self.doc[mine], self.known[:, 1]])

    def sizes(self) -> dict[str, int]:
        """How much there is."""
        return {
            "rows": len(self.asked),
            "queries": len(np.unique(self.queries.same[self.asked])),
            "positives": len(self.row) - len(self.negative),
            "negatives": len(self.negative),
            "documents": len(np.unique(self.same)),
        }


def of_listing(listing: Listing, data: Collection | None, split: str, limits: Limits) -> Subject:
    """A file as a subject; with a collection, what it names is looked up there."""
    asked, used_queries = _numbered(listing.asked)
    doc, used = _numbered(listing.doc)
    home = [np.full(len(rows), -1, np.int64) for rows in (used_queries, used)]
    if data is not None:
        found = resolve(listing, data)
        home = [found.query[used_queries].astype(np.int64), found.doc[used].astype(np.int64)]
    queries = Side(listing.queries, None if data is None else data.queries, used_queries, home[0])
    documents, known = _with_known(Side(listing.documents, None, used, home[1]), queries, data, split)
    subject = Subject(
        lambda row: "{}:{}".format(*listing.where(row)),
        queries, documents, asked, listing.row.astype(np.int64), doc, listing.label,
        listing.score if listing.scored else None, known, listing.narrow, listing.told, limits, data, split,
    )  # fmt: skip
    return subject if listing.told else _judged(subject)


def of_pairs(pairs: Pairs, data: Collection, split: str, limits: Limits) -> Subject:
    """Mined pairs as a subject: a row for each query."""
    row = np.repeat(np.arange(len(pairs.queries)), np.diff(pairs.starts))
    doc, used = _numbered(pairs.doc)
    rows = pairs.queries.astype(np.int64)
    queries = Side(data.queries, data.queries, rows, rows)
    documents, known = _with_known(Side(data.corpus, None, used, used), queries, data, split)
    names = data.queries.id_list
    score = None if pairs.latest is None else pairs[pairs.latest]
    return Subject(
        lambda row: names([rows[row]])[0], queries, documents, np.arange(len(rows)), row, doc, pairs.label,
        score, known, limits=limits, data=data, split=split,
    )  # fmt: skip


def _numbered(rows: NDArray[np.integer]) -> tuple[Ints, Ints]:
    """Each row as a number from 0, and the rows that the numbers stand for."""
    distinct, codes = np.unique(rows, return_inverse=True)
    return codes.reshape(-1).astype(np.int64), distinct.astype(np.int64)


def _with_known(documents: Side, queries: Side, data: Collection | None, split: str) -> tuple[Side, Ints]:
    """The documents with the known positives of the queries among them, and these as (query, document)."""
    if data is None:
        return documents, np.zeros((0, 2), np.int64)
    known = data.positives(split)
    order = np.argsort(queries.home, kind="stable")
    at = np.minimum(np.searchsorted(queries.home[order], known.query), max(0, len(order) - 1))
    mine = queries.home[order][at] == known.query if len(order) else np.zeros(len(known), bool)
    query, home = order[at[mine]] if len(order) else at[mine], known.doc[mine].astype(np.int64)
    new = np.setdiff1d(home, documents.home)
    row = np.concatenate([documents.row, np.full(len(new), -1, np.int64)])
    whole = Side(documents.own, data.corpus, row, np.concatenate([documents.home, new]))
    by_home = np.argsort(whole.home, kind="stable")
    doc = by_home[np.searchsorted(whole.home[by_home], home)]
    return whole, np.stack([query, doc], axis=1)


def _judged(subject: Subject) -> Subject:
    """Where the file has scores only, the documents that are known to be relevant are its positives, too."""
    query, doc = subject.positives
    wanted = np.unique(pack(query, subject.documents.same[doc]))
    label = np.isin(pack(subject.query, subject.same), wanted).astype(np.int8)
    return replace(subject, label=label)
