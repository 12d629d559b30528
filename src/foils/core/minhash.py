"""Which texts nearly repeat one another: MinHash finds pairs worth a look, exact Jaccard of word shingles decides.

Broder 1997, "On the resemblance and containment of documents"; for near-duplicates in training data, with 5 words a
shingle, Lee et al. 2022, arXiv:2107.06499, section 4.2. A Jaccard similarity of 0.8 is the customary bound.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from foils.core.packing import pack, unpack
from foils.core.text import normalised

PERMUTATIONS = 128
_SLACK = 5.0  # standard deviations that an estimate may lie below the bound: of pairs at 0.8, 1 in 800,000 is missed
_BATCH = 256  # texts whose shingles are hashed at a time, so that they stay in the processor's cache
_KEPT = 262_144  # texts whose signatures are remembered: 36 MB
BITS = 44  # of a shingle's hash; the other 20 say which text it is of
_AT_ONCE = 1 << 14  # pairs verified at a time
_VOCABULARY = 1 << 20  # words whose hashes are remembered
_EAST = "\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"  # kana and han: no blanks between words, so each sign is a word
_WORD = re.compile(f"[{_EAST}]|[^\\W_{_EAST}]+")
_ASCII = re.compile("[a-z0-9]+")  # the same for ASCII text, several times faster

Values = NDArray[np.uint64]


@dataclass(frozen=True, eq=False)
class ShingleSets:
    """Hashed shingles of texts, one sorted set after the other.

    Attributes:
        values: uint64 below 2⁴⁴, ascending and distinct within each set.
        starts: int64 (texts + 1,); set i is ``values[starts[i]:starts[i + 1]]``.
    """

    values: Values
    starts: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, i: int) -> Values:
        return self.values[self.starts[i] : self.starts[i + 1]]

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Shingles of each text, int64 (texts,)."""
        return np.diff(self.starts)


class Vocabulary(dict[str, int]):
    """Words with their hashes, made when first asked for."""

    def __missing__(self, word: str) -> int:
        key = int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "little")
        self[word] = key
        return key


def shingle_sets(texts: Sequence[str], words: int, vocabulary: Vocabulary | None = None) -> ShingleSets:
    """The sets of runs of ``words`` words of each text, hashed to 44 bits; at most 2²⁰ texts.

    Words are runs of letters and digits of the normalised text; each Chinese or Japanese sign is a word. A text of
    fewer words is one shingle; a text without words has none.

    >>> shingle_sets(["a b c", "a", "!"], 2).sizes.tolist()
    [2, 1, 0]
    """
    known = Vocabulary() if vocabulary is None else vocabulary
    found = [(_ASCII if text.isascii() else _WORD).findall(text) for text in map(normalised, texts)]
    # A short text is filled up with empty words, which no text has.
    filled = [part if len(part) >= words or not part else part + [""] * (words - len(part)) for part in found]
    length = np.array([len(part) for part in filled], np.int64)
    flat = np.fromiter(map(known.__getitem__, chain.from_iterable(filled)), np.uint64, int(length.sum()))
    text = np.repeat(np.arange(len(filled)), length)
    hashed = np.zeros(len(flat), np.uint64)
    with np.errstate(over="ignore"):
        for i in range(words):
            step = flat[i:] * np.uint64(pow(0x9E3779B97F4A7C15, 2 * i + 1, 1 << 64))
            hashed[: len(step)] += step ^ (step >> np.uint64(29))
    # The last words of a text begin no shingle.
    begins = np.arange(len(flat)) + words <= np.cumsum(length)[text]
    # Text and hash in one integer: a single sort, several times faster than one by two keys.
    both = np.sort((text[begins].astype(np.uint64) << np.uint64(BITS)) | (hashed[begins] >> np.uint64(64 - BITS)))
    new = np.ones(len(both), bool)
    new[1:] = both[1:] != both[:-1]
    both = both[new]
    sizes = np.bincount((both >> np.uint64(BITS)).astype(np.int64), minlength=len(filled))
    starts = np.concatenate(([0], np.cumsum(sizes))).astype(np.int64)
    return ShingleSets(both & np.uint64((1 << BITS) - 1), starts)


def _odd_numbers() -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    draws = hashlib.shake_128(b"foils minhash").digest(8 * PERMUTATIONS)
    numbers = np.frombuffer(draws, "<u4").astype(np.uint32)
    return numbers[::2] | np.uint32(1), numbers[1::2]


def signatures(sets: ShingleSets) -> NDArray[np.uint8]:
    """MinHash signatures, uint8 (texts, 128): the low byte of the least of each permutation of the hashes.

    Two of them agree in a share ``J + (1 - J)/256`` of places on average, J the Jaccard similarity (b-bit minwise
    hashing, Li and König 2010).
    """
    out = np.zeros((PERMUTATIONS, len(sets)), np.uint8)
    factor, shift = _odd_numbers()
    some = np.flatnonzero(sets.sizes)
    for at in range(0, len(some), _BATCH):
        part = some[at : at + _BATCH]
        lo, hi = sets.starts[part[0]], sets.starts[part[-1] + 1]
        hashed = (sets.values[lo:hi] >> np.uint64(BITS - 32)).astype(np.uint32)
        work = np.empty_like(hashed)
        for i in range(PERMUTATIONS):
            np.multiply(hashed, factor[i], out=work)
            np.add(work, shift[i], out=work)
            out[i, part] = np.minimum.reduceat(work, sets.starts[part] - lo).astype(np.uint8)
    return np.ascontiguousarray(out.T)


def jaccard(a: Values, b: Values) -> float:
    """Size of the intersection over size of the union of two sorted sets; 0 if both are empty."""
    shared = len(np.intersect1d(a, b, assume_unique=True))
    return shared / max(1, len(a) + len(b) - shared)


class NearTexts:
    """Tells which pairs of the texts of one side of a collection are near-duplicates.

    Signatures are made once for each text that is asked about; the last 262,144 or so are remembered.

    Args:
        read: the texts of some rows.
        count: number of rows.
        words: words per shingle.
    """

    def __init__(self, read: Callable[[NDArray[np.int64]], Sequence[str]], count: int, words: int = 5) -> None:
        self._read, self._words = read, words
        self._vocabulary = Vocabulary()
        self._slot = np.full(count, -1, np.int32)
        self._signature = np.zeros((0, PERMUTATIONS), np.uint8)
        self._size = np.zeros(0, np.int64)

    def similar(self, a: NDArray[np.integer], b: NDArray[np.integer], similarity: float) -> NDArray[np.bool_]:
        """Whether the Jaccard similarity of each pair of rows is at least ``similarity``, in (0, 1]; bool (n,).

        Exact for every pair whose MinHash estimate is not more than five standard deviations below the bound.
        """
        asked = np.zeros(len(self._slot), bool)
        asked[a] = asked[b] = True
        self._know(np.flatnonzero(asked))
        left, right = self._slot[a], self._slot[b]
        small = np.minimum(self._size[left], self._size[right])
        large = np.maximum(self._size[left], self._size[right])
        likely = np.flatnonzero(small >= similarity * large - 1e-9)
        bound = similarity - _SLACK * (similarity * (1 - similarity) / PERMUTATIONS) ** 0.5
        agree = _agreeing(self._signature, left[likely], right[likely])
        likely = likely[agree >= bound * PERMUTATIONS]
        out = np.zeros(len(left), bool)
        out[likely] = self._verified(np.asarray(a)[likely], np.asarray(b)[likely]) >= similarity
        return out

    def _know(self, rows: NDArray[np.int64]) -> None:
        new = rows[self._slot[rows] < 0]
        if len(self._size) + len(new) > _KEPT:
            self._slot[:] = -1
            self._signature, self._size, new = self._signature[:0], self._size[:0], rows
        if not len(new):
            return
        made, sizes = [self._signature], [self._size]
        for at in range(0, len(new), 16 * _BATCH):
            sets = self._sets(new[at : at + 16 * _BATCH])
            made.append(signatures(sets))
            sizes.append(sets.sizes)
        self._slot[new] = np.arange(len(self._size), len(self._size) + len(new), dtype=np.int32)
        self._signature, self._size = np.concatenate(made), np.concatenate(sizes)

    def _sets(self, rows: NDArray[np.int64]) -> ShingleSets:
        if len(self._vocabulary) > _VOCABULARY:
            self._vocabulary.clear()
        return shingle_sets(self._read(rows), self._words, self._vocabulary)

    def _verified(self, a: NDArray[np.integer], b: NDArray[np.integer]) -> NDArray[np.float64]:
        key = pack(np.maximum(a, b), np.minimum(a, b))
        pairs, inverse = np.unique(key, return_inverse=True)
        found: list[float] = []
        for start in range(0, len(pairs), _AT_ONCE):
            part = pairs[start : start + _AT_ONCE]
            rows, at = np.unique(np.concatenate(unpack(part), dtype=np.int64), return_inverse=True)
            sets = self._sets(rows)
            found.extend(jaccard(sets[i], sets[j]) for i, j in at.reshape(2, -1).T.tolist())
        return np.array(found, np.float64)[inverse]


def _agreeing(signature: NDArray[np.uint8], left: NDArray[np.integer], right: NDArray[np.integer]) -> NDArray[np.int64]:
    """Number of equal places of each pair of signatures, int64 (n,)."""
    out = np.empty(len(left), np.int64)
    for at in range(0, len(left), 1 << 15):
        part = slice(at, at + (1 << 15))
        equal = signature[left[part]] == signature[right[part]]
        # Eight truth values are one word: sums of words hold sums of bytes, each at most 16, all together at most 128.
        words = equal.view(np.uint64).sum(axis=1)
        with np.errstate(over="ignore"):
            out[part] = (words * np.uint64(0x0101010101010101)) >> np.uint64(56)
    return out
