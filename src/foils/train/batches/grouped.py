"""Batches of one group: a language, a source, whatever the metadata says."""

from __future__ import annotations

import json
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from foils.core.errors import DataError
from foils.core.spec import declare, require
from foils.core.text import did_you_mean
from foils.train.batches.orders import Batches, Ground, Orders, draws


@declare
class Grouped(Batches):
    """Batches of one group each: the queries (or positives) in a batch have the same value of a metadata key.

    Within a batch a model then cannot tell the positive by its language or its source. Merrick 2024, arXiv:2407.18887,
    fills each batch from one source; FlagEmbedding's ``same_dataset_within_batch`` and sentence-transformers' samplers
    of several data sets do the same.

    Each group is shuffled and cut into whole batches; what is left of the groups, less than a batch of each, is laid
    side by side, group after group; batches of the full size are then shuffled. So every row comes once an epoch, and
    groups count by their size. Rows without the key are a group of their own.
    """

    by: str  # metadata key
    of: Literal["queries", "documents"] = "queries"  # whose metadata

    def check(self) -> None:
        """A key."""
        require(self.by != "", self, "by", "the name of a metadata key")

    def open(self, ground: Ground) -> Orders:
        """Read the metadata once.

        Raises:
            DataError: nobody has the key.
        """
        return partial(in_blocks, ground, self._codes(ground), "Grouped")

    def _codes(self, ground: Ground) -> NDArray[np.int64]:
        assert ground.data is not None
        mine = ground.rows.query if self.of == "queries" else ground.rows.doc
        side = ground.data.queries if self.of == "queries" else ground.data.corpus
        distinct, at = np.unique(mine, return_inverse=True)
        found = side.metadata(distinct)
        # Numbered in the order of the values' texts, so that the order of rows does not matter.
        texts = [json.dumps(each[self.by], sort_keys=True) if self.by in each else "" for each in found]
        if not any(texts):
            keys = sorted({key for each in found for key in each})
            guess = did_you_mean(self.by, keys) or (f" There is: {', '.join(keys)}." if keys else "")
            raise DataError(f"{self!r}: no {self.of} trained on have metadata {self.by!r}.{guess}")
        return np.unique(np.array(texts, object).astype(str), return_inverse=True)[1][at]


def in_blocks(ground: Ground, code: NDArray[np.integer], stream: str, epoch: int) -> NDArray[np.int64]:
    """An order of whole batches of one group each, in random order, and of what is left of the groups.

    Args:
        ground: the rows.
        code: group of each row, (n,), from 0.
        stream: name of the draws.
        epoch: another one, another order.
    """
    keys, size = ground.rows.keys, ground.size
    by_row = draws(ground.seed, f"{stream}/{epoch}", keys)
    # Groups in an order of their own, by the least draw that a row of theirs has.
    least = np.full(int(code.max()) + 1, np.iinfo(np.uint64).max, np.uint64)
    np.minimum.at(least, code, by_row)
    order = np.lexsort((keys, by_row, code, least[code])).astype(np.int64)
    counts = np.bincount(code)[code[order]]
    first = np.flatnonzero(np.diff(code[order], prepend=-1))
    within = np.arange(len(order)) - np.repeat(first, np.diff(first, append=len(order)))
    whole = within < counts // size * size
    left = order[~whole]
    end = len(left) // size * size
    blocks = np.concatenate((order[whole], left[:end])).reshape(-1, size)
    turns = np.lexsort((keys[blocks[:, 0]], draws(ground.seed, f"{stream} batches/{epoch}", keys[blocks[:, 0]])))
    return np.concatenate((blocks[turns].ravel(), left[end:]))
