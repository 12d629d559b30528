"""A collection at a glance: sizes, splits, what was found on import, and a few examples."""

from __future__ import annotations

from typing import Any

import numpy as np

from foils.core import noise
from foils.core.collection import Collection
from foils.core.texts import Texts

_SAMPLE = 1000


def overview(data: Collection, *, count: int = 3, seed: int = 0) -> dict[str, Any]:
    """Plain values about a collection.

    Args:
        data: the collection.
        count: example queries, drawn by a key of their ids.
        seed: of that draw.

    Returns:
        Names and sizes; mean words of documents and queries (over at most 1,000 of each); for each split its queries,
        positives and queries that are also in other splits; the import report; examples.
    """
    return {
        "name": data.name,
        "fingerprint": data.fingerprint,
        "documents": len(data.corpus),
        "queries": len(data.queries),
        "document_words": _words(data.corpus),
        "query_words": _words(data.queries),
        "splits": [_split(data, split) for split in data.splits],
        "report": data.report,
        "examples": _examples(data, count, seed),
    }


def _words(texts: Texts) -> float:
    rows = np.unique(np.linspace(0, len(texts) - 1, min(_SAMPLE, len(texts))).astype(np.int64))
    return round(float(np.mean([len(text.split()) for text in texts.texts(rows)])), 1) if len(rows) else 0.0


def _split(data: Collection, split: str) -> dict[str, Any]:
    qrels, rows = data.qrels(split), data.query_rows(split)
    positives = int((qrels.label == 1).sum())
    # train and train_sparse are views of one another, not a leak.
    others = [name for name in data.splits if name.split("_")[0] != split.split("_")[0]]
    shared = np.isin(rows, np.concatenate([data.query_rows(name) for name in others])) if others else np.zeros(0, bool)
    return {
        "name": split,
        "queries": len(rows),
        "positives": positives,
        "positives_per_query": positives / max(1, len(rows)),
        "judged_not_relevant": len(qrels) - positives,
        "queries_also_in": int(shared.sum()),
    }


def _examples(data: Collection, count: int, seed: int) -> list[dict[str, str]]:
    if not data.splits:
        return []
    positives = data.positives(data.splits[-1] if "train" not in data.splits else "train")
    draws = noise.uniform(seed, "overview", data.queries.keys[positives.queries], np.zeros(1, np.uint64))
    chosen = np.sort(np.argsort(draws, kind="stable")[:count])
    first = positives.starts[:-1][chosen]
    query, doc = positives.query[first], positives.doc[first]
    return [
        {"query_id": qid, "query": text, "doc_id": did, "document": " ".join(body.split())[:300]}
        for qid, text, did, body in zip(
            data.queries.id_list(query),
            data.queries.texts(query),
            data.corpus.id_list(doc),
            data.corpus.texts(doc),
            strict=True,
        )
    ]
