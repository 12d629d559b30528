"""An edit of a text, what it makes of the text, and draws that depend on ids alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from foils.core import noise
from foils.writing.draft import Edit

T = TypeVar("T")


Option = tuple[Edit, ...]
"""Edits that only make sense together, by offset, disjoint: for example a name at each of its places."""


@dataclass(frozen=True)
class Edited:
    """A text with one option carried out.

    Attributes:
        text: the edited text.
        title: the title, where the edited name or year stood in it, with the same replacement; else as it was.
        kind: what was done: ``number``, ``negation``, ...
        edits: the spans in the text that was edited.
    """

    text: str
    title: str
    kind: str
    edits: Option


def apply(text: str, edits: Sequence[Edit]) -> str:
    """The text with every span replaced.

    Raises:
        ValueError: the edits overlap, are out of order, or are not of this text.

    >>> apply("It rose in 1984.", [Edit(11, 15, "1984", "1979")])
    'It rose in 1979.'
    """
    parts, at = [], 0
    for edit in edits:
        if edit.start < at or text[edit.start : edit.end] != edit.before:
            raise ValueError(f"{edit} does not fit the text, or overlaps the edit before it.")
        parts += [text[at : edit.start], edit.after]
        at = edit.end
    return "".join([*parts, text[at:]])


@dataclass(frozen=True)
class Draw:
    """Choices that are a pure function of a key and of what is chosen; there is no state, so their order is free.

    Attributes:
        key: 64 random bits, of the seed and the ids; see `foils.core.noise.bits`.
    """

    key: int

    @classmethod
    def of(cls, seed: int, query: str, doc: str, stream: str = "perturb") -> Draw:
        """The draw of a query and a document, by their external ids."""
        ids = (np.array([noise.key_of(text)], np.uint64) for text in (query, doc))
        return cls(int(noise.bits(seed, stream, *ids)[0]))

    def below(self, n: int, *what: object) -> int:
        """A whole number from 0 to n - 1."""
        return noise.key_of(f"{self.key}/{'/'.join(map(str, what))}") % n

    def share(self, *what: object) -> float:
        """A number in [0, 1)."""
        return self.below(1 << 53, *what) * 2.0**-53

    def pick(self, items: Sequence[T], *what: object) -> T:
        """One of the items, each as likely."""
        return items[self.below(len(items), *what)]

    def ordered(self, items: Iterable[T], *what: object) -> list[T]:
        """The items in an order drawn by their text, so that one more item changes nothing between the others."""
        return sorted(items, key=lambda item: (self.below(1 << 62, *what, item), str(item)))


def like(before: str, after: str) -> str:
    """``after`` with the capitals of ``before``.

    >>> like("More", "less"), like("MORE", "less"), like("more", "less")
    ('Less', 'LESS', 'less')
    """
    if len(before) > 1 and before.isupper():
        return after.upper()
    return after[:1].upper() + after[1:] if before[:1].isupper() else after


_AN = ("hour", "honest", "honour", "honor", "heir")
_A = ("uni", "eu", "use", "usu", "one", "once", "ubiq", "uran", "uter", "util")


def replaced(text: str, start: int, end: int, after: str) -> Edit:
    """The edit of a span; an indefinite article before it is taken in where the new word needs the other one.

    >>> replaced("a large house", 2, 7, "old")
    Edit(start=0, end=7, before='a large', after='an old')
    """
    for article in ("a ", "A ", "an ", "An "):
        at = start - len(article)
        if at >= 0 and text.startswith(article, at) and (at == 0 or not text[at - 1].isalnum()):
            wanted = ("a" if _consonant(after) else "an") if _consonant(text[start:end]) != _consonant(after) else ""
            if wanted and wanted != article.strip().lower():
                after = f"{like(article[0] + '.', wanted) if article[0] == 'a' else wanted.capitalize()} {after}"
                start = at
            break
    return Edit(start, end, text[start:end], after)


def _consonant(word: str) -> bool:
    low = word.lower()
    if low[:1].isdigit():
        return not (low.startswith("8") or low.split(",")[0] in ("11", "18"))
    return not (low.startswith(_AN) or (low[:1] in "aeiou" and not low.startswith(_A)))


def disjoint(edits: Iterable[Edit]) -> Option:
    """The edits by offset, without repeats and without those that overlap an earlier one."""
    kept: list[Edit] = []
    for edit in sorted(set(edits)):
        if edit.before != edit.after and (not kept or edit.start >= kept[-1].end):
            kept.append(edit)
    return tuple(kept)
