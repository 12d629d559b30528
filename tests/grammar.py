"""Generated texts: sentences of a small grammar with all that edits look for, and draws."""

from __future__ import annotations

from hypothesis import strategies as st

from foils.writing.edits import Draw, Gazetteer, Source

NAMES = [
    "Albert Speer",
    "Mary Shelley",
    "Paris",
    "London",
    "Spain",
    "Oxford University",
    "Harvard University",
    "German",
]
SUBJECTS = [
    "The embargo",
    "This treatment",
    "Albert Speer",
    "The city of Paris",
    "An early version",
    "Oxford University",
]
AUXILIARIES = ["was", "is", "were not", "can", "cannot", "may", "must", "has been", "will not", "should", "did not"]
VERBS = ["lifted", "caused the", "did not cause the", "increase a", "built the", "be seen", "made the", "treated"]
OBJECTS = [
    "large house",
    "1,250 people",
    "5 to 10 percent",
    "99.5% of cases",
    "in 1973",
    "the 1990s",
    "on 12 March 1984",
    "on Monday, March 12, 1984",
    "before 12/03/84",
    "until 1984-02-29",
    "40 km",
    "three miles",
    "$12",
    "the 19th century",
    "more than 0.05 mg",
    "after two years",
    "inherited disorders",
    "a big car",
    "in Paris",
    "by Mary Shelley",
    "no longer",
    "usually",
]
words = st.sampled_from([*OBJECTS, *VERBS, *AUXILIARIES])
sentence = st.builds(
    lambda subject, rest, end: f"{subject} {' '.join(rest)}{end}",
    st.sampled_from(SUBJECTS),
    st.lists(words, min_size=1, max_size=7),
    st.sampled_from([".", "!", "?", "."]),
)
texts = st.lists(sentence, min_size=1, max_size=5).map(" ".join) | st.text(max_size=60)
draws = st.integers(0, 2**64 - 1).map(Draw)
GAZETTEER = Gazetteer(
    {
        "Albert Speer": "person",
        "Mary Shelley": "person",
        "Isaac Newton": "person",
        "Paris": "place",
        "London": "place",
        "Spain": "place",
        "Oxford University": "organisation",
        "Harvard University": "organisation",
        "Yale University": "organisation",
    },
    dict.fromkeys(NAMES, 1),
)
sources = st.builds(
    lambda text, title, query, answers, positives: Source(
        text,
        title,
        query,
        answers,
        [*positives, f"{title} {text}"],
        GAZETTEER,
        ["Cats sleep. A dog barked at the big moon."],
    ),
    texts,
    st.sampled_from(["", "Paris", "1973 oil crisis", "Spain"]),
    st.sampled_from(["", "When was the embargo of 1973 lifted?", "Who built the large house in Paris?"]),
    st.lists(st.sampled_from(["1973", "Paris", "three miles", "Mary Shelley", "12 March 1984"]), max_size=2),
    st.lists(st.sampled_from(["London is big.", "Yale University in 1974", "nine"]), max_size=2),
)
