"""Batches in which no document stands for two rows."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from foils.core.ragged import Lists, expand, spans
from foils.core.spec import declare
from foils.train.batches.orders import Batches, Ground, Orders, draws

log = logging.getLogger(__name__)
_LOOK = 512  # rows tried at a time, at least
# Rows that are exchanged at most, and batches that are tried for each: time is bounded whatever the data.
_MENDED, _TRIED = 2048, 64


@declare
class NoDuplicates(Batches):
    """Random batches in which no two rows share a query or a document, known positives included.

    A row's documents are its positive, the negatives that it uses in the epoch, and every known positive of its query;
    no two rows of a batch have one in common. So no row's positive or negative is a positive of another row, nothing
    has to be masked, and every row has the same number of negatives. What sentence-transformers calls
    ``BatchSamplers.NO_DUPLICATES`` compares texts, and does not know further positives. (A batch counts and masks a
    document by its id in any case: a duplicate is never a false negative here, only a negative less.)

    A row that does not fit waits for the next batch; rows that share much are spread over the epoch beforehand, so that
    few ever wait. What cannot be apart, since more rows share a document than there are batches, is spread evenly; what
    fits nowhere at the end of the epoch comes in the last batches. Both are counted in the log. Every row comes once an
    epoch. With several processes it holds for each process's batch.
    """

    def open(self, ground: Ground) -> Orders:
        """Orders depend on the turns of the negatives, so each epoch is made by itself."""
        return partial(_order, ground)


def _order(ground: Ground, epoch: int) -> NDArray[np.int64]:
    touched = _touched(ground, epoch)
    wanted = ground.sizes()
    queue, surplus = _spread(ground, touched, len(wanted), epoch)
    # Each batch has its even share of what cannot be apart.
    extra = np.diff(len(surplus) * np.arange(len(wanted) + 1) // max(len(wanted), 1))
    extra = np.minimum(extra, wanted)
    apart = _Apart(touched, queue)
    batches, forced, used = [], [], 0
    for number, (size, more) in enumerate(zip(wanted.tolist(), extra.tolist(), strict=True)):
        batch = apart.batch(number, size - more)
        others = apart.take(size - more - len(batch))
        forced += [(number, row) for row in others.tolist()]
        more = size - len(batch) - len(others)
        batches.append(np.concatenate((batch, others, surplus[used : used + more])))
        used += more
    crowded = _exchange(touched, batches, forced)
    if crowded or len(surplus):
        text = "epoch %d: %s rows share a document with another of their batch: %s of them have to"
        log.info(text, epoch, f"{crowded + len(surplus):,}", f"{len(surplus):,}")
    return np.concatenate((*batches, apart.take(len(queue)), surplus[used:]))


def _touched(ground: Ground, epoch: int) -> Lists:
    """The documents of each row: its own in this epoch and all known positives of its query, each once."""
    rows = ground.rows
    everyone = np.arange(len(rows))
    negatives, owner = rows.draw(everyone, epoch, ground.limit)
    of, known = rows.known.members(rows.slot)
    # The row's own positive is known, too.
    pairs = np.sort(np.concatenate((of, owner)) << 32 | np.concatenate((known, negatives)))
    pairs = pairs[np.diff(pairs, prepend=-1) != 0]
    starts = np.searchsorted(pairs >> 32, np.arange(len(rows) + 1))
    return Lists(starts, (pairs & 0xFFFFFFFF).astype(np.int32))


def _spread(ground: Ground, touched: Lists, batches: int, epoch: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """A random queue in which rows that share a document are far from each other, and rows that are too many for it.

    Each row goes with the document that most rows share. The j-th of m rows of a document is put at ``(j + u) / m`` of
    the epoch, u uniform in [0, 1); a row alone is put anywhere.
    """
    keys = ground.rows.keys
    by_row = draws(ground.seed, f"NoDuplicates/{epoch}", keys)
    of, docs = touched.members(np.arange(len(keys)))
    shared = np.bincount(docs)
    # Of documents that as many rows share, one that depends on which rows these are, not on how documents are stored.
    mark = np.zeros(len(shared), np.uint64)
    np.add.at(mark, docs, by_row[of])
    most = docs[np.lexsort((mark[docs], -shared[docs], of))[touched.starts[:-1]]]
    order = np.lexsort((keys, by_row, most))
    begin = np.flatnonzero(np.diff(most[order], prepend=-1))
    many = np.diff(begin, append=len(order))
    group, within = spans(many)
    start = (by_row[order[begin]] >> np.uint64(11)).astype(np.float64) * 2.0**-53
    place = (within + start[group]) / np.minimum(many, max(batches, 1))[group]
    fits = within < batches
    queue = order[fits][np.argsort(place[fits], kind="stable")]
    surplus = order[~fits]
    return queue, surplus[np.lexsort((keys[surplus], by_row[surplus]))]


def _exchange(touched: Lists, batches: list[NDArray[np.int64]], forced: list[tuple[int, int]]) -> int:
    """Exchange rows that do not fit where they are for rows of other batches, in place; how many still do not.

    Args:
        touched: documents of each row.
        batches: rows of each batch.
        forced: batch and row, for each that may not fit.
    """
    if not forced:
        return 0
    where = np.full(len(touched.sizes), -1, np.int64)
    for number, rows in enumerate(batches):
        where[rows] = number
    of, docs = touched.members(np.arange(len(where)))
    order = np.argsort(docs, kind="stable")
    holders = Lists(np.searchsorted(docs[order], np.arange(docs.max() + 2)), of[order].astype(np.int32))
    mark, crowded = np.full(len(holders.sizes), -1, np.int64), 0
    for tick, (number, row) in enumerate(forced[:_MENDED]):
        mine = touched.rows[touched.starts[row] : touched.starts[row + 1]]
        near = holders.members(mine)[1]
        busy = np.bincount(where[near[(near != row) & (where[near] >= 0)]], minlength=len(batches))
        if not busy[number]:
            continue
        mark[touched.members(batches[number][batches[number] != row])[1]] = tick
        busy[number] = 1
        for other in np.flatnonzero(busy == 0)[:_TRIED]:
            of, docs = touched.members(batches[other])
            fits = np.ones(len(batches[other]), bool)
            fits[of[mark[docs] == tick]] = False
            if fits.any():
                place = int(fits.argmax())
                there = int(batches[other][place])
                batches[number][batches[number] == row] = there
                batches[other][place] = row
                where[row], where[there] = other, number
                break
        else:
            crowded += 1
    return crowded + max(0, len(forced) - _MENDED)


@dataclass(eq=False)
class _Apart:
    """Takes rows from a queue into batches in which no two touch the same document."""

    touched: Lists
    queue: NDArray[np.int64]

    def __post_init__(self) -> None:
        self.waiting = self.queue[:0]
        self.next = 0
        self.sizes = self.touched.sizes
        width = int(self.touched.rows.max(initial=-1)) + 1
        self.stamp = np.full(width, -1, np.int64)  # the last batch that a document is in
        self.claim = np.empty(width, np.int64)

    def batch(self, number: int, size: int) -> NDArray[np.int64]:
        """The rows of a batch, ``size`` or as many as can be found."""
        taken, refused, count = [], [], 0
        # Whoever waits comes first; if very many do, not all are tried each time.
        bound = 16 * size + _LOOK
        tried, rest = self.waiting[:bound], self.waiting[bound:]
        while count < size:
            look = max(size - count, _LOOK)
            if len(tried) < look:
                fresh = self.queue[self.next : self.next + look - len(tried)]
                self.next += len(fresh)
                tried = np.concatenate((tried, fresh))
                if len(tried) < look and len(rest):
                    tried, rest = np.concatenate((tried, rest[:look])), rest[look:]
            if not len(tried):
                break
            part, tried = tried[:look], tried[look:]
            free, first = self._judge(part, number)
            refused.append(part[~free])
            first &= np.cumsum(first) <= size - count
            chosen = part[first]
            self.stamp[self._docs(chosen)[1]] = number
            taken.append(chosen)
            count += len(chosen)
            # Those beaten by another of this part, or not needed, keep their place before the others.
            tried = np.concatenate((part[free & ~first], tried))
        self.waiting = np.concatenate((*refused, tried, rest))
        return np.concatenate(taken) if taken else self.queue[:0]

    def take(self, count: int) -> NDArray[np.int64]:
        """The next rows whatever they share."""
        fresh = self.queue[self.next : self.next + max(0, count - len(self.waiting))]
        self.next += len(fresh)
        every = np.concatenate((self.waiting, fresh))
        self.waiting = every[count:]
        return every[:count]

    def _judge(self, part: NDArray[np.int64], number: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Which rows touch no document of the batch, and which of those touch none of an earlier one of the part."""
        of, docs = self._docs(part)
        free = np.ones(len(part), bool)
        free[of[self.stamp[docs] == number]] = False
        mine = free[of]
        of, docs = of[mine], docs[mine]
        # Written from the last to the first, so that the first one's claim stays.
        self.claim[docs[::-1]] = of[::-1]
        first = free.copy()
        first[of[self.claim[docs] != of]] = False
        return free, first

    def _docs(self, part: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        of, at = expand(self.touched.starts[part], self.sizes[part])
        return of, self.touched.rows[at]
