"""Filters: which candidates must not become negatives."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from foils.core.answers import compile_answers, tokens_of
from foils.core.packing import pack
from foils.core.pairs import CANDIDATE, Pairs, View
from foils.core.segments import Reduction
from foils.core.spec import declare, require
from foils.core.text import normalised
from foils.core.thresholds import MarginKind, Ties, below, ceiling
from foils.stages.context import Context
from foils.stages.readers import Filter

_REMEMBERED = 50_000  # documents whose tokens are kept between blocks


@declare
class Ranks(Filter):
    """Keeps a window of *raw* ranks: ``lo <= rank <= hi``, counted over all that the source returned.

    Raw ranks (FlagEmbedding) count known positives and candidates that other filters dropped; they are 1-based. A row
    that the source did not return counts as deeper than any rank. "Top-K shifted by N" of NV-Retriever is
    ``Ranks(lo=N + 1, hi=N + K)``. `Positions` is the other thing of that name: it counts what other filters left.
    """

    lo: int = 1  # first rank kept
    hi: int | None = None  # last rank kept; None for no bound
    by: str = "score"  # source whose ranks count
    by_rank = True

    def check(self) -> None:
        """Bounds of the window."""
        require(self.lo >= 1, self, "lo", "at least 1")
        require(self.hi is None or self.hi >= self.lo, self, "hi", f"at least lo={self.lo}")

    def reads(self) -> tuple[str, ...]:
        """A source without scores has ranks all the same."""
        return () if self.by == "random" else (self.by,)

    def keep(self, view: View) -> Any:
        """Rank 0 (not returned) is beyond every window that ends."""
        rank = view.rank(self.by)
        returned = rank > 0
        if self.hi is None:
            return ~returned | (rank >= self.lo)
        return returned & (rank >= self.lo) & (rank <= self.hi)


@declare
class Between(Filter):
    """Keeps scores in a closed interval: ``lo <= s <= hi``.

    ``hi`` is NV-Retriever's TopK-Abs and RocketQA's 0.1 for a cross-encoder's probability; both bounds are in the
    column's own units.
    """

    lo: float | None = None  # lowest score kept
    hi: float | None = None  # highest score kept
    by: str = "score"  # score column

    def check(self) -> None:
        """At least one bound, in order."""
        require(self.lo is not None or self.hi is not None, self, "lo", "given, or hi must be")
        require(self.lo is None or self.hi is None or self.lo <= self.hi, self, "hi", f"at least lo={self.lo}")

    def keep(self, view: View) -> Any:
        """Both ends belong to the interval."""
        score = view[self.by]
        inside = score == score
        if self.lo is not None:
            inside = inside & (score >= self.lo)
        if self.hi is not None:
            inside = inside & (score <= self.hi)
        return inside


@declare
class PositiveAware(Filter):
    """Drops candidates that score too close to the positive: they are probably relevant too.

    relative: keep ``s < s⁺ - |s⁺|·m`` (TopK-PercPos with ``p = 1 - m``);  absolute: keep ``s < s⁺ - m``
    (TopK-MarginPos). Moreira et al. 2024, NV-Retriever, arXiv:2407.15831, section 3; the default, relative 0.05, is
    their best. Written so that negative scores do not invert the rule. With several positives the lowest one counts
    (sentence-transformers' choice) unless ``positives`` says otherwise. A query without positives has no threshold: its
    candidates stay.
    """

    margin: float = 0.05  # relative: share of |s⁺|; absolute: score units; >= 0
    kind: MarginKind = "relative"
    positives: Reduction = "min"  # which of several positives sets the threshold
    by: str = "score"  # score column
    ties: Ties = "drop"  # at equality: 'drop' (NV-Retriever) or 'keep' (sentence-transformers, GISTEmbed)
    judges = True

    def check(self) -> None:
        """A negative margin would keep what beats the positive by design; say so with Between instead."""
        require(self.margin >= 0, self, "margin", "at least 0")

    def keep(self, view: View) -> Any:
        """Below the ceiling that the positive sets."""
        bound = ceiling(view.positive(self.by, self.positives), self.margin, self.kind)
        return below(view[self.by], bound, self.ties)

    def relaxed(self, step: int) -> Filter | None:
        """Half the margin, then none: what scores above the positive never passes."""
        return replace(self, margin=self.margin / 2 if step == 1 else 0.0) if self.margin and step <= 2 else None


@declare
class NoAnswer(Filter):
    """Drops documents that contain an answer of the query (``metadata.answers``).

    String mode is DPR's ``has_answer`` (Karpukhin et al. 2020, appendix; method in section 3.2): both sides NFD
    normalised, lower-cased, split into alphanumeric runs and single symbols; true if the answer's tokens occur as a
    contiguous run, so "York" is not in "Yorkshire". Regex mode compiles each answer with ignore-case, unicode and
    multiline (TREC-style). Queries without answers lose nothing.
    """

    match: Literal["string", "regex"] = "string"
    judges = True
    online = False

    def decide(self, view: Pairs, ctx: Context) -> NDArray[np.bool_]:
        """Each distinct document is tokenised once, each query's answers once."""
        keep = np.ones(len(view), bool)
        metadata = zip(view.queries.tolist(), ctx.data.queries.metadata(view.queries), strict=True)
        answers = {query: compile_answers(m["answers"], self.match) for query, m in metadata if m.get("answers")}
        rows = np.flatnonzero((view.label == CANDIDATE) & np.isin(view.query, list(answers)))
        docs, at = np.unique(view.doc[rows], return_inverse=True)
        prepared = self._prepared(docs, ctx)
        found = [answers[q](prepared[i]) for q, i in zip(view.query[rows].tolist(), at.tolist(), strict=True)]
        keep[rows] = ~np.asarray(found, bool)
        return keep

    def _prepared(self, docs: NDArray[np.int32], ctx: Context) -> list[str]:
        if self.match == "regex":
            return ctx.data.corpus.texts(docs)
        known: dict[int, str] = ctx.once("tokens of documents", dict)
        if len(known) > _REMEMBERED:
            known.clear()
        new = [doc for doc in docs.tolist() if doc not in known]
        known.update(zip(new, map(tokens_of, ctx.data.corpus.texts(new)), strict=True))
        return [known[doc] for doc in docs.tolist()]


@declare
class Distinct(Filter):
    """Drops candidates that repeat another candidate's text, or the query's own.

    Text is compared normalised (NFKC, case and white space folded). Of equal texts the smallest document row stays.
    Copies of *positives* need no filter: they are positives from the start. Sources offer one document of each text, so
    this is for saved and given candidates, and for queries that are documents, too.
    """

    online = False

    def decide(self, view: Pairs, ctx: Context) -> NDArray[np.bool_]:
        """Group rows of a query by the first document with the same text."""
        group = pack(view.query, ctx.data.same[view.doc])
        candidate = view.label == CANDIDATE
        order = np.lexsort((view.doc, ~candidate, group))
        first = np.ones(len(view), bool)
        first[order[1:]] = group[order[1:]] != group[order[:-1]]
        rows = np.flatnonzero(candidate & _could_be_the_query(view, ctx))
        queries = map(normalised, ctx.data.queries.texts(view.query[rows]))
        documents = map(normalised, ctx.data.corpus.texts(view.doc[rows]))
        first[rows] &= np.array([q != d for q, d in zip(queries, documents, strict=True)], bool)
        return first


def _could_be_the_query(view: Pairs, ctx: Context) -> NDArray[np.bool_]:
    # Normalising moves lengths a little; only texts of about the query's length are worth reading.
    query = ctx.data.queries.lengths[view.query].astype(np.int64)
    doc = ctx.data.corpus.lengths[view.doc].astype(np.int64)
    near: NDArray[np.bool_] = np.abs(query - doc) <= 8 + query // 4
    return near
