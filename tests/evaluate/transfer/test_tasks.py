"""Tasks against slow loops with scipy and scikit-learn, files against what they say, alarms against planted harm."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
from scipy import stats
from sklearn.cluster import MiniBatchKMeans
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, v_measure_score

from foils.adapters.models import load_encoder
from foils.core.errors import DataError, MissingExtra, SpecError
from foils.evaluate import evaluate
from foils.evaluate.transfer import (
    Classification,
    Clustering,
    How,
    PairClassification,
    Retrieval,
    Similarity,
    read_task,
    read_tasks,
    transfer,
)
from foils.evaluate.transfer.answer import Answer, Versus, against, corrected
from foils.evaluate.transfer.mteb import MtebTask
from foils.evaluate.transfer.resampled import resamples, spearman
from foils.evaluate.transfer.tasks import _few
from foils.terminal import console, transferred
from little import HashEncoder, write_jsonl

HOW = How(rounds=200)
THINGS = {"sea": ["salt", "tide", "wave", "harbour", "boat"], "ice": ["glacier", "snow", "cold", "berg", "frost"]}
THINGS["wood"] = ["oak", "pine", "plank", "bark", "leaf"]


class Forgetful(HashEncoder):
    """Its vectors have noise in them."""

    def encode(self, texts, kind):
        noise = np.stack([HashEncoder("noise", self.dim, 9)._word(text) for text in texts])
        return (super().encode(texts, kind) + 0.45 * noise).astype(np.float32)


@pytest.fixture(scope="module")
def labelled():
    rng = np.random.default_rng(0)
    rows = []
    for i in range(150):
        label = list(THINGS)[i % 3]
        words = [*rng.choice(THINGS[label], 3), str(rng.choice([w for v in THINGS.values() for w in v]))]
        rows.append((" ".join(words) + f" {i}", label))
    return [text for text, _ in rows], [label for _, label in rows]


@pytest.fixture(scope="module")
def sentences(labelled):
    texts, labels = labelled
    rng = np.random.default_rng(1)
    one, other = rng.integers(0, 150, (2, 200))
    same = np.array([labels[i] == labels[j] for i, j in zip(one, other, strict=True)])
    score = same * 3 + rng.random(200) * 2
    return [texts[i] for i in one], [texts[j] for j in other], score, same


def cosines(model, one, other):
    a, b = model.encode(one, "query").astype(float), model.encode(other, "query").astype(float)
    return (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


def test_similarity_and_pairs(sentences):
    one, other, score, same = sentences
    model = Forgetful()
    found = Similarity("s", one, other, score).answer(model, HOW)
    assert found.value == pytest.approx(stats.spearmanr(cosines(model, one, other), score)[0])
    low, high = found.span(rounds=1, seed=0)
    assert low < found.value < high
    found = PairClassification("s", one, other, same).answer(model, HOW)
    assert found.value == pytest.approx(average_precision_score(same, cosines(model, one, other)))
    assert len(found.resamples) == 200


def test_classification_is_a_loop_over_probes(labelled):
    texts, labels = labelled
    model = Forgetful()
    task = Classification("c", texts[90:], labels[90:], texts[:90], labels[:90])
    expected = []
    for number in range(10):
        rows = _few(texts[:90], labels[:90], 0, number)
        assert sorted(np.unique([labels[row] for row in rows], return_counts=True)[1]) == [8, 8, 8]
        probe = LogisticRegression(max_iter=100, random_state=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            probe.fit(model.encode([texts[row] for row in rows], "query"), [labels[row] for row in rows])
        expected.append(probe.predict(model.encode(texts[90:], "query")) == np.array(labels[90:]))
    found = task.answer(model, HOW)
    np.testing.assert_allclose(found.items, np.mean(expected, axis=0))
    assert found.value == pytest.approx(np.mean(expected))
    assert len({tuple(_few(texts, labels, 0, number).tolist()) for number in range(10)}) == 10


def test_classification_never_asks_what_it_learnt(labelled):
    """Labels that mean nothing: with its own texts among those asked, a probe would look as if it knew."""
    texts, _ = labelled
    labels = [str(value) for value in np.random.default_rng(5).integers(0, 2, len(texts))]
    found = Classification("c", texts, labels).answer(HashEncoder(dim=128), HOW)
    assert len(found.items) == len(texts)
    assert 0.38 < found.value < 0.62


def test_classification_leaves_a_text_of_each_label_to_ask():
    """Six texts of each label, of which one has to be left; and of a label with 7 of 27, which else is never asked."""
    for sizes in ((6, 6), (20, 7)):
        labels = [name for name, size in zip("ab", sizes, strict=True) for _ in range(size)]
        texts = [f"{label} {row}" for row, label in enumerate(labels)]
        learnt = [_few(texts, labels, 0, number, own=True) for number in range(10)]
        for rows in learnt:
            assert [labels[row] for row in rows].count("b") == sizes[1] - 1
        found = Classification("c", texts, labels).answer(HashEncoder(), HOW)
        asked = np.sum([~np.isin(np.arange(len(labels)), rows) for rows in learnt], axis=0)
        assert len(found.items) == (asked > 0).sum()
        assert (asked[sizes[0] :] > 0).any()


def test_clustering_is_k_means_on_resamples(labelled):
    texts, labels = labelled
    model = Forgetful()
    vectors, numbers = model.encode(texts, "query"), np.unique(labels, return_inverse=True)[1]
    generator = np.random.Generator(np.random.PCG64(0))
    expected = []
    for number in range(10):
        drawn = generator.integers(0, 150, 150)
        means = MiniBatchKMeans(3, batch_size=512, n_init=1, random_state=number)
        expected.append(v_measure_score(numbers[drawn], means.fit_predict(vectors[drawn])))
    found = Clustering("c", texts, labels).answer(model, HOW)
    np.testing.assert_allclose(found.repeats, expected)
    assert found.value == pytest.approx(np.mean(expected))


def test_retrieval_is_that_of_evaluate(data):
    model = HashEncoder()
    found = Retrieval("little", data).answer(model, HOW)
    expected = evaluate(data, model, measures=["nDCG@10"]).per_query["nDCG@10"]
    np.testing.assert_allclose(found.items, expected)
    assert found.value == pytest.approx(expected.mean())


def test_alarms_are_for_planted_harm_only(sentences, labelled):
    one, other, score, same = sentences
    texts, labels = labelled
    tasks = [
        Similarity("s", one, other, score),
        PairClassification("s", one, other, same),
        Classification("c", texts, labels),
        Clustering("c", texts, labels),
    ]
    systems = {"start": HashEncoder(), "same": HashEncoder("same"), "worse": Forgetful("worse")}
    found = transfer(tasks, systems, baseline="start", how=HOW)
    assert {system for system, _ in found.regressions} == {"worse"}
    assert ("worse", "s similarity") in found.regressions
    for versus in found.versus["same"].values():
        assert (versus.difference, versus.p, versus.verdict) == (0.0, 1.0, "unclear")
    back = transfer(tasks, systems, baseline="worse", how=HOW)
    for key, versus in found.versus["worse"].items():
        turned = back.versus["start"][key]
        assert turned.difference == pytest.approx(-versus.difference)
        assert (turned.low, turned.high) == (pytest.approx(-versus.high), pytest.approx(-versus.low))
        assert turned.p == pytest.approx(versus.p)
    assert not back.regressions
    record = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert [system["system"] for system in record["systems"]] == ["start", "same", "worse"]
    assert record["regressions"][0]["system"] == "worse"
    out = console()
    with out.capture() as shown:
        out.print(transferred(found))
    assert max(map(len, shown.get().splitlines())) <= 80
    assert "REGRESSION: worse" in shown.get()


def test_what_cannot_be_tested_is_none_of_the_family():
    tested, untested = Versus(-0.1, -0.2, -0.05, 0.01), against(Answer(0.4), Answer(0.5), rounds=1, seed=0)
    assert np.isnan(untested.p)
    found = corrected({"a": tested, **{f"mteb {i}": untested for i in range(9)}})
    assert (found["a"].p_holm, found["a"].verdict) == (0.01, "worse")
    assert (found["mteb 0"].verdict, found["mteb 0"].to_dict()["p_holm"]) == ("unclear", None)
    assert corrected({"mteb": untested})["mteb"].verdict == "unclear"


def test_an_interval_of_repeats_stays_between_0_and_1():
    low, high = Answer(0.98, repeats=np.array([0.95, 1.0, 0.97, 1.0])).span(rounds=1, seed=0)
    assert 0 < low < 0.98 < high == 1.0
    low, high = Answer(0.02, repeats=np.array([0.05, 0.0, 0.03, 0.0])).span(rounds=1, seed=0)
    assert 0.0 == low < 0.02 < high


def test_an_interval_covers_as_often_as_it_says():
    """The difference of two correlations under the null, by simulation: about 95 % of intervals hold it."""
    rng = np.random.default_rng(3)
    hits, false = 0, 0
    for _ in range(150):
        truth = rng.standard_normal(120)
        a, b = (truth + rng.standard_normal(120) for _ in range(2))
        answers = [
            Answer(spearman(x, truth, np.ones((1, 120)))[0], resamples=spearman(x, truth, next(resamples(120, 200, 1))))
            for x in (a, b)
        ]
        versus = against(*answers, rounds=200, seed=0)
        hits += versus.low <= 0 <= versus.high
        false += versus.p < 0.05
    assert 0.89 <= hits / 150 <= 0.99
    assert false / 150 <= 0.11


def write(folder, name, rows):
    folder.mkdir(exist_ok=True)
    write_jsonl(folder / name, rows)
    return folder / name


def test_the_kind_is_seen_by_the_columns(tmp_path, beir):
    pair = {"sentence1": "a", "sentence2": "b"}
    file = write(tmp_path / "sts", "test.jsonl.gz", [{**pair, "score": 1}, {**pair, "score": 2, "label": "x"}])
    for given in (file, tmp_path / "sts"):
        task = read_task(given)
        assert isinstance(task, Similarity)
        assert (task.key, len(task)) == ("sts similarity", 2)
    file = write(tmp_path / "dup", "dup.jsonl", [{**pair, "label": 1}, {**pair, "label": 0}])
    assert read_task(file).right.tolist() == [True, False]
    file = write(
        tmp_path / "nli", "nli.jsonl", [{**pair, "score": len(x), "label": x} for x in ("Entailment", "neutral")]
    )
    assert read_task(f"pairs={file}").right.tolist() == [True, False]
    rows = [{"text": f"t{i}", "label": i % 2} for i in range(6)]
    write(tmp_path / "bank", "test.jsonl", rows)
    write(tmp_path / "bank", "train.jsonl", rows[:4])
    task = read_task(tmp_path / "bank")
    assert isinstance(task, Classification)
    assert (len(task), len(task.known), task.labels[:2]) == (6, 4, ["0", "1"])
    assert isinstance(read_task(f"clustering={tmp_path / 'bank'}"), Clustering)
    (tmp_path / "t.csv").write_text("text,label\none,a\ntwo,b\nthree,a\nfour,b\n")
    assert read_task(tmp_path / "t.csv").key == "t classification"
    assert isinstance(read_task(beir), Retrieval)
    assert [task.key for task in read_tasks([file, f"pairs={file}"])] == ["nli similarity", "nli pairs"]


@pytest.mark.parametrize(
    ("rows", "kind", "match"),
    [
        ([{"text": "a"}, {"text": "b"}], "", r"columns 'text' make no task"),
        ([{"text": "a", "label": 1}] * 3, "", r"all 3 rows have one label"),
        ([{"text": "a", "label": 1}], "", r"1 rows are too few"),
        ([{"text": "a", "label": i % 9 // 8} for i in range(9)], "", r"1 of 2 labels has two texts or more.* train\."),
        ([{"text": "a", "label": 1}, {"text": None, "label": 2}], "", r"row 2 has no 'text'"),
        ([{"text": "a", "label": 1}] * 2, "similarity=", r"row 1 has no 'sentence1'"),
        ([{"sentence1": "a", "sentence2": "b", "score": "high"}] * 2, "", r"a score is no number"),
        ([{"sentence1": "a", "sentence2": "b", "score": 1}] * 2, "", r"all the same"),
        (
            [{"sentence1": "a", "sentence2": "b", "label": "neutral"}] * 2,
            "",
            r"labels 'neutral': positives are 1, true",
        ),
    ],
)
def test_files_that_make_no_task(tmp_path, rows, kind, match):
    write_jsonl(tmp_path / "x.jsonl", rows)
    with pytest.raises(DataError, match=match):
        read_task(f"{kind}{tmp_path / 'x.jsonl'}")


def test_a_train_file_with_one_label(tmp_path):
    write(tmp_path / "bank", "test.jsonl", [{"text": "a", "label": 1}, {"text": "b", "label": 2}])
    write(tmp_path / "bank", "train.jsonl", [{"text": "c", "label": 1}] * 2)
    with pytest.raises(DataError, match=r"train\.jsonl: all 2 rows have one label"):
        read_task(tmp_path / "bank")


def test_what_is_asked_wrongly(tmp_path):
    write_jsonl(tmp_path / "x.jsonl", [{"text": str(row), "label": row % 2} for row in range(4)])
    with pytest.raises(SpecError, match=r"unknown kind 'cluster'.*'clustering'"):
        read_task(f"cluster={tmp_path / 'x.jsonl'}")
    with pytest.raises(DataError, match=r"no such file"):
        read_task(tmp_path / "y.jsonl")
    with pytest.raises(DataError, match=r"no corpus and no file test"):
        read_task(tmp_path)
    with pytest.raises(SpecError, match=r"already"):
        read_tasks([tmp_path / "x.jsonl"] * 2)
    with pytest.raises(SpecError, match=r"at least one task"):
        transfer([], {"a": HashEncoder()})
    with pytest.raises(SpecError, match=r"only encoders"):
        transfer([tmp_path / "x.jsonl"], {"bm25": "bm25"})
    with pytest.raises(SpecError, match=r"none of the models"):
        transfer([tmp_path / "x.jsonl"], {"a": HashEncoder()}, baseline="b")


def wordwise(texts):
    """A static model with a random vector for each word of some texts."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = sorted({word for text in texts for word in text.split()})
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(["?", *words])}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    vectors = np.random.default_rng(0).standard_normal((1 + len(words), 8)).astype(np.float32)
    return SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_weights=vectors)], device="cpu")


def test_mteb_that_is_not_installed():
    try:
        import mteb  # noqa: F401
    except ModuleNotFoundError:
        with pytest.raises(MissingExtra, match=r"foils\[mteb\]"):
            read_task("mteb=STSBenchmark")


def test_mteb_s_own_library_gives_its_main_score_and_nothing_of_each_item():
    """With a task of the library's own tests, whose data is in it."""
    mteb = pytest.importorskip("mteb", reason="mteb is not installed: pip install 'foils[mteb]'")
    from mteb.mocks.mock_tasks.sts import MockSTSTask

    task = MockSTSTask()
    task.load_data()
    rows = task.dataset["test"]
    static_encoder = load_encoder(wordwise([*rows["sentence1"], *rows["sentence2"]]))
    answer = MtebTask("mock", task).answer(static_encoder, HOW)
    result = mteb.evaluate(static_encoder.model, task, cache=None, overwrite_strategy="always").task_results[0]
    assert answer.value == pytest.approx(result.get_score())
    assert (answer.items, answer.resamples, answer.repeats) == (None, None, None)
    assert not [name for name, value in result.scores["test"][0].items() if name != "languages" and np.ndim(value)]


def test_mteb_through_its_library(monkeypatch):
    """A stand-in with the same calls: what its tasks say is passed on, and what cannot be loaded is said."""
    import sys
    import types

    class Task:
        def load_data(self):
            if self.name == "Far":
                raise ConnectionError("hub not reachable\nmore")

    def get_task(name):
        if name == "None":
            raise KeyError(name)
        task = Task()
        task.name = name
        return task

    result = types.SimpleNamespace(task_results=[types.SimpleNamespace(get_score=lambda: 0.75)])
    stand_in = types.SimpleNamespace(get_task=get_task, evaluate=lambda model, task, **how: result)
    monkeypatch.setitem(sys.modules, "mteb", stand_in)
    with pytest.raises(DataError, match=r"MTEB has no task 'None'"):
        read_task("mteb=None")
    with pytest.raises(DataError, match=r"Far cannot be loaded: hub not reachable Load it once"):
        read_task("mteb=Far")
    model = HashEncoder()
    model.model = object()
    found = transfer(["mteb=Near"], {"a": model, "b": model}, baseline="a", how=HOW)
    assert found.answers["a"]["Near mteb"].value == 0.75
    assert found.spans["a"]["Near mteb"] is None
    assert found.versus["b"]["Near mteb"].verdict == "unclear"
    out = console()
    with out.capture() as shown:
        out.print(transferred(found))
    assert "no interval" in shown.get()
    assert "Holm" not in shown.get()
    json.dumps(found.to_dict(), allow_nan=False)
