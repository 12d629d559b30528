"""Where a check found something, before it is made readable."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import numpy as np

from foils.check.report import Example
from foils.check.subject import Ints, Subject

LONGEST = 300  # characters of a text in an example
Unit = Literal["negatives", "rows", "queries", "documents"]


class Hits(NamedTuple):
    """Places where a fault occurs.

    Attributes:
        of: what is counted.
        total: how many of those there are.
        row: row of each hit, int64 (hits,).
        doc: document of each hit, int64 (hits,); -1 where it is about the row.
        note: what to say about hit i.
    """

    of: Unit
    total: int
    row: Ints
    doc: Ints
    note: Callable[[int], str] = lambda _: ""


class Skipped(NamedTuple):
    """A check that could not be made, and why."""

    why: str


Found = Hits | Skipped
NO_DATA = Skipped("needs --data")


def negatives(subject: Subject, places: Ints, note: Callable[[int], str] = lambda _: "") -> Hits:
    """Hits at some of the listed documents, which are negatives."""
    return Hits("negatives", len(subject.negative), subject.row[places], subject.doc[places], note)


def rows(subject: Subject, at: Ints, total: int, note: Callable[[int], str] = lambda _: "") -> Hits:
    """Hits that are about rows."""
    return Hits("rows", total, at, np.full(len(at), -1, np.int64), note)


def quoted(texts: Sequence[str], ids: Sequence[str]) -> list[str]:
    """Ids and texts as one line each."""
    return [f"{name}  {text}" if name and text else name or text for name, text in zip(ids, texts, strict=True)]


def examples_of(subject: Subject, hits: Hits) -> tuple[Example, ...]:
    """The first hits, spread over the rows as they come."""
    first = np.arange(min(subject.limits.examples, len(hits.row)))
    asked, doc = subject.asked[hits.row[first]], hits.doc[first]
    about = doc >= 0
    queries = [
        text or name for text, name in zip(subject.queries.texts(asked), subject.queries.ids(asked), strict=True)
    ]
    shown = iter(quoted(subject.documents.texts(doc[about]), subject.documents.ids(doc[about])))
    documents = [cut(next(shown)) if one else "" for one in about.tolist()]
    places = zip(hits.row[first].tolist(), queries, documents, first.tolist(), strict=True)
    return tuple(Example(subject.where(row), query, doc, hits.note(i)) for row, query, doc, i in places)


def cut(text: str) -> str:
    """The beginning of a text, on one line."""
    flat = " ".join(text.split())
    return flat if len(flat) <= LONGEST else flat[: LONGEST - 1] + "…"
