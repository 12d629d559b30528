"""How close queries and documents are: nearest documents, given pairs, and a cross-encoder's second opinion."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from foils.adapters.exact import ExactIndex, pair_scores
from foils.adapters.protocols import Found
from foils.adapters.topk import lower_bounds, ranked
from foils.compat.encoding import Vectors, as_array, pool_of
from foils.compat.texts import Pairs
from foils.core.errors import ModelError

_UNIT = 1e-6  # by how much a vector's length may differ from 1
_QUERIES = 1 << 14  # searched for at a time
_CELLS = 1 << 25  # scores of a foreign similarity at a time
_GATHERED = 1 << 16  # pairs whose vectors are gathered at a time

Rows = NDArray[np.int32]
Scores = NDArray[np.float32]


class Similarity(Protocol):
    """Scores of queries with documents, by row."""

    block: int
    """Queries to search for at a time."""

    def search(self, queries: slice, k: int) -> Found:
        """The k best documents of some queries; see `foils.adapters.protocols.Index`."""

    def pairs(self, query: Rows, doc: Rows) -> Scores:
        """Score of each (query, document)."""


def similarity(model: Any, queries: Vectors, docs: Vectors, batch: int) -> Similarity:
    """The model's similarity: by our exact search where it is an inner product, else by asking the model.

    Args:
        model: its ``similarity`` decides; a model without one means the inner product.
        queries: (queries, dim).
        docs: (documents, dim).
        batch: queries at a time at most.
    """
    kind = _kind(model)
    if kind is None:
        return _Asked(model, queries, docs, batch)
    if kind == "cosine":
        queries, docs = _unit(queries), _unit(docs)
    return _InnerProduct(queries, docs, batch)


class _InnerProduct:
    """Exact search; scores do not depend on the blocks."""

    def __init__(self, queries: Vectors, docs: Vectors, batch: int) -> None:
        self.queries, self.docs = queries, docs
        blocks = math.ceil(len(queries) / min(batch, _QUERIES))
        self.block = math.ceil(len(queries) / blocks)  # a short last block would not be worth the quick scan
        self._index = ExactIndex(docs, expected=len(queries))

    def search(self, queries: slice, k: int) -> Found:
        return self._index.search(self.queries[queries], k)

    def pairs(self, query: Rows, doc: Rows) -> Scores:
        return pair_scores(self.queries, self.docs, query, doc)


class _Asked:
    """A similarity that only the model knows, such as a distance: its matrix, a block of queries at a time."""

    def __init__(self, model: Any, queries: Vectors, docs: Vectors, batch: int) -> None:
        self.model, self.queries, self.docs = model, queries, docs
        self.block = max(1, min(batch, _CELLS // max(1, len(docs))))

    def search(self, queries: slice, k: int) -> Found:
        scores = as_array(self.model.similarity(self.queries[queries], self.docs)).astype(np.float32, copy=False)
        hits = np.flatnonzero(scores >= lower_bounds(scores, min(k, scores.shape[1]))[:, None])
        query, row = np.divmod(hits, scores.shape[1])
        return ranked(query.astype(np.int32), row.astype(np.int32), scores.ravel()[hits], len(scores), k)

    def pairs(self, query: Rows, doc: Rows) -> Scores:
        found = [np.zeros(0, np.float32)]
        for start in range(0, len(query), _GATHERED):
            part = slice(start, start + _GATHERED)
            scores = self.model.similarity_pairwise(self.queries[query[part]], self.docs[doc[part]])
            found.append(as_array(scores).astype(np.float32, copy=False))
        return np.concatenate(found)


def _kind(model: Any) -> str | None:
    """``cosine`` or ``dot`` where the similarity is known to be the library's own; None where it must be asked."""
    own = getattr(model, "similarity", None)
    if own is None:
        return "dot"
    if not str(getattr(own, "__module__", "")).startswith("sentence_transformers."):
        return None
    name = getattr(model, "similarity_fn_name", None) or getattr(own, "__name__", "")
    return {"cosine": "cosine", "cos_sim": "cosine", "dot": "dot", "dot_score": "dot"}.get(str(name))


def _unit(vectors: Vectors) -> Vectors:
    """Vectors of length 1; the same array where they are so already."""
    step = max(1, (1 << 22) // max(1, vectors.shape[1]))
    lengths = np.empty(len(vectors), np.float64)
    for start in range(0, len(vectors), step):
        part = np.asarray(vectors[start : start + step], np.float32)
        lengths[start : start + step] = np.sqrt(np.einsum("ij,ij->i", part, part, dtype=np.float64))
    if not len(vectors) or np.abs(lengths - 1).max() <= _UNIT:
        return vectors
    return (vectors / np.where(lengths > 0, lengths, 1.0)[:, None]).astype(np.float32)


class Reranker:
    """A cross-encoder over the pairs' texts, a batch of many queries per call.

    Args:
        model: has ``predict``.
        pairs: gives the texts.
        batch_size: passed on to ``predict``.
        pool: of processes, from the model; None for none.
    """

    def __init__(self, model: Any, pairs: Pairs, batch_size: int, pool: Any) -> None:
        self.model, self.texts, self.batch_size, self.pool = model, pairs, batch_size, pool

    def pairs(self, query: Rows, doc: Rows) -> Scores:
        """Score of each (query, document), float32 (n,).

        Raises:
            ModelError: NaN among the scores, or not one score a pair.
        """
        if not len(query):
            return np.zeros(0, np.float32)
        anchors = self.texts.queries.take(pa.array(query)).to_pylist()
        texts = self.texts.docs.take(pa.array(doc)).to_pylist()
        predicted = self.model.predict(
            list(zip(anchors, texts, strict=True)), batch_size=self.batch_size, convert_to_tensor=True, pool=self.pool
        )
        scores = as_array(predicted).astype(np.float32, copy=False)
        if scores.shape != (len(query),) or np.isnan(scores).any():
            raise ModelError(
                f"the cross-encoder gave scores of shape {scores.shape} for {len(query):,} pairs, or NaN. "
                "Use a model with one output, in float32."
            )
        return scores


@contextmanager
def reranker(model: Any | None, pairs: Pairs, batch_size: int, devices: list[str] | bool) -> Iterator[Reranker | None]:
    """The cross-encoder with its processes; None if there is none."""
    if model is None:
        yield None
        return
    with pool_of(model, devices) as pool:
        yield Reranker(model, pairs, batch_size, pool)
