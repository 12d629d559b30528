"""How likely an edit's words are where they stand, by the pairs of words of the corpus."""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from foils.writing.edits.edit import Option

_TOKEN = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*|\d+|[^\w\s]")
_BUCKETS = 1 << 22  # counts of word pairs by hash; 16 MB
_ALPHA = 0.1  # added to a pair's count, times the share of its second word
_PRIME = np.uint64(0x9E3779B97F4A7C15)


def _tokens(text: str) -> list[str]:
    # A number counts by its length, so that 1984 is as likely as 1979.
    return ["0" * len(token) if token.isdigit() else token.lower() for token in _TOKEN.findall(text)]


class Bigrams:
    """Counts of words and of word pairs of a corpus.

    ``log p(b | a) = log ((n(ab) + α p(b)) / (n(a) + α))`` with α 0.1 and ``p(b) = (n(b) + 1) / (n + V)``: a model of
    word pairs that backs off to the share of the second word. Pairs are counted by a 22-bit hash, so memory does not
    grow.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        self._words: dict[str, int] = {}
        self._pairs = np.zeros(_BUCKETS, np.int32)
        counts = np.zeros(1 << 16, np.int64)
        for text in texts:
            ids = np.array([self._words.setdefault(word, len(self._words)) for word in _tokens(text)], np.int64)
            while len(self._words) > len(counts):
                counts = np.concatenate([counts, np.zeros_like(counts)])
            if len(ids):
                counts += np.bincount(ids, minlength=len(counts))
                np.add.at(self._pairs, self._bucket(ids[:-1], ids[1:]), 1)
        self._counts = counts[: len(self._words) + 1]
        self._total = int(self._counts.sum())

    @staticmethod
    def _bucket(a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.int64]:
        with np.errstate(over="ignore"):
            mixed = (a.astype(np.uint64) * _PRIME + b.astype(np.uint64) + np.uint64(1)) * _PRIME
        return (mixed >> np.uint64(42)).astype(np.int64)

    def log_likelihood(self, text: str) -> float:
        """Mean of ``log p`` over the word pairs of a text, natural logarithm; 0 for fewer than two words."""
        ids = np.array([self._words.get(word, len(self._words)) for word in _tokens(text)], np.int64)
        if len(ids) < 2:
            return 0.0
        first, second = ids[:-1], ids[1:]
        share = (self._counts[second] + 1) / (self._total + len(self._counts))
        pairs = self._pairs[self._bucket(first, second)]
        return float(np.log((pairs + _ALPHA * share) / (self._counts[first] + _ALPHA)).mean())

    def plausibility(self, text: str, option: Option, beside: int = 24) -> float:
        """How much likelier the edited spans are than what they replace: the mean difference of log likelihoods.

        Each span is read with ``beside`` characters on either side. 0 is as likely as the original; below -2 reads odd.
        """
        gains = []
        for edit in option:
            left, right = text[max(0, edit.start - beside) : edit.start], text[edit.end : edit.end + beside]
            after = self.log_likelihood(f"{left}{edit.after}{right}")
            gains.append(after - self.log_likelihood(f"{left}{edit.before}{right}"))
        return sum(gains) / len(gains) if gains else 0.0
