"""Checks of a draft's words: against those of what it was made from, of the query, and of the whole corpus."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from foils.core.minhash import BITS, ShingleSets, shingle_sets
from foils.core.spec import declare, require
from foils.core.text import shown
from foils.writing.author import Desk
from foils.writing.check import Check, Values
from foils.writing.corpus_pass import nearest
from foils.writing.draft import Draft
from foils.writing.language import language_of


def originals(drafts: Sequence[Draft], desk: Desk) -> list[str]:
    """What each draft was made from, as encoders see it."""
    rows, at = np.unique(np.array([draft.doc for draft in drafts], np.int64), return_inverse=True)
    texts = desk.data.corpus.texts(rows)
    return [texts[place] for place in at.tolist()]


def asked(drafts: Sequence[Draft], desk: Desk) -> list[str]:
    """The query of each draft, "" for none."""
    numbers = np.array([-1 if draft.query is None else draft.query for draft in drafts], np.int64)
    rows, at = np.unique(np.maximum(numbers, 0), return_inverse=True)
    texts = desk.data.queries.texts(rows)
    return [texts[place] if number >= 0 else "" for place, number in zip(at.tolist(), numbers.tolist(), strict=True)]


def text_of(draft: Draft) -> str:
    """A draft as encoders will see it."""
    return shown(draft.title, draft.text)


def places(drafts: Sequence[Draft], *roles: str, edited: bool = True) -> list[int]:
    """Places of the drafts of some roles; without edited ones if they are not meant."""
    return [place for place, one in enumerate(drafts) if one.role in roles and (edited or not one.edits)]


def filled(drafts: Sequence[Draft], at: list[int], measure: Callable[[list[Draft]], ArrayLike]) -> Values:
    """What ``measure`` gives for the drafts at some places, NaN elsewhere; float64 (n,)."""
    values = np.full(len(drafts), np.nan)
    if at:
        values[at] = measure([drafts[place] for place in at])
    return values


def _numbered(sets: ShingleSets, numbers: NDArray[np.integer]) -> NDArray[np.uint64]:
    """The shingles of all texts, each with a number for its text, in one integer."""
    numbered: NDArray[np.uint64] = np.repeat(numbers.astype(np.uint64), sets.sizes) << np.uint64(BITS)
    return numbered | sets.values


@declare
class Usual(Check):
    """The checks that need no model, with their defaults: ``Length() + Copied() + Language() + Repeats()``.

    What drafts must pass if nothing else is said; written out in the record.
    """

    def each(self) -> Iterator[Check]:
        """Those four."""
        yield from (Length(), Copied(), Language(), Repeats())


@declare
class Length(Check):
    """A document is about as long as the one that it was made from, in characters.

    ``low <= |draft| / |source| <= high``, both with their titles. Written queries are not measured. Length gives a
    written text away, so what a student learns from it is no skill. The bounds are ours.
    """

    low: float = 0.5  # least ratio, at least 0
    high: float = 2.0  # largest ratio

    def check(self) -> None:
        """Bounds in order."""
        require(self.low >= 0, self, "low", "at least 0")
        require(self.high >= self.low, self, "high", f"at least low, {self.low:g}")

    def measure(self, drafts: Sequence[Draft], desk: Desk) -> Values:
        """Ratio of lengths."""

        def ratios(some: list[Draft]) -> list[float]:
            pairs = zip(some, originals(some, desk), strict=True)
            return [len(text_of(draft)) / max(1, len(source)) for draft, source in pairs]

        return filled(drafts, places(drafts, "negative", "positive"), ratios)

    def passes(self, values: Values) -> NDArray[np.bool_]:
        """Between the two."""
        return (values >= self.low) & (values <= self.high)

    def why(self, value: float) -> str:
        """The ratio."""
        return f"{value:.2f} times as long as its source, not {self.low:g} to {self.high:g}"


@declare
class Copied(Check):
    """A negative that was written anew has words of its own.

    The share of its runs of ``words`` words that its source document or the query has, too: at most ``most``. A copied
    positive is a false negative. Edited texts repeat their source by design and are not measured; nor are positives and
    queries. Words as in `foils.core.minhash.shingle_sets`; the bound is ours.
    """

    most: float = 0.5  # largest share, 0 to 1
    words: int = 5  # of a run

    def check(self) -> None:
        """Bounds of both."""
        require(0 <= self.most <= 1, self, "most", "between 0 and 1")
        require(self.words >= 1, self, "words", "at least 1")

    def measure(self, drafts: Sequence[Draft], desk: Desk) -> Values:
        """Share of copied runs."""

        def measured(some: list[Draft]) -> NDArray[np.float64]:
            own = shingle_sets([text_of(draft) for draft in some], self.words)
            copied = np.zeros(len(own.values), bool)
            for texts in (originals(some, desk), asked(some, desk)):
                # Drafts of one source share its shingles: each distinct text is cut up once.
                distinct, at = np.unique(np.array(texts, object), return_inverse=True)
                theirs = shingle_sets(distinct.tolist(), self.words)
                copied |= np.isin(_numbered(own, at), _numbered(theirs, np.arange(len(theirs))))
            counts = np.bincount(np.repeat(np.arange(len(some)), own.sizes), copied, len(some))
            shares: NDArray[np.float64] = counts / np.maximum(own.sizes, 1)
            return shares

        return filled(drafts, places(drafts, "negative", edited=False), measured)

    def passes(self, values: Values) -> NDArray[np.bool_]:
        """At most that share."""
        return values <= self.most

    def why(self, value: float) -> str:
        """The share."""
        return f"{value:.0%} of its runs of {self.words} words are copied, more than {self.most:.0%}"


@declare
class Language(Check):
    """A text is in the language of what it was made from, as far as a small rule can tell.

    Scripts are told by their letters; of languages in Latin script ten, by their commonest words (`language_of`). Not
    measured where either text is too short or its language is not among those: this catches a model that answers in
    another language, it is no language identification.
    """

    def measure(self, drafts: Sequence[Draft], desk: Desk) -> Values:
        """1 for the same language, 0 for another, NaN where one of the two cannot be told."""
        told = cache(language_of)  # many drafts have one source
        pairs = zip(drafts, originals(drafts, desk), strict=True)
        both = [(language_of(text_of(draft)), told(source)) for draft, source in pairs]
        return np.array([np.nan if None in pair else float(pair[0] == pair[1]) for pair in both], np.float64)

    def passes(self, values: Values) -> NDArray[np.bool_]:
        """The same."""
        same: NDArray[np.bool_] = values == 1
        return same

    def why(self, value: float) -> str:
        """That it is another."""
        return "in another language than its source"


@declare
class Repeats(Check):
    """A text that was written anew nearly repeats no document of the corpus: it might repeat a relevant one.

    The largest Jaccard similarity of word shingles with any document of the base must be below ``similarity``. Found in
    one pass over the corpus, by MinHash bands (`foils.core.banding`), and verified exactly; 0 where no document comes
    near. Edited texts are not measured: they nearly repeat their source by design. That no text is a copy of a document
    is checked of all, always.
    """

    whole: ClassVar[bool] = True

    similarity: float = 0.8  # of the sets of shingles, 0.7 to 1
    words: int = 5  # of a shingle

    def check(self) -> None:
        """Bounds of both."""
        require(0.7 <= self.similarity <= 1, self, "similarity", "between 0.7 and 1")
        require(self.words >= 1, self, "words", "at least 1")

    def compare(self, texts: Sequence[str], desk: Desk) -> Values:
        """The largest similarity of each with any document."""
        corpus = desk.data.base.corpus

        def read(rows: NDArray[np.int64]) -> list[str]:
            return [texts[row] for row in rows.tolist()]

        tell = partial(desk.tell, "comparing with all documents")
        return nearest(corpus, read, len(texts), (self.similarity, self.words), tell)

    def passes(self, values: Values) -> NDArray[np.bool_]:
        """Below the bound."""
        return values < self.similarity

    def why(self, value: float) -> str:
        """The similarity."""
        return f"nearly repeats a document: {value:.2f} similar, not below {self.similarity:g}"
