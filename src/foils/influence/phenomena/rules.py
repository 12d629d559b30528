"""The rules: what sets a negative apart from the positive. Each is a few lines; each says when it holds.

A rule speaks of forms, not of meaning: it finds candidates for an explanation. Several may hold for one negative.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from foils.influence.phenomena.compared import Compared, Flags

LEXICAL, FOREIGN = 0.5, 0.25  # shares of the query's content words
ALIKE, MOVED = 0.75, 0.5  # of two sentences: share of words in common, share of neighbours in common
LONGER = 2.0
APART = 0.5  # of a document's length


@dataclass(frozen=True)
class Rule:
    """One phenomenon.

    Attributes:
        name: as it is shown.
        says: when it holds, in one sentence.
        holds: for each triple.
    """

    name: str
    says: str
    holds: Callable[[Compared], Flags]


def lexical(seen: Compared) -> Flags:
    """A bait of words: at least half of the query's content words, and no fewer than the positive has."""
    share = seen.lexical_negative
    return (share >= LEXICAL) & (share >= seen.lexical_positive)


def paraphrase(seen: Compared) -> Flags:
    """Close without common words: at most a quarter of the query's content words, two or more there are, yet it was
    seen above the positive.
    """
    return (seen.size >= 2) & (seen.lexical_negative <= FOREIGN) & (seen.above > 0)


def number(seen: Compared) -> Flags:
    """Other numbers: the negative lacks one that query and positive share; else both have some, none in common."""
    return seen.mismatch(seen.docs.numbers, seen.queries.numbers, seen.docs.numbers)


def date(seen: Compared) -> Flags:
    """Other dates: the negative lacks one that query and positive share; else both have some, none in common."""
    return seen.mismatch(seen.docs.dates, seen.queries.dates, seen.docs.dates)


def entity(seen: Compared) -> Flags:
    """Other names: the negative lacks one of the positive's that the query has, in whatever case; else both have some,
    none in common.
    """
    return seen.mismatch(seen.docs.names, seen.queries.plain, seen.docs.plain)


def negation(seen: Compared) -> Flags:
    """One says it and the other denies it: of the two sentences nearest to the query, exactly one has a negator."""
    return seen.differ(seen.docs.negated)


def modality(seen: Compared) -> Flags:
    """One states it and the other hedges: of the two sentences nearest to the query, exactly one has a modal word."""
    return seen.differ(seen.docs.modal)


def word_order(seen: Compared) -> Flags:
    """Same words, otherwise put: the two sentences nearest to the query have three quarters of their content words in
    common, three at least, and at most half of the neighbouring ones.
    """
    one, other = np.maximum(seen.focus_positive, 0), np.maximum(seen.focus_negative, 0)
    words, pairs = seen.docs.sentences, seen.docs.bigrams
    if not len(words.sizes):
        return np.zeros(len(one), bool)
    common, union = words.shared(one, (words, other)), words.sizes[one] + words.sizes[other]
    alike = (common >= 3) & (common >= ALIKE * (union - common))
    least = np.minimum(pairs.sizes[one], pairs.sizes[other])
    return seen.comparable & alike & (pairs.shared(one, (pairs, other)) <= MOVED * least)


def answer_type(seen: Compared) -> Flags:
    """No answer of the kind: the query asks for a number, date, person, place, reason, way or definition; the positive
    has one and the negative has not.
    """
    kind = np.maximum(seen.asked, 0)
    has, lacks = seen.docs.types[seen.positive, kind], ~seen.docs.types[seen.negative, kind]
    missing: Flags = (seen.asked >= 0) & has & lacks
    return missing


def length(seen: Compared) -> Flags:
    """One is at least twice as long as the other, in words."""
    one, other = seen.docs.length[seen.positive], seen.docs.length[seen.negative]
    unlike: Flags = np.maximum(one, other) >= LONGER * np.maximum(np.minimum(one, other), 1)
    return unlike


def position(seen: Compared) -> Flags:
    """The sentence nearest to the query lies elsewhere: half of the document or more further on or back."""
    one = seen.place(seen.focus_positive, seen.positive)
    other = seen.place(seen.focus_negative, seen.negative)
    return np.abs(np.nan_to_num(one - other)) >= APART


def _rule(holds: Callable[[Compared], Flags]) -> Rule:
    said = " ".join((holds.__doc__ or "").split())
    return Rule(holds.__name__.replace("_", " "), said, holds)


RULES = tuple(
    map(
        _rule,
        (lexical, paraphrase, number, date, entity, negation, modality, word_order, answer_type, length, position),
    )
)
