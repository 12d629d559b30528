"""The table of checks: a code, what kind of finding it is, a sentence, and the function that looks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

from foils.check import corpus, leakage, lists, positives
from foils.check.hits import Found
from foils.check.subject import Limits, Subject


class Check(NamedTuple):
    """One check."""

    code: str
    kind: Literal["fault", "note"]
    what: str
    look: Callable[[Subject], Found]


CHECKS = (
    Check(
        "positive-among-negatives",
        "fault",
        "a negative is a positive of its own list",
        positives.positive_among_negatives,
    ),
    Check("sibling-positive", "fault", "a negative is another positive of its query", positives.sibling_positive),
    Check(
        "near-duplicate-of-positive",
        "fault",
        "a negative nearly repeats a positive of its query",
        positives.near_duplicate_of_positive,
    ),
    Check("query-as-negative", "fault", "a negative is the query itself", lists.query_as_negative),
    Check("duplicate-negative", "fault", "a list holds a negative more than once", lists.duplicate_negative),
    Check("empty-text", "fault", "a document has no text", lists.empty_text),
    Check("bad-score", "fault", "a score is NaN, infinite or null", lists.bad_score),
    Check("no-positive", "fault", "a query has no positive", lists.no_positive),
    Check("unknown-query", "fault", "the collection does not have the query", corpus.unknown_query),
    Check("unknown-document", "fault", "the collection does not have the document", corpus.unknown_document),
    Check("leaked-query", "fault", "a held-out split asks the same", leakage.leaked_query),
    Check("overused-document", "fault", "a document is a negative of very many queries", corpus.overused_document),
    Check("short-row", "note", "a list has too few negatives", lists.short_row),
    Check("leaked-positive", "note", "a positive is also one of a held-out query", leakage.leaked_positive),
    Check("held-out-positive", "note", "a negative is a positive of a held-out query", leakage.held_out_positive),
)
CODES = tuple(check.code for check in CHECKS)


def kind_of(check: Check, limits: Limits) -> Literal["fault", "note"]:
    """A short row is a fault where the caller says how many negatives there must be."""
    return "fault" if check.code == "short-row" and limits.expect is not None else check.kind
