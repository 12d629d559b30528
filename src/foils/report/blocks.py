"""What a page is made of: sections of paragraphs, facts, tables, plots and examples. Plain values, no HTML."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

Cell = str | int | float | None


@dataclass(frozen=True)
class Words:
    """A paragraph; ``tone`` is one of "", "good", "warn", "bad"."""

    text: str
    tone: str = ""
    kind: ClassVar[str] = "words"


@dataclass(frozen=True)
class Facts:
    """Names and values; ``code`` sets the values in a fixed-width face."""

    rows: Sequence[tuple[str, str]]
    code: bool = False
    kind: ClassVar[str] = "facts"


@dataclass(frozen=True)
class Code:
    """Text to be read as it is, or to be copied into a shell; ``folded``: shown on demand, behind its title."""

    title: str
    text: str
    folded: bool = False
    kind: ClassVar[str] = "code"


@dataclass(frozen=True)
class Table:
    """Rows below a head.

    Attributes:
        title: what the table says.
        head: names of the columns.
        rows: texts, already formatted; None for an empty cell.
        right: columns that are set flush right, as numbers are.
        tones: row -> "good", "warn", "bad" or "strong".
        folded: shown on demand, behind its title.
        note: below it.
    """

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str | None]]
    right: Sequence[int] = ()
    tones: dict[int, str] = field(default_factory=dict)
    folded: bool = False
    note: str = ""
    kind: ClassVar[str] = "table"


@dataclass(frozen=True)
class Plot:
    """A Vega-Lite plot.

    Attributes:
        name: unique on the page; letters, digits and hyphens.
        title: what is to be seen.
        spec: without size, data and theme, which the page adds.
        values: rows of data.
        note: below the title.
        head: columns of the data as a table, for whoever cannot see the plot: field -> name; none for no table.
        height: pixels.
    """

    name: str
    title: str
    spec: dict[str, Any]
    values: Sequence[dict[str, Any]]
    note: str = ""
    head: dict[str, str] = field(default_factory=dict)
    height: int = 220
    kind: ClassVar[str] = "plot"


@dataclass(frozen=True)
class Shown:
    """One document of an example."""

    role: str  # positive, negative or dropped
    doc: str
    text: str
    sources: tuple[str, ...]
    numbers: str
    reason: str = ""


@dataclass(frozen=True)
class Query:
    """One query with the documents to look at."""

    query: str
    text: str
    documents: tuple[Shown, ...]


@dataclass(frozen=True)
class Examples:
    """Queries with documents, to be filtered by role, source, reason and text."""

    queries: Sequence[Query]
    sources: Sequence[str]
    reasons: Sequence[str]
    kind: ClassVar[str] = "examples"


Block = Words | Facts | Code | Table | Plot | Examples


@dataclass(frozen=True)
class Section:
    """A part of the page with a heading."""

    name: str
    title: str
    blocks: Sequence[Block]
    lead: str = ""


@dataclass(frozen=True)
class Missing:
    """What the page does not say, and the command that makes it say so."""

    what: str
    command: str


@dataclass(frozen=True)
class Page:
    """A whole page.

    Attributes:
        title: of the window.
        kind: run, negatives, study or audit.
        where: the folder as it was given.
        figures: what to see first: name, value, remark, tone.
        alarms: what is wrong now: tone and sentence.
        sections: in order.
        missing: what could be there and is not.
        made: version, seed and libraries.
        live: a name of this state of the page, which is served while the run goes on; "" for a file.
    """

    title: str
    kind: str
    where: str
    figures: Sequence[tuple[str, str, str, str]]
    alarms: Sequence[tuple[str, str]]
    sections: Sequence[Section]
    missing: Sequence[Missing]
    made: str
    live: str = ""
