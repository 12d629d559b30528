"""`Bags`: sets of words of many texts as numbers, and how many two texts share, for many pairs at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from foils.core.packing import pack
from foils.core.ragged import Lists, slices

Rows = NDArray[np.integer]
_CELLS = 1 << 22  # members of a slice: 100 MB at worst


class Vocabulary:
    """A number for each word, in the order in which they are first asked for."""

    def __init__(self) -> None:
        self._known: dict[str, int] = {}

    def numbers(self, words: Iterable[str]) -> list[int]:
        """The number of each word."""
        known = self._known
        return [known.setdefault(word, len(known)) for word in words]


class Bags:
    """A set of words for each of many texts.

    Args:
        texts: the words of each text; repeats count once.
        vocabulary: sets that are compared must share it.

    Attributes:
        lists: the numbers of the words of each text, ascending.
    """

    def __init__(self, texts: Sequence[Iterable[str]], vocabulary: Vocabulary) -> None:
        sets = [np.unique(np.array(vocabulary.numbers(words), np.int32)) for words in texts]
        starts = np.concatenate(([0], np.cumsum([len(one) for one in sets], dtype=np.int64))).astype(np.int64)
        self.lists = Lists(starts, np.concatenate(sets) if sets else np.zeros(0, np.int32))

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Words of each text."""
        return self.lists.sizes

    def shared(self, rows: Rows, *others: tuple[Bags, Rows]) -> NDArray[np.int64]:
        """How many words of each text are in all of the others as well, int64 (n,).

        Args:
            rows: texts, (n,).
            others: sets and their texts, (n,) each.

        >>> bags = Bags([["a", "b"], ["b", "c"]], Vocabulary())
        >>> bags.shared(np.array([0]), (bags, np.array([1]))).tolist()
        [1]
        """
        counts = np.zeros(len(rows), np.int64)
        load = self.sizes[rows] + sum(other.sizes[at] for other, at in others)
        for part in slices(load, _CELLS):
            owner, words = self.lists.members(rows[part])
            keys, inside = pack(owner, words), np.ones(len(owner), bool)
            for other, at in others:
                inside &= np.isin(keys, pack(*other.lists.members(at[part])))
            counts[part] = np.bincount(owner[inside], minlength=part.stop - part.start)
        return counts
