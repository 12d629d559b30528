"""Training rows that know what a held-out split asks."""

from __future__ import annotations

import numpy as np

from foils.check.hits import NO_DATA, Found, Hits, Skipped, negatives, rows
from foils.check.subject import Ints, Subject
from foils.core.pairs import POSITIVE


def leaked_query(subject: Subject) -> Found:
    """A query of the file is a query of a held-out split, by id or by normalised text."""
    asked = _held_out(subject)
    if isinstance(asked, Skipped):
        return asked
    return rows(subject, np.flatnonzero(np.isin(subject.queries.home[subject.asked], asked)), len(subject.asked))


def leaked_positive(subject: Subject) -> Found:
    """A positive of the file is a positive of a held-out query. Usual where queries share documents."""
    relevant = _relevant(subject)
    if isinstance(relevant, Skipped):
        return relevant
    at = np.flatnonzero(subject.label == POSITIVE)
    hit = at[np.isin(subject.same[at], relevant)]
    return Hits("documents", len(at), subject.row[hit], subject.doc[hit])


def held_out_positive(subject: Subject) -> Found:
    """A negative of the file is a positive of a held-out query: training moves it away from everything."""
    relevant = _relevant(subject)
    if isinstance(relevant, Skipped):
        return relevant
    at = subject.negative
    return negatives(subject, at[np.isin(subject.same[at], relevant)])


def _held_out(subject: Subject) -> Ints | Skipped:
    """Rows of the queries of the held-out splits."""
    if subject.data is None:
        return NO_DATA
    splits = subject.data.held_out(subject.split)
    if not splits:
        return Skipped(f"no held-out split beside {subject.split!r}")
    return np.unique(np.concatenate([subject.data.query_rows(split) for split in splits])).astype(np.int64)


def _relevant(subject: Subject) -> Ints | Skipped:
    """The positives of the held-out queries, numbered as in ``Side.same``."""
    asked = _held_out(subject)
    if isinstance(asked, Skipped) or subject.data is None:
        return asked
    data = subject.data
    return np.unique(np.concatenate([data.same[data.positives(s).doc] for s in data.held_out(subject.split)]))
