"""The dev queries: which queries are held out of training, and how a checkpoint is measured on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foils.core import noise
from foils.core.collection import WRITTEN, Collection
from foils.core.packing import pack, unpack
from foils.core.pairs import POSITIVE, Pairs
from foils.core.ragged import Lists
from foils.evaluate.significance import interval
from foils.train.options import TrainOptions

METRIC = "nDCG@10"
DEPTH = 10
LOW, HIGH = "span/low", "span/high"  # of the first measure at a look
_ROUNDS = 1_000  # of resampling: the ends are drawn, nothing is decided by them


@dataclass(frozen=True, eq=False)
class Dev:
    """What a checkpoint is measured on.

    Attributes:
        queries: int32 (q,), ascending.
        docs: int32 (n,), the documents searched, one for each distinct text, ascending.
        relevant: the positives of each query, as rows of the collection.
        report: counts, for the record.
    """

    queries: NDArray[np.int32]
    docs: NDArray[np.int32]
    relevant: Lists
    report: Mapping[str, int]


def divide(
    data: Collection, split: str, options: TrainOptions, seed: int
) -> tuple[NDArray[np.int32], NDArray[np.int32], str]:
    """Which queries to train on and which to hold out.

    The collection's split ``dev`` if there is one, else a share of the training queries chosen by a hash of their ids.
    A query that is in both is held out. With ``dev_share=0`` nothing is. A written query is never measured on: for the
    split ``written`` queries of ``train`` are held out, if there are any.

    Returns:
        Rows to train on, rows to measure on, and the split whose qrels measure.
    """
    if options.dev_share == 0 or split == "dev":
        return data.query_rows(split), np.zeros(0, np.int32), split
    if "dev" in data.splits:
        held = data.query_rows("dev")
        return np.setdiff1d(data.query_rows(split), held), held, "dev"
    source = "train" if split == WRITTEN and "train" in data.splits else split
    _, held = data.holdout(source, options.dev_share, seed)
    held = held[held < len(data.base.queries)]
    return np.setdiff1d(data.query_rows(split), held), held, source


def promoted(data: Collection, negatives: Pairs | None) -> NDArray[np.int32]:
    """Queries without a positive in any split for which a labeler promoted one, such as RocketQA's unlabelled queries.

    They are trained on like those of the split.
    """
    found = np.zeros(0, np.int32) if negatives is None else negatives.query[negatives.label == POSITIVE]
    return np.intersect1d(found, data.unjudged) if len(found) else found


def make_dev(data: Collection, split: str, queries: NDArray[np.int32], options: TrainOptions) -> Dev | None:
    """Choose what to measure on: a bounded sample of the queries, all their positives and a bounded rest of the corpus.

    Documents are those of the base: what was written is not searched.

    Both samples are by a hash of the ids, the same for every run on this collection.

    Args:
        data: the collection.
        split: whose qrels count.
        queries: the queries held out.
        options: for ``dev_queries`` and ``dev_docs``.

    Returns:
        None if no query is held out.
    """
    if not len(queries):
        return None
    chosen = np.sort(_least(data.queries.keys[queries], queries, options.dev_queries))
    positives, same = data.positives(split), data.base.same
    positives = positives.take(np.isin(positives.query, chosen))
    relevant = _relevant(positives, same)
    leaders = np.flatnonzero(same == np.arange(len(same))).astype(np.int32)
    others = np.setdiff1d(leaders, relevant.rows)
    room = max((options.dev_docs or len(leaders)) - (len(leaders) - len(others)), 0)
    docs = np.union1d(relevant.rows, _least(data.corpus.keys[others], others, room)).astype(np.int32)
    report = {"queries": len(chosen), "documents": len(docs), "held_out": len(queries)}
    return Dev(positives.queries, docs, relevant, report)


def _least(keys: NDArray[np.uint64], rows: NDArray[np.int32], count: int) -> NDArray[np.int32]:
    draws = noise.bits(0, "dev", keys, np.zeros(1, np.uint64))
    return rows[np.lexsort((rows, draws))[:count]]


def _relevant(positives: Pairs, same: NDArray[np.int32]) -> Lists:
    query, doc = unpack(np.unique(pack(positives.query, same[positives.doc])))
    sizes = np.bincount(np.searchsorted(positives.queries, query), minlength=len(positives.queries))
    return Lists(np.concatenate(([0], np.cumsum(sizes))).astype(np.int64), doc)


def look(found: NDArray[np.int32], relevant: Lists) -> dict[str, float]:
    """What one look at dev logs: `measures`, and the ends of a 95 % bootstrap interval of the first over the queries.

    Args:
        found: as for `measures`.
        relevant: likewise.
    """
    values = per_query(found, relevant)
    span = interval(values[METRIC], rounds=_ROUNDS)
    return {**{name: float(np.mean(each)) for name, each in values.items()}, LOW: span.low, HIGH: span.high}


def measures(found: NDArray[np.int32], relevant: Lists) -> dict[str, float]:
    """Means of `per_query`."""
    return {name: float(np.mean(values)) for name, values in per_query(found, relevant).items()}


def per_query(found: NDArray[np.int32], relevant: Lists) -> dict[str, NDArray[np.float64]]:
    """nDCG@10 with binary gains and RR@10 of each query.

    nDCG@10 = Σ_i rel_i / log2(i + 1), divided by its value for a perfect ranking; RR@10 = 1 / rank of the first hit,
    0 if it is deeper. Järvelin and Kekäläinen 2002; trec_eval's ``ndcg_cut_10`` and ir-measures' ``RR@10``.

    Args:
        found: documents of each query, best first, (queries, at least 10 or all documents), padded with -1.
        relevant: the relevant documents of each query.
    """
    top = found[:, :DEPTH].astype(np.int64)
    query = np.arange(len(top), dtype=np.int64)
    known = pack(np.repeat(query, relevant.sizes), relevant.rows)
    hits = (top >= 0) & np.isin(pack(query[:, None], np.maximum(top, 0)), known)
    discounts = 1.0 / np.log2(np.arange(2, DEPTH + 2))
    ideal = np.concatenate(([0.0], np.cumsum(discounts)))[np.minimum(relevant.sizes, DEPTH)]
    gains = hits @ discounts[: top.shape[1]]
    first = np.where(hits.any(axis=1), 1.0 / (hits.argmax(axis=1) + 1), 0.0)
    return {METRIC: gains / np.maximum(ideal, discounts[-1]), "RR@10": first}
