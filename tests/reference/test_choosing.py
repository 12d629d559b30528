"""Filters and samplers against golden numbers and slow loops written from the papers."""

from __future__ import annotations

import math
import unicodedata

import numpy as np
import pytest

from foils.core.answers import compile_answers, tokens_of
from foils.core.pairs import Pairs
from foils.core.thresholds import below, ceiling
from foils.stages import Between, PositiveAware, Promote, Ranks, SimANS, Softmax


def scored(scores, positives=(1.0,)):
    """One query: the positives first, then the candidates."""
    values = [*positives, *scores]
    label = [1] * len(positives) + [0] * len(scores)
    return Pairs.build([0] * len(values), range(len(values)), label, scores={"s": values})


def shares(sampler, pairs):
    logits = np.asarray(sampler.logits(pairs), np.float64)[pairs.label == 0]
    weights = np.exp(logits - logits.max())
    return weights / weights.sum()


# Specification, appendix A1 and S2.
@pytest.mark.parametrize(
    ("scores", "positive", "sampler", "expected"),
    [
        ([2, 1, 0], 1, SimANS(k=1, a=0.5), [0.274069, 0.451863, 0.274069]),
        ([2, 1, 0], 1, SimANS(k=1, a=0.5, b=1.0), [0.574097, 0.348207, 0.077696]),
        ([2, 1, 0], 1, SimANS(k=1, a=0.5, b=1.0, b_sign="code"), [0.077696, 0.348207, 0.574097]),
        ([2, 1, 0], 1, SimANS(k=1, a=3.0, kernel="laplace"), [0.045279, 0.909443, 0.045279]),
        ([1, 0.5, 0], 2, SimANS(k=1, a=0.5), [0.5687015375, 0.3044039974, 0.1268944651]),
        ([1, 0.5, 0], 2, SimANS(k=1, a=0.5, b=1.0), [0.7108646952, 0.2307839773, 0.0583513275]),
        ([1, 0.5, 0], 2, SimANS(k=1, a=0.5, b=1.0, b_sign="code"), [0.4017633292, 0.3545548936, 0.2436817771]),
        ([1, 0.5, 0], 2, SimANS(k=1, a=3.0, kernel="laplace"), [0.7855970346, 0.1752903921, 0.0391125733]),
        ([1, 0.5, 0], 2, Softmax(k=1, temperature=0.5), [0.6652409558, 0.2447284711, 0.0900305732]),
    ],
)
def test_golden_shares(scores, positive, sampler, expected):
    assert shares(sampler, scored(scores, (positive,))) == pytest.approx(expected, abs=2e-6)


def test_simans_invariants():
    flat = shares(SimANS(k=1, a=0.0), scored([5, -1000, 3]))
    assert flat == pytest.approx([1 / 3] * 3)
    moved = shares(SimANS(k=1, a=0.5), scored([12, 11, 10], (11,)))
    assert moved == pytest.approx(shares(SimANS(k=1, a=0.5), scored([2, 1, 0], (1,))))
    far = np.asarray(SimANS(k=1).logits(scored([1000.0, -1000.0])))
    assert np.isfinite(far).all()


@pytest.mark.parametrize(
    ("rule", "positives", "scores", "kept"),
    [
        # NV-Retriever, section 12.1 of the specification: s+ = .8.
        (PositiveAware(margin=0.05), [0.8], [0.77, 0.7601, 0.7599, 0.7], [False, False, True, True]),
        (PositiveAware(margin=0.05, kind="absolute"), [0.8], [0.7501, 0.7499], [False, True]),
        (Between(hi=0.7), [0.8], [0.71, 0.7, 0.69], [False, True, True]),
        # Negative scores: the threshold is -.21, not -.19.
        (PositiveAware(margin=0.05), [-0.2], [-0.2, -0.205, -0.2101], [False, False, True]),
        # sentence-transformers, section 12.2: s+ = .9 keeps .80 and .70; of positives .9 and .6 the lower one counts.
        (PositiveAware(margin=0.05), [0.9], [0.95, 0.88, 0.80, 0.70], [False, False, True, True]),
        (PositiveAware(margin=0.05), [0.9, 0.6], [0.80, 0.58, 0.56], [False, False, True]),
        (PositiveAware(margin=0.05, positives="max"), [0.9, 0.6], [0.80, 0.58, 0.86], [True, True, False]),
        (PositiveAware(margin=0.05, positives="mean"), [0.9, 0.6], [0.72, 0.71], [False, True]),
        # Equality: strict for NV-Retriever, kept for sentence-transformers and GISTEmbed.
        (PositiveAware(margin=0.0), [0.5], [0.5, 0.25], [False, True]),
        (PositiveAware(margin=0.0, ties="keep"), [0.5], [0.5, 0.75], [True, False]),
        (Between(lo=0.25, hi=0.5), [1.0], [0.2, 0.25, 0.5, 0.6], [False, True, True, False]),
    ],
)
def test_score_rules(rule, positives, scores, kept):
    pairs = scored(scores, positives)
    assert rule.keep(pairs)[pairs.label == 0].tolist() == kept


def test_a_query_without_positives_has_no_threshold():
    pairs = Pairs.build([0, 0, 1], [1, 2, 3], [0, 0, 0], scores={"s": [5.0, -5.0, 0.0]})
    assert PositiveAware(margin=0.3).keep(pairs).all()


@pytest.mark.parametrize("kind", ["relative", "absolute"])
def test_margins_agree_with_the_plain_formula_and_are_monotone(kind):
    rng = np.random.default_rng(0)
    positive, score = rng.normal(size=500), rng.normal(size=500)
    before = None
    for margin in (0.0, 0.1, 0.5, 2.0):
        got = below(score, ceiling(positive, margin, kind), "drop")
        slow = [
            s < (p - abs(p) * margin if kind == "relative" else p - margin)
            for s, p in zip(score, positive, strict=True)
        ]
        assert got.tolist() == slow
        assert before is None or not (got & ~before).any()
        before = got


def test_raw_ranks_count_what_the_source_returned():
    pairs = Pairs.build([0] * 5, range(5), [1, 0, 0, 0, 0], scores={"s": [5, 4, 3, 2, 9]}, ranks={"s": [1, 2, 3, 4, 0]})
    assert Ranks(lo=3, hi=3).keep(pairs).tolist() == [False, False, True, False, False]
    assert Ranks(lo=3).keep(pairs).tolist() == [False, False, True, True, True]


def test_promote_is_strict():
    pairs = scored([0.9, 0.91, 0.1])
    assert Promote(at=0.9, by="s").relabel(pairs).tolist() == [1, 0, 0 + (np.float32(0.91) > 0.9), 0]


def slow_has_answer(text, answers):
    """DPR's rule as a loop over tokens."""

    def tokens(raw):
        out, run = [], ""
        for ch in unicodedata.normalize("NFD", raw):
            if unicodedata.category(ch)[0] in "LNM":
                run += ch
                continue
            if run:
                out.append(run.lower())
            run = ""
            if unicodedata.category(ch)[0] not in "ZC":
                out.append(ch.lower())
        return [*out, run.lower()] if run else out

    words = tokens(text)
    for answer in answers:
        sought = tokens(answer)
        if sought and any(words[i : i + len(sought)] == sought for i in range(len(words) - len(sought) + 1)):
            return True
    return False


@pytest.mark.parametrize(
    ("text", "answers", "found"),
    [
        ("He lived in Yorkshire.", ["York"], False),
        ("the city of NEW   York, USA", ["new  YORK"], True),
        ("caf\u00e9 au lait", ["cafe\u0301"], True),
        ("cafe au lait", ["caf\u00e9"], False),
        ("nearly $12 globally", ["$12"], True),
        ("nearly $ 12 globally", ["$12"], True),
        ("nearly 12 globally", ["$12"], False),
        ("anything", [], False),
        ("anything", [""], False),
        ("U.S. senate", ["u.s."], True),
        ("snake_case name", ["case"], True),
    ],
)
def test_answers_as_tokens(text, answers, found):
    assert slow_has_answer(text, answers) is found
    assert compile_answers(answers, "string")(tokens_of(text)) is found


def test_answers_agree_with_the_loop_on_random_text():
    rng = np.random.default_rng(1)
    alphabet = list("ab_c \u00e9\u0301-$.\u4e2d1\u00b2\t\u200b'")
    for _ in range(400):
        text = "".join(rng.choice(alphabet, 12))
        answers = ["".join(rng.choice(alphabet, int(rng.integers(0, 4)))) for _ in range(2)]
        assert compile_answers(answers, "string")(tokens_of(text)) == slow_has_answer(text, answers), (text, answers)


def test_regex_answers():
    assert compile_answers([r"19\d\d"], "regex")("born in 1975")
    assert not compile_answers([r"^19"], "regex")("born in 1975")
    with pytest.raises(Exception, match="no regular expression"):
        compile_answers(["("], "regex")


def test_sampling_without_replacement_has_the_gumbel_top_k_distribution(context):
    # Inclusion probabilities of successive sampling, by exact enumeration of ordered draws.
    weights = np.array([0.5, 0.3, 0.2])
    exact = [
        sum(
            weights[i] * weights[j] / (1 - weights[i])
            for i in range(3)
            for j in range(3)
            if i != j and target in (i, j)
        )
        for target in range(3)
    ]
    ctx = context()
    queries = ctx.rows
    counts = np.zeros(3)
    rounds = 150
    for seed in range(rounds):
        pairs = Pairs.build(
            np.repeat(queries, 3),
            np.tile([0, 1, 2], len(queries)),
            scores={"s": np.tile(np.log(weights), len(queries))},
        )
        out = Softmax(k=2, by="s").run(pairs, context(seed), 1)
        counts += np.bincount(out.doc[out.dropped == 0], minlength=3)
    share = counts / (rounds * len(queries))
    sd = math.sqrt(0.25 / (rounds * len(queries)))
    assert share == pytest.approx(exact, abs=4 * sd)
