"""Sources: where candidates come from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from foils.adapters.ann_text import parse as parse_index
from foils.core import noise, segments
from foils.core.errors import DataError, SpecError
from foils.core.pairs import CANDIDATE, POSITIVE, Pairs, union
from foils.core.spec import declare, parse, require
from foils.stages.context import Context
from foils.stages.indexes import checked, prepared, record
from foils.stages.stage import Columns, Stage
from foils.stages.writers import Source, Writer, check_model_name
from foils.store import MANIFEST, Negatives, Saved, fingerprint_of

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
        return index.score(ctx.data.queries.texts(distinct), at, doc)


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

    def encoders(self) -> tuple[str, ...]:
        """The one it searches with."""
        return (self.encoder,)

    def check_columns(self, columns: Columns, ctx: Context) -> Columns:
        """As every source; the index must fit the collection, and its library be installed."""
        after = super().check_columns(columns, ctx)
        checked(ctx, self.encoder, self.index, self.k)
        return after

    def retrieve(self, query: NDArray[np.int32], depth: int, ctx: Context) -> Found:
        """Search the index."""
        index = prepared(ctx, self.encoder, self.index, self.k).index
        return index.search(ctx.query_vectors(self.encoder, query), depth)

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
    (seed, query id). No score column.
    """

    k: int  # candidates per query

    def check(self) -> None:
        """Bound of k."""
        require(self.k >= 1, self, "k", "at least 1")

    def retrieve(self, query: NDArray[np.int32], depth: int, ctx: Context) -> Found:
        """Distinct documents in the order in which they are drawn."""
        n = len(ctx.data.corpus)
        keys = ctx.data.queries.keys[query][:, None]
        depth = min(depth, n)
        # Which of the two ways is used must not depend on the block, hence not on `depth`.
        if n <= 4096 or self.k > n // 8:
            step = max(1, _CELLS // n)
            blocks = [keys[at : at + step] for at in range(0, max(1, len(keys)), step)]
            doc = np.concatenate([_shuffled(ctx.seed, block, n)[:, :depth] for block in blocks])
        else:
            doc = _distinct_draws(ctx.seed, keys, depth, n)
        return doc, np.zeros(doc.shape, np.float32)


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


def saved_scores(column: str) -> tuple[str, str]:
    """The key of `Context.once` under which `Load` leaves all that it opened with a score column (`Saved`)."""
    return "saved scores", column


@declare
class Load(Stage):
    """Candidates that are already there: saved negatives, a TREC run, another tool's file, or given with the data.

    With ``which='all'`` the candidates that were dropped when the folder was mined take part again, with all their
    scores, so another strategy or threshold needs no search and no encoding. Score columns keep their names; the scores
    of a TREC run or of another tool's file are the column ``run``.
    """

    family = "source"

    path: str  # folder of foils negatives, TREC run, file of another tool, or 'given'
    k: int | None = None  # at most so many per query, best first; all by default
    which: Literal["kept", "all"] = "kept"  # of a folder: what survived then, or everything

    def check(self) -> None:
        """Bound of k."""
        require(self.k is None or self.k >= 1, self, "k", "at least 1")

    def deeper(self, factor: int) -> Stage:
        """``factor`` times its k, if it has one."""
        return self if self.k is None else replace(self, k=self.k * factor)

    def _saved(self, ctx: Context) -> Saved:
        return ctx.once(("load", self), lambda: self._open(ctx))

    def _open(self, ctx: Context) -> Saved:
        saved = Saved(Path(self.path), ctx.data, self.which)
        for name in saved.names:
            opened: list[Saved] = ctx.once(saved_scores(name), list)
            opened.append(saved)
        return saved

    def _share(self, ctx: Context) -> Pairs:
        if self.path != "given":
            return self._saved(ctx).of(int(ctx.block[0]), int(ctx.block[-1]))
        given = self._given(ctx)
        return given.take(np.arange(*np.searchsorted(given.query, [ctx.block[0], ctx.block[-1] + 1])))

    def _given(self, ctx: Context) -> Pairs:
        given = ctx.data.given(ctx.split)
        if not len(given):
            raise DataError(
                f"{self!r}: split {ctx.split!r} of {ctx.data.name!r} came without negatives.",
                remedy="Use a source such as BM25(k=100), or name a folder or run file.",
            )
        return given

    def inputs(self, ctx: Context) -> dict[str, str]:
        """Fingerprint of the folder or file."""
        return {} if self.path == "given" else {self.path: fingerprint_of(Path(self.path))}

    def run(self, pairs: Pairs, ctx: Context, step: int) -> Pairs:
        """Merge the block's share of the saved candidates, and the scores saved for its positives."""
        share = self._share(ctx)
        # A row that was a positive then and is none in this split is nobody's candidate.
        share = share.take(np.isin(share.query, ctx.block) & ((share.label == CANDIDATE) | (pairs.find(share) >= 0)))
        if self.k is not None:
            by = share[share.latest] if share.latest else -np.arange(len(share), dtype=np.float64)
            best = np.where(share.label == CANDIDATE, np.nan_to_num(by, nan=-np.inf), -np.inf)
            share = share.take(segments.topk_mask(best, share.starts, self.k, share.doc) | (share.label == POSITIVE))
        share = replace(share, label=np.zeros(len(share), np.int8))
        return union([pairs, share])

    def check_columns(self, columns: Columns, ctx: Context) -> Columns:
        """Brings the columns of the file."""
        saved, latest = self._columns(ctx)
        names = tuple(dict.fromkeys((*columns.names, *saved)))
        made = self._origins(ctx)
        origins = columns.shared({name: made.get(name, f"{name} in {self.path}") for name in saved}, self)
        if columns.latest is not None and columns.latest != latest:
            return Columns(names, None, (columns.latest, latest or "load"), True, origins)
        return Columns(names, latest, () if latest is not None else saved, True, origins)

    def _columns(self, ctx: Context) -> tuple[tuple[str, ...], str | None]:
        if self.path == "given":
            given = self._given(ctx)
            return tuple(given.scores), given.latest
        saved = self._saved(ctx)
        return saved.names, saved.latest

    def _origins(self, ctx: Context) -> dict[str, str]:
        """What made the columns of a folder that was mined from this very collection."""
        if not (Path(self.path) / MANIFEST).is_file():
            return {}
        manifest = Negatives.open(self.path).manifest
        if manifest["collection"]["fingerprint"] != ctx.data.fingerprint:
            return {}
        try:
            steps = list(parse(manifest["pipeline_full"]).steps())
        except SpecError:
            return {}  # a stage of a plugin that is not installed here; the numbers are still good by themselves
        writers = [stage for stage in steps if isinstance(stage, Writer) and stage.column is not None]
        return {str(stage.column): stage.origin(manifest["encoders"].get) for stage in writers}
