"""Documents and queries that the collection does not have, and documents that serve too many queries."""

from __future__ import annotations

import numpy as np

from foils.check.hits import NO_DATA, Found, Hits, Skipped, rows
from foils.check.subject import Subject
from foils.core.packing import pack

_FEWEST = 100  # queries below which a share says little
_TIMES = 4  # where few documents serve many queries, each must serve some: so many times the mean is overused


def unknown_query(subject: Subject) -> Found:
    """The collection has neither the id nor the text of a row's query."""
    if subject.data is None:
        return NO_DATA
    return rows(subject, np.flatnonzero(subject.queries.home[subject.asked] < 0), len(subject.asked))


def unknown_document(subject: Subject) -> Found:
    """The collection has neither the id nor the text of a listed document."""
    if subject.data is None:
        return NO_DATA
    unknown = (subject.documents.home < 0) & ~subject.documents.blank  # that is another finding
    hit = np.flatnonzero(unknown[subject.doc])
    return Hits("documents", len(subject.row), subject.row[hit], subject.doc[hit])


def overused_document(subject: Subject) -> Found:
    """A document is a negative of more than 5 % of the queries (--max-share), and of four times the mean.

    A model learns to push such a document away whatever is asked.
    """
    at = subject.negative
    queries = len(np.unique(subject.query))
    if queries < _FEWEST:
        return Skipped(f"fewer than {_FEWEST} queries")
    _, once = np.unique(pack(subject.query[at], subject.same[at]), return_index=True)
    distinct, first, uses = np.unique(subject.same[at[once]], return_index=True, return_counts=True)
    bound = max(subject.limits.max_share * queries, _TIMES * len(once) / max(1, len(distinct)))
    often = np.flatnonzero(uses > bound)
    often = often[np.argsort(-uses[often], kind="stable")]
    place = at[once[first[often]]]

    def note(i: int) -> str:
        return f"a negative of {uses[often[i]]:,} of {queries:,} queries"

    return Hits("documents", len(distinct), subject.row[place], subject.doc[place], note)
