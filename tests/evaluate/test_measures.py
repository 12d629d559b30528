"""Oracles: pytrec_eval under the same tie rule, hand-computed golden values, and the properties of the measures."""

import shutil

import numpy as np
import pytest
import pytrec_eval
from hypothesis import given, settings
from hypothesis import strategies as st

from foils.core.errors import SpecError
from foils.core.pairs import Pairs
from foils.evaluate.measures import Judge, depth_for, parse


def ranked(*lists):
    """A ranking with the given documents for queries 0, 1, ...; scores all equal, so that only ranks can count."""
    query = [q for q, docs in enumerate(lists) for _ in docs]
    doc = [d for docs in lists for d in docs]
    rank = [i for docs in lists for i in range(1, len(docs) + 1)]
    return Pairs.build(query, doc, scores={"run": np.ones(len(doc))}, ranks={"run": rank})


def qrels(*judged):
    query = [q for q, grades in enumerate(judged) for _ in grades]
    doc = [d for grades in judged for d in grades]
    grade = [g for grades in judged for g in grades.values()]
    return Pairs.build(query, doc, np.array(grade) > 0, scores={"grade": grade})


def measured(names, judged, ranking, queries=None):
    queries = judged.queries if queries is None else np.array(queries, np.int32)
    return Judge(parse(names), judged, queries).per_query(ranking)


def test_golden_values():
    judged, ranking = qrels({1: 1, 3: 1}), ranked([0, 1, 2, 3])
    values = measured(["nDCG@10", "RR@10", "AP", "RR", "R@4", "P@2"], judged, ranking)
    assert values["nDCG@10"][0] == pytest.approx(0.6509209298, abs=1e-10)
    assert [values[name][0] for name in ("RR@10", "AP", "RR", "R@4", "P@2")] == [0.5, 0.5, 0.5, 1.0, 0.5]


def test_grades_count_in_ndcg():
    judged = qrels({0: 1, 1: 3, 2: 0})
    got = measured(["nDCG@10"], judged, ranked([0, 2, 1]))["nDCG@10"][0]
    assert got == pytest.approx((1 / np.log2(2) + 3 / np.log2(4)) / (3 / np.log2(2) + 1 / np.log2(3)), abs=1e-12)


def test_a_fraction_of_a_grade_is_cut_off_and_what_is_relevant_stays_relevant(caplog):
    judged, ranking = qrels({0: 0.0, 1: 0.5, 2: 1.9, 3: -0.5}), ranked([3, 0, 1, 2])
    values = measured(["RR@10", "R@3", "P(rel=2)@4", "nDCG@10"], judged, ranking)
    assert [values[name][0] for name in ("RR@10", "R@3", "P(rel=2)@4")] == [pytest.approx(1 / 3), 0.5, 0.0]
    assert values["nDCG@10"][0] == measured(["nDCG@10"], qrels({1: 1, 2: 1}), ranking)["nDCG@10"][0] > 0
    assert caplog.messages == [
        "3 of 4 grades are no whole numbers, which the measures need: fractions are cut off, and a grade above 0 "
        "counts as 1 at least."
    ]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_equals_pytrec_eval_under_the_same_order(seed):
    generator = np.random.default_rng(seed)
    judged = [
        {
            int(d): int(generator.integers(0, 4))
            for d in generator.choice(60, size=generator.integers(1, 12), replace=False)
        }
        for _ in range(4)
    ]
    for grades in judged:
        grades[99] = 1
    lists = [generator.permutation(60)[: generator.integers(1, 50)].tolist() for _ in range(4)]
    names = {
        "nDCG@10": "ndcg_cut_10",
        "AP": "map",
        "R@20": "recall_20",
        "P@5": "P_5",
        "RR": "recip_rank",
        "nDCG": "ndcg",
    }
    got = measured(list(names), qrels(*judged), ranked(*lists))
    oracle = pytrec_eval.RelevanceEvaluator(
        {str(q): {str(d): g for d, g in grades.items()} for q, grades in enumerate(judged)}, set(names.values())
    ).evaluate({str(q): {str(d): float(-i) for i, d in enumerate(docs)} for q, docs in enumerate(lists)})
    for ours, theirs in names.items():
        assert got[ours] == pytest.approx([oracle[str(q)][theirs] for q in range(4)], abs=1e-12)
    cut = [
        next((1 / (i + 1) for i, d in enumerate(docs[:10]) if judged[q].get(d, 0) > 0), 0.0)
        for q, docs in enumerate(lists)
    ]
    assert measured(["RR@10"], qrels(*judged), ranked(*lists))["RR@10"] == pytest.approx(cut, abs=1e-12)


def test_all_providers_see_the_same_order():
    # By document id the tied documents 9 and 10 sort either way, as numbers and as strings.
    for docs, expected in (([9, 10], 0.5), ([10, 9], 1.0)):
        values = measured(["RR", "RR@10", "AP", "Judged@1"], qrels({10: 1}), ranked(docs))
        assert [values[name][0] for name in ("RR", "RR@10", "AP")] == [expected] * 3
        assert values["Judged@1"][0] == float(docs[0] == 10)


@pytest.mark.skipif(shutil.which("perl") is None, reason="ir-measures computes this one with a Perl script")
def test_exponential_gains():
    got = measured(["nDCG(dcg='exp-log2')@10"], qrels({0: 1, 1: 3}), ranked([0, 1]))
    ideal = 7 / np.log2(2) + 1 / np.log2(3)
    assert next(iter(got.values()))[0] == pytest.approx((1 / np.log2(2) + 7 / np.log2(3)) / ideal, abs=1e-4)


def test_recall_grows_with_depth_and_the_ideal_order_is_perfect():
    judged = qrels({d: 1 + d % 3 for d in range(7)})
    names = [f"R@{k}" for k in (1, 2, 5, 10, 50)]
    values = [
        column[0] for column in measured(names, judged, ranked(np.random.default_rng(0).permutation(60))).values()
    ]
    assert values == sorted(values)
    ideal = sorted(range(7), key=lambda d: -(d % 3))
    assert measured(["nDCG@10"], judged, ranked([*ideal, 30]))["nDCG@10"][0] == pytest.approx(1.0, abs=1e-12)


def test_queries_without_results_count_as_zero_and_others_do_not_matter():
    judged = qrels({1: 1}, {2: 1}, {3: 1})
    ranking = ranked([1], [], [3])
    assert measured(["RR@10", "nDCG@10"], judged, ranking, [0, 1])["RR@10"].tolist() == [1.0, 0.0]
    assert (
        measured(["RR@10"], judged, Pairs.build([], [], scores={"run": []}, ranks={"run": []}))["RR@10"].tolist()
        == [0.0] * 3
    )


def test_values_are_aligned_with_the_queries():
    judged = qrels(*({q: 1} for q in range(12)))  # as strings, '10' sorts before '2'
    ranking = ranked(*([50] * q + [q] for q in range(12)))
    assert 1 / measured(["RR"], judged, ranked(*([60 + i for i in range(q)] + [q] for q in range(12))))[
        "RR"
    ] == pytest.approx(np.arange(1, 13))
    assert len(ranking) == sum(range(1, 13))


def test_names_are_canonical_and_unique():
    assert [str(measure) for measure in parse(["MRR@10", "RR@10", " P(rel=2)@5", "NDCG"])] == [
        "RR@10",
        "P(rel=2)@5",
        "nDCG",
    ]


@pytest.mark.parametrize(
    ("names", "depth"), [(["RR@10"], 100), (["R@100", "R@500"], 500), (["AP"], 1000), (["P@3", "RR"], 1000)]
)
def test_depth(names, depth):
    assert depth_for(parse(names)) == depth


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nDGC@10", "Did you mean 'nDCG'"),
        ("nDCG@0", "at least 1"),
        ("nDCG@-5", "at least 1"),
        ("R", r"needs a cutoff, such as R@10"),
        ("nDCG@ten", "cannot be read"),
        ("nDCG@10.5", "cutoff=10.5"),
        ("nDCG(rel=1)@10", "unsupported params"),
        ("nDCG@", "cannot be read"),
        ("P(2)@5", "cannot be read"),
        ("__import__('os').system('true')", "cannot be read"),
        ("", "cannot be read"),
        ("RBP", "nothing installed"),
    ],
)
def test_misspelt_measures_get_typed_errors(name, message):
    with pytest.raises(SpecError, match=message):
        parse([name])


def test_measures_are_a_list():
    with pytest.raises(SpecError, match="list of names"):
        parse("RR@10")
    with pytest.raises(SpecError, match="no measures"):
        parse([])
