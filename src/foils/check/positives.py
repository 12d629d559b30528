"""Negatives that are, repeat, or nearly repeat what is known to be relevant."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from foils.check.hits import Found, Skipped, cut, negatives, quoted
from foils.check.subject import Ints, Subject, paired
from foils.core.minhash import NearTexts
from foils.core.pairs import POSITIVE

_SHINGLE = 5  # words
_LENGTHS = 2.0  # texts of which one is longer by more than this are not compared
_PAIRS = 1 << 20  # pairs compared at a time
UNTOLD = Skipped("the file does not say which documents are positives; needs --data")


def positive_among_negatives(subject: Subject) -> Found:
    """A negative has the id or the normalised text of a positive of the same list.

    contrastors compares a dict with a string and never removes the positive; ms-swift up to 4.5.2 fills short lists up
    with it; a library that compares texts exactly keeps a copy in another case or spacing.
    """
    return negatives(subject, _own(subject)) if _has_positives(subject) else UNTOLD


def sibling_positive(subject: Subject) -> Found:
    """A negative is another positive of the query: one of another row, or one that the qrels know.

    Happens wherever rows are treated one by one (FlagEmbedding) or one positive is kept in memory (ANCE).
    """
    if not _has_positives(subject):
        return UNTOLD
    query, doc = subject.positives
    relevant = np.unique(paired(query, subject.documents.same[doc]))
    at = subject.negative
    hit = at[np.isin(paired(subject.query[at], subject.same[at]), relevant)]
    return negatives(subject, np.setdiff1d(hit, _own(subject)))


def near_duplicate_of_positive(subject: Subject) -> Found:
    """A negative has nearly the text of a positive: five-word shingles with a Jaccard similarity of .8 or more.

    Texts of which one is more than twice as long as the other are not compared.
    """
    if not _has_positives(subject):
        return UNTOLD
    side = subject.documents
    if not side.lengths.any():
        return Skipped("the file has ids only; needs --data")
    near = NearTexts(side.texts, len(side), _SHINGLE)
    parts = [_near(subject, place, positive, near) for place, positive in _pairs(subject)]
    place, positive = (np.concatenate([np.zeros(0, np.int64), *column]) for column in zip(*parts, strict=True))
    hit, first = np.unique(place, return_index=True)
    like = positive[first]

    def note(i: int) -> str:
        which = like[i : i + 1]
        return "nearly repeats " + cut(quoted(side.texts(which), side.ids(which))[0])

    return negatives(subject, hit, note)


def _has_positives(subject: Subject) -> bool:
    return subject.told or subject.data is not None or bool((subject.label == POSITIVE).any())


def _own(subject: Subject) -> Ints:
    """Negatives that are the same as a positive of their own list."""
    mine, at = np.flatnonzero(subject.label == POSITIVE), subject.negative
    listed = np.unique(paired(subject.group[mine], subject.same[mine]))
    return at[np.isin(paired(subject.group[at], subject.same[at]), listed)]


def _pairs(subject: Subject) -> Iterator[tuple[Ints, Ints]]:
    """Each negative's place with each positive of its query, about a million at a time; at least once, if empty."""
    positives = np.unique(paired(*subject.positives))
    query, doc, at = positives >> 32, positives & 0xFFFFFFFF, subject.negative
    asked = subject.query[at]
    lo, hi = np.searchsorted(query, asked, "left"), np.searchsorted(query, asked, "right")
    total, start = np.cumsum(hi - lo), 0
    while start == 0 or start < len(at):
        done = total[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(total, done + _PAIRS, "right")))
        counts = (hi - lo)[start:stop]
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        yield np.repeat(at[start:stop], counts), doc[np.repeat(lo[start:stop], counts) + within]
        start = stop


def _near(subject: Subject, place: Ints, positive: Ints, near: NearTexts) -> tuple[Ints, Ints]:
    """Those of the pairs whose texts nearly repeat one another, but are not the same."""
    side, bound = subject.documents, subject.limits.near
    negative = subject.doc[place]
    long, short = (f(side.lengths[negative], side.lengths[positive]) for f in (np.maximum, np.minimum))
    alike = (short > 0) & (long <= max(_LENGTHS, 1 / bound) * short)
    likely = np.flatnonzero(alike & (side.same[negative] != side.same[positive]))
    pairs, back = np.unique(paired(negative[likely], positive[likely]), return_inverse=True)
    similar = near.similar(pairs >> 32, pairs & 0xFFFFFFFF, bound)
    found = likely[similar[back.reshape(-1)]]
    return place[found], positive[found]
