"""What is read from a text, and what texts share."""

from __future__ import annotations

import numpy as np
import pytest

from foils.influence.phenomena import bags
from foils.influence.phenomena.bags import Bags, Vocabulary
from foils.influence.phenomena.compared import Compared
from foils.influence.phenomena.prevalence import compared
from foils.influence.phenomena.reading import read, split


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("", []),
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        ("Dr. A. Smith et al. Found it. End", ["Dr. A. Smith et al. Found it.", "End"]),
        ("a 3.5 mg dose\n\nNext line", ["a 3.5 mg dose", "Next line"]),
        ('He said "No." Then left.', ['He said "No.', "Then left."]),
    ],
)
def test_sentences(text, sentences):
    assert split(text) == sentences


@pytest.mark.parametrize(
    ("text", "numbers", "dates"),
    [
        ("took 1,000 or 2.50 mg of twelve", {"1000", "2.5", "12"}, set()),
        ("on 3 March 1990", set(), {"1990", "month 3", "month 3 day 3"}),
        ("March 3, 1990 at 7", {"7"}, {"1990", "month 3", "month 3 day 3"}),
        ("since 2020-03-04", set(), {"2020", "month 3", "month 3 day 4"}),
        ("they march on Monday and may stop", set(), {"monday", "month 3"}),
        ("in 1066 or 3000", {"1066", "3000"}, set()),
        ("10 m ² March and ² May ٣", {"10", "²"}, {"month 3", "month 5", "month 5 day 3"}),
    ],
)
def test_numbers_and_dates(text, numbers, dates):
    found = read(text)
    assert (found.numbers, found.dates) == (numbers, dates)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("The city of Paris lies in France.", {"paris", "france"}),
        ("Marie Curie found it in May.", {"marie", "curie"}),
        ("Rain fell on Monday in the USA.", {"usa"}),
        ("Risk Factors And Outcomes Of Asthma", set()),
        ("NATO met.", {"nato"}),
        ("It is Austen's book, I think.", {"austen"}),
    ],
)
def test_names(text, names):
    assert read(text).names == names


def test_shared_words_are_those_of_sets(monkeypatch):
    monkeypatch.setattr(bags, "_CELLS", 20)
    rng = np.random.default_rng(0)
    texts = [[f"w{i}" for i in rng.integers(0, 12, rng.integers(0, 9))] for _ in range(15)]
    found = Bags(texts, Vocabulary())
    a, b, c = rng.integers(0, 15, (3, 40))
    sets = [set(words) for words in texts]
    assert found.shared(a, (found, b)).tolist() == [len(sets[i] & sets[j]) for i, j in zip(a, b, strict=True)]
    three = zip(a, b, c, strict=True)
    assert found.shared(a, (found, b), (found, c)).tolist() == [len(sets[i] & sets[j] & sets[k]) for i, j, k in three]
    assert found.sizes.tolist() == list(map(len, sets))


def test_the_nearest_sentence_is_that_of_a_loop():
    rng = np.random.default_rng(1)
    words = ["tide", "salt", "wood", "iron", "glass", "ore"]
    say = lambda: " ".join(rng.choice(words, 3)).capitalize() + "."  # noqa: E731
    docs = [" ".join(say() for _ in range(rng.integers(1, 5))) for _ in range(12)]
    queries = [" ".join(rng.choice([*words, "gas"], 2)) for _ in range(6)]
    query, one, other = rng.integers(0, 6, 20), rng.integers(0, 12, 20), rng.integers(0, 12, 20)
    seen: Compared = compared(queries, docs, query, one, other)
    for i in range(20):
        for doc, focus in ((one, seen.focus_positive), (other, seen.focus_negative)):
            wanted = set(queries[query[i]].split())
            counts = [len(wanted & set(s.lower().rstrip(".").split())) for s in split(docs[doc[i]])]
            best = int(np.argmax(counts)) + seen.docs.first[doc[i]] if max(counts) else -1
            assert focus[i] == best
