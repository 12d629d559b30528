"""Checks by models: is the draft less relevant than the positive, relevant at all, like the corpus?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foils.adapters.reranking import Queue
from foils.core import noise
from foils.core.pairs import Pairs
from foils.core.spec import declare, require
from foils.core.text import keys_of
from foils.stages.cosines import cosines
from foils.writing.author import Desk
from foils.writing.check import Check, Values
from foils.writing.checks import asked, filled, originals, places, text_of
from foils.writing.draft import Draft

SAMPLE = 1000  # documents that say how near neighbours are in this corpus
_GRADES = (1, 2, 3)


def _gaps(drafts: list[Draft], desk: Desk, encoder: str) -> NDArray[np.float32]:
    """Score of each draft less that of its positive, for its query; float32 (n,)."""
    queries = asked(drafts, desk)
    scores = _scores(queries + queries, [text_of(draft) for draft in drafts] + originals(drafts, desk), desk, encoder)
    return scores[: len(drafts)] - scores[len(drafts) :]


def _scores(queries: list[str], texts: list[str], desk: Desk, encoder: str) -> NDArray[np.float32]:
    model: Any = desk.encoders.get(encoder)
    if hasattr(model, "encode"):
        query, q = np.unique(np.array(queries, object), return_inverse=True)
        left, right = model.encode(query.tolist(), "query"), model.encode(texts, "document")
        similarity: NDArray[np.float32] = np.einsum("ij,ij->i", left[q].astype(np.float64), right).astype(np.float32)
        return similarity
    queue = desk.once(("queue", encoder), lambda: Queue(desk.context.reranker(encoder), desk.cache / "scores"))
    at = np.arange(len(queries))
    return queue.score(queries, texts, (at, at))


@declare
class Below(Check):
    """A negative scores below the positive that it was made from, under a named model.

    ``s(q, draft) < s(q, positive) - margin``, of a cross-encoder (in its own units) or a bi-encoder. What scores like
    the positive may answer the query: losses 8.2's masks, NV-Retriever (arXiv:2407.15831) for mined negatives. Edited
    texts differ in little: a model that does not see the edit gives both nearly one score, so ask a good one.
    """

    encoder: str  # name of the cross-encoder or bi-encoder
    margin: float = 0.0  # by which it must be below, in units of the score

    def measure(self, drafts: Sequence[Draft], desk: Desk) -> Values:
        """Draft's score less the positive's."""
        return filled(drafts, places(drafts, "negative"), lambda some: _gaps(some, desk, self.encoder))

    def passes(self, values: Values) -> NDArray[np.bool_]:
        """Below minus the margin."""
        return values < -self.margin

    def why(self, value: float) -> str:
        """The difference."""
        return f"{self.encoder!r} scores it {value:+.3g} against the positive, not below {-self.margin:+.3g}"


@declare
class Above(Check):
    """A positive still scores nearly as high as the document that it was made from, under a named model.

    ``s(q, draft) >= s(q, positive) - margin``; the counterpart of `Below` for paraphrases and views.
    """

    encoder: str  # name of the cross-encoder or bi-encoder
    margin: float = 0.0  # by which it may be below, in units of the score

    def measure(self, drafts: Sequence[Draft], desk: Desk) -> Values:
        """Draft's score less the positive's."""
        return filled(drafts, places(drafts, "positive"), lambda some: _gaps(some, desk, self.encoder))

    def passes(self, values: Values) -> NDArray[np.bool_]:
        """At least minus the margin."""
        return values >= -self.margin

    def why(self, value: float) -> str:
        """The difference."""
        return f"{self.encoder!r} scores it {value:+.3g} against its original, below {-self.margin:+.3g}"


@declare
class Judged(Check):
    """A language model finds a negative irrelevant to its query, and a positive relevant.

    The judge of ``foils audit`` (`foils.audit.judges.llm.LLMJudge`), which sees the query, known positives and the
    drafts for that query in an order that tells nothing; from grade ``at`` on a text is relevant. What it cannot decide
    does not pass: here, what is not known to be irrelevant is no negative. The second model that is named is asked
    (``--model WRITER,JUDGE``); if there is one only, it judges itself, and will hardly see its own mistakes.
    """

    at: int = 2  # grade from which a text counts as relevant

    def check(self) -> None:
        """The grade must be one."""
        require(self.at in _GRADES, self, "at", "1, 2 or 3")

    def measure(self, drafts: Sequence[Draft], desk: Desk) -> Values:
        """1 where the verdict is as it should be, 0 where it is not or there is none."""

        def right(some: list[Draft]) -> NDArray[np.float64]:
            wanted = np.array([int(draft.role == "positive") for draft in some])
            found: NDArray[np.float64] = (self._verdicts(some, desk) == wanted).astype(np.float64)
            return found

        return filled(drafts, places(drafts, "negative", "positive"), right)

    def _verdicts(self, drafts: list[Draft], desk: Desk) -> NDArray[np.int8]:
        from foils.audit.judges.llm import LLMJudge, LLMOptions

        aside: Any = Aside(drafts, desk)
        model = desk.judge or desk.model(self)
        judge = LLMJudge([model], aside, aside.known, LLMOptions(at=self.at), progress=desk.progress)
        query = np.array([draft.query for draft in drafts], np.int32)
        return judge.judge(query, np.arange(len(drafts), dtype=np.int32)).verdict

    def passes(self, values: Values) -> NDArray[np.bool_]:
        """As it should be."""
        right: NDArray[np.bool_] = values == 1
        return right

    def why(self, value: float) -> str:
        """That the judge says otherwise."""
        return "the judge finds otherwise, or cannot tell"


class Aside:
    """Drafts as documents of a small collection of their own, with the positives of their queries behind them."""

    def __init__(self, drafts: list[Draft], desk: Desk) -> None:
        self.queries = desk.data.queries
        asked_for = sorted({draft.query for draft in drafts if draft.query is not None})
        known = [desk.positives(query) for query in asked_for]
        query = np.repeat(np.array(asked_for, np.int32), [len(rows) for rows in known])
        rows = np.concatenate([np.zeros(0, np.int32), *known])
        self.corpus = _Texts([text_of(draft) for draft in drafts] + desk.data.corpus.texts(rows))
        place = np.arange(len(rows), dtype=np.int32) + np.int32(len(drafts))
        self.known = Pairs.build(query, place, np.ones(len(rows), np.int8))


class _Texts:
    def __init__(self, texts: list[str]) -> None:
        self._texts, self.keys = texts, keys_of(texts)

    def texts(self, rows: NDArray[np.integer]) -> list[str]:
        return [self._texts[row] for row in rows.tolist()]


@declare
class Plausible(Check):
    """A document lies where documents of this corpus lie.

    The cosine to its nearest document of the base, under a bi-encoder, as a quantile of what documents of the corpus
    have to their own nearest other document (a sample of 1,000, by a hash of their ids): at least ``low``. What is
    further from everything than nearly all documents are is of another domain, or noise. Formula and bound are ours.
    """

    encoder: str  # name of the bi-encoder
    low: float = 0.01  # least quantile, 0 to 1

    def check(self) -> None:
        """Bound of the quantile."""
        require(0 <= self.low <= 1, self, "low", "between 0 and 1")

    def measure(self, drafts: Sequence[Draft], desk: Desk) -> Values:
        """Share of the sample that is further from its nearest document."""

        def quantiles(some: list[Draft]) -> NDArray[np.float64]:
            usual = desk.once(("plausible", self.encoder), lambda: self._usual(desk))
            vectors = desk.context.encoder(self.encoder).encode([text_of(draft) for draft in some], "document")
            _, near = desk.context.index(self.encoder).search(vectors, 1)
            below: NDArray[np.int64] = np.searchsorted(usual, cosines(near[:, 0], self.encoder, self), side="right")
            return below / max(1, len(usual))

        return filled(drafts, places(drafts, "negative", "positive"), quantiles)

    def _usual(self, desk: Desk) -> NDArray[np.float64]:
        """Cosine of each document of the sample to its nearest one of another text, ascending."""
        data = desk.data.base
        rows = np.flatnonzero(data.same == np.arange(len(data.same)))
        draws = noise.bits(0, "plausible", data.corpus.keys[rows], np.zeros(1, np.uint64))
        rows = np.sort(rows[np.lexsort((rows, draws))[:SAMPLE]])
        vectors = desk.context.vectors(self.encoder, "document")[rows]
        depth = 2 + int(np.bincount(data.same[rows]).max(initial=0) and data.copies)
        found, near = desk.context.index(self.encoder).search(vectors, min(depth, 64))
        other = (found >= 0) & (data.same[np.maximum(found, 0)] != rows[:, None])
        best = np.where(other, near, -np.inf).max(axis=1)
        return np.sort(cosines(best[np.isfinite(best)], self.encoder, self))

    def passes(self, values: Values) -> NDArray[np.bool_]:
        """At least the bound."""
        return values >= self.low

    def why(self, value: float) -> str:
        """The quantile."""
        return f"further from all documents than {1 - value:.1%} of documents are, beyond {1 - self.low:.1%}"
