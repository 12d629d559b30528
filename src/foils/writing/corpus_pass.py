"""One pass over the documents of the base: which drafts copy one of them, and which nearly repeat one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from foils.core.banding import Bands
from foils.core.minhash import PERMUTATIONS, Vocabulary, jaccard, shingle_sets, signatures
from foils.core.text import Keys, keys_of, normalised
from foils.core.texts import Texts

_BLOCK = 4096  # documents held at a time
_VOCABULARY = 1 << 20  # words whose hashes are remembered
_SLACK = 5.0  # standard deviations by which an estimate may lie below the bound

Read = Callable[[NDArray[np.int64]], Sequence[str]]
Progress = Callable[[int, int], None]


def copied(texts: Texts, keys: Keys, progress: Progress | None = None) -> NDArray[np.bool_]:
    """Which normalised texts are the text of a row.

    Args:
        texts: documents or queries.
        keys: of the normalised texts in question (`foils.core.text.keys_of`), (n,).
        progress: called with (rows read, rows in total).
    """
    sought = np.unique(keys)
    found = np.zeros(len(sought), bool)
    for start in range(0, len(texts) if len(keys) else 0, _BLOCK):
        rows = np.arange(start, min(start + _BLOCK, len(texts)))
        found |= np.isin(sought, keys_of(map(normalised, texts.texts(rows))))
        if progress is not None:
            progress(int(rows[-1]) + 1, len(texts))
    return found[np.searchsorted(sought, keys)]


def nearest(
    texts: Texts, read: Read, count: int, bound: tuple[float, int], progress: Progress | None = None
) -> NDArray[np.float64]:
    """The largest Jaccard similarity of each text in question with any document, where it comes near the bound.

    Args:
        texts: the documents.
        read: the texts in question by their numbers.
        count: how many there are.
        bound: the similarity that matters, and the words of a shingle.
        progress: called with (documents read, documents in total).

    Returns:
        float64 (count,); 0 where no document comes near. Those at or above the bound are exact, but for the one in ten
        thousand that MinHash misses (`foils.core.banding`).
    """
    similarity, words = bound
    best = np.zeros(count)
    known = Vocabulary()
    signed = [signatures(shingle_sets(read(rows), words, known)) for rows in _blocks(count)]
    mine = Bands(np.concatenate([np.zeros((0, PERMUTATIONS), np.uint8), *signed]))
    agree = similarity - _SLACK * (similarity * (1 - similarity) / PERMUTATIONS) ** 0.5
    for rows in _blocks(len(texts) if count else 0):
        if len(known) > _VOCABULARY:
            known.clear()
        sets = shingle_sets(texts.texts(rows), words, known)
        some = np.flatnonzero(sets.sizes)  # texts without words are like nothing
        for other, own in mine.near(signatures(sets)[some], agree):
            drafts, at = np.unique(own, return_inverse=True)
            theirs = shingle_sets(read(drafts), words, known)
            pairs = zip(some[other].tolist(), at.tolist(), strict=True)
            np.maximum.at(best, own, [jaccard(sets[i], theirs[j]) for i, j in pairs])
        if progress is not None:
            progress(int(rows[-1]) + 1, len(texts))
    return best


def _blocks(count: int) -> list[NDArray[np.int64]]:
    return [np.arange(start, min(start + _BLOCK, count)) for start in range(0, count, _BLOCK)]
