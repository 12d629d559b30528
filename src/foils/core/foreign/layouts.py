"""Which tool's layout a table of negatives has, told by its columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from foils.core.columns import ALIASES, find_roles
from foils.core.errors import DataError, SpecError
from foils.core.text import did_you_mean

QUERY = ALIASES["pairs"]["query"]
ASKED = (*ALIASES["pairs"]["query_id"], *QUERY)  # a query by id, by text, or both
DOCUMENT = ("document", "doc", "passage", "answer", "response", "document_id", "doc_id")


@dataclass(frozen=True)
class Signature:
    """A layout and how it is recognised.

    Attributes:
        name: what ``--format`` calls it.
        needs: columns; one name of each group must be there.
        schema: a row, for messages.
        narrow: whether a row holds a single negative, so that the lists of a query are spread over rows.
    """

    name: str
    needs: tuple[tuple[str, ...], ...]
    schema: str
    narrow: bool = False

    def fits(self, names: Sequence[str]) -> bool:
        """Whether a table with these columns has this layout."""
        folded = {name.casefold() for name in names}
        return all(any(name in folded for name in group) for group in self.needs)


# The first that fits is taken, so the more particular come first.
SIGNATURES = (
    Signature(
        "tevatron",
        (ASKED, ("positive_passages",), ("negative_passages",)),
        '{"query_id", "query", "positive_passages": [{"docid", "text"}, …], "negative_passages": […]}',
    ),
    Signature(
        "tevatron-ids",
        (("query_id",), ("positive_document_ids",), ("negative_document_ids",)),
        '{"query_id", "query_text", "positive_document_ids": […], "negative_document_ids": […]}',
    ),
    Signature(
        "nemo",
        (ASKED, ("pos_doc",), ("neg_doc",)),
        '{"corpus": {"path"}, "data": [{"question_id", "question", "corpus_id", "pos_doc": [{"id"}], "neg_doc": […]}]}',
    ),
    Signature(
        "ids",
        (("query_id",), ("document_ids",), ("labels", "scores")),
        '{"query_id", "document_ids": […], "labels" or "scores": […]}',
    ),
    Signature(
        "labeled-list",
        (ASKED, ("documents",), ("labels", "scores")),
        '{"query", "documents": […], "labels" or "scores": […]}',
    ),
    Signature("labeled-pair", (ASKED, DOCUMENT, ("label", "score")), '{"query", "document", "label" or "score"}', True),
    Signature(
        "flag-embedding",
        (QUERY, ("pos",), ("neg",)),
        '{"query", "pos": […], "neg": […]}, perhaps with "pos_scores" and "neg_scores"',
    ),
    Signature("triplet", (QUERY, ("positive",), ("negative",)), '{"query", "positive", "negative"}', True),
    Signature(
        "n-tuple", (QUERY, ("positive",), ("negative_1",)), '{"query", "positive", "negative_1", "negative_2", …}'
    ),
    Signature(
        "pairs",
        (ASKED, ALIASES["pairs"]["positive"] + ALIASES["pairs"]["positive_id"]),
        '{"query", "positive" or "positives", "negative" or "negatives"}, texts or ids',
    ),
)
TREC = "trec"
READABLE = (*(signature.name for signature in SIGNATURES), TREC)
ALSO = {"jsonl": "flag-embedding", "pylate": "ids"}  # names of exports that read as another


def check_name(name: str | None) -> str | None:
    """The layout that ``--format`` means.

    Raises:
        SpecError: there is none of that name.
    """
    meant = name if name is None else ALSO.get(name, name)
    if meant is not None and meant not in READABLE:
        known = (*READABLE, *ALSO)
        raise SpecError(f"unknown format {name!r}.{did_you_mean(meant, known)} There is: {', '.join(known)}.")
    return meant


def layout_of(names: Sequence[str], file: str, line: int, wanted: str | None) -> Signature:
    """The layout of a table with these columns.

    Args:
        names: its columns.
        file: what errors name.
        line: where it starts.
        wanted: the layout that it is said to have, or None to find out.

    Raises:
        DataError: it has none of the layouts, or not the one it is said to have, or no column of negatives.
    """
    have = ", ".join(map(repr, names)) or "none"
    if wanted is not None:
        signature = next(s for s in SIGNATURES if s.name == wanted)
        if not signature.fits(names):
            message = f"is not in the layout {wanted!r}: a row is {signature.schema}. It has: {have}."
            raise DataError(message, file=file, line=line, remedy=_remedy(names, wanted))
        return signature
    found = next((signature for signature in SIGNATURES if signature.fits(names)), None)
    if found is None or (found.name == "pairs" and not _has_negatives(names, file)):
        schemas = "".join(f"\n  {s.name}: {s.schema}" for s in SIGNATURES)
        message = f"is no file of negatives that is known. It has: {have}."
        raise DataError(message, file=file, line=line, remedy=f"Rename its columns so that a row is one of:{schemas}")
    return found


def _has_negatives(names: Sequence[str], file: str) -> bool:
    roles = find_roles("pairs", [*names, "query"], {}, file)
    return bool({"negative", "negative_id"} & roles.keys())


def _remedy(names: Sequence[str], wanted: str) -> str:
    other = next((s.name for s in SIGNATURES if s.fits(names) and s.name != wanted), None)
    return f"It looks like {other!r}." if other else "Rename its columns."
