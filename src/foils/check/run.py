"""`check`: all checks over a file or a folder of negatives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from foils.check.checks import CHECKS, CODES, Check, kind_of
from foils.check.hits import Hits, Skipped, examples_of
from foils.check.report import Finding, Report
from foils.check.subject import Limits, Subject, of_listing, of_pairs
from foils.core.collection import Collection
from foils.core.errors import SpecError
from foils.core.foreign import read_listing
from foils.core.foreign.layouts import check_name
from foils.core.text import did_you_mean
from foils.store import MANIFEST, Negatives

Allowed = Mapping[str, int | None]
STORE = "foils"


def check(
    file: str | Path,
    data: Collection | None = None,
    *,
    format: str | None = None,
    split: str | None = None,
    allow: Sequence[str] | Allowed = (),
    limits: Limits | None = None,
) -> Report:
    """Look for what would teach a model something wrong: positives among negatives, repeats, holes, leaks.

    ==========================  ===========================================================================
    finding                     what
    ==========================  ===========================================================================
    positive-among-negatives    a negative is a positive of its own list, by id or normalised text
    sibling-positive            a negative is another positive of its query: of another row or of the qrels
    near-duplicate-of-positive  a negative nearly repeats a positive of its query
    query-as-negative           a negative is the query itself
    duplicate-negative          a list holds a negative more than once
    empty-text                  a document has no text
    bad-score                   a score is NaN, infinite or null
    no-positive                 a query has no positive
    unknown-query               the collection does not have the query
    unknown-document            the collection does not have the document
    leaked-query                a held-out split asks the same
    overused-document           a document is a negative of very many queries
    short-row                   a list has fewer negatives than the others; with ``expect`` a fault
    leaked-positive (note)      a positive is also one of a held-out query
    held-out-positive (note)    a negative is a positive of a held-out query
    ==========================  ===========================================================================

    Args:
        file: a file of any layout in ``foils.core.foreign.READABLE``, or a folder of foils negatives.
        data: the collection, for ids, texts and qrels. Without it, a file is checked by what it says itself; a folder
            of negatives finds its collection in the cache.
        format: the layout; told by the columns if left out.
        split: whose qrels are the known positives, and beside which the others are held out; default: the split that a
            folder was mined for, else ``train``.
        allow: codes that may be found, or code -> how many (in texts: ``code=3``). A note that is named with a number
            counts like a fault.
        limits: see `Limits`.

    Returns:
        The report; ``passed`` says whether it found nothing that is not allowed.

    Raises:
        SpecError: no such code or format.
        DataError, StoreError: the file cannot be read, or its collection is not there.
    """
    chosen, allowed = limits or Limits(), _allowed(allow)
    path = Path(file)
    if (path / MANIFEST).is_file():
        subject, layout = _mined(path, data, split, chosen), STORE
        if check_name(format) is not None:
            raise SpecError(f"format={format!r}: {path} is a folder of foils negatives.")
    else:
        listing = read_listing(path, format)
        layout = listing.layout
        subject = of_listing(listing, data, _split(data, split), chosen)
    found = [(one, one.look(subject)) for one in CHECKS]
    findings = tuple(_finding(one, hits, subject, allowed) for one, hits in found if isinstance(hits, Hits))
    skipped = {one.code: hits.why for one, hits in found if isinstance(hits, Skipped)}
    return Report(str(file), layout, subject.sizes(), findings, skipped)


def _mined(path: Path, data: Collection | None, split: str | None, limits: Limits) -> Subject:
    store = Negatives.open(path)
    data = data or store.collection()
    return of_pairs(store.kept(data), data, split or str(store.manifest["split"]), limits)


def _split(data: Collection | None, split: str | None) -> str:
    if data is None:
        return ""
    if split is None and "train" not in data.splits:
        return data.splits[0]
    chosen = split or "train"
    data.qrels(chosen)  # its typed error names the splits there are
    return chosen


def _finding(one: Check, hits: Hits, subject: Subject, allowed: Allowed) -> Finding:
    kind = kind_of(one, subject.limits)
    bound = allowed.get(one.code, None if kind == "note" else 0)
    examples = examples_of(subject, hits)
    return Finding(one.code, kind, one.what, len(hits.row), hits.of, hits.total, bound, examples)


def _allowed(given: Sequence[str] | Allowed) -> Allowed:
    if not isinstance(given, Mapping):
        given = dict(_one(text) for text in ([given] if isinstance(given, str) else given))
    for code in given:
        if code not in CODES:
            raise SpecError(
                f"--allow {code}: no such finding.{did_you_mean(code, CODES)} There is: {', '.join(CODES)}."
            )
    return given


def _one(text: str) -> tuple[str, int | None]:
    code, sign, number = text.partition("=")
    if not sign:
        return code, None
    if not number.isdecimal():
        raise SpecError(f"--allow {text}: write CODE or CODE=N, such as --allow duplicate-negative=10.")
    return code, int(number)
