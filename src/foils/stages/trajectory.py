"""Negatives from the history of a training run: what earlier checkpoints took for the answer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from foils.core.packing import pack, unpack
from foils.core.spec import declare, require
from foils.stages.context import Context
from foils.stages.lists import CELLS, Found, joined, largest, padded, positives_of
from foils.stages.stage import Stage
from foils.stages.writers import Source, check_model_name


@declare
class Trajectory(Source):
    """Documents that earlier checkpoints scored above the query's best positive: its validation trajectory.

    Each named checkpoint is searched to ``depth``. A document found by any of them is a candidate if at least ``times``
    of them score it above their own score of the query's best positive. First come those that confused the most
    checkpoints, then those of the lower mean rank (``depth + 1`` where a checkpoint did not find it), then the smaller
    row.

    What confused the model once and does so no longer is learnt; what always does is hard, or relevant. Give each
    checkpoint a name: ``--encoder step500=run/checkpoint-500``. No paper with this exact recipe is known; defaults are
    ours. Queries without positives get nothing. Score column: ``trajectory``, the number of checkpoints confused.
    """

    checkpoints: tuple[str, ...]  # names of the bi-encoders
    k: int  # candidates per query
    depth: int = 100  # documents of each checkpoint's ranking looked at
    times: int = 1  # checkpoints that a document must have confused

    def check(self) -> None:
        """Names once each; bounds of k, depth and times."""
        names = self.checkpoints
        require(0 < len(names) == len(set(names)), self, "checkpoints", "one or more different names of bi-encoders")
        check_model_name(self, "checkpoints")
        require(self.k >= 1, self, "k", "at least 1")
        require(self.depth >= 1, self, "depth", "at least 1")
        require(1 <= self.times <= len(names), self, "times", f"1 to {len(names)}, the number of checkpoints")

    @property
    def column(self) -> str:
        """Always ``trajectory``."""
        return "trajectory"

    def encoders(self) -> tuple[str, ...]:
        """The checkpoints."""
        return self.checkpoints

    def deeper(self, factor: int) -> Stage:
        """``factor`` times its k, from as many times its depth."""
        return replace(self, k=self.k * factor, depth=self.depth * factor)

    def retrieve(self, query: NDArray[np.int32], depth: int, ctx: Context) -> Found:
        """Pool the checkpoints' rankings, count, and order."""
        step = max(1, CELLS // (self.depth * len(self.checkpoints)))
        parts = [query[at : at + step] for at in range(0, len(query), step)]
        return joined([self._confusing(part, depth, ctx) for part in parts], depth)

    def _confusing(self, query: NDArray[np.int32], depth: int, ctx: Context) -> Found:
        owner, doc, mean_rank = self._pool(query, ctx)
        count = self.score(query[owner], doc, ctx)
        enough = np.flatnonzero(count >= self.times)
        order = enough[np.lexsort((doc[enough], mean_rank[enough], -count[enough], owner[enough]))]
        return padded(owner[order], doc[order], count[order], len(query), depth)

    def _pool(
        self, query: NDArray[np.int32], ctx: Context
    ) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float64]]:
        """What any checkpoint found: owner, document, mean rank."""
        keys, ranks = [], []
        for name in self.checkpoints:
            doc, _ = ctx.index(name).search(ctx.query_vectors(name, query), self.depth)
            owner, place = np.nonzero(doc >= 0)
            keys.append(pack(owner, doc[owner, place]))
            ranks.append(place + 1)
        distinct, at = np.unique(np.concatenate(keys), return_inverse=True)
        missing = self.depth + 1
        saved = np.bincount(at, weights=missing - np.concatenate(ranks), minlength=len(distinct))
        mean_rank = missing - saved / len(self.checkpoints)
        return *unpack(distinct), mean_rank

    def score(self, query: NDArray[np.int32], doc: NDArray[np.int32], ctx: Context) -> NDArray[np.float32]:
        """How many checkpoints score the document above the query's best positive; 0 where there is no positive."""
        distinct, at = np.unique(query, return_inverse=True)
        owner, positive = positives_of(distinct, ctx)
        count = np.zeros(len(query), np.float32)
        for name in self.checkpoints:
            known = ctx.similarity(name, distinct[owner], positive)
            best = largest(owner, known, len(distinct), np.inf)
            count += ctx.similarity(name, query, doc) > best[at]
        return count
