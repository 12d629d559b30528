"""Sources around what a query is known to be about: neighbours of its positives, and of the question itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from foils.adapters.exact import ExactIndex, pair_scores
from foils.core import ragged
from foils.core.spec import declare, require
from foils.stages.context import Context
from foils.stages.lists import (
    CELLS,
    Found,
    counts_of,
    is_positive,
    joined,
    largest,
    merged,
    positives_of,
)
from foils.stages.sources import BM25
from foils.stages.stage import Stage
from foils.stages.writers import Source, check_model_name


@declare
class PositiveNeighbours(Source):
    """The documents most like the query's positive: the positive passage as a second query.

    ``s(d) = max over the positives p of s(p, d)``: the inner product of the two *document* vectors under a bi-encoder,
    or BM25 with the whole text of p as the query.

    With BM25 this is PassageBM25 (the reproduction of clustered training, SIGIR 2024, doi 10.1145/3626772.3657854).
    `PositiveSimilarity` writes the same column for candidates of other sources, as ReSa2 and TriSampler need it. A
    document very near a positive may well be relevant, too: follow with a filter that reads this column or the query's.
    Queries without positives get nothing. Score column: ``<by>.positive``.
    """

    by: str  # name of a bi-encoder, or bm25 (k1 0.9, b 0.4)
    k: int  # candidates per query
    language: str | None = "english"  # for bm25: Snowball stemmer and stop words; None for neither
    partial = True

    def check(self) -> None:
        """Bound of k; the name must not mean something else."""
        require(self.k >= 1, self, "k", "at least 1")
        if self.by != "bm25":
            check_model_name(self, "by")

    @property
    def column(self) -> str:
        """The encoder's name, or bm25, and ``.positive``."""
        return f"{self.by}.positive"

    def encoders(self) -> tuple[str, ...]:
        """The bi-encoder, if it is one."""
        return () if self.by == "bm25" else (self.by,)

    def origin(self, model: Callable[[str], object]) -> str:
        """The model and how several positives are reduced."""
        made = self._bm25.origin(model) if self.by == "bm25" else model(self.by)
        return json.dumps(["positive", made, "max"], sort_keys=True)

    @property
    def _bm25(self) -> BM25:
        return BM25(k=self.k, language=self.language)

    def retrieve(self, query: NDArray[np.int32], depth: int, ctx: Context) -> Found:
        """Search with each distinct positive, then take the best of the lists of each query."""
        found = []
        known = counts_of(query, ctx)
        for part in ragged.slices(known * depth, 8 * CELLS):
            owner, positive = positives_of(query[part], ctx)
            distinct, at = np.unique(positive, return_inverse=True)
            found.append(_best(owner, at, known[part], self._search(distinct, depth, ctx)))
        return joined(found, depth)

    def _search(self, positive: NDArray[np.int32], depth: int, ctx: Context) -> Found:
        if self.by == "bm25":
            index = ctx.bm25(self._bm25.k1, self._bm25.b, self.language)
            return index.search(ctx.data.corpus.texts(positive), depth)
        return ctx.index(self.by).search(ctx.vectors(self.by, "document")[positive], depth)

    def score(self, query: NDArray[np.int32], doc: NDArray[np.int32], ctx: Context) -> NDArray[np.float32]:
        """The largest score of any pair with a positive of the query; NaN for queries without positives."""
        scores = np.full(len(query), np.nan, np.float32)
        for part in ragged.slices(counts_of(query, ctx), CELLS):
            owner, positive = positives_of(query[part], ctx)
            scores[part] = largest(owner, self._pairs(positive, doc[part][owner], ctx), len(scores[part]), np.nan)
        return scores

    def _pairs(self, positive: NDArray[np.int32], doc: NDArray[np.int32], ctx: Context) -> NDArray[np.float32]:
        if self.by == "bm25":
            distinct, at = np.unique(positive, return_inverse=True)
            index = ctx.bm25(self._bm25.k1, self._bm25.b, self.language)
            return ctx.lexical(index, ctx.data.corpus.texts(distinct), at, doc)
        vectors = ctx.vectors(self.by, "document")
        return pair_scores(vectors, vectors, positive, doc)


def _best(owner: NDArray[np.int64], at: NDArray[np.int64], sizes: NDArray[np.int64], searched: Found) -> Found:
    """The best documents of each query, from the lists ``at[i]`` of ``searched`` for query ``owner[i]``."""
    doc, score = searched
    depth = doc.shape[1]
    # Any one full list reaches down to its last score; what is below the highest of those cannot be among the best.
    floor = largest(owner, score[at, -1], len(sizes), -np.inf)
    bounds = np.cumsum(sizes) - sizes
    found = []
    for part in ragged.slices(sizes * depth, CELLS):
        rows = slice(bounds[part.start], bounds[part.stop - 1] + sizes[part.stop - 1])
        here = (doc[at[rows]] >= 0) & (score[at[rows]] >= floor[owner[rows], None])
        which, place = np.nonzero(here)
        taken = at[rows][which]
        value = score[taken, place]
        found.append(merged(owner[rows][which] - part.start, doc[taken, place], value, part.stop - part.start, depth))
    return joined(found, depth)


@declare
class QuestionNeighbours(Source):
    """The positives of the nearest other questions: right answers to something else.

    The ``questions`` nearest other queries of the split under a bi-encoder are looked at. Those that share a positive
    with the query are left out, and so are those of similarity ``below`` or more: paraphrases, whose positives answer
    this query as well. Of the others, nearest first, the positives are the candidates; fewer than k if there are not
    more. Queries of the same normalised text are one query from the start.

    One of the kinds of negatives that Lu et al. combine (2020, arXiv:2010.12523; EMNLP 2021 main 492); their parameters
    were not at hand, the defaults are ours. No score column: the similarity of the questions says nothing about
    documents that answer no question, so the column could not be completed after ``+``.
    """

    encoder: str  # name of the bi-encoder
    k: int  # candidates per query
    questions: int = 100  # nearest other questions looked at
    below: float | None = None  # questions at least this similar are left out, in units of the encoder's score

    def check(self) -> None:
        """Bounds of k and questions; the name must not mean something else."""
        require(self.k >= 1, self, "k", "at least 1")
        require(self.questions >= 1, self, "questions", "at least 1")
        check_model_name(self)

    def deeper(self, factor: int) -> Stage:
        """``factor`` times its k, from as many times its questions."""
        return replace(self, k=self.k * factor, questions=self.questions * factor)

    def retrieve(self, query: NDArray[np.int32], depth: int, ctx: Context) -> Found:
        """Search among the questions, then read off their positives."""
        step = max(1, CELLS // (self.questions + 1))
        parts = [query[at : at + step] for at in range(0, len(query), step)]
        return joined([self._answers(part, depth, ctx) for part in parts], depth)

    def _answers(self, query: NDArray[np.int32], depth: int, ctx: Context) -> Found:
        owner, other, similarity = self._neighbours(query, ctx)
        found = []
        bounds = np.searchsorted(owner, np.arange(len(query) + 1))
        answers = np.bincount(owner, weights=counts_of(other, ctx), minlength=len(query)).astype(np.int64)
        for part in ragged.slices(answers, CELLS):
            rows = slice(bounds[part.start], bounds[part.stop])
            asked, doc = positives_of(other[rows], ctx)
            at = owner[rows][asked]
            shared = np.zeros(len(other[rows]), bool)
            shared[asked[is_positive(query[at], doc, ctx)]] = True
            free = ~shared[asked]
            value = similarity[rows][asked][free]
            found.append(merged(at[free] - part.start, doc[free], value, part.stop - part.start, depth))
        return joined(found, depth)

    def _neighbours(
        self, query: NDArray[np.int32], ctx: Context
    ) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]]:
        """The other questions that count, by owner: owner, question, similarity."""
        questions = ctx.data.query_rows(ctx.split)
        vectors = ctx.to(questions).vectors(self.encoder, "query")
        index = ctx.once(("questions", self.encoder), lambda: ExactIndex(vectors))
        found, similarity = index.search(ctx.query_vectors(self.encoder, query), self.questions + 1)
        other = questions[found]
        usable = (found >= 0) & (other != query[:, None])
        usable &= np.cumsum(usable, axis=1) <= self.questions
        if self.below is not None:
            usable &= similarity < self.below
        owner = np.nonzero(usable)[0]
        return owner, other[usable], similarity[usable]
