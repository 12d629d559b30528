"""The most influential pairs, documents and queries of a run, with their texts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from foils.core.collection import Collection
from foils.core.errors import StoreError
from foils.core.pairs import Pairs
from foils.influence.record import Influence

COLUMNS = ("times", "mass", "gradient", "gap", "above", "rank")


def used(found: Influence, data: Collection) -> tuple[Pairs, NDArray[Any]]:
    """Every mined negative that was used, as pairs with score columns, and the source of each.

    Args:
        found: of a run.
        data: the collection that it was trained on, or another one with the same ids.

    Returns:
        Pairs with the columns ``times``, ``mass``, ``gradient``, ``gap``, ``above`` and ``rank`` (NaN for none), sorted
        by query, then document; and the names of their sources, (n,).

    Raises:
        StoreError: an id is not in the collection.
    """
    table = found.pairs()
    rows = []
    for name, side in (("query_id", data.queries), ("doc_id", data.corpus)):
        ids = table[name].combine_chunks()
        known = side.rows_of(ids.dictionary.to_pylist())
        if (known < 0).any():
            unknown = ids.dictionary[int(np.argmin(known))].as_py()
            raise StoreError(
                f"{found.folder}: {name} {unknown!r} is not in {data.name!r}. This run was trained on "
                f"{found.record['collection']!r}; name it with --data."
            )
        rows.append(known[ids.indices.to_numpy()] if len(ids) else np.zeros(0, np.int32))
    source = np.array(pc.cast(table["source"], "string").to_pylist(), dtype=object)
    order = np.lexsort((rows[1], rows[0]))
    scores = {name: _floats(table[name])[order] for name in COLUMNS}
    return Pairs.build(rows[0][order], rows[1][order], scores=scores), source[order]


def listed(found: Influence, data: Collection, count: int) -> dict[str, Any]:
    """What there is to show: the record, with texts for the first ``count`` documents, queries and pairs.

    Pairs come with a positive of the query: the known one that comes first in the corpus.
    """
    record = dict(found.record)
    for kind, name, side in (("documents", "doc_id", data.corpus), ("queries", "query_id", data.queries)):
        entries = record[kind][:count]
        rows = side.rows_of([entry[name] for entry in entries])
        # What another collection does not have, has no text.
        texts = dict(zip(rows[rows >= 0].tolist(), side.texts(rows[rows >= 0]), strict=True))
        record[kind] = [
            {**entry, "text": texts.get(row, "")} for entry, row in zip(entries, rows.tolist(), strict=True)
        ]
    record["top"] = _pairs(found, data, count)
    return record


def _pairs(found: Influence, data: Collection, count: int) -> list[dict[str, Any]]:
    pairs, source = used(found, data)
    total = found.record["total"]["gradient"]
    gradient = pairs.scores["gradient"]
    order = np.lexsort((np.arange(len(pairs)), -gradient))[:count]
    positives = data.positives(found.record["split"])
    listed = []
    for row in order.tolist():
        query, doc = pairs.query[row], pairs.doc[row]
        first = positives.doc[positives.query == query][:1]
        listed.append(
            {
                "query_id": data.queries.id_list([query])[0],
                "doc_id": data.corpus.id_list([doc])[0],
                **{name: _plain(pairs.scores[name][row]) for name in COLUMNS},
                "source": source[row],
                "gradient_share": float(gradient[row] / total) if total else None,
                "query": data.queries.texts([query])[0],
                "document": data.corpus.texts([doc])[0],
                "positive": data.corpus.texts(first)[0] if len(first) else None,
            }
        )
    return listed


def _floats(column: pa.ChunkedArray) -> NDArray[np.float64]:
    values: NDArray[np.float64] = column.cast(pa.float64()).fill_null(float("nan")).to_numpy()
    return values


def _plain(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
