"""Negatives that are, repeat, or nearly repeat what is known to be relevant."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from foils.check.hits import Found, Skipped, cut, negatives, quoted
from foils.check.subject import Ints, Subject
from foils.core import ragged
from foils.core.minhash import NearTexts
from foils.core.packing import pack, unpack
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
    relevant = np.unique(pack(query, subject.documents.same[doc]))
    at = subject.negative
    hit = at[np.isin(pack(subject.query[at], subject.same[at]), relevant)]
    return negatives(subject, np.setdiff1d(hit, _own(subject)))


def near_duplicate_of_positive(subject: Subject) -> Found:
    """A negative has nearly the text of a positive: five-word shingles with a Jaccard similarity of .8 or more.

    Texts of which one is more than twice as long as the other are not compared; nor is an edited text with the one that
    it was made from, which it nearly repeats by design (``foils write``).
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
    listed = np.unique(pack(subject.group[mine], subject.same[mine]))
    return at[np.isin(pack(subject.group[at], subject.same[at]), listed)]


def _pairs(subject: Subject) -> Iterator[tuple[Ints, NDArray[np.int32]]]:
    """Each negative's place with each positive of its query, about a million at a time; at least once, if empty."""
    query, doc = unpack(np.unique(pack(*subject.positives)))
    at = subject.negative
    lo, hi = (np.searchsorted(query, subject.query[at], side) for side in ("left", "right"))
    for part in ragged.slices(hi - lo, _PAIRS) if len(at) else [slice(0)]:
        which, place = ragged.expand(lo[part], (hi - lo)[part])
        yield at[part][which], doc[place]


def _edited(subject: Subject, negative: NDArray[np.int64], positive: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Whether each negative is its positive with some words changed."""
    if subject.data is None or not len(subject.data.written):
        return np.zeros(len(negative), bool)
    links, home, same = subject.data.written, subject.documents.home, subject.data.same
    made = pack(links.doc[links.edited], same[links.source[links.edited]])
    known = (home[negative] >= 0) & (home[positive] >= 0)
    pairs = pack(np.maximum(home[negative], 0), same[np.maximum(home[positive], 0)])
    return known & np.isin(pairs, np.unique(made))


def _near(
    subject: Subject, place: Ints, positive: NDArray[np.int32], near: NearTexts
) -> tuple[Ints, NDArray[np.int32]]:
    """Those of the pairs whose texts nearly repeat one another, but are not the same."""
    side, bound = subject.documents, subject.limits.near
    negative = subject.doc[place]
    long, short = (f(side.lengths[negative], side.lengths[positive]) for f in (np.maximum, np.minimum))
    alike = (short > 0) & (long <= max(_LENGTHS, 1 / bound) * short)
    alike &= ~_edited(subject, negative, positive)
    likely = np.flatnonzero(alike & (side.same[negative] != side.same[positive]))
    pairs, back = np.unique(pack(negative[likely], positive[likely]), return_inverse=True)
    similar = near.similar(*unpack(pairs), bound)
    found = likely[similar[back.reshape(-1)]]
    return place[found], positive[found]
