"""The texts of items: query, document, a known positive; and examples of false negatives."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from foils.audit.judges.protocol import RELEVANT, Verdicts
from foils.audit.population import Population
from foils.core.collection import Collection
from foils.core.pairs import POSITIVE

_LONGEST = 500  # characters of a text in an example


class Told(NamedTuple):
    """Ids and texts of items, one list each."""

    query_ids: list[str]
    doc_ids: list[str]
    queries: list[str]
    documents: list[str]
    positives: list[str]


def told(found: Population, data: Collection, at: NDArray[np.int64]) -> Told:
    """Ids and texts of items; of several positives the one with the best score, "" where a query has none."""
    query, doc = found.query[at], found.doc[at]
    pairs = found.pairs.take(found.pairs.label == POSITIVE)
    score = np.zeros(len(pairs)) if found.column is None else pairs.scores[found.column].astype(np.float64)
    order = np.lexsort((pairs.doc, -np.nan_to_num(score, nan=-np.inf), pairs.query))
    lo, hi = (np.searchsorted(pairs.query, query, side) for side in ("left", "right"))
    has = lo < hi
    best = pairs.doc[order][lo[has]]
    positives = np.full(len(at), "", object)
    positives[has] = data.corpus.texts(best) if has.any() else []
    return Told(
        data.queries.id_list(query), data.corpus.id_list(doc), data.queries.texts(query), data.corpus.texts(doc),
        positives.tolist(),
    )  # fmt: skip


def examples(
    found: Population, data: Collection, at: NDArray[np.int64], said: Verdicts | None, count: int
) -> list[dict[str, Any]]:
    """The first false negatives of a sample, in its order, which is random."""
    if said is None:
        return []
    false = np.flatnonzero(found.negative[at] & (said.verdict == RELEVANT))[:count]
    texts = told(found, data, at[false])
    listed = []
    for place, row in enumerate(false.tolist()):
        item, chance = int(at[row]), float(said.probability[row])
        listed.append(
            {
                "query_id": texts.query_ids[place],
                "doc_id": texts.doc_ids[place],
                "query": short(texts.queries[place]),
                "document": short(texts.documents[place]),
                "positive": short(texts.positives[place]),
                "source": found.sources[int(found.source[item])],
                "rank": int(found.rank[item]) or None,
                "verdict": int(said.verdict[row]),
                "probability": None if np.isnan(chance) else chance,
                "reason": said.reasons[row] if said.reasons else None,
            }
        )
    return listed


def short(text: str, longest: int = _LONGEST) -> str:
    """A text on one line, cut if it is long."""
    flat = " ".join(text.split())
    return flat if len(flat) <= longest else flat[: longest - 1] + "…"
