"""A quick look at a collection: what decides which negatives to begin with, in about a minute."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foils.adapters.exact import ExactIndex
from foils.adapters.lexical import BM25Index
from foils.adapters.models import load_encoder
from foils.adapters.protocols import Encoder
from foils.adapters.sentence import SentenceEncoder
from foils.adapters.vectors import vectors
from foils.core import noise
from foils.core.cache import cache_root
from foils.core.collection import Collection
from foils.core.errors import DataError
from foils.core.near import near_positive
from foils.core.packing import pack, unpack
from foils.core.texts import Texts
from foils.stages.context import Progress

QUERIES = 300
DEPTH, TOP = 100, 10
SLOW_DOCS = 2_000  # documents that a transformer encodes: half a minute on two cores
_TEXTS = 1_000
_SCORES = 1 << 22  # held at a time
_LONG = 256  # words; about 340 of a transformer's tokens

Ranked = NDArray[np.int32]
"""(queries, depth): documents, best first, padded with -1."""


@dataclass(frozen=True)
class Position:
    """Where one system puts the positives of the sampled queries.

    Attributes:
        median: median over queries of the rank of the first positive; None where that is beyond 100.
        first: share of the queries with a positive on rank 1.
        top10: share with one among the first 10.
        top100: share with one among the first 100.
    """

    median: int | None
    first: float
    top10: float
    top100: float


@dataclass(frozen=True)
class Look:
    """Figures of a collection, and of how two systems see it before any training.

    Attributes:
        collection: its name.
        split: whose queries were looked at.
        documents: how many.
        copies: share of the documents that repeat an earlier one's normalised text.
        document_words: mean words, of at most 1,000 documents.
        query_words: of as many queries.
        long_documents: share of documents beyond 256 words.
        queries: queries of the split.
        test_queries: queries of the split ``test``; 0 without one.
        shared: queries of the split that are in ``test``, too, as where two splits judge the same queries.
        leaks: training queries that are asked in a held-out split, too.
        unjudged: queries without a positive in any split.
        labels: mean positives a query.
        one_label: share of the queries with one positive.
        sample: queries that were searched for.
        searched: documents among which they were searched for.
        bm25: where BM25 puts their positives.
        model: the model's name, or None.
        kind: ``static`` or ``transformer``.
        dense: where it puts them.
        overlap: mean share of its first 10 that are among BM25's first 10.
        proxies: shares of the first 10 candidates that look like false negatives, by names; trends, no rates:
            ``agreed`` (the model and BM25 both have it among their first 10), ``above_positive`` (ranked above the
            first positive by the model, or by BM25 without one), ``near_copy`` (nearly repeats a positive).
        seconds: how long the look took.
    """

    collection: str
    split: str
    documents: int
    copies: float
    document_words: float
    query_words: float
    long_documents: float
    queries: int
    test_queries: int
    shared: int
    leaks: int
    unjudged: int
    labels: float
    one_label: float
    sample: int
    searched: int
    bm25: Position
    model: str | None
    kind: str | None
    dense: Position | None
    overlap: float | None
    proxies: dict[str, float | None]
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def look(
    data: Collection, model: Any = None, *, split: str = "train", seed: int = 0, progress: Progress | None = None
) -> Look:
    """Look at a collection.

    Args:
        data: the collection.
        model: the model to be trained, as `foils.adapters.models.load_encoder` takes it; None to do without.
        split: whose queries.
        seed: of the samples, which are by a hash of the ids.
        progress: called with (what, done, total).

    Raises:
        DataError: there is no such split, or it has no positives.
        ModelError: the model cannot be loaded.
    """
    data = data.base  # what was written for it is not searched
    begun, rows = time.monotonic(), data.query_rows(split)
    if not len(rows):
        raise DataError(f"no query of split {split!r} in {data.name!r} has a positive.", remedy="Name another.")
    encoder = None if model is None else load_encoder(model)
    kind = None if encoder is None else _kind(encoder)
    asked = np.sort(_sampled(data.queries.keys, rows, QUERIES, seed))
    known = np.unique(_pairs_of(data, split, asked))
    docs = _searched(data, unpack(known)[1], kind, seed)
    lexical = _bm25(data, asked, docs)
    dense = None if encoder is None else _dense(data, encoder, asked, docs, progress)
    every = np.bincount(np.searchsorted(rows, unpack(np.unique(_pairs_of(data, split, rows)))[0]), minlength=len(rows))
    words, leaks = _words(data.corpus), [data.leaks(split, other) for other in data.held_out(split)]
    return Look(
        collection=data.name,
        split=split,
        documents=len(data.corpus),
        copies=data.copies / len(data.corpus),
        document_words=float(words.mean()),
        query_words=float(_words(data.queries).mean()),
        long_documents=float((words > _LONG).mean()),
        queries=len(rows),
        test_queries=len(data.query_rows("test")) if "test" in data.splits else 0,
        shared=len(data.leaks(split, "test")) if "test" in data.splits else 0,
        leaks=len(np.unique(np.concatenate([np.zeros(0, np.int32), *leaks]))),
        unjudged=len(data.unjudged),
        labels=float(every.mean()),
        one_label=float((every == 1).mean()),
        sample=len(asked),
        searched=len(docs),
        bm25=_position(lexical, asked, known),
        model=None if encoder is None else encoder.name,
        kind=kind,
        dense=None if dense is None else _position(dense, asked, known),
        overlap=None if dense is None else float(_shared(dense, lexical).mean()),
        proxies=_proxies(data, lexical, dense, asked, known),
        seconds=round(time.monotonic() - begun, 1),
    )


def _sampled(keys: NDArray[np.uint64], rows: NDArray[np.int32], count: int, seed: int) -> NDArray[np.int32]:
    """At most ``count`` of the rows, by a hash of their ids."""
    draws = noise.bits(seed, "advise", keys[rows], np.zeros(1, np.uint64))
    return rows[np.lexsort((rows, draws))[:count]]


def _pairs_of(data: Collection, split: str, queries: NDArray[np.int32]) -> NDArray[np.int64]:
    """The positives of some queries as packed pairs; copies of a document are one."""
    known = data.positives(split)
    known = known.take(np.isin(known.query, queries))
    return pack(known.query, data.same[known.doc])


def _searched(data: Collection, positives: NDArray[np.int32], kind: str | None, seed: int) -> NDArray[np.int32]:
    """The documents to search: all, or what a transformer encodes in half a minute."""
    docs = np.flatnonzero(data.same == np.arange(len(data.same))).astype(np.int32)
    if kind != "transformer" or len(docs) <= SLOW_DOCS:
        return docs
    rest = np.setdiff1d(docs, positives)
    more = _sampled(data.corpus.keys, rest, max(SLOW_DOCS - len(np.unique(positives)), SLOW_DOCS // 2), seed)
    return np.union1d(positives, more).astype(np.int32)


def _bm25(data: Collection, asked: NDArray[np.int32], docs: NDArray[np.int32]) -> Ranked:
    """Of all documents only those that the model searches, too, count; among them the first 100."""
    index = BM25Index.build(data.corpus, cache=cache_root() / "bm25")
    texts = data.queries.texts(asked)
    if 2 * len(docs) >= len(data.corpus):
        found = index.search(texts, min(len(data.corpus), 4 * DEPTH))[0]
        return _kept(np.where(np.isin(found, docs), found, np.int32(-1)))
    # Where they are few among millions, ranks of all would fill the memory.
    size = max(1, _SCORES // len(docs))
    return np.concatenate([_among(index, texts[at : at + size], docs) for at in range(0, len(texts), size)])


def _among(index: BM25Index, texts: list[str], docs: NDArray[np.int32]) -> Ranked:
    """The first 100 of some documents, of equal scores by row; those without a common word are none."""
    query = np.repeat(np.arange(len(texts)), len(docs))
    scores = index.score(texts, query, np.tile(docs, len(texts))).reshape(len(texts), len(docs))
    best = np.argsort(-scores, axis=1, kind="stable")[:, :DEPTH]
    return _kept(np.where(np.take_along_axis(scores, best, axis=1) > 0, docs[best], np.int32(-1)))


def _dense(
    data: Collection, encoder: Encoder, asked: NDArray[np.int32], docs: NDArray[np.int32], progress: Progress | None
) -> Ranked:
    def tell(side: str) -> Any:
        what = f"encoding {side} with {encoder.name}"
        return None if progress is None else lambda done, total: progress(what, done, total)

    cache = cache_root() / "vectors"
    documents = vectors(encoder, data.corpus, "document", cache=cache, rows=docs, progress=tell("documents"))
    queries = vectors(encoder, data.queries, "query", cache=cache, rows=asked, progress=tell("queries"))
    found = ExactIndex(documents).search(queries, min(DEPTH, len(docs)))[0]
    return _kept(np.where(found >= 0, docs[found], np.int32(-1)))


def _kept(found: Ranked) -> Ranked:
    """The documents of each row that are there (not -1), moved to the left; 100 of them."""
    order = np.argsort(found < 0, axis=1, kind="stable")
    moved = np.take_along_axis(found, order, axis=1)[:, :DEPTH]
    return np.pad(moved, ((0, 0), (0, DEPTH - moved.shape[1])), constant_values=-1)


def _hits(found: Ranked, asked: NDArray[np.int32], known: NDArray[np.int64]) -> NDArray[np.bool_]:
    return (found >= 0) & np.isin(pack(asked[:, None], np.maximum(found, 0)), known)


def _position(found: Ranked, asked: NDArray[np.int32], known: NDArray[np.int64]) -> Position:
    hits = _hits(found, asked, known)
    rank = np.where(hits.any(axis=1), hits.argmax(axis=1) + 1, DEPTH + 1)
    median = int(np.sort(rank)[(len(rank) - 1) // 2])
    shares = (float((rank <= depth).mean()) for depth in (1, TOP, DEPTH))
    return Position(median if median <= DEPTH else None, *shares)


def _shared(first: Ranked, second: Ranked) -> NDArray[np.float64]:
    """Of each query, the share of the first 10 of one that are among the first 10 of the other, (queries,)."""
    a, b = first[:, :TOP], second[:, :TOP]
    common = ((a[:, :, None] == b[:, None, :]) & (a >= 0)[:, :, None]).any(axis=2)
    shares: NDArray[np.float64] = common.sum(axis=1) / np.maximum((a >= 0).sum(axis=1), 1)
    return shares


def _proxies(
    data: Collection, lexical: Ranked, dense: Ranked | None, asked: NDArray[np.int32], known: NDArray[np.int64]
) -> dict[str, float | None]:
    mined = lexical if dense is None else dense
    top, hits = mined[:, :TOP], _hits(mined, asked, known)
    candidate = (top >= 0) & ~hits[:, :TOP]
    total = max(1, int(candidate.sum()))
    best = np.where(hits.any(axis=1), hits.argmax(axis=1), DEPTH)
    above = candidate & (np.arange(TOP) < best[:, None])
    line, column = np.nonzero(candidate)
    near = near_positive(data.corpus, asked[line], top[line, column], unpack(known))
    both = None
    if dense is not None:
        also = (top[:, :, None] == lexical[:, None, :TOP]).any(axis=2)
        both = float((candidate & also).sum() / total)
    return {
        "agreed": both,
        "above_positive": float(above.sum() / total),
        "near_copy": float(near.sum() / total),
    }


def _words(texts: Texts) -> NDArray[np.int64]:
    rows = np.unique(np.linspace(0, len(texts) - 1, min(_TEXTS, len(texts))).astype(np.int64))
    return np.array([len(text.split()) for text in texts.texts(rows)], np.int64)


def _kind(encoder: Encoder) -> str:
    # What tokenizes without padding reads token by token: it encodes a corpus in seconds.
    from foils.train.student import kind_of

    return kind_of(encoder.model) if isinstance(encoder, SentenceEncoder) else "transformer"
