"""Near-duplicates: hashed shingles against sets of words, estimates against exact similarities."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foils.core import minhash
from foils.core.minhash import NearTexts, jaccard, shingle_sets, signatures

word = st.sampled_from(["the", "a", "sea", "see", "tide", "tides", "Tide", "moon", "rises", "at", "night"])
text = st.lists(word, max_size=12).map(" ".join)


def slow_shingles(text, words):
    found = re.findall(r"[a-z0-9]+", text.lower())
    return {tuple(found[i : i + words]) for i in range(max(1, len(found) - words + 1))} if found else set()


def slow_jaccard(a, b):
    return len(a & b) / max(1, len(a | b))


@given(st.lists(text, max_size=6), st.integers(1, 4))
@settings(max_examples=150, deadline=None)
def test_sets_are_those_of_a_loop(texts, words):
    sets, slow = shingle_sets(texts, words), [slow_shingles(one, words) for one in texts]
    assert sets.sizes.tolist() == [len(one) for one in slow]
    for i in range(len(texts)):
        assert (np.diff(sets[i].astype(np.int64)) > 0).all()
        for j in range(len(texts)):
            assert jaccard(sets[i], sets[j]) == slow_jaccard(slow[i], slow[j])


@given(st.lists(text, min_size=2, max_size=8), st.sampled_from([0.2, 0.5, 0.8, 1.0]))
@settings(max_examples=100, deadline=None)
def test_similar_decides_as_the_exact_similarity(texts, similarity):
    near = NearTexts(lambda rows: [texts[i] for i in rows], len(texts), words=2)
    a, b = (part.ravel() for part in np.indices((len(texts), len(texts))))
    slow = [slow_shingles(one, 2) for one in texts]
    want = [slow_jaccard(slow[i], slow[j]) >= similarity for i, j in zip(a, b, strict=True)]
    assert near.similar(a, b, similarity).tolist() == want


def edited(rng, words, share):
    """A copy in which a share of the words is replaced."""
    out = list(words)
    for i in rng.choice(len(out), int(share * len(out)), replace=False):
        out[i] = f"new{rng.integers(10**6)}"
    return out


def test_estimates_are_unbiased_and_pairs_at_the_bound_are_found():
    rng = np.random.default_rng(0)
    originals = [[f"w{n}" for n in rng.integers(0, 5000, 200)] for _ in range(300)]
    texts = [" ".join(words) for words in originals]
    texts += [" ".join(edited(rng, words, 0.01 + 0.06 * (i % 5))) for i, words in enumerate(originals)]
    sets = shingle_sets(texts, 3)
    signature = signatures(sets)
    exact = np.array([jaccard(sets[i], sets[i + 300]) for i in range(300)])
    agree = (signature[:300] == signature[300:]).mean(axis=1)
    # Eight bits of each minimum agree by chance once in 256.
    expected = exact + (1 - exact) / 256
    assert abs((agree - expected).mean()) < 0.01
    assert np.abs(agree - expected).max() < 5 * 0.5 / 128**0.5
    near = NearTexts(lambda rows: [texts[i] for i in rows], len(texts), words=3)
    a, b = np.arange(300), np.arange(300, 600)
    for bound in np.sort(exact)[[20, 150, 280]]:
        assert near.similar(a, b, float(bound)).tolist() == (exact >= bound).tolist()


def test_signatures_are_the_same_everywhere_and_batches_do_not_show(monkeypatch):
    texts = [f"word{i} and {i * 7} more of them {i % 3}" for i in range(40)]
    whole = signatures(shingle_sets(texts, 2))
    assert whole[0, :4].tolist() == signatures(shingle_sets(texts[:1], 2))[0, :4].tolist()
    assert whole[0, :6].tolist() == [184, 168, 104, 111, 38, 204]
    monkeypatch.setattr(minhash, "_BATCH", 3)
    assert np.array_equal(signatures(shingle_sets(texts, 2)), whole)


def test_the_memory_of_signatures_is_bounded_and_forgetting_changes_nothing(monkeypatch):
    texts = [f"tide {i // 2} at night by the sea {i // 2}" for i in range(60)]
    a, b = np.arange(59), np.arange(1, 60)
    want = NearTexts(lambda rows: [texts[i] for i in rows], 60, 2).similar(a, b, 0.9)
    assert want.tolist() == [i % 2 == 0 for i in range(59)]
    monkeypatch.setattr(minhash, "_KEPT", 10)
    monkeypatch.setattr(minhash, "_VOCABULARY", 5)
    monkeypatch.setattr(minhash, "_AT_ONCE", 4)
    near = NearTexts(lambda rows: [texts[i] for i in rows], 60, 2)
    got = [near.similar(a[i : i + 4], b[i : i + 4], 0.9) for i in range(0, 59, 4)]
    assert np.concatenate(got).tolist() == want.tolist()
    assert len(near._size) <= 10


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Don't PANIC", ["don", "t", "panic"]),
        ("snake_case", ["snake", "case"]),
        ("Ｆｕｌｌ width", ["full", "width"]),
        ("naïve café", ["naïve", "café"]),
        ("東京タワー 2024年", [*"東京タワー", "2024", "年"]),
        ("??? ...", []),
    ],
)
def test_words(text, words):
    known = minhash.Vocabulary()
    shingle_sets([text], 1, known)
    assert sorted(known) == sorted(words)


def test_no_texts_and_no_pairs():
    assert len(shingle_sets([], 5)) == 0
    near = NearTexts(lambda rows: [""] * len(rows), 3)
    assert near.similar(np.array([0, 1]), np.array([1, 2]), 0.5).tolist() == [False, False]
    assert near.similar(np.zeros(0, int), np.zeros(0, int), 0.5).tolist() == []
