"""Sources that search or draw; see `foils.stages.load` for candidates that are there already."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foils.adapters.ahead import Ahead
from foils.adapters.ann_text import parse as parse_index
from foils.core import noise
from foils.core.spec import declare, require
from foils.stages.context import Context
from foils.stages.indexes import checked, prepared, record
from foils.stages.stage import Columns
from foils.stages.writers import Source, check_model_name

Found = tuple[NDArray[np.int32], NDArray[np.float32]]
_CELLS = 1 << 22  # draws held at once where whole corpora are shuffled


@declare
class BM25(Source):
    """The best documents under BM25 (Robertson), Lucene's variant, over the same collection.

    ``Σ_t ln(1 + (N - df_t + 0.5)/(df_t + 0.5)) · tf / (tf + k1 (1 - b + b |d|/avgdl))``

    Negatives that share words with the query: DPR (Karpukhin et al. 2020, arXiv:2004.04906, section 3.2) takes the
    best-ranked one without the answer. Defaults k1 0.9 and b 0.4 are Anserini's for passages. Documents without any
    query word are not retrieved. Score column: ``bm25``; under another ``name``, two settings can be pooled.
    """

    k: int  # candidates per query
    k1: float = 0.9  # term-frequency saturation, > 0
    b: float = 0.4  # length normalisation, 0 to 1
    language: str | None = "english"  # Snowball stemmer and stop words; None for neither
    name: str = "bm25"  # of the score column

    def check(self) -> None:
        """Bounds of k, k1 and b; the name must not mean something else."""
        require(self.k >= 1, self, "k", "at least 1")
        require(self.k1 > 0, self, "k1", "above 0")
        require(0 <= self.b <= 1, self, "b", "between 0 and 1")
        if self.name != "bm25":
            check_model_name(self, "name")

    @property
    def column(self) -> str:
        """Its ``name``."""
        return self.name

    def origin(self, model: Callable[[str], object]) -> str:
        """The parameters: BM25 with others is another score."""
        return f"bm25 k1={self.k1} b={self.b} language={self.language}"

    def retrieve(self, query: NDArray[np.int32], depth: int, ctx: Context) -> Found:
        """Search the inverted index."""
        return ctx.bm25(self.k1, self.b, self.language).search(ctx.data.queries.texts(query), depth)

    def score(self, query: NDArray[np.int32], doc: NDArray[np.int32], ctx: Context) -> NDArray[np.float32]:
        """BM25 of any pair; 0 where no word is shared."""
        distinct, at = np.unique(query, return_inverse=True)
        index = ctx.bm25(self.k1, self.b, self.language)
        return ctx.lexical(index, ctx.data.queries.texts(distinct), at, doc)


@declare
class Dense(Source):
    """The nearest documents under a bi-encoder, by inner product, over the whole corpus.

    With the model under training this is the source of ANCE (Xiong et al. 2021, arXiv:2007.00808) and STAR (Zhan et al.
    2021); with another model, of NV-Retriever. Ties go to the smaller document row. Score column: the encoder's name.

    The search is exact unless ``index`` names another kind: ``auto`` (exact up to 200,000 documents, ``ivf-flat``
    above), ``hnsw``, ``ivf-flat``, ``ivf-pq`` (FAISS), ``scann``, ``bits`` or ``lsh`` (compact hashing). Parameters
    follow by name, such as ``ivf-flat(nlist=1264, nprobe=64)``; those left out are chosen from the collection, and
    efforts among them (``nprobe``, ``ef_search``, ``search``, ``fetch``) are doubled until a sample of 200 queries
    finds the share ``recall`` (.95) of the exact k best. The recall reached is in the manifest under ``indexes``; below
    its bound there is a warning. All scores are exact, whichever documents an index proposes.
    """

    encoder: str  # name of the bi-encoder
    k: int  # candidates per query
    index: str = "exact"  # kind of index, with its parameters

    def check(self) -> None:
        """Bound of k; the name must not mean something else; the index must be one."""
        require(self.k >= 1, self, "k", "at least 1")
        check_model_name(self)
        parse_index(self.index)

    @property
    def column(self) -> str:
        """The encoder's name."""
        return self.encoder

    def check_columns(self, columns: Columns, ctx: Context) -> Columns:
        """As every source; the index must fit the collection, and its library be installed."""
        after = super().check_columns(columns, ctx)
        checked(ctx, self.encoder, self.index, self.k)
        return after

    def retrieve(self, query: NDArray[np.int32], depth: int, ctx: Context) -> Found:
        """Search the index."""
        index = prepared(ctx, self.encoder, self.index, self.k).index
        queries = ctx.vectors(self.encoder, "query")
        ahead = ctx.once(("ahead", self.encoder, self.index, self.k, ctx.rows.tobytes()), lambda: Ahead(index, queries))
        return ahead.search(np.searchsorted(ctx.rows, query), depth)

    def found_by(self, ctx: Context) -> dict[str, Any] | None:
        """Of an approximate index, its parameters and measured recall."""
        found = record(ctx, self.encoder, self.index, self.k)
        return None if found is None else {"encoder": self.encoder, **found}

    def score(self, query: NDArray[np.int32], doc: NDArray[np.int32], ctx: Context) -> NDArray[np.float32]:
        """Inner product of the two vectors."""
        return ctx.similarity(self.encoder, query, doc)


@declare
class Random(Source):
    """Documents drawn uniformly from the corpus, without replacement, never a known positive.

    The weakest useful baseline, and the stabiliser of many later methods (DPR, section 3.2; STAR). Draws are keyed by
    (seed, query id) and point into the corpus ordered by keys of its ids, so that the order of its file does not
    matter. No score column.
    """

    k: int  # candidates per query

    def check(self) -> None:
        """Bound of k."""
        require(self.k >= 1, self, "k", "at least 1")

    def retrieve(self, query: NDArray[np.int32], depth: int, ctx: Context) -> Found:
        """Distinct documents in the order in which they are drawn."""
        n = len(ctx.data.base.corpus)
        keys = ctx.data.queries.keys[query][:, None]
        depth = min(depth, n)
        # Which of the two ways is used must not depend on the block, hence not on `depth`.
        if n <= 4096 or self.k > n // 8:
            step = max(1, _CELLS // n)
            blocks = [keys[at : at + step] for at in range(0, max(1, len(keys)), step)]
            doc = np.concatenate([_shuffled(ctx.seed, block, n)[:, :depth] for block in blocks])
        else:
            doc = _distinct_draws(ctx.seed, keys, depth, n)
        order = ctx.once("rows by key", lambda: np.argsort(ctx.data.base.corpus.keys).astype(np.int32))
        return order[doc], np.zeros(doc.shape, np.float32)


def _shuffled(seed: int, keys: NDArray[np.uint64], n: int) -> NDArray[np.int32]:
    """All of range(n) in random order, for each row."""
    draws = noise.uniform(seed, "Random", keys, np.arange(n, dtype=np.uint64)[None, :])
    return np.argsort(draws, axis=1, kind="stable").astype(np.int32)


def _distinct_draws(seed: int, keys: NDArray[np.uint64], depth: int, n: int) -> NDArray[np.int32]:
    """First ``depth`` distinct values of each row's endless stream of draws from range(n)."""
    width = depth + 8
    while True:
        uniform = noise.uniform(seed, "Random", keys, np.arange(width, dtype=np.uint64)[None, :])
        draws = np.minimum((uniform * n).astype(np.int64), n - 1)
        order = np.argsort(draws, axis=1, kind="stable")
        ordered = np.take_along_axis(draws, order, axis=1)
        repeated = np.zeros(draws.shape, bool)
        np.put_along_axis(repeated[:, :], order[:, 1:], ordered[:, 1:] == ordered[:, :-1], axis=1)
        if int((~repeated).sum(axis=1).min(initial=depth)) >= depth:
            first = np.argsort(repeated, axis=1, kind="stable")[:, :depth]
            return np.take_along_axis(draws, first, axis=1).astype(np.int32)
        width *= 2
