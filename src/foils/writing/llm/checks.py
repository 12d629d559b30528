"""Checks of written queries, and of what only language models do wrong."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foils.core.collection import Collection
from foils.core.spec import declare, require
from foils.writing.author import Desk
from foils.writing.check import Check, Values
from foils.writing.draft import Draft

_SAMPLE = 20_000  # documents whose words are counted
_BM25 = (0.9, 0.4, "english")  # as of the stage
_SPAN = 4  # words; shorter runs are names and phrases
# A script without blanks: each of its signs counts as a word.
_WORD = re.compile(r"[぀-ヿ㐀-鿿豈-﫿가-힣]|[^\W぀-ヿ㐀-鿿豈-﫿가-힣]+")
_POINTS = re.compile(
    r"\b(?:this|the|that|above|following|given) (?:document|passage|text|article|page|paragraph|excerpt|author)s?\b",
    re.IGNORECASE,
)
_CHATTER = re.compile(
    r"^\W*(?:sure|certainly|here (?:is|are)|of course|as an ai|i cannot|i can't|i'm sorry)\b"
    r"|\b(?:hard negative|positive document|the user'?s? query|the (?:search )?query (?:asks|requires|needs)"
    r"|(?:does|do|did) not answer the (?:query|question)|as requested)\b",
    re.IGNORECASE,
)

Flags = NDArray[np.bool_]


def words_of(text: str) -> list[str]:
    """The words of a text, case-folded; signs of scripts that put no blanks between words count as words.

    >>> words_of("What is 東京, in km²?")
    ['what', 'is', '東', '京', 'in', 'km²']
    """
    return _WORD.findall(text.casefold())


@declare
class Words(Check):
    """A written query has at least some words: InPars (Bonifacio et al. 2022, arXiv:2202.05144) asks for three."""

    least: int = 3  # at least 1

    def check(self) -> None:
        """Bound of least."""
        require(self.least >= 1, self, "least", "at least 1")

    def measure(self, drafts: Sequence[Draft], desk: Desk) -> Values:
        """Number of words of queries."""
        return _of_queries(drafts, lambda some: [len(words_of(draft.text)) for draft in some])

    def passes(self, values: Values) -> Flags:
        """At least so many."""
        return values >= self.least

    def why(self, value: float) -> str:
        """The number."""
        return f"{value:.0f} words, fewer than {self.least}"


@declare
class Generic(Check):
    """A written query names what it is about: not "what is the author saying", nor only words that stand everywhere.

    The value is the share of documents, other than one, that have the query's rarest word; 1 for a query that points at
    "this document". At most ``most``. Counted over the documents, or over 20,000 of them where there are more; words of
    which no document knows count as 0. The bound is ours: generic queries have many answers, of which one is labelled.
    """

    most: float = 0.1  # largest share, 0 to 1

    def check(self) -> None:
        """Bound of most."""
        require(0 <= self.most <= 1, self, "most", "between 0 and 1")

    def measure(self, drafts: Sequence[Draft], desk: Desk) -> Values:
        """Share of documents that have the rarest word."""

        def shares(some: list[Draft]) -> list[float]:
            counts, total = desk.once("Generic", lambda: _counted(desk.data.base))
            return [_commonness(draft.text, counts, total) for draft in some]

        return _of_queries(drafts, shares)

    def passes(self, values: Values) -> Flags:
        """At most that share."""
        return values <= self.most

    def why(self, value: float) -> str:
        """What makes it generic."""
        return f"its rarest word is in {100 * value:.3g}% of documents, more than {100 * self.most:.3g}%"


@declare
class Verbatim(Check):
    """A written query is more than a span of its document, which would teach that words must match.

    The value is the share of the query's words that are in its longest run of words that stands in the document, too;
    0 where the run is shorter than four words. At most ``most``. InPars leaves copied queries out, too; the bound is
    ours.
    """

    most: float = 0.7  # largest share, 0 to 1

    def check(self) -> None:
        """Bound of most."""
        require(0 <= self.most <= 1, self, "most", "between 0 and 1")

    def measure(self, drafts: Sequence[Draft], desk: Desk) -> Values:
        """Share of the longest copied run."""

        def shares(some: list[Draft]) -> list[float]:
            texts = desk.data.corpus.texts([draft.doc for draft in some])
            return [_copied(words_of(draft.text), words_of(text)) for draft, text in zip(some, texts, strict=True)]

        return _of_queries(drafts, shares)

    def passes(self, values: Values) -> Flags:
        """At most that share."""
        return values <= self.most

    def why(self, value: float) -> str:
        """The share."""
        return f"{100 * value:.3g}% of it is a span of its document, more than {100 * self.most:.3g}%"


@declare
class RoundTrip(Check):
    """A written query finds the document that it was written from: an exact search ranks it among the first k.

    The value is the document's rank, k + 1 for all that are behind; a copy of the document counts as it. Searched is
    the base collection, by BM25 (defaults of the stage), or by a bi-encoder: all documents are compared. Dai et al.
    2022 (Promptagator), arXiv:2209.11755, section 3.2, with k 1 and a model trained on the unfiltered queries. What
    stays are the easier ones.
    """

    k: int = 1  # rank, at least 1
    encoder: str | None = None  # name of the bi-encoder; None: BM25

    def check(self) -> None:
        """Bound of k."""
        require(self.k >= 1, self, "k", "at least 1")

    def measure(self, drafts: Sequence[Draft], desk: Desk) -> Values:
        """Rank of the document."""

        def rank(some: list[Draft]) -> list[float]:
            found = _search(self, [draft.text for draft in some], desk)
            same = desk.data.same
            own = same[[draft.doc for draft in some]][:, None]
            hit = (np.where(found >= 0, same[np.maximum(found, 0)], -1) == own).astype(bool)
            ranks: list[float] = np.where(hit.any(axis=1), hit.argmax(axis=1) + 1.0, self.k + 1.0).tolist()
            return ranks

        return _of_queries(drafts, rank)

    def passes(self, values: Values) -> Flags:
        """Within the first k."""
        return values <= self.k

    def why(self, value: float) -> str:
        """How far behind."""
        return f"does not find its document among the first {self.k}"


@declare
class Chatter(Check):
    """A text does not speak of the task that it was written for: "Sure, here is a hard negative".

    The value is 1 for a text that begins like an answer in a chat, or that has words of the prompts (hard negative,
    positive document, does not answer the query). English only; the list is ours.
    """

    def measure(self, drafts: Sequence[Draft], desk: Desk) -> Values:
        """1 where such words stand, else 0."""
        return np.array([float(bool(_CHATTER.search(f"{one.title}\n{one.text}"))) for one in drafts], np.float64)

    def passes(self, values: Values) -> Flags:
        """None."""
        none: Flags = values == 0
        return none

    def why(self, value: float) -> str:
        """That it does."""
        return "speaks of the task that it was written for"


def _of_queries(drafts: Sequence[Draft], measure: Callable[[list[Draft]], Any]) -> Values:
    """Values of those that are queries, NaN of the others."""
    values = np.full(len(drafts), np.nan)
    places = [place for place, draft in enumerate(drafts) if draft.role == "query"]
    if places:
        values[places] = measure([drafts[place] for place in places])
    return values


def _counted(base: Collection) -> tuple[Counter[str], int]:
    """How many documents have each word, and of how many."""
    rows = np.sort(np.argsort(base.corpus.keys, kind="stable")[:_SAMPLE])
    counts: Counter[str] = Counter()
    for start in range(0, len(rows), 1000):
        for text in base.corpus.texts(rows[start : start + 1000]):
            counts.update(set(words_of(text)))
    return counts, len(rows)


def _commonness(text: str, counts: Counter[str], total: int) -> float:
    if _POINTS.search(text):
        return 1.0
    # One document is the query's own: a word that stands in it alone is as rare as can be.
    least = min((counts[word] for word in words_of(text)), default=total)
    return max(0, least - 1) / max(1, total - 1)


def _copied(query: list[str], document: list[str]) -> float:
    """Share of the query's words in its longest run that is a run of the document's."""
    where: dict[str, list[int]] = {}
    for place, word in enumerate(document):
        where.setdefault(word, []).append(place)
    longest, ending = 0, dict[int, int]()
    for word in query:
        ending = {place: ending.get(place - 1, 0) + 1 for place in where.get(word, ())}
        longest = max(longest, max(ending.values(), default=0))
    return longest / len(query) if longest >= _SPAN else 0.0


def _search(check: RoundTrip, texts: list[str], desk: Desk) -> NDArray[np.int32]:
    """The first k documents of the base for each text, -1 for none."""
    if check.encoder is None:
        return desk.context.bm25(*_BM25).search(texts, check.k)[0]
    vectors = desk.context.encoder(check.encoder).encode(texts, "query")
    return desk.context.index(check.encoder).search(vectors, check.k)[0]
