"""Rankings: who comes first for each query, from an encoder, BM25 or a run file; always exact, always in one order."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foils.adapters.exact import ExactIndex
from foils.adapters.lexical import BM25Index
from foils.adapters.protocols import Encoder
from foils.adapters.vectors import vectors
from foils.core import segments
from foils.core.atomic import replacing
from foils.core.collection import Collection
from foils.core.errors import DataError, ModelError
from foils.core.pairs import Pairs
from foils.core.ragged import places
from foils.core.trec import read_run
from foils.evaluate.measures import RANK

Progress = Callable[[str, int, int], None]
_TAG = "foils"


def by_encoder(
    data: Collection,
    encoder: Encoder,
    rows: NDArray[np.int32],
    depth: int,
    cache: Path,
    progress: Progress | None = None,
) -> Pairs:
    """The ``depth`` documents with the highest inner product, by exact search; ties to the lower document row.

    Args:
        data: the collection; all its documents are searched.
        encoder: bi-encoder.
        rows: queries, ascending, int32 (n,).
        depth: documents per query.
        cache: folder of cached vectors.
        progress: called with (what, done, total).

    Returns:
        Pairs with the score and rank column ``run``, in rank order within each query.
    """

    def report(what: str) -> Callable[[int, int], None] | None:
        return None if progress is None else lambda done, total: progress(f"{what} with {encoder.name}", done, total)

    documents = vectors(encoder, data.corpus, "document", cache=cache, progress=report("encoding documents"))
    queries = vectors(encoder, data.queries, "query", cache=cache, rows=rows, progress=report("encoding queries"))
    return _from_matrix(rows, *ExactIndex(documents).search(queries, depth))


def by_bm25(data: Collection, rows: NDArray[np.int32], depth: int, cache: Path) -> Pairs:
    """The ``depth`` best documents under BM25 with the defaults of `BM25Index`; see `by_encoder` for the arguments."""
    index = BM25Index.build(data.corpus, cache=cache)
    return _from_matrix(rows, *index.search(data.queries.texts(rows), depth))


def by_run_file(data: Collection, path: Path) -> Pairs:
    """A TREC run file, in the order that trec_eval gives it: float32 score descending, ties by document id descending.

    Ids are compared as UTF-8 bytes (C's strcmp). The rank column and the order of lines are ignored, as there.
    """
    run = read_run(path, data, name=RANK)
    distinct, at = np.unique(run.doc, return_inverse=True)
    # Code points sort as their UTF-8 bytes do, so Python's order of strings is strcmp's.
    ids = np.array(data.corpus.id_list(distinct), dtype=object)
    place = np.empty(len(distinct), np.int64)
    place[np.argsort(ids, kind="stable")] = np.arange(len(distinct))
    return ordered(run, RANK, tie=-place[at])


def ordered(run: Pairs, by: str, tie: NDArray[np.integer] | None = None) -> Pairs:
    """Put pairs in the order of a score column and number them.

    Args:
        run: candidates.
        by: score column.
        tie: second key, ascending; the document row by default.

    Returns:
        Pairs with the score and rank column ``run``, in rank order within each query.

    Raises:
        DataError: a score is NaN.
    """
    score = run[by]
    if missing := int(np.isnan(score).sum()):
        raise DataError(f"{missing:,} of {len(score):,} rows have no score {run.column(by)!r}, so they have no rank.")
    rank = segments.ranks(score, run.starts, run.doc if tie is None else tie)
    order = np.lexsort((rank, run.query))
    return Pairs.build(run.query[order], run.doc[order], scores={RANK: score[order]}, ranks={RANK: rank[order]})


def own_documents(data: Collection, rows: NDArray[np.int32]) -> Pairs:
    """For queries that are documents too: the pairs of a query and the document with the same id.

    Ids of queries that were merged into one of ``rows`` count as that query's.
    """
    asked = set(rows.tolist())
    merged = {name: row for name, row in data.queries.aliases.items() if row in asked}
    query = np.concatenate([rows, np.array(list(merged.values()), np.int32)])
    doc = data.corpus.rows_of([*data.queries.id_list(rows), *merged])
    return Pairs.build(query[doc >= 0], doc[doc >= 0])


def without(run: Pairs, removed: Pairs, depth: int | None = None) -> Pairs:
    """A ranking without some pairs, numbered anew and cut to ``depth``."""
    rest = run.take(removed.find(run) < 0)
    place = places(rest.starts) + 1
    numbered = rest.with_scores(RANK, rest.scores[RANK], place.astype(np.int32))
    return numbered if depth is None else numbered.take(place <= depth)


def write_run(run: Pairs, data: Collection, path: Path, tag: str = _TAG) -> None:
    """Write a ranking as a TREC run file: ``query Q0 document rank score tag``.

    Where scores tie or fall out of order, the later one is lowered by single float32 steps, so that trec_eval, which
    orders by score alone, sees the ranking that was measured.

    Args:
        run: with the score and rank column ``run``, in rank order.
        data: gives the ids.
        path: replaced if it exists.
        tag: last column; blanks become ``_``.
    """
    queries = np.repeat(np.array(data.queries.id_list(run.queries), dtype=object), np.diff(run.starts))
    distinct, at = np.unique(run.doc, return_inverse=True)
    documents = np.array(data.corpus.id_list(distinct), dtype=object)[at]
    word = "_".join(tag.split()) or _TAG
    rows = zip(queries, documents, run.ranks[RANK].tolist(), _strictly_falling(run).tolist(), strict=True)
    with replacing(path) as partial, partial.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{query} Q0 {doc} {rank} {score:.9g} {word}\n" for query, doc, rank, score in rows)


def _strictly_falling(run: Pairs) -> NDArray[np.float32]:
    bits = run.scores[RANK].astype(np.float32).view(np.int32).astype(np.int64)
    number = np.where(bits >= 0, bits, -(bits & 0x7FFFFFFF))  # neighbours among floats are neighbours among these
    slot = np.repeat(np.arange(len(run.queries), dtype=np.int64), np.diff(run.starts))
    # The running minimum of number + rank falls by at least 1 a rank; the offset starts it anew for each query.
    key = number + run.ranks[RANK] - (slot << 40)
    low = np.minimum.accumulate(key) - run.ranks[RANK] + (slot << 40)
    signed = np.where(low >= 0, low, (-low) | -0x80000000)
    return signed.astype(np.int32).view(np.float32)


def _from_matrix(rows: NDArray[np.int32], doc: NDArray[np.int32], score: NDArray[np.float32]) -> Pairs:
    if np.isnan(score).any():
        raise ModelError(f"{int(np.isnan(score).sum()):,} of {score.size:,} retrieval scores are NaN.")
    found = doc >= 0
    query = np.repeat(rows, doc.shape[1]).reshape(doc.shape)[found]
    rank = np.broadcast_to(np.arange(1, doc.shape[1] + 1, dtype=np.int32), doc.shape)[found]
    return Pairs.build(query, doc[found], scores={RANK: score[found]}, ranks={RANK: rank})
