"""`Draft`: one text that an author proposes, before anybody has checked it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

Role = Literal["negative", "positive", "query"]
Start = Literal["pair", "document"]
ROLES: tuple[Role, ...] = get_args(Role)


@dataclass(frozen=True, order=True)
class Edit:
    """A place where a draft differs from the text that it was made from.

    Attributes:
        start: where the place begins, in characters of the document's text.
        end: where it ends; ``source[start:end] == before``.
        before: what stands there, "" for an insertion.
        after: what the draft has instead, "" for a deletion.
    """

    start: int
    end: int
    before: str
    after: str


@dataclass(frozen=True)
class Draft:
    """One text that an author proposes.

    Attributes:
        query: row of the query that it is for; None for a query written from a document alone.
        doc: row of the document that it was made from: the query's positive, or the source of a written query.
        title: of a document; "" for none, and for queries.
        text: what was written; "" where the author got nothing usable, which ``fault`` then explains.
        kind: what was done, in a word of the author's: ``number``, ``negation``, ``syneg``, ….
        edits: where it differs from its document's text, ascending and disjoint; empty for what was written anew.
            Checks treat edited texts as such: one repeats nearly all of its document, and is meant to.
        made: how, as JSON values: model, prompt with its version, what the model said besides, ….
        role: what it is for; None for what its author writes (`foils.writing.author.Author.writes`).
        fault: why there is no usable text, such as a reply that is no JSON; such drafts are rejected by ``schema``.
    """

    query: int | None
    doc: int
    title: str
    text: str
    kind: str
    edits: tuple[Edit, ...] = ()
    made: Mapping[str, Any] = field(default_factory=dict)
    role: Role | None = None
    fault: str = ""
