"""The two sides of the pairs: distinct texts in the order in which they first appear, and who is whose positive."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from foils.compat.arguments import Names
from foils.core.segments import starts_of
from foils.core.text import Keys, keys_of, normalised

_STEP = 1 << 16  # texts that are Python strings at a time


@dataclass(frozen=True)
class Pairs:
    """Distinct queries and documents, and the positives of each query.

    Attributes:
        queries: distinct anchors.
        docs: distinct documents: the corpus, then positives that are not in it.
        positive: rows of documents, int32 (pairs,), sorted by query, in order of appearance.
        starts: int64 (queries + 1,), offsets into ``positive``.
        same: for each document the first one with the same normalised text, int32 (documents,).
        rows: int64 (queries,), how many rows of the data set each query was on.
    """

    queries: pa.LargeStringArray
    docs: pa.LargeStringArray
    positive: NDArray[np.int32]
    starts: NDArray[np.int64]
    same: NDArray[np.int32]
    rows: NDArray[np.int64]

    @classmethod
    def of(cls, dataset: Any, names: Names, corpus: Sequence[str] | None) -> Pairs:
        """Read two columns of a ``datasets.Dataset``.

        Raises:
            ValueError: a column that holds no text, or a row without text.
        """
        table = dataset.select_columns([names.anchor, names.positive]).with_format("arrow")[:]
        anchors, positives = (_column(table[name], name) for name in (names.anchor, names.positive))
        # The corpus goes first, so its order decides; without one the positives are the corpus.
        before = [] if corpus is None else [_column(_array(corpus), "corpus")]
        query, queries = _distinct([anchors])
        doc, docs = _distinct([*before, positives])
        owner, positive = _first(query, doc[-len(query) :], len(docs))
        return cls(queries, docs, positive, starts_of(owner), _same(docs), np.bincount(query))

    @property
    def counts(self) -> NDArray[np.int64]:
        """Distinct positives of each query, int64 (queries,)."""
        return np.diff(self.starts)

    @property
    def owner(self) -> NDArray[np.int32]:
        """Query of each positive, int32 (pairs,)."""
        return np.repeat(np.arange(len(self.queries), dtype=np.int32), self.counts)

    def copies(self) -> int:
        """The most documents that a query's positives have as copies (other case or spacing) besides themselves."""
        if len(np.unique(self.same)) == len(self.same):
            return 0
        size = np.bincount(self.same, minlength=len(self.same))
        owner, first = self.owner, self.same[self.positive]
        _, at = np.unique(np.stack([owner, first]), axis=1, return_index=True)
        copies = np.bincount(owner[at], size[first[at]], len(self.queries)).astype(np.int64)
        return int((copies - self.counts).max())


def keys(texts: pa.LargeStringArray) -> Keys:
    """64-bit key of each text, uint64 (n,)."""
    return np.concatenate([np.zeros(0, np.uint64), *map(keys_of, _python(texts))])


def _python(texts: pa.LargeStringArray) -> Iterator[list[str]]:
    for start in range(0, len(texts), _STEP):
        yield texts.slice(start, _STEP).to_pylist()


def _array(texts: Sequence[str]) -> pa.Array:
    try:
        return pa.array(texts if isinstance(texts, list) else list(texts), pa.large_string())
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise ValueError(f"corpus: expected a list of texts ({error}).") from None


def _column(values: pa.Array | pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    kind = values.type.value_type if pa.types.is_dictionary(values.type) else values.type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)):
        raise ValueError(f"column {name!r} holds {kind}, not text. Name the columns, or convert it to strings.")
    if values.null_count:
        row = int(np.argmax(pc.is_null(values).to_numpy(zero_copy_only=False)))
        raise ValueError(f"column {name!r} has no text in {values.null_count:,} rows, the first is row {row}.")
    values = values.cast(pa.large_string())
    return values if isinstance(values, pa.ChunkedArray) else pa.chunked_array([values])


def _distinct(columns: list[pa.ChunkedArray]) -> tuple[NDArray[np.int32], pa.LargeStringArray]:
    """Code of each text, and the distinct texts in the order of the codes."""
    chunks = [chunk for column in columns for chunk in column.chunks]
    encoded = pa.chunked_array(chunks, pa.large_string()).dictionary_encode().combine_chunks()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.chunk(0)
    return encoded.indices.to_numpy(zero_copy_only=False), encoded.dictionary


def _first(query: NDArray[np.int32], doc: NDArray[np.int32], docs: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Distinct (query, document), sorted by query, then by first appearance."""
    _, at = np.unique(query.astype(np.int64) * docs + doc, return_index=True)
    at.sort()
    at = at[np.argsort(query[at], kind="stable")]
    return query[at], doc[at]


def _same(docs: pa.LargeStringArray) -> NDArray[np.int32]:
    folded = [keys_of(map(normalised, texts)) for texts in _python(docs)]
    _, first, inverse = np.unique(np.concatenate(folded), return_index=True, return_inverse=True)
    same: NDArray[np.int32] = first[inverse].astype(np.int32)
    return same
