"""Lists of documents per query, with whole-array operations: what the sources around positives are made of.

A list entry is an owner (the position of its query among those at hand), a document and a value.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from foils.core import noise, ragged
from foils.core.packing import pack
from foils.core.ragged import Lists
from foils.stages.context import Context

Found = tuple[NDArray[np.int32], NDArray[np.float32]]
CELLS = 1 << 21  # entries held at once


def positives_of(query: NDArray[np.int32], ctx: Context) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """The known positives of queries, copies included: owner and document of each, by owner."""
    positives = ctx.data.positives(ctx.split)
    first, last = (np.searchsorted(positives.query, query, side=side) for side in ("left", "right"))
    owner, at = ragged.expand(first, last - first)
    return owner, positives.doc[at]


def counts_of(query: NDArray[np.int32], ctx: Context) -> NDArray[np.int64]:
    """How many known positives each query has, int64 (len(query),)."""
    return np.bincount(positives_of(query, ctx)[0], minlength=len(query))


def is_positive(query: NDArray[np.int32], doc: NDArray[np.int32], ctx: Context) -> NDArray[np.bool_]:
    """Whether each document is a known positive of the query beside it."""
    known = ctx.data.positives(ctx.split).key  # ascending: pairs are sorted by query, then document
    if not len(known):
        return np.zeros(len(query), bool)
    sought = pack(query, doc)
    found: NDArray[np.bool_] = known[np.minimum(np.searchsorted(known, sought), len(known) - 1)] == sought
    return found


def largest(
    owner: NDArray[np.integer], value: NDArray[np.float32], queries: int, otherwise: float
) -> NDArray[np.float32]:
    """The largest value of each query, float32 (queries,); ``otherwise`` for those without any. By owner."""
    found = np.full(queries, otherwise, np.float32)
    first = np.flatnonzero(np.diff(owner, prepend=-1))
    if len(first):
        found[owner[first]] = np.maximum.reduceat(value, first)
    return found


def merged(
    owner: NDArray[np.integer], doc: NDArray[np.int32], value: NDArray[np.float32], queries: int, depth: int
) -> Found:
    """The best ``depth`` documents of each query; of a document that it has twice, the larger value counts.

    Args:
        owner: (n,), each below ``queries``, in any order.
        doc: int32 (n,).
        value: float32 (n,), without NaN; ties go to the smaller document.
        queries: number of queries.
        depth: documents per query.

    Returns:
        As `foils.stages.writers.Source.retrieve`.
    """
    order = np.lexsort((-value, doc, owner))
    first = np.ones(len(order), bool)
    first[1:] = (np.diff(owner[order]) != 0) | (np.diff(doc[order]) != 0)
    once = order[first]
    best = once[np.lexsort((doc[once], -value[once], owner[once]))]
    return padded(owner[best], doc[best], value[best], queries, depth)


def padded(
    owner: NDArray[np.integer], doc: NDArray[np.int32], value: NDArray[np.float32], queries: int, depth: int
) -> Found:
    """Lists sorted by owner, best first, as a table (queries, depth) padded with -1 and ``-inf``."""
    starts = np.searchsorted(owner, np.arange(queries + 1))
    place = np.arange(len(owner)) - starts[owner]
    rows = np.full((queries, depth), -1, np.int32)
    values = np.full((queries, depth), -np.inf, np.float32)
    taken = place < depth
    rows[owner[taken], place[taken]] = doc[taken]
    values[owner[taken], place[taken]] = value[taken]
    return rows, values


def joined(parts: list[Found], depth: int) -> Found:
    """The tables of consecutive slices of queries as one."""
    empty = np.zeros((0, depth), np.int32), np.zeros((0, depth), np.float32)
    rows, values = zip(empty, *parts, strict=True)
    return np.concatenate(rows), np.concatenate(values)


def drawn(
    stream: str,
    query: NDArray[np.int32],
    lists: tuple[NDArray[np.int64], NDArray[np.integer], Lists],
    depth: int,
    ctx: Context,
) -> Found:
    """Documents drawn uniformly from lists, without replacement, never a known positive.

    Args:
        stream: name of the draws, see `foils.core.noise`; they are keyed by (seed, query id, document id).
        query: int32, the queries at hand.
        lists: (owner, code, lists): query ``owner[i]`` may draw from ``lists`` number ``code[i]``; by owner.
        depth: documents per query.
        ctx: the surroundings.
    """
    owner, code, members = lists
    sizes = np.bincount(owner, weights=members.sizes[code], minlength=len(query)).astype(np.int64)
    bounds = np.searchsorted(owner, np.arange(len(query) + 1))
    found = []
    for part in ragged.slices(sizes, CELLS):
        rows = slice(bounds[part.start], bounds[part.stop])
        which, doc = members.members(code[rows])
        at = owner[rows][which]
        free = ~is_positive(query[at], doc, ctx)
        at, doc = at[free], doc[free]
        value = noise.uniform(ctx.seed, stream, *ctx.keys(query[at], doc)).astype(np.float32)
        found.append(merged(at - part.start, doc, value, part.stop - part.start, depth))
    return joined(found, depth)
