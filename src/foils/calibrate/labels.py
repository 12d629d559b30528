"""Which candidates are relevant, as somebody found out: a table of labels, or complete judgements."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foils.core.collection import Collection
from foils.core.errors import DataError
from foils.core.packing import pack, unpack
from foils.core.pairs import Pairs
from foils.core.tables import Block, FileTable

QRELS = "qrels:"
_LABEL = ("label", "verdict")
_WORDS = {"yes": 1.0, "true": 1.0, "relevant": 1.0, "no": 0.0, "false": 0.0, "irrelevant": 0.0, "not relevant": 0.0}
_UNKNOWN = ("", "unknown", "unsure", "?", "-1", "-1.0")


@dataclass(frozen=True, eq=False)
class Labels:
    """Labelled pairs, one row each, sorted by query, then document.

    Attributes:
        query: int32 (n,), rows in the collection.
        doc: int32 (n,).
        relevance: float64 (n,), 0 to 1: 1 relevant, so a false negative if it is mined; between them where annotators
            disagree or are unsure.
        weight: float64 (n,), above 0: how many candidates a labelled one stands for.
        complete: whether what is not listed of these queries was judged, too, and is irrelevant.
        name: what reports call it.
    """

    query: NDArray[np.int32]
    doc: NDArray[np.int32]
    relevance: NDArray[np.float64]
    weight: NDArray[np.float64]
    complete: bool
    name: str

    def on(self, pairs: Pairs) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Relevance and weight of some pairs, float64 (n,) each; weight 0 for what nobody labelled."""
        at = Pairs.build(self.query, self.doc).find(pairs)
        known = at >= 0
        # `build` sorts by query, stably: the rows are in this order already.
        relevance, weight = np.zeros(len(pairs)), np.zeros(len(pairs))
        relevance[known], weight[known] = self.relevance[at[known]], self.weight[at[known]]
        if self.complete:
            weight[~known] = np.isin(pairs.query[~known], self.query)
        return relevance, weight


def labels_of(labels: str | Path, data: Collection) -> Labels:
    """Labels by name.

    ``qrels:SPLIT`` takes a split for completely judged: a document with a grade above 0 is relevant, any other is not.
    A file (see `foils.core.tables`) has the columns ``query_id``, ``doc_id`` and ``label`` (or ``verdict``), and
    ``weight`` where the rows were not drawn evenly. A label is a number, 0 to 1 a share or probability, above 1 a grade
    (which counts as 1), or one of yes, no, true, false, relevant, irrelevant; empty, unsure, ? and -1 are no label.
    Several rows for one pair, of several people, become their mean.

    Raises:
        DataError: no such split, file or column; a label that is none of these; an id that is not in the collection.
    """
    text = str(labels)
    if text.startswith(QRELS):
        known = data.positives(text.removeprefix(QRELS))
        ones = np.ones(len(known))
        return _sorted(known.query, known.doc, ones, ones, complete=True, name=text)
    path = Path(labels)
    found = [part for block in FileTable(path).blocks() for part in _rows(block, data)]
    if not found:
        raise DataError("has no label.", file=path, remedy="Fill in the column 'label': 1 relevant, 0 not.")
    query, doc, value, weight = (np.array(column) for column in zip(*found, strict=True))
    return _sorted(query.astype(np.int32), doc.astype(np.int32), value, weight, complete=False, name=path.name)


def _sorted(
    query: NDArray[np.int32],
    doc: NDArray[np.int32],
    value: NDArray[np.float64],
    weight: NDArray[np.float64],
    *,
    complete: bool,
    name: str,
) -> Labels:
    key, at, times = np.unique(pack(query, doc), return_inverse=True, return_counts=True)
    mean = [np.bincount(at, column, minlength=len(key)) / np.maximum(times, 1) for column in (value, weight)]
    return Labels(*unpack(key), mean[0], mean[1], complete, name)


def _rows(block: Block, data: Collection) -> list[tuple[int, int, float, float]]:
    names = block.names
    label = next((name for name in _LABEL if name in names), None)
    lacking = [name for name in ("query_id", "doc_id") if name not in names] + ([] if label else ["label"])
    if lacking:
        have = ", ".join(names) or "none"
        remedy = "Labels have the columns query_id, doc_id, label and, if need be, weight."
        raise DataError(f"no column {', '.join(map(repr, lacking))}; it has: {have}.", file=block.file, remedy=remedy)
    query = data.queries.rows_of([str(row.get("query_id")) for row in block.rows])
    doc = data.corpus.rows_of([str(row.get("doc_id")) for row in block.rows])
    found = []
    for i, row in enumerate(block.rows):
        value = _relevance(row.get(str(label)), block, i)
        if value is None:
            continue
        for side, at in (("query", query[i]), ("doc", doc[i])):
            if at < 0:
                message = f"{side}_id {row[f'{side}_id']!r} is not in {data.name!r}."
                raise DataError(message, file=block.file, line=block.lines[i], remedy="Label what was mined from it.")
        found.append((int(query[i]), int(doc[i]), value, _weight(row.get("weight"), block, i)))
    return found


def _relevance(said: Any, block: Block, i: int) -> float | None:
    text = "" if said is None else str(said).strip().casefold()
    if text in _UNKNOWN or text == "nan":
        return None
    try:
        value = _WORDS[text] if text in _WORDS else float(text)
    except ValueError:
        value = math.nan
    if not value >= 0:
        remedy = "A label is 1 (relevant), 0 (not), a share between them, yes or no; leave out what nobody knows."
        raise DataError(f"the label {said!r} says nothing.", file=block.file, line=block.lines[i], remedy=remedy)
    return min(value, 1.0)


def _weight(said: Any, block: Block, i: int) -> float:
    if said is None or said == "":
        return 1.0
    try:
        value = float(said)
    except (TypeError, ValueError):
        value = math.nan
    if not 0 < value < math.inf:
        remedy = "It says how many candidates the labelled one stands for; leave the column out for 1."
        raise DataError(
            f"the weight {said!r} is no number above 0.", file=block.file, line=block.lines[i], remedy=remedy
        )
    return value
