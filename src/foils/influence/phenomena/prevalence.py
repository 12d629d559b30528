"""How common each phenomenon is among the negatives that were used, and how much of the gradient it has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foils.core import noise
from foils.core.atomic import replacing
from foils.core.collection import Collection
from foils.core.errors import DataError
from foils.core.pairs import Pairs
from foils.evaluate.significance import bootstrap_means
from foils.influence.listing import used
from foils.influence.phenomena.bags import Vocabulary
from foils.influence.phenomena.compared import Compared
from foils.influence.phenomena.reading import TYPES, Readings, split
from foils.influence.phenomena.rules import RULES
from foils.influence.phenomena.words import ASKED
from foils.influence.record import Influence

QUERIES = 1_000  # whose negatives are looked at
POSITIVES = 8  # of a query: among so many the one nearest to it is looked for
FEWEST = 10  # queries with a phenomenon, for an interval of how hard it pushes
FILE, KIND, VERSION = "phenomena.json", "foils phenomena", 1
_ROUNDS, _LEVEL = 2_000, 0.95

Progress = Callable[[str, int, int], None]


def phenomena(
    found: Influence,
    data: Collection,
    *,
    queries: int = QUERIES,
    examples: int = 1,
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """What sets the negatives of a run apart from the positives, and what of it the gradient went to.

    Each mined negative that was used is compared with a positive of its query: of the first eight, the one with most
    content words of the query. `rules.RULES` says when a phenomenon holds.

    Args:
        found: of a run.
        data: the collection that it was trained on.
        queries: whose negatives are looked at, at most; chosen by a hash of their ids.
        examples: negatives to give for each phenomenon, those with the greatest gradient first, none twice.
        seed: of the choice and of the resamples.
        progress: called with (what, done, total).

    Returns:
        ``queries`` and ``pairs`` looked at; ``none``: share of the negatives that no rule speaks of; and for each rule
        ``name``, ``says``, ``prevalence`` (share of the negatives), ``gradient_share`` and ``lift`` (the second divided
        by the first: above 1, such negatives push harder than others), each with a 95 % bootstrap interval over
        queries (no lift's where fewer than ten queries have the phenomenon), and ``examples`` with the sentences
        nearest to the query.

    Raises:
        DataError: no negative that was used has a query with a positive.
    """
    pairs, _ = used(found, data)
    pairs, positive = _sampled(pairs, data, found.record["split"], queries, seed)
    if progress is not None:
        progress("reading texts", 0, 1)
    seen = compare(data, pairs.query, positive, pairs.doc, above=pairs.scores["above"])
    flags = np.stack([rule.holds(seen) for rule in RULES], axis=1)
    if progress is not None:
        progress("reading texts", 1, 1)
    gradient = pairs.scores["gradient"].astype(np.float64)
    spans = _spans(pairs.query, flags, gradient, seed)
    shown = [
        {"name": rule.name, "says": rule.says, "pairs": int(flags[:, at].sum()), **spans[at]}
        for at, rule in enumerate(RULES)
    ]
    order = sorted(range(len(RULES)), key=lambda at: (-shown[at]["gradient_share"]["value"], RULES[at].name))
    given = np.zeros(len(pairs), bool)
    for at in order:
        rows = np.flatnonzero(flags[:, at] & ~given)
        chosen = rows[np.argsort(-gradient[rows], kind="stable")][:examples]
        given[chosen] = True
        shown[at]["examples"] = [_example(pairs, positive, data, seen, row) for row in chosen.tolist()]
    return {
        "kind": KIND,
        "version": VERSION,
        "queries": len(np.unique(pairs.query)),
        "pairs": len(pairs),
        "none": float((~flags.any(axis=1)).mean()),
        "level": _LEVEL,
        "phenomena": [shown[at] for at in order],
    }


def compare(
    data: Collection,
    query: NDArray[np.integer],
    positive: NDArray[np.integer],
    negative: NDArray[np.integer],
    above: NDArray[np.floating] | None = None,
) -> Compared:
    """Triples of rows of a collection, read.

    Args:
        data: the collection.
        query: rows, (n,).
        positive: rows of documents, (n,).
        negative: rows of documents, (n,).
        above: how often the negative was seen above the positive; never by default.
    """
    asked_rows, at = np.unique(query, return_inverse=True)
    doc_rows, places = np.unique(np.concatenate((positive, negative)), return_inverse=True)
    texts = data.queries.texts(asked_rows)
    return compared(texts, data.corpus.texts(doc_rows), at, places[: len(query)], places[len(query) :], above)


def compared(
    queries: list[str],
    docs: list[str],
    query: NDArray[np.integer],
    positive: NDArray[np.integer],
    negative: NDArray[np.integer],
    above: NDArray[np.floating] | None = None,
) -> Compared:
    """Triples of texts, read; see `Compared` for the arguments."""
    vocabulary = Vocabulary()
    kinds = np.array([asked(text) for text in queries], np.int64)
    return Compared(
        queries=Readings(queries, vocabulary),
        docs=Readings(docs, vocabulary),
        query=query,
        positive=positive,
        negative=negative,
        asked=kinds[query] if len(kinds) else np.zeros(0, np.int64),
        above=np.zeros(len(query)) if above is None else above,
    )


def asked(query: str) -> int:
    """The kind of answer that a query asks for, as a place in `reading.TYPES`; -1 for none."""
    return next((TYPES.index(kind) for kind, form in ASKED if form.search(query)), -1)


def write(found: Influence, record: Mapping[str, Any]) -> None:
    """Write the record beside ``influence.json``, as ``phenomena.json``."""
    import json

    with replacing(found.folder / FILE) as partial:
        text = json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False)
        partial.write_text(text + "\n", encoding="utf-8")


def _sampled(pairs: Pairs, data: Collection, split: str, queries: int, seed: int) -> tuple[Pairs, NDArray[np.int32]]:
    """The negatives of some queries, and for each the positive to compare it with."""
    positives = data.positives(split)
    candidates = np.intersect1d(pairs.queries, positives.queries)
    if not len(candidates):
        raise DataError(
            f"none of the {len(pairs):,} negatives that were used is of a query with a positive in split {split!r}.",
            remedy="Name the collection that was trained on with --data.",
        )
    draws = noise.bits(seed, "phenomena", data.queries.keys[candidates], np.zeros(1, np.uint64))
    chosen = np.sort(candidates[np.lexsort((candidates, draws))[:queries]])
    kept = pairs.take(np.isin(pairs.query, chosen))
    near = _nearest(data, positives.take(np.isin(positives.query, chosen)))
    return kept, near[np.searchsorted(chosen, kept.query)]


def _nearest(data: Collection, positives: Pairs) -> NDArray[np.int32]:
    """Of each query, the positive among the first eight with most of its content words; the first of equals."""
    within = np.arange(len(positives)) - np.repeat(positives.starts[:-1], np.diff(positives.starts))
    few = positives.take(within < POSITIVES)
    seen = compare(data, few.query, few.doc, few.doc)
    order = np.lexsort((few.doc, -seen.lexical_positive, few.query))
    return few.doc[order[few.starts[:-1]]]


def _spans(query: NDArray[np.int32], flags: NDArray[np.bool_], gradient: NDArray[np.float64], seed: int) -> list[Any]:
    """Prevalence, gradient share and their quotient, with intervals over resampled queries."""
    distinct, at = np.unique(query, return_inverse=True)
    size = len(distinct)
    both = np.column_stack((np.ones(len(query)), gradient, flags, flags * gradient[:, None]))
    sums = np.stack([np.bincount(at, weights=column, minlength=size) for column in both.T], axis=1)
    resampled = bootstrap_means(sums, rounds=_ROUNDS, seed=seed)
    count, found = flags.shape[1], []
    for place in range(count):
        values = _quotients(sums.mean(axis=0), resampled, place, count)
        spans = {name: _span(*value) for name, value in values.items()}
        if (sums[:, 2 + place] > 0).sum() < FEWEST:
            # Resamples without any such query say nothing, and those with one all say the same.
            spans["lift"] |= {"low": None, "high": None}
        found.append(spans)
    return found


def _quotients(mean: NDArray[np.float64], resampled: NDArray[np.float64], place: int, count: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    with np.errstate(invalid="ignore", divide="ignore"):
        for name, top, bottom in (("prevalence", 2 + place, 0), ("gradient_share", 2 + count + place, 1)):
            found[name] = mean[top] / mean[bottom], resampled[:, top] / resampled[:, bottom]
        rare, hard = found["prevalence"], found["gradient_share"]
        found["lift"] = hard[0] / rare[0], hard[1] / rare[1]
    return found


def _span(value: float, draws: NDArray[np.float64]) -> dict[str, float | None]:
    known = draws[np.isfinite(draws)]
    if not np.isfinite(value) or not len(known):
        return {"value": 0.0 if not np.isfinite(value) else float(value), "low": None, "high": None}
    low, high = np.quantile(known, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return {"value": float(value), "low": float(low), "high": float(high)}


def _example(pairs: Pairs, positive: NDArray[np.int32], data: Collection, seen: Compared, row: int) -> dict[str, Any]:
    right, wrong = positive[row], pairs.doc[row]
    texts = data.corpus.texts([right, wrong])
    first = seen.docs.first
    places = [
        (int(focus[row]), int(first[doc[row]]))
        for focus, doc in ((seen.focus_positive, seen.positive), (seen.focus_negative, seen.negative))
    ]
    near = [
        split(text)[focus - start] if focus >= 0 else "" for text, (focus, start) in zip(texts, places, strict=True)
    ]
    return {
        "query_id": data.queries.id_list([pairs.query[row]])[0],
        "positive_id": data.corpus.id_list([right])[0],
        "doc_id": data.corpus.id_list([wrong])[0],
        "gradient": float(pairs.scores["gradient"][row]),
        "query": data.queries.texts([pairs.query[row]])[0],
        "positive": texts[0],
        "document": texts[1],
        "positive_sentence": near[0],
        "document_sentence": near[1],
    }
