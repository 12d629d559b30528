"""Examples: queries with positives, negatives, and rejected candidates with the reason."""

from __future__ import annotations

from foils.core.collection import Collection
from foils.examples import Example, Seen, examples
from foils.report.blocks import Examples, Query, Section, Shown
from foils.report.figures import flat, real
from foils.store import Negatives

_LONG = 420  # characters of a document
_ASKED = 300  # of a query
_POSITIVES, _NEGATIVES, _REJECTED = 2, 5, 2


def sample(store: Negatives, data: Collection, number: int, seed: int) -> Section | None:
    """A draw of queries, keyed by their ids.

    Args:
        store: the folder.
        data: its collection, for the texts.
        number: of queries.
        seed: of the draw.
    """
    drawn = examples(store, data, count=number, rejected=_REJECTED, seed=seed) if number else []
    queries = [_query(example) for example in drawn]
    if not queries:
        return None
    shown = [document for query in queries for document in query.documents]
    sources = sorted({name for document in shown for name in document.sources})
    reasons = sorted({document.reason for document in shown if document.reason}, key=_by_number)
    lead = (
        f"{len(queries)} queries, drawn by their ids with seed {seed}. Of each at most {_POSITIVES} positives, "
        f"{_NEGATIVES} negatives, and of every step the {_REJECTED} best candidates that it dropped."
    )
    return Section("examples", "Examples", [Examples(queries, sources, reasons)], lead)


def _by_number(reason: str) -> tuple[int, str]:
    first = reason.split(":", 1)[0]
    return (int(first) if first.isdecimal() else 0, reason)


def _query(example: Example) -> Query:
    documents = [
        *(_shown("positive", item) for item in example.positives[:_POSITIVES]),
        *(_shown("negative", item) for item in example.negatives[:_NEGATIVES]),
        *(_shown("dropped", item) for item in sorted(example.rejected, key=lambda item: _by_number(item.reason or ""))),
    ]
    return Query(example.query, flat(example.text, _ASKED), tuple(documents))


def _shown(role: str, item: Seen) -> Shown:
    numbers = [f"{name} {real(score)}" + _rank(item, name) for name, score in item.scores.items()]
    numbers += [f"{name}{_rank(item, name)}" for name in item.ranks if name not in item.scores]
    sources = tuple(sorted(item.ranks))
    return Shown(role, item.doc, flat(item.text, _LONG), sources, ", ".join(numbers), item.reason or "")


def _rank(item: Seen, name: str) -> str:
    return f" #{item.ranks[name]}" if name in item.ranks else ""
