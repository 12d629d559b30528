"""Spans, draws, articles, sentences, terms; word pairs against a slow count."""

from __future__ import annotations

import math
from collections import Counter
from itertools import pairwise

import pytest

from foils.writing.draft import Edit
from foils.writing.edits import Bigrams, Draw, Source, apply
from foils.writing.edits.edit import disjoint, replaced
from foils.writing.edits.lexicon import ANTONYMS, COMPARISONS, SYNONYMS, VERBS
from foils.writing.edits.region import places, sentences, terms


def test_apply_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match="does not fit"):
        apply("abc", [Edit(0, 1, "x", "y")])
    with pytest.raises(ValueError, match="overlaps"):
        apply("abc", [Edit(0, 2, "ab", "y"), Edit(1, 3, "bc", "z")])


def test_disjoint_keeps_the_first():
    edits = [Edit(1, 3, "bc", "z"), Edit(0, 2, "ab", "y"), Edit(2, 3, "c", "c"), Edit(2, 4, "cd", "x")]
    assert disjoint(edits) == (Edit(0, 2, "ab", "y"), Edit(2, 4, "cd", "x"))


@pytest.mark.parametrize(
    ("text", "word", "after", "expected"),
    [
        ("a large house", "large", "old", "an old house"),
        ("An old house", "old", "new", "A new house"),
        ("an hour", "hour", "day", "a day"),
        ("a university", "university", "hospital", "a hospital"),
        ("banana large", "large", "old", "banana old"),
        ("a 7 year", "7", "8", "an 8 year"),
    ],
)
def test_articles_follow(text, word, after, expected):
    start = text.index(word)
    assert apply(text, [replaced(text, start, start + len(word), after)]) == expected


def test_draws_are_even_and_independent_of_other_items():
    counts = Counter(Draw(key).below(4, "x") for key in range(4000))
    assert all(900 < count < 1100 for count in counts.values())
    some, more = Draw(1).ordered("abcd"), Draw(1).ordered("abxcd")
    assert [item for item in more if item != "x"] == some
    assert Draw.of(0, "q", "d") == Draw.of(0, "q", "d") != Draw.of(1, "q", "d")


def test_sentences_know_abbreviations():
    text = 'Dr. J. Smith left (at 5 p.m.). "It rained." Then e.g. snow\nfell.'
    assert [text[a:b] for a, b in sentences(text)] == [
        "Dr. J. Smith left (at 5 p.m.).",
        '"It rained."',
        "Then e.g. snow",
        "fell.",
    ]
    assert sentences(" \n ") == []


def test_places_are_whole_words():
    assert places("Paris, parish and PARIS", "Paris") == [(0, 5), (18, 23)]
    assert places("aa aa", "") == []


def test_region_holds_the_answer_or_shares_words():
    text = "Rome fell in 476. The fall of Rome was long. Cats purr."
    assert [text[a:b] for a, b in Source(text, query="When did Rome fall?", answers=["476"]).region] == [
        "Rome fell in 476."
    ]
    assert [text[a:b] for a, b in Source(text, query="When did Rome fall?").region] == [
        "Rome fell in 476.",
        "The fall of Rome was long.",
    ]
    assert Source(text, query="Quantum theory").region == []
    assert len(Source(text).region) == 3
    assert terms("What are the cities?") == {"city"}


def test_lists_hold_in_both_directions():
    for table in (ANTONYMS, COMPARISONS, SYNONYMS):
        assert all(word in table[other] and word != other for word, others in table.items() for other in others)
    assert len(set(VERBS.values())) == len(VERBS)


def test_word_pairs_against_a_slow_count():
    corpus = ["the cat sat in 1984", "the cat ran", "the dog sat"]
    words = [["the", "cat", "sat", "in", "0000"], ["the", "cat", "ran"], ["the", "dog", "sat"]]
    single = Counter(word for line in words for word in line)
    pairs = Counter(pair for line in words for pair in pairwise(line))
    total, kinds = sum(single.values()), len(single) + 1

    def log_p(a, b):
        return math.log((pairs[a, b] + 0.1 * (single[b] + 1) / (total + kinds)) / (single[a] + 0.1))

    model = Bigrams(corpus)
    assert model.log_likelihood("the cat sat") == pytest.approx((log_p("the", "cat") + log_p("cat", "sat")) / 2)
    assert model.log_likelihood("the emu") == pytest.approx(log_p("the", "emu"))
    assert model.log_likelihood("the") == 0
    assert model.plausibility("the cat sat in 1984", (Edit(15, 19, "1984", "1971"),)) == 0
    assert model.plausibility("the cat sat", (Edit(4, 7, "cat", "emu"),)) < -2
