"""What is written from: pairs of a query and a positive, or documents; nothing that is held out."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from foils.core import noise, segments
from foils.core.collection import Collection, family
from foils.core.errors import DataError, SpecError
from foils.core.pairs import Pairs
from foils.writing.author import NOBODY, Wanted
from foils.writing.draft import Start

Leaks = Literal["skip", "keep"]
Rows = NDArray[np.int32]


class Wanting:
    """Which texts to start from.

    Args:
        data: the collection.
        split: whose queries are written for.
        leaks: 'skip': nothing is written from queries and positives of held-out splits; 'keep': they count as others.
        seed: of the draws that ``limit`` and ``positives`` make.

    Attributes:
        skipped: how many pairs or documents were left out because they are held out.

    Raises:
        SpecError: the split itself is held out, and ``leaks`` is 'skip'.
    """

    def __init__(self, data: Collection, split: str, leaks: Leaks, seed: int) -> None:
        if leaks == "skip" and family(split) != "train":
            remedy = "Pass --leaks keep if nothing will be measured on them (Python: Options(leaks='keep'))."
            raise SpecError(f"split {split!r} is held out: what is written from it is no longer unseen. {remedy}")
        self.data, self.split, self.leaks, self.seed = data, split, leaks, seed
        self.skipped = 0

    def rows(self, starts: Start, limit: int | None, positives: int | None) -> Wanted:
        """The texts to start from.

        Args:
            starts: from documents, or from pairs of a query and a positive.
            limit: queries, or documents where queries are written, to choose by a hash of their ids; all by default.
            positives: of each query, chosen likewise; all for None.

        Raises:
            DataError: nothing is left.
        """
        made = self._documents(limit) if starts == "document" else self._pairs(limit, positives)
        if not len(made):
            what = "document" if starts == "document" else "query with a positive"
            raise DataError(
                f"no {what} of {self.data.name!r} is left to write from; {self.skipped:,} are held out.",
                remedy="Pass --leaks keep if nothing will be measured on them (Python: Options(leaks='keep')).",
            )
        return made

    def _pairs(self, limit: int | None, positives: int | None) -> Wanted:
        known = self._leaders(self.data.positives(self.split))
        free = self._free(known.doc) & ~np.isin(known.query, self._asked_elsewhere())
        self.skipped = int((~free).sum())
        known = known.take(free)
        if positives is not None:
            draw = noise.uniform(self.seed, "write/positives", *self._keys(known))
            known = known.take(segments.topk_mask(-draw, known.starts, positives, known.doc))
        if limit is not None:
            chosen = _least(known.queries, self.data.queries.keys, limit, self.seed)
            known = known.take(np.isin(known.query, chosen))
        return Wanted(known.query, known.doc)

    def _documents(self, limit: int | None) -> Wanted:
        base = self.data.base
        rows = np.flatnonzero((base.same == np.arange(len(base.same))) & (base.corpus.lengths > 0)).astype(np.int32)
        free = self._free(rows)
        self.skipped = int((~free).sum())
        rows = rows[free]
        if limit is not None:
            rows = _least(rows, base.corpus.keys, limit, self.seed)
        return Wanted(np.full(len(rows), NOBODY, np.int32), rows)

    def _leaders(self, known: Pairs) -> Pairs:
        """One of the copies of each positive; documents of the base only."""
        first = self.data.same[known.doc] == known.doc
        return known.take(first & (known.doc < len(self.data.base.corpus)))

    def _free(self, doc: Rows) -> NDArray[np.bool_]:
        """Which documents are no positive of a held-out split."""
        held = [self.data.positives(split).doc for split in self._held_out()]
        return ~np.isin(doc, np.concatenate([np.zeros(0, np.int32), *held]))

    def _asked_elsewhere(self) -> Rows:
        asked = [self.data.query_rows(split) for split in self._held_out()]
        return np.concatenate([np.zeros(0, np.int32), *asked])

    def _held_out(self) -> tuple[str, ...]:
        return self.data.held_out(self.split) if self.leaks == "skip" else ()

    def _keys(self, pairs: Pairs) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        return self.data.queries.keys[pairs.query], self.data.corpus.keys[pairs.doc]


def _least(rows: Rows, keys: NDArray[np.uint64], count: int, seed: int) -> Rows:
    """So many of the rows, by a hash of their ids, ascending."""
    draws = noise.bits(seed, "write/limit", keys[rows], np.zeros(1, np.uint64))
    return np.sort(rows[np.lexsort((rows, draws))[:count]])
