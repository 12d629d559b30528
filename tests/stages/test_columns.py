"""A column holds numbers of one kind, all of them finite; what has no number is said, not guessed."""

from __future__ import annotations

import numpy as np
import pytest

import foils
from foils.core.errors import ModelError, PipelineError, SpecError
from foils.core.pairs import CANDIDATE
from foils.mine import Miner
from foils.stages import BiEncoder, CrossEncoder, Dense
from little import HashEncoder, OverlapReranker


class Broken(OverlapReranker):
    def __init__(self, value: float) -> None:
        self.value, self.fingerprint = value, f"broken/{value}"

    def score(self, queries, docs):
        return np.where(np.arange(len(docs)) % 7 == 3, np.float32(self.value), super().score(queries, docs))


@pytest.fixture(scope="module")
def saved(data, models, tmp_path_factory):
    out = tmp_path_factory.mktemp("saved") / "neg"
    return foils.mine(data, "Dense('student', k=20) + BM25(k=9) >> Uniform(k=12)", encoders=models, out=out).path


@pytest.mark.parametrize(
    "text",
    [
        "BM25(k=5) + BM25(k=5, language=None)",
        "BM25(k=5) >> BM25(k=5, k1=2.0)",
        "Random(k=5) + (BM25(k=5) >> Uniform(k=2)) + BM25(k=5, b=0.9)",
        "Load('{saved}') + BM25(k=5, k1=1.2)",
        "Load('{saved}') + Dense('student', k=5)",
        "Dense('student', k=5) >> Load('{saved}')",
    ],
)
def test_scores_of_two_kinds_never_share_a_column(text, saved, data, tmp_path):
    models = {"student": HashEncoder("student", salt=5)}  # trained since
    with pytest.raises(PipelineError, match="not of one model and setting"):
        foils.mine(data, text.format(saved=saved), encoders=models, out=tmp_path / "x")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "text",
    [
        "BM25(k=5) + (BM25(k=9) >> Top(k=2))",
        "Dense('student', k=5) >> BiEncoder('student')",
        "Load('{saved}') + Dense('student', k=5) + BM25(k=3)",
        "Load('{saved}') + Load('{saved}', which='all')",
        "(BM25(k=5) >> BM25(k=5)) >> Dense('student', k=3)",
    ],
)
def test_scores_of_one_kind_do(text, saved, data, models, tmp_path):
    pairs = foils.mine(data, text.format(saved=saved), encoders=models, out=tmp_path / "x").pairs(data)
    for name in set(pairs.scores) & {"student"}:
        q = models[name].encode(data.queries.texts(pairs.query), "query").astype(np.float64)
        d = models[name].encode(data.corpus.texts(pairs.doc), "document").astype(np.float64)
        known = ~np.isnan(pairs[name])
        assert pairs[name][known] == pytest.approx((q * d).sum(axis=1)[known], abs=1e-6)


def test_saved_candidates_scored_anew_join_a_changed_model(saved, data, tmp_path):
    student = HashEncoder("student", salt=5)
    text = f"(Load('{saved}') >> BiEncoder('student')) + Dense('student', k=5) >> Top(k=3)"
    pairs = foils.mine(data, text, encoders={"student": student}, out=tmp_path / "x").kept(data)
    q = student.encode(data.queries.texts(pairs.query), "query").astype(np.float64)
    d = student.encode(data.corpus.texts(pairs.doc), "document").astype(np.float64)
    assert pairs["student"] == pytest.approx((q * d).sum(axis=1), abs=1e-6)


@pytest.mark.parametrize("name", ["", "score", "bm25", "random", "qrels", "a+b"])
def test_names_of_models_that_mean_something_else_are_refused(name):
    for make in (lambda: Dense(name, k=1), lambda: BiEncoder(name), lambda: CrossEncoder(name)):
        with pytest.raises(SpecError, match="encoder must be another name"):
            make()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    "text", ["BM25(k=9) >> CrossEncoder('judge')", "(BM25(k=2) >> CrossEncoder('judge')) + BM25(k=9)"]
)
def test_a_model_that_returns_no_number_is_named(value, text, data, tmp_path):
    with pytest.raises(ModelError, match=r"CrossEncoder\('judge'\): \d+ of \d+ scores are NaN or infinite"):
        foils.mine(data, text, encoders={"judge": Broken(value)}, out=tmp_path / "x")


def test_a_run_file_needs_no_scores_of_positives_unless_they_are_compared_with(data, models, tmp_path):
    rows = data.query_rows("train")[:9]
    run = tmp_path / "run.trec"
    found = [(q, d) for q in data.queries.id_list(rows) for d in data.corpus.id_list(np.arange(200, 210))]
    run.write_text("".join(f"{q}\tQ0\t{d}\t{i % 10 + 1}\t{9 - i % 10}\tother\n" for i, (q, d) in enumerate(found)))
    kept = foils.mine(data, f"Load('{run}') >> Ranks(lo=2) >> Top(k=2)", out=tmp_path / "top").kept(data)
    negatives = kept.take(kept.label == CANDIDATE)
    assert len(negatives) == 18
    assert set(negatives["run"].tolist()) <= {8.0, 7.0, 6.0}
    with pytest.raises(PipelineError, match=r"positives have no score 'run' to compare .* BiEncoder\('student'\)"):
        foils.mine(data, f"Load('{run}') >> PositiveAware()", out=tmp_path / "aware")
    compared = f"Load('{run}') >> BiEncoder('student') >> PositiveAware()"
    assert foils.mine(data, compared, encoders=models, out=tmp_path / "both").manifest["counts"]["candidates"] == 90
    with pytest.raises(PipelineError, match=r"\d+ of \d+ candidates have no score 'run'"):
        foils.mine(data, f"Load('{run}') + BM25(k=5) >> Top(k=2, by='run')", out=tmp_path / "mixed")


def test_simans_needs_positives_and_says_so(data, models, tmp_path):
    stage = foils.parse("Dense('student', k=9) >> SimANS(k=2)")
    with pytest.raises(PipelineError, match="no positive to compare with: skip those"):
        Miner(without_positives="keep").mine(data, stage, split="train", seed=0, encoders=models, out=tmp_path / "x")


@pytest.mark.parametrize("source", ["BM25(k={k})", "Dense('student', k={k})", "Random(k={k})"])
@pytest.mark.parametrize("k", [10**12, 10**30])
def test_k_beyond_the_collection_is_all_of_it(source, k, data, models, tmp_path):
    far = foils.mine(data, source.format(k=k), encoders=models, out=tmp_path / "far").kept(data)
    all_of_it = foils.mine(data, source.format(k=len(data.corpus)), encoders=models, out=tmp_path / "all").kept(data)
    assert set(far.key.tolist()) == set(all_of_it.key.tolist())
