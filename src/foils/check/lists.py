"""Faults of a list by itself: repeats, holes, empty texts, the query among its negatives, scores that are none."""

from __future__ import annotations

import numpy as np

from foils.check.hits import Found, Hits, Skipped, negatives, rows
from foils.check.positives import UNTOLD
from foils.check.subject import Ints, Subject
from foils.core.packing import pack
from foils.core.pairs import POSITIVE

_EDGE = 64  # characters of white space by which a text and its normalised form may differ


def duplicate_negative(subject: Subject) -> Found:
    """A list holds the same negative more than once, by id or by normalised text.

    FlagEmbedding's fillers may repeat what is there.
    """
    at = subject.negative
    key = pack(subject.group[at], subject.same[at])
    again = np.ones(len(at), bool)
    again[np.unique(key, return_index=True)[1]] = False
    return negatives(subject, at[again])


def empty_text(subject: Subject) -> Found:
    """A listed document has no text, or white space only."""
    hit = np.flatnonzero(subject.documents.blank[subject.doc])
    what = {POSITIVE: "a positive"}
    note = lambda i: what.get(int(subject.label[hit[i]]), "a negative")  # noqa: E731
    return Hits("documents", len(subject.row), subject.row[hit], subject.doc[hit], note)


def query_as_negative(subject: Subject) -> Found:
    """A negative has the normalised text of its query."""
    at, side = subject.negative, subject.documents
    asked = subject.asked[subject.row[at]]
    lengths = side.lengths[subject.doc[at]]
    near = (lengths > 0) & (np.abs(lengths - subject.queries.lengths[asked]) <= _EDGE)
    at, asked = at[near], asked[near]
    return negatives(subject, at[side.keys[subject.doc[at]] == subject.queries.keys[asked]])


def bad_score(subject: Subject) -> Found:
    """A score is NaN, infinite or null.

    NeMo Automodel leaves what it filtered in the list, with the score -inf.
    """
    if subject.score is None:
        return Skipped("the file has no scores")
    hit = np.flatnonzero(~np.isfinite(subject.score))
    score = subject.score

    def note(i: int) -> str:
        return f"score {score[hit[i]]}"

    return Hits("documents", len(subject.row), subject.row[hit], subject.doc[hit], note)


def no_positive(subject: Subject) -> Found:
    """A query has no positive, in the file or in the qrels, so nothing can be learnt from its row."""
    if not subject.told and subject.data is None:
        return UNTOLD
    query, _ = subject.positives
    lonely = np.flatnonzero(~np.isin(subject.queries.same[subject.asked], query))
    return rows(subject, lonely, len(subject.asked))


def short_row(subject: Subject) -> Found:
    """A list has fewer negatives than were asked for with --expect, else than most lists that have any.

    Trainers drop such rows, repeat their negatives, or fill them up with something else.
    """
    size, first = _lists(subject)
    wanted = subject.limits.expect
    if wanted is None:
        common = np.bincount(size[size > 0], minlength=1)
        wanted = len(common) - 1 - int(common[::-1].argmax())
    short = np.flatnonzero(size < wanted)

    def note(i: int) -> str:
        return f"{size[short[i]]} of {wanted} negatives"

    return rows(subject, first[short], len(size), note)


def _lists(subject: Subject) -> tuple[Ints, Ints]:
    """Negatives and first row of each list; rows that list nothing are lists, too."""
    group = subject.group if subject.narrow else subject.row
    count = int(group.max()) + 1 if len(group) else 0
    if not subject.narrow:
        count = max(count, len(subject.asked))
    size = np.bincount(group[subject.negative], minlength=count)
    first = np.arange(count)
    if subject.narrow:
        seen, at = np.unique(group, return_index=True)
        size, first = size[seen], subject.row[at]
    return size.astype(np.int64), first.astype(np.int64)
