"""Each rule with texts that it speaks of and texts that it does not."""

from __future__ import annotations

import numpy as np
import pytest

from foils.influence.phenomena import RULES, compared
from foils.influence.phenomena.prevalence import asked
from foils.influence.phenomena.reading import TYPES

BY_NAME = {rule.name: rule for rule in RULES}

# name: (query, positive, negative, seen above the positive), first those that hold
CASES = {
    "lexical": (
        [
            ("treatment of leg ulcers", "Compression heals venous wounds.", "The treatment of ulcers in horses.", 0),
            ("capital of France", "Paris is the capital of France.", "The capital of France was once Versailles.", 0),
        ],
        [
            ("treatment of leg ulcers", "The treatment of leg ulcers is compression.", "A treatment of asthma.", 0),
            ("capital of France", "Paris is the capital of France.", "Berlin lies in Germany.", 0),
        ],
    ),
    "paraphrase": (
        [("heart attack symptoms", "Heart attack symptoms vary.", "Myocardial infarction shows as chest pain.", 0.5)],
        [
            ("heart attack symptoms", "Heart attack symptoms vary.", "Myocardial infarction shows as chest pain.", 0.0),
            ("heart attack symptoms", "Heart attack symptoms vary.", "Symptoms of a heart attack in women.", 0.5),
            ("heart", "The heart beats.", "Cardiac muscle contracts.", 1.0),
        ],
    ),
    "number": (
        [
            ("dose of 50 mg", "Patients took 50 mg daily.", "Patients took 75 mg daily.", 0),
            ("what dose", "Patients took 1,000 mg.", "Patients took 20 mg.", 0),
            ("three dogs", "Three dogs run.", "Two dogs run.", 0),
        ],
        [
            ("dose of 50 mg", "Patients took 50 mg daily.", "About 50.0 mg daily is given.", 0),
            ("what dose", "Patients took 1,000 mg.", "Patients took 1000 mg or 20 mg.", 0),
            ("what dose", "Patients took 50 mg.", "Patients took some.", 0),
            ("what year", "It was built in 1990.", "It was built in 1985.", 0),
        ],
    ),
    "date": (
        [
            ("who won in 1990", "In 1990 West Germany won.", "In 1986 Argentina won.", 0),
            ("when was it", "It was on 3 March.", "It was on 4 April.", 0),
            ("when", "It began on 2020-03-04.", "It began in May 2019.", 0),
        ],
        [
            ("who won in 1990", "In 1990 West Germany won.", "The cup of 1990 went to West Germany.", 0),
            ("when was it", "It was on 3 March.", "It was on March 3.", 0),
            ("dose", "It may take 50 mg.", "It may take 20 mg.", 0),
            ("when", "It was on Monday.", "Nobody knows.", 0),
        ],
    ),
    "entity": (
        [
            ("where was mozart born", "The composer Mozart was born in Salzburg.", "Haydn was born in Rohrau.", 0),
            ("who wrote it", "It was written by Jane Austen.", "It was written by Emily Bronte.", 0),
        ],
        [
            ("where was mozart born", "The composer Mozart was born in Salzburg.", "Young Mozart lived in Wien.", 0),
            ("who wrote it", "It was written by Jane Austen.", "The book is by Austen.", 0),
            ("who wrote it", "It was written by a woman.", "It was written by a man.", 0),
        ],
    ),
    "negation": (
        [
            ("does aspirin cause ulcers", "Aspirin can cause ulcers.", "Aspirin does not cause ulcers.", 0),
            ("is a boy outside", "A boy is outside.", "There is no boy outside.", 0),
            ("is a boy outside", "The boy isn't outside.", "The boy is outside.", 0),
        ],
        [
            ("does aspirin cause ulcers", "Aspirin can cause ulcers.", "Aspirin often causes ulcers.", 0),
            ("does aspirin cause ulcers", "Aspirin does not cause ulcers.", "Aspirin never caused ulcers.", 0),
            ("does aspirin cause ulcers", "Aspirin causes ulcers.", "It rained. Not a word on that.", 0),
            ("does aspirin cause ulcers", "Aspirin causes ulcers.", "Aspirin causes ulcers. It does not snow.", 0),
        ],
    ),
    "modality": (
        [
            ("does coffee harm", "Coffee harms the liver.", "Coffee might harm the liver.", 0),
            ("may rain fall", "Rain falls.", "May rain fall, it seems.", 0),
        ],
        [
            ("does coffee harm", "Coffee harms the liver.", "Coffee harms the kidney.", 0),
            ("does coffee harm", "Coffee may harm.", "Perhaps coffee harms.", 0),
            ("rain in spring", "Rain fell on 3 May.", "Rain fell on 3 June.", 0),
            ("rain in spring", "In spring rain fell in May.", "Rain fell in spring.", 0),
        ],
    ),
    "word order": (
        [("a dog bit a man", "The dog bit the old man.", "The old man bit the dog.", 0)],
        [
            ("a dog bit a man", "The dog bit the old man.", "The dog bit the old man.", 0),
            ("a dog bit a man", "The dog bit the old man.", "The cat saw the young woman.", 0),
            ("a dog barks", "The dog barks.", "Barks the dog?", 0),
        ],
    ),
    "answer type": (
        [
            ("how many bones are in a hand", "There are 27 bones.", "Bones are made of calcium.", 0),
            ("when did the war end", "It ended in 1945.", "It ended at last.", 0),
            ("who discovered radium", "It was found by Marie Curie.", "It was found in ore.", 0),
            ("where is Lyon", "It lies in France.", "It is a city.", 0),
            ("why is the sky blue", "Because short waves scatter.", "The sky is blue and wide.", 0),
            ("how to clean silver", "Clean silver by rubbing it.", "Silver is a metal.", 0),
            ("what is a quark", "A quark is a particle.", "Quark with herbs for breakfast.", 0),
        ],
        [
            ("how many bones are in a hand", "There are 27 bones.", "There are twenty bones.", 0),
            ("bones of the hand", "There are 27 bones.", "Bones are made of calcium.", 0),
            ("how many bones are in a hand", "Many.", "Few.", 0),
        ],
    ),
    "length": (
        [("x", "one two three four", "one two", 0), ("x", "one", "one two three", 0)],
        [("x", "one two three", "one two", 0), ("x", "", "", 0)],
    ),
    "position": (
        [("tides", "Tides rise. Ice is cold. Wood burns.", "Ice is cold. Wood burns. Tides rise.", 0)],
        [
            ("tides", "Tides rise. Ice is cold. Wood burns.", "The tides fall. Ice is cold. Wood burns.", 0),
            ("tides", "Tides rise. Ice is cold.", "Ice is cold. Tides rise.", 0),
            ("tides", "Tides rise. Ice is cold. Wood burns.", "Ice is cold. Wood burns. Iron rusts.", 0),
        ],
    ),
}


def hold(name, cases):
    queries, positives, negatives, above = (list(column) for column in zip(*cases, strict=True))
    rows = np.arange(len(cases))
    seen = compared(queries, positives + negatives, rows, rows, rows + len(cases), np.array(above, float))
    return BY_NAME[name].holds(seen)


@pytest.mark.parametrize("name", BY_NAME)
def test_where_a_rule_holds_and_where_not(name):
    yes, no = CASES[name]
    found = hold(name, yes + no)
    assert found.dtype == bool
    assert [case for case, flag in zip(yes, found, strict=False) if not flag] == []
    assert [case for case, flag in zip(no, found[len(yes) :], strict=True) if flag] == []


@pytest.mark.parametrize("name", BY_NAME)
def test_nothing_to_compare(name):
    """Empty texts, and a query without a content word; identical documents differ in nothing but bait words."""
    assert not hold(name, [("", "", "", 0.0), ("why", "", "", 1.0)]).any()
    text = "In 1990 Marie Curie may not have found 7 ores. Rain fell. It is a river."
    same = hold(name, [("where did Marie Curie find ores", text, text, 0.0)])
    assert same.tolist() == [name == "lexical"]


def test_a_rule_says_when_it_holds():
    assert list(BY_NAME) == list(CASES)
    for rule in RULES:
        assert rule.says.endswith(".")


@pytest.mark.parametrize(
    ("query", "kind"),
    [
        ("How often should it be taken?", "number"),
        ("When did it end?", "date"),
        ("the time when it ended", None),
        ("in what year was it", "date"),
        ("Who was it?", "person"),
        ("which country is largest", "place"),
        ("What causes gout ?", "reason"),
        ("What are the treatments for gout ?", "manner"),
        ("What is (are) gout ?", "definition"),
        ("gout", None),
    ],
)
def test_what_a_query_asks_for(query, kind):
    assert asked(query) == (-1 if kind is None else TYPES.index(kind))
