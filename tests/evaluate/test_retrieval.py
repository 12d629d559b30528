"""End to end on the small collection; oracles are pytrec_eval on a slow ranking, and files read back."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import pytrec_eval

from foils.adapters.callables import CallableEncoder
from foils.core.errors import DataError, ModelError, SpecError
from foils.core.pairs import Pairs
from foils.evaluate import Settings, evaluate, evaluate_all
from foils.evaluate.significance import holm, interval, sign_flip

EVERY = ["nDCG@10", "AP", "R@5", "RR@10"]


def noisy(seed):
    """An encoder that knows topics, plus noise; vectors are a function of the text."""

    def encode(texts):
        base = np.array(
            [[text.count(word) for word in ("wing", "heat", "shock", "flow", "jet")] for text in texts], float
        )
        noise = [np.random.default_rng([seed, *text.encode()]).normal(size=5) for text in texts]
        return (base + np.array(noise)).astype(np.float32)

    return CallableEncoder(encode, name=f"noisy{seed}")


@pytest.fixture
def settings(tmp_path):
    return Settings(cache=tmp_path / "cache", rounds=500)


def slow(data, encoder, nested_qrels, exclude_own=False):
    """Per-query values by pytrec_eval on a ranking made by sorting everything."""
    scores = (
        encoder.encode(data.queries.texts(), "query").astype(float) @ encoder.encode(data.corpus.texts(), "document").T
    )
    ids, names = data.corpus.id_list(), data.queries.id_list()
    run = {}
    for row, name in enumerate(names):
        if name in nested_qrels:
            order = [i for i in np.lexsort((np.arange(len(ids)), -scores[row].astype(np.float32)))]  # noqa: C416
            order = [i for i in order if not (exclude_own and ids[i] == name)]
            run[name] = {ids[i]: float(-place) for place, i in enumerate(order)}
    measures = {"ndcg_cut_10": "nDCG@10", "map": "AP", "recall_5": "R@5"}
    values = pytrec_eval.RelevanceEvaluator(nested_qrels, set(measures)).evaluate(run)
    return {ours: [values[name][theirs] for name in names if name in nested_qrels] for theirs, ours in measures.items()}


@pytest.mark.parametrize("own", ["keep", "exclude"])
def test_an_encoder_is_measured_as_a_slow_ranking_is(data, nested_qrels, settings, own):
    scores = evaluate(data, noisy(1), measures=EVERY, settings=Settings(own=own, cache=settings.cache, rounds=100))
    for measure, expected in slow(data, noisy(1), nested_qrels, own == "exclude").items():
        assert scores.per_query[measure] == pytest.approx(expected, abs=1e-12)
    assert scores.query_ids == [name for name in data.queries.id_list() if name in nested_qrels]
    assert scores.excluded == 1
    own_pairs = Pairs.build([0, 1], [3, 8])
    assert (scores.ranking.find(own_pairs) >= 0).tolist() == [own == "keep"] * 2


def test_excluding_own_documents_keeps_the_depth(data, settings):
    deep = Settings(own="exclude", depth=12, cache=settings.cache, rounds=10)
    scores = evaluate(data, noisy(1), measures=["R@5"], settings=deep)
    assert set(np.diff(scores.ranking.starts)) == {12}


def test_means_intervals_and_comparison_come_from_the_values(data, settings):
    scores = evaluate(data, noisy(1), measures=EVERY, baseline=noisy(2), settings=settings)
    other = evaluate(data, noisy(2), measures=EVERY, settings=settings)
    assert not other.versus
    for measure in EVERY:
        values, versus = scores.per_query[measure], scores.versus[measure]
        difference = values - other.per_query[measure]
        assert scores.mean(measure) == pytest.approx(values.mean())
        assert scores.intervals[measure].low == pytest.approx(interval(values, rounds=500).low, abs=1e-12)
        assert versus.baseline == "noisy2"
        assert versus.difference == pytest.approx(difference.mean())
        assert versus.interval.high == pytest.approx(interval(difference, rounds=500).high, abs=1e-12)
        assert versus.p == versus.p_holm == sign_flip(difference, rounds=500).p
        assert versus.wins + versus.losses + (difference == 0).sum() == len(values)


def test_a_system_against_itself_is_not_distinguishable(data, settings):
    scores = evaluate(data, noisy(1), baseline=noisy(1), settings=settings)
    for versus in scores.versus.values():
        assert (versus.difference, versus.p, versus.verdict, versus.wins) == (0.0, 1.0, "unclear", 0)
        assert versus.baseline == "noisy1 (baseline)"


def test_holm_is_over_systems_within_a_measure(data, settings):
    systems = {f"s{i}": noisy(i) for i in range(4)}
    table = evaluate_all(data, systems, baseline="s0", settings=settings)
    assert list(table.scores) == list(systems)
    for measure in table.scores["s0"].measures:
        compared = [table.scores[name].versus[measure] for name in ("s1", "s2", "s3")]
        assert [versus.p_holm for versus in compared] == pytest.approx(holm([versus.p for versus in compared]))
    assert table.scores["s0"].versus == {}


def test_a_clear_difference_is_called_better_or_worse(data, settings):
    qrels = data.qrels("test")
    perfect = Pairs.build(qrels.query, qrels.doc, scores={"oracle": qrels.scores["grade"]})
    inverted = perfect.with_scores("inverted", -perfect["oracle"])
    table = evaluate_all(
        data, {"good": perfect, "bad": inverted}, baseline="bad", measures=["nDCG@10"], settings=settings
    )
    assert table.scores["good"].mean("nDCG@10") == pytest.approx(1.0)
    assert table.scores["good"].versus["nDCG@10"].verdict == "better"
    table = evaluate_all(
        data, {"good": perfect, "bad": inverted}, baseline="good", measures=["nDCG@10"], settings=settings
    )
    assert table.scores["bad"].versus["nDCG@10"].verdict == "worse"


def test_a_run_file_that_was_written_measures_the_same(data, settings, tmp_path):
    scores = evaluate(data, noisy(3), measures=EVERY, settings=settings)
    path = scores.write_run(tmp_path / "noisy.run")
    again = evaluate(data, path, measures=EVERY, settings=settings)
    assert again.system == "noisy.run"
    for measure in EVERY:
        np.testing.assert_array_equal(again.per_query[measure], scores.per_query[measure])


def test_bm25_is_a_system(data, settings):
    scores = evaluate(data, "bm25", settings=settings)
    assert scores.system == "bm25"
    assert 0 < scores.mean("RR@10") <= 1
    assert evaluate(data, "bm25", settings=settings).to_dict() == scores.to_dict()


def test_queries_without_results_count_as_zero_and_are_counted(data, settings, tmp_path):
    path = tmp_path / "part.run"
    path.write_text("q4 Q0 d8 1 3.5 x\nq5 Q0 d10 1 2 x\n")
    scores = evaluate(data, path, measures=["RR@10"], settings=settings)
    assert scores.unanswered == len(scores.queries) - 2
    assert scores.per_query["RR@10"].tolist() == [float(name in ("q4", "q5")) for name in scores.query_ids]


def test_a_run_of_other_queries_is_refused(data, settings, tmp_path):
    path = tmp_path / "other.run"
    path.write_text("q13 Q0 d8 1 3.5 x\n")
    with pytest.raises(DataError, match="none of the 13 queries"):
        evaluate(data, path, settings=settings)


@pytest.mark.parametrize("suffix", [".tsv", ".parquet"])
def test_values_per_query_are_written_and_read_back(data, settings, tmp_path, suffix):
    scores = evaluate(data, noisy(3), measures=EVERY, settings=settings)
    path = scores.write(tmp_path / f"values{suffix}")
    if suffix == ".parquet":
        rows = pq.read_table(path).to_pydict()
    else:
        head, *lines = [line.split("\t") for line in path.read_text().splitlines()]
        rows = {name: [line[i] for line in lines] for i, name in enumerate(head)}
        rows = {name: column if name == "query_id" else list(map(float, column)) for name, column in rows.items()}
    assert rows.pop("query_id") == scores.query_ids
    assert rows == {measure: values.tolist() for measure, values in scores.per_query.items()}


def test_values_have_two_formats(data, settings, tmp_path):
    scores = evaluate(data, noisy(3), settings=settings)
    with pytest.raises(SpecError, match=r"\.xlsx"):
        scores.write(tmp_path / "values.xlsx")


def test_same_input_same_output(data, settings):
    first, second = (evaluate(data, noisy(1), baseline="bm25", settings=settings) for _ in range(2))
    assert json.dumps(first.to_dict()) == json.dumps(second.to_dict())


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"split": "tset"}, DataError, "Did you mean 'test'"),
        ({"measures": ["nDGC@10"]}, SpecError, "Did you mean 'nDCG'"),
        ({"settings": Settings(depth=5)}, SpecError, "10 documents deep"),
        ({"settings": Settings(own="drop")}, SpecError, "own='drop'"),
        ({"settings": Settings(rounds=0)}, SpecError, "rounds=0"),
    ],
)
def test_wrong_arguments_get_typed_errors(data, arguments, error, message):
    with pytest.raises(error, match=message):
        evaluate(data, noisy(1), **{"measures": ["RR@10"], **arguments})


def test_wrong_systems_get_typed_errors(data, settings, tmp_path):
    with pytest.raises(DataError, match=r"missing\.run"):
        evaluate(data, tmp_path / "missing.run", settings=settings)
    with pytest.raises(ModelError, match="no model folder"):
        evaluate(data, tmp_path / "missing", settings=settings)
    with pytest.raises(SpecError, match="Did you mean 'start'"):
        evaluate_all(data, {"start": noisy(1)}, baseline="strat", settings=settings)
    with pytest.raises(SpecError, match="no systems"):
        evaluate_all(data, {}, settings=settings)


def test_a_split_without_positives_is_refused(data, settings):
    empty = data.subset({"none": ("test", [13])})
    with pytest.raises(DataError, match="no query of split 'none'"):
        evaluate(empty, noisy(1), split="none", settings=settings)
