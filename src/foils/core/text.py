"""When two texts are the same, the 64-bit keys of strings, and a suggestion for a misspelt name."""

from __future__ import annotations

import difflib
import hashlib
import unicodedata
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

Keys = NDArray[np.uint64]
_ASCII_BREAKS = "\t\n\v\f\r\x1c\x1d\x1e\x1f"


def normalised(text: str) -> str:
    r"""The form under which two texts count as the same: NFKC, case-folded, white space collapsed.

    >>> normalised("  New \n YORK ") == normalised("new york")
    True
    """
    if text.isascii():
        folded = text.casefold()
        single = not any(map(folded.__contains__, _ASCII_BREAKS))
    else:
        folded = unicodedata.normalize("NFKC", text).casefold()
        single = folded.isprintable()  # the blank is the only printable white space
    # Split and join take longer than all the rest, and most texts have single blanks only.
    return folded.strip(" ") if single and "  " not in folded else " ".join(folded.split())


def shown(title: str, text: str) -> str:
    """What an encoder or BM25 sees of a document: title and text, joined by one space; the one that is not empty.

    >>> shown("Title", "text"), shown("", "text")
    ('Title text', 'text')
    """
    return f"{title} {text}" if title and text else title or text


def keys_of(texts: Iterable[str]) -> Keys:
    """64-bit keys of strings, uint64 (n,): the first 8 bytes of each BLAKE2b digest, little endian.

    Equal to `foils.core.noise.key_of` of each. Of n strings, two share a key with probability n²/2⁶⁵ (n 7 million:
    1.4e-6).
    """
    blake = hashlib.blake2b
    joined = b"".join([blake(text.encode(), digest_size=8).digest() for text in texts])
    return np.frombuffer(joined, dtype="<u8").astype(np.uint64)


def did_you_mean(name: str, known: Sequence[str]) -> str:
    """``" Did you mean 'query'?"`` where something known is near, else an empty string.

    >>> did_you_mean("qeury", ["query", "positive"])
    " Did you mean 'query'?"
    """
    near = difflib.get_close_matches(name.casefold(), [k.casefold() for k in known], n=1, cutoff=0.6)
    spelt = [k for k in known if k.casefold() in near]
    return f" Did you mean {spelt[0]!r}?" if spelt else ""


class FirstSeen:
    """Where each key was first seen, for keys that arrive in batches: sorted runs that are merged as they grow.

    Takes 16 bytes a key where a dict takes over a hundred, so an import of many millions of texts stays small.
    """

    def __init__(self) -> None:
        self._runs: list[tuple[Keys, NDArray[np.int64]]] = []

    def find(self, keys: Keys) -> NDArray[np.int64]:
        """The value stored for each key, -1 where the key is new, int64 (n,)."""
        found = np.full(len(keys), -1, np.int64)
        for run, values in self._runs:
            at = np.minimum(np.searchsorted(run, keys), len(run) - 1)
            np.copyto(found, values[at], where=run[at] == keys)
        return found

    def first(self, keys: Keys, values: NDArray[np.int64]) -> NDArray[np.int64]:
        """Store ``values`` for keys not seen yet; return for each key the value it was first seen with.

        Args:
            keys: uint64 (n,), repeats allowed.
            values: int64 (n,), >= 0.

        >>> seen = FirstSeen()
        >>> seen.first(np.array([7, 8, 7], np.uint64), np.arange(3)).tolist()
        [0, 1, 0]
        >>> seen.first(np.array([8, 9], np.uint64), np.arange(3, 5)).tolist()
        [1, 4]
        """
        known = self.find(keys)
        distinct, at, inverse = np.unique(keys, return_index=True, return_inverse=True)
        result = np.where(known >= 0, known, values[at][inverse])
        new = known[at] < 0
        if new.any():
            self._runs.append((distinct[new], values[at][new]))
            self._merge()
        return result

    def _merge(self) -> None:
        while len(self._runs) > 1 and len(self._runs[-2][0]) < 2 * len(self._runs[-1][0]):
            keys, values = (np.concatenate(pair) for pair in zip(self._runs.pop(), self._runs.pop(), strict=True))
            order = np.argsort(keys, kind="stable")
            self._runs.append((keys[order], values[order]))
