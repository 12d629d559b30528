"""Negatives that are, repeat, or nearly repeat what is known to be relevant."""

from __future__ import annotations

import numpy as np

from foils.check.hits import Found, Skipped, cut, negatives, quoted
from foils.check.subject import Ints, Subject, paired
from foils.core.minhash import NearTexts
from foils.core.pairs import POSITIVE

_SHINGLE = 5  # words
_LENGTHS = 2.0  # texts of which one is longer by more than this are not compared
_PAIRS = 1 << 20  # pairs compared at a time


def positive_among_negatives(subject: Subject) -> Found:
    """A negative has the id or the normalised text of a positive of the same list.

    contrastors compares a dict with a string and never removes the positive; ms-swift up to 4.5.2 fills short lists up
    with it; a library that compares texts exactly keeps a copy in another case or spacing.
    """
    return negatives(subject, _own(subject))


def sibling_positive(subject: Subject) -> Found:
    """A negative is another positive of the query: one of another row, or one that the qrels know.

    Happens wherever rows are treated one by one (FlagEmbedding) or one positive is kept in memory (ANCE).
    """
    query, doc = subject.positives
    relevant = np.unique(paired(query, subject.documents.same[doc]))
    at = subject.negative
    hit = at[np.isin(paired(subject.query[at], subject.same[at]), relevant)]
    return negatives(subject, np.setdiff1d(hit, _own(subject)))


def near_duplicate_of_positive(subject: Subject) -> Found:
    """A negative has nearly the text of a positive: five-word shingles with a Jaccard similarity of .8 or more.

    Texts of which one is more than twice as long as the other are not compared.
    """
    side, (query, doc) = subject.documents, subject.positives
    readable = ~side.blank & (side.lengths > 0)
    if not readable.any():
        return Skipped("the file has ids only; needs --data")
    place, at = _met(subject.query[subject.negative], query)
    place, positive = subject.negative[place], doc[at]
    negative = subject.doc[place]
    both = readable[negative] & readable[positive] & (side.same[negative] != side.same[positive])
    ratio = side.lengths[negative] / np.maximum(1, side.lengths[positive])
    likely = np.flatnonzero(both & (ratio <= _LENGTHS) & (ratio >= 1 / _LENGTHS))
    pairs, back = np.unique(paired(negative[likely], positive[likely]), return_inverse=True)
    near = NearTexts(side.texts, len(side), _SHINGLE)
    parts = [pairs[i : i + _PAIRS] for i in range(0, len(pairs), _PAIRS)]
    similar = [near.similar(part >> 32, part & 0xFFFFFFFF, subject.limits.near) for part in parts]
    found = likely[np.concatenate([np.zeros(0, bool), *similar])[back.reshape(-1)]]
    hit, first = np.unique(place[found], return_index=True)
    like = positive[found][first]

    def note(i: int) -> str:
        which = like[i : i + 1]
        return "nearly repeats " + cut(quoted(side.texts(which), side.ids(which))[0])

    return negatives(subject, hit, note)


def _own(subject: Subject) -> Ints:
    """Negatives that are the same as a positive of their own list."""
    mine, at = np.flatnonzero(subject.label == POSITIVE), subject.negative
    listed = np.unique(paired(subject.group[mine], subject.same[mine]))
    return at[np.isin(paired(subject.group[at], subject.same[at]), listed)]


def _met(left: Ints, right: Ints) -> tuple[Ints, Ints]:
    """All (i, j) with ``left[i] == right[j]``."""
    order = np.argsort(right, kind="stable")
    lo, hi = np.searchsorted(right[order], left, "left"), np.searchsorted(right[order], left, "right")
    counts = hi - lo
    i = np.repeat(np.arange(len(left)), counts)
    within = np.arange(len(i)) - np.repeat(np.cumsum(counts) - counts, counts)
    return i, order[np.repeat(lo, counts) + within]
