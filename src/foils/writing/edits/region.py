"""The text that an edit starts from, and the sentences of it that answer the query."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

from foils.core.answers import tokens_of
from foils.writing.edits.lexicon import STOP

if TYPE_CHECKING:
    from foils.writing.edits.gazetteer import Gazetteer

Span = tuple[int, int]
_END = re.compile(r"""(?<=[.!?])["'”’)\]]?\s+(?=["'“‘(\[-]?\s?[^\W_a-z])|\s*\n\s*""")
_ABBREVIATED = re.compile(
    r"(?:^|[\s(])(?:[A-Z]|Dr|Mr|Mrs|Ms|St|Prof|Gen|Col|Lt|Sgt|Capt|Rev|Sen|Rep|Gov|No|vs|cf|ca|Jr|Sr|Inc|Co|Ltd|e\.g|i\.e|al|approx|Fig|Vol|pp|U\.S|U\.K)\.$"
)
_WORD = re.compile(r"[^\W_]+")


def sentences(text: str) -> list[Span]:
    """Spans of the sentences, without the white space between them.

    Cut after ``.``, ``!`` or ``?`` where white space and a capital or digit follow, and at line breaks; not after a
    single capital letter or a common English abbreviation.

    >>> [text[a:b] for text in ["Dr. Smith left. It rained."] for a, b in sentences(text)]
    ['Dr. Smith left.', 'It rained.']
    """
    spans, start = [], 0
    for found in _END.finditer(text):
        end = found.start() + len(found.group()) - len(found.group().lstrip("\"'”’)]"))
        if "\n" not in found.group() and _ABBREVIATED.search(text, max(start, end - 12), end):
            continue
        spans.append((start, end))
        start = found.end()
    spans.append((start, len(text)))
    pieces = ((a, b, text[a:b]) for a, b in spans)
    return [(b - len(piece.lstrip()), a + len(piece.rstrip())) for a, b, piece in pieces if piece.strip()]


def terms(text: str) -> set[str]:
    """Content words, lower-cased, with the commonest endings taken off; words of the stop list and single letters not.

    >>> sorted(terms("What are the symptoms of Reactive arthritis?"))
    ['arthriti', 'reactive', 'symptom']
    """
    words = (word.lower() for word in _WORD.findall(text))
    return {_stem(word) for word in words if word not in STOP and (len(word) > 1 or word.isdigit())}


@lru_cache(1 << 16)
def _stem(word: str) -> str:
    for ending, least in (("ies", 5), ("ing", 6), ("ed", 5), ("s", 4)):
        if word.endswith(ending) and len(word) >= least and not word.endswith("ss"):
            return word[: -len(ending)] + ("y" if ending == "ies" else "")
    return word


def places(text: str, wanted: str) -> list[Span]:
    """Where a string stands in a text as whole words, whatever the case.

    >>> places("In 1973, not 19730.", "1973")
    [(3, 7)]
    """
    low, needle = text.lower(), wanted.lower()
    if len(low) != len(text) or not needle:
        low, needle = text, wanted
    found, at = [], low.find(needle) if needle else -1
    while at >= 0:
        end = at + len(needle)
        inside = (at > 0 and _joins(low[at - 1], low[at])) or (end < len(low) and _joins(low[end - 1], low[end]))
        if not inside:
            found.append((at, end))
        at = low.find(needle, end if not inside else at + 1)
    return found


def _joins(a: str, b: str) -> bool:
    return a.isalnum() and b.isalnum()


@dataclass(frozen=True)
class Source:
    """A text to edit, with all that an edit must respect.

    Attributes:
        text: the text without its title.
        title: its title.
        query: the query that it is a positive of; "" for none.
        answers: the query's known answers.
        positives: all texts that are positives of the query, titles included.
        gazetteer: names of the corpus, for `entity`; None leaves that kind without options.
        donors: texts of the same topic about another aspect, for `facet`, the best first.
    """

    text: str
    title: str = ""
    query: str = ""
    answers: Sequence[str] = ()
    positives: Sequence[str] = ()
    gazetteer: Gazetteer | None = field(default=None, repr=False)
    donors: Sequence[str] = ()

    @cached_property
    def sentences(self) -> list[Span]:
        """Spans of the sentences."""
        return sentences(self.text)

    @cached_property
    def answer_spans(self) -> list[Span]:
        """Where the known answers stand."""
        return [span for answer in dict.fromkeys(self.answers) for span in places(self.text, answer.strip())]

    @cached_property
    def region(self) -> list[Span]:
        """The sentences that answer: those with a known answer; else those that share content words with the query.

        Of the latter, those that share at least half as many as the best does, and no questions. Without a query, all
        sentences.
        """
        if self.answer_spans:
            return [(a, b) for a, b in self.sentences if any(a < y and x < b for x, y in self.answer_spans)]
        wanted = self.asked
        if not wanted:
            return self.sentences if not self.query else []
        shared = [len(wanted & terms(self.text[a:b])) for a, b in self.sentences]
        asking = [self.text[end - 1] == "?" for _, end in self.sentences]
        shared = [0 if ask else count for count, ask in zip(shared, asking, strict=True)]
        best = max(shared, default=0)
        return [span for span, count in zip(self.sentences, shared, strict=True) if count and 2 * count >= best]

    @cached_property
    def known(self) -> str:
        """Tokens of the query, its answers and positives, and of the text itself; see `knows`."""
        own = [] if any(self.text in positive for positive in self.positives) else [self.title, self.text]
        parts = [self.query, *self.answers, *self.positives, *own]
        return "".join(map(tokens_of, parts))

    def knows(self, wanted: str) -> bool:
        """Whether the words stand, one behind the other, in the query, an answer, a positive or the text."""
        return tokens_of(wanted) in self.known

    def within(self, start: int, end: int) -> bool:
        """Whether a span touches the region."""
        return any(a < end and start < b for a, b in self.region)

    def answering(self, start: int, end: int) -> bool:
        """Whether a span touches a known answer."""
        return any(a < end and start < b for a, b in self.answer_spans)

    def binds(self, start: int, end: int) -> bool:
        """Whether a span touches a known answer, or holds a content word of the query."""
        return self.answering(start, end) or not self.asked.isdisjoint(terms(self.text[start:end]))

    @cached_property
    def asked(self) -> set[str]:
        """Content words of the query."""
        return terms(self.query)
