"""`Compared`: a query, a positive and a negative, many at once, as the rules see them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from foils.core.ragged import expand, slices
from foils.influence.phenomena.bags import Bags
from foils.influence.phenomena.reading import Readings

Rows = NDArray[np.integer]
Flags = NDArray[np.bool_]
_CELLS = 1 << 18  # sentences of a slice


@dataclass(frozen=True, eq=False)
class Compared:
    """Triples of texts.

    Attributes:
        queries: readings of queries; ``docs``: of documents, positives and negatives alike.
        query: int (n,), which query; ``positive`` and ``negative``: which documents.
        asked: int (n,), what kind of answer the query asks for, as a place in `reading.TYPES`; -1 for none.
        above: float (n,), how often training saw the negative above the positive, 0 to 1.
    """

    queries: Readings
    docs: Readings
    query: Rows
    positive: Rows
    negative: Rows
    asked: Rows
    above: NDArray[np.floating]

    @cached_property
    def size(self) -> NDArray[np.int64]:
        """Content words of the query."""
        return self.queries.words.sizes[self.query]

    @cached_property
    def lexical_positive(self) -> NDArray[np.float64]:
        """Share of the query's content words that the positive has; 0 for a query without any."""
        return self._share(self.positive)

    @cached_property
    def lexical_negative(self) -> NDArray[np.float64]:
        """Share of the query's content words that the negative has."""
        return self._share(self.negative)

    @cached_property
    def focus_positive(self) -> NDArray[np.int64]:
        """The sentence of the positive with the most content words of the query, the first of equals; -1 for none."""
        return self._focus(self.positive)

    @cached_property
    def focus_negative(self) -> NDArray[np.int64]:
        """The same of the negative."""
        return self._focus(self.negative)

    @cached_property
    def comparable(self) -> Flags:
        """Whether both have a sentence with a content word of the query."""
        return (self.focus_positive >= 0) & (self.focus_negative >= 0)

    def differ(self, flags: Flags) -> Flags:
        """Whether exactly one of the two sentences has a property.

        Args:
            flags: of each sentence of the documents.
        """
        if not len(flags):
            return np.zeros(len(self.query), bool)
        one, other = flags[np.maximum(self.focus_positive, 0)], flags[np.maximum(self.focus_negative, 0)]
        different: Flags = self.comparable & (one != other)
        return different

    def mismatch(self, items: Bags, asked: Bags, there: Bags) -> Flags:
        """Whether positive and negative name different things of a kind.

        Where the positive has things that the query names: whether the negative lacks one of those. Where it has none:
        whether both name things of the kind, and none in common.

        Args:
            items: of the documents.
            asked: what queries name.
            there: where the negative is looked up.
        """
        named = items.shared(self.positive, (asked, self.query))
        kept = items.shared(self.positive, (asked, self.query), (there, self.negative))
        common = items.shared(self.positive, (items, self.negative))
        both = (items.sizes[self.positive] > 0) & (items.sizes[self.negative] > 0)
        found: Flags = np.where(named > 0, kept < named, both & (common == 0))
        return found

    def place(self, focus: NDArray[np.int64], doc: Rows) -> NDArray[np.float64]:
        """How far into its document a sentence is, 0 for the first and 1 for the last; NaN in one of fewer than 3."""
        first, count = self.docs.first[doc], np.diff(self.docs.first)[doc]
        with np.errstate(invalid="ignore", divide="ignore"):
            where = (focus - first) / (count - 1)
        return np.where((count >= 3) & (focus >= 0), where, np.nan)

    def _share(self, doc: Rows) -> NDArray[np.float64]:
        found = self.queries.words.shared(self.query, (self.docs.words, doc))
        return found / np.maximum(self.size, 1)

    def _focus(self, doc: Rows) -> NDArray[np.int64]:
        counts = np.diff(self.docs.first)[doc]
        best = np.full(len(doc), -1, np.int64)
        for part in slices(counts, _CELLS):
            owner, sentence = expand(self.docs.first[doc[part]], counts[part])
            found = self.docs.sentences.shared(sentence, (self.queries.words, self.query[part][owner]))
            # The best of each document, the first of equals, comes last.
            order = np.lexsort((-sentence, found, owner))
            last = order[np.flatnonzero(np.diff(owner[order], append=-1))]
            hit = last[found[last] > 0]
            best[part.start + owner[hit]] = sentence[hit]
        return best
