"""Near copies of positives against a loop over sets of words."""

from __future__ import annotations

import numpy as np

from foils.core.near import near_positive


class Corpus(list):
    def texts(self, rows):
        return [self[row] for row in np.asarray(rows).tolist()]


def test_near_copies_of_positives_are_those_of_a_loop():
    rng = np.random.default_rng(0)
    whole = [[f"w{rng.integers(50)}" for _ in range(60)] for _ in range(6)]
    corpus = Corpus(
        " ".join([*words[: 60 - cut], *(f"x{i}" for i in range(cut))]) for words in whole for cut in range(9)
    )
    positive = np.array([(q, d) for q in (1, 2, 4) for d in rng.choice(len(corpus), 3, replace=False)], np.int32).T
    query, doc = rng.integers(0, 6, 400).astype(np.int32), rng.integers(0, len(corpus), 400).astype(np.int32)

    def shingles(row):
        words = corpus[row].split()
        return {tuple(words[i : i + 5]) for i in range(len(words) - 4)}

    def near(a, b):
        return len(shingles(a) & shingles(b)) >= 0.8 * len(shingles(a) | shingles(b))

    slow = [any(near(d, p) for of, p in positive.T.tolist() if of == q) for q, d in zip(query, doc, strict=True)]
    found = near_positive(corpus, query, doc, (positive[0], positive[1]))
    assert 20 < sum(slow) < 200
    assert found.tolist() == slow
    assert not near_positive(corpus, query[:0], doc[:0], (positive[0], positive[1])).size
    assert not near_positive(corpus, query, doc, (positive[0][:0], positive[1][:0])).any()
